"""The recipes of docs/lists.md and docs/virtual-domains.md, taken from there and carried out."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest
from tests.fakes.homes import as_owner, open_folder, others_can_run_the_programs
from tests.fakes.suite import Suite

DOCS: Final = Path(__file__).resolve().parents[2] / "docs"
DOMAIN: Final = "example.org"
DELIVERED: Final = "success: did_1+0+0/"


def block(document: str, words: str) -> str:
    """Return the block of code in a document that holds these words."""
    text = (DOCS / document).read_text(encoding="utf-8")
    (found,) = [code for code in re.findall(r"```\w*\n(.*?)```", text, re.DOTALL) if words in code]
    return str(found)


def file_shown(document: str, name: str) -> str:
    """Return the contents of a file that a document shows by `cat`."""
    shown = block(document, f"$ cat {name}\n").partition(f"$ cat {name}\n")[2]
    return shown.partition("\n$ ")[0].rstrip("\n") + "\n"


@pytest.fixture(scope="module")
def suite() -> Iterator[Suite]:
    """A suite where alias keeps all lists, and Ann and Bea have maildirs."""
    if not others_can_run_the_programs():
        pytest.skip("the programs lie where only root can read them")
    with open_folder() as folder, Suite(folder) as made:
        made.control("locals", f"me.ex\n{DOMAIN}\n")
        made.control("virtualdomains", "shop.example:shop\n")
        made.control("concurrencyremote", "0\n")
        for name in ("ann", "bea", "boxes/shop.example/joe.doe"):
            maildir(made, name)
        write(made, ".qmail-ann", "./ann/\n")
        write(made, ".qmail-bea", "./bea/\n")
        write(made, ".qmail-friends-owner", "./bea/\n")
        made.start().wait_for("status: local 0/")
        yield made


def maildir(suite: Suite, name: str) -> None:
    """Make a maildir of alias."""
    with as_owner():
        for part in ("tmp", "new", "cur"):
            (suite.home / "alias" / name / part).mkdir(parents=True)


def write(suite: Suite, name: str, text: str) -> None:
    """Write a file of alias that may be run."""
    path = suite.home / "alias" / name
    with as_owner():
        path.write_text(text)
        path.chmod(0o644 if name.startswith(".qmail") else 0o755)


def taken(suite: Suite, name: str) -> list[bytes]:
    """Take what is new in a maildir of alias."""
    found = []
    for path in (suite.home / "alias" / name / "new").iterdir():
        found.append(path.read_bytes())
        path.unlink()
    return found


# --- docs/lists.md ------------------------------------------------------------------------------

MEMBERS_ONLY: Final = "Only members may write to this list."


def test_a_plain_list_has_the_members_that_are_shown(suite: Suite) -> None:
    write(suite, ".qmail-friends", file_shown("lists.md", ".qmail-friends"))
    suite.send(f"friends@{DOMAIN}", sender="joe@far.example")
    suite.wait_for_each("success: did_0+3+0/", DELIVERED)
    (mail,) = taken(suite, "ann")
    assert mail.startswith(f"Return-Path: <friends-owner@{DOMAIN}>\n".encode())


def test_members_pass_the_guard_of_a_closed_list(suite: Suite) -> None:
    write(suite, ".qmail-friends", block("lists.md", MEMBERS_ONLY))
    suite.send(f"friends@{DOMAIN}", sender="BOB@far.example")
    suite.wait_for_each("success: did_0+2+2/", DELIVERED)
    assert len(taken(suite, "ann")) == 1


@pytest.mark.parametrize("stranger", ["bea", ".*", "b.b", "ann@example.org &bob"])
def test_others_are_told_that_a_list_is_closed(suite: Suite, stranger: str) -> None:
    write(suite, ".qmail-friends", block("lists.md", MEMBERS_ONLY))
    suite.send(f"friends@{DOMAIN}", sender=f"{stranger}@far.example")
    suite.wait_for("failure: Only_members_may_write_to_this_list./")
    suite.wait_for("bounce msg ")
    assert taken(suite, "ann") == []


@pytest.mark.parametrize("sender", ["", "#@[]"])
def test_bounces_to_a_closed_list_are_dropped(suite: Suite, sender: str) -> None:
    write(suite, ".qmail-friends", block("lists.md", MEMBERS_ONLY))
    suite.send(f"friends@{DOMAIN}", sender=sender)
    suite.wait_for("success: did_0+0+1/")
    assert taken(suite, "ann") == []


@pytest.mark.parametrize(("sender", "to"), [("bea", "ann"), ("joe", "bea")])
def test_what_the_moderator_has_not_written_goes_to_her(suite: Suite, sender: str, to: str) -> None:
    write(suite, ".qmail-friends", block("lists.md", "|condredirect bea@example.org"))
    suite.send(f"friends@{DOMAIN}", sender=f"{sender}@{DOMAIN}")
    suite.wait_for(DELIVERED)
    assert {name: len(taken(suite, name)) for name in ("ann", "bea")} == {
        "ann": int(to == "ann"),
        "bea": int(to == "bea"),
    }


def test_a_program_keeps_book_of_bounces(suite: Suite) -> None:
    lines = block("lists.md", ">> bounced").replace("lists@", "ann@")
    write(suite, ".qmail-friends-owner-default", lines)
    for tail in ("bob=far.example", ""):
        suite.send(f"friends-owner-{tail}@{DOMAIN}", sender="")
        suite.wait_for(DELIVERED)
    (suite.home / "alias/.qmail-friends-owner-default").unlink()
    assert (suite.home / "alias/bounced").read_text() == "bob=far.example\n"
    assert len(taken(suite, "ann")) == 2


# --- docs/virtual-domains.md --------------------------------------------------------------------


def test_a_program_delivers_for_all_mailboxes_of_a_domain(suite: Suite) -> None:
    write(suite, "deliver", file_shown("virtual-domains.md", "~/deliver"))
    write(suite, ".qmail-shop-default", "|./deliver\n")
    suite.send("Joe.Doe@shop.example", sender="s@far.example")
    suite.wait_for("success: did_0+0+1/")
    (mail,) = taken(suite, "boxes/shop.example/joe.doe")
    trace = b"Return-Path: <s@far.example>\nDelivered-To: shop-Joe.Doe@shop.example\n"
    assert mail.startswith(trace)
    for name in ("nobody", "../../ann", ".", "joe.doe/new", "a b"):
        suite.send(f"{name}@shop.example", sender="")
        suite.wait_for("failure: No_mailbox_here_by_that_name._(#5.1.1)/")
    assert taken(suite, "ann") == []
