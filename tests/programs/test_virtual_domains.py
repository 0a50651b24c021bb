"""Virtual domains end to end: the real programs, and a stand-in for a package's program."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest
from tests.fakes.homes import GID, UID, as_owner, open_folder, others_can_run_the_programs
from tests.fakes.suite import WAIT_S, Suite

VDELIVER: Final = Path(__file__).parents[1] / "fakes/vdeliver.sh"
DOMAINS: Final = """\
shop.ex:shop
.wild.ex:wild
www.wild.ex:
info@one.ex:one
two.ex:team-two
vpop.ex:vpop.ex
"""


def make_mailbox(suite: Suite, host: str, box: str) -> Path:
    """Make the maildir of box@host, for the stand-in."""
    folder = suite.home / "alias/domains" / host / box
    with as_owner():
        for name in ("tmp", "new", "cur"):
            (folder / name).mkdir(parents=True)
    return folder


@pytest.fixture(scope="module")
def suite() -> Iterator[Suite]:
    """A suite with some virtual domains, all of them in the care of alias."""
    if not others_can_run_the_programs():
        pytest.skip("the programs lie where only root can read them")
    with open_folder() as folder, Suite(folder) as made:
        made.control("virtualdomains", DOMAINS)
        made.control("concurrencyremote", "0\n")
        alias = made.home / "alias"
        shutil.copy(VDELIVER, alias / "vdeliver")
        (alias / "vdeliver").chmod(0o755)
        shutil.chown(alias / "vdeliver", UID, GID)
        write(made, "shop-default", '|./vdeliver "$DEFAULT"')
        write(made, "shop-sales:team", "./Maildir/")
        write(made, "wild-default", '|./vdeliver "$DEFAULT"')
        write(made, "one-info", "./Maildir/")
        write(made, "team-two-default", '|./vdeliver "$DEFAULT"')
        write(made, "team-default", "|exit 100")
        assign(made)
        made.start().wait_for("status: local 0/")
        yield made


def assign(suite: Suite) -> None:
    """Give a whole domain to one folder and no account, as packages for mailboxes do."""
    folder = suite.home / "alias/vpop"
    with as_owner():
        folder.mkdir()
        (folder / "domains").symlink_to("../domains")
        (folder / ".qmail-default").write_text('| ../vdeliver "$EXT"\n')
        (folder / ".qmail-own:box").write_text("../Maildir/\n")
        text = f"+vpop.ex-:vpop.ex:{UID}:{GID}:{folder}:-::\n.\n"
        (suite.home / "users/assign").write_text(text)
    environ = {"PATH": os.environ["PATH"], "QMAIL_HOME": str(suite.home)}
    subprocess.run([suite.bin / "qmail-newu"], env=environ, check=True, timeout=WAIT_S)


def write(suite: Suite, name: str, line: str) -> None:
    """Write a `.qmail` file of alias."""
    with as_owner():
        (suite.home / f"alias/.qmail-{name}").write_text(line + "\n")


def mail_in(folder: Path) -> list[bytes]:
    """Take what was delivered to a maildir."""
    found = []
    for path in sorted((folder / "new").iterdir()):
        found.append(path.read_bytes())
        path.unlink()
    return found


@pytest.mark.parametrize(
    ("address", "host", "box", "trace"),
    [
        ("joe@shop.ex", "shop.ex", "joe", "shop-joe@shop.ex"),
        ("Joe@SHOP.Ex", "shop.ex", "joe", "shop-Joe@SHOP.Ex"),
        ("joe.doe@shop.ex", "shop.ex", "joe.doe", "shop-joe.doe@shop.ex"),
        ("a-b@shop.ex", "shop.ex", "a-b", "shop-a-b@shop.ex"),
        ("x@a.b.wild.ex", "a.b.wild.ex", "x", "wild-x@a.b.wild.ex"),
        ("y@two.ex", "two.ex", "y", "team-two-y@two.ex"),
        ("Joe.Doe@Vpop.ex", "vpop.ex", "joe.doe", "vpop.ex-Joe.Doe@Vpop.ex"),
        ("a-b@vpop.ex", "vpop.ex", "a-b", "vpop.ex-a-b@vpop.ex"),
    ],
)
def test_delivery_1_a_virtual_domain_leads_to_the_program_of_its_default_file(
    suite: Suite, address: str, host: str, box: str, trace: str
) -> None:
    folder = suite.home / "alias/domains" / host / box
    if not folder.exists():
        make_mailbox(suite, host, box)
    suite.send(address, sender="s@far.example")
    suite.wait_for(f" to local {trace}")
    suite.wait_for("success: did_0+0+1/")
    (mail,) = mail_in(folder)
    assert mail.startswith(b"Return-Path: <s@far.example>\nDelivered-To: %b\n" % trace.encode())


@pytest.mark.parametrize(
    ("address", "to"),
    [
        ("Sales.Team@shop.ex", "shop-Sales.Team@shop.ex"),
        ("info@one.ex", "one-info@one.ex"),
        ("own.box@vpop.ex", "vpop.ex-own.box@vpop.ex"),
    ],
)
def test_delivery_4_a_mailbox_with_a_file_of_its_own_does_not_reach_the_default(
    suite: Suite, address: str, to: str
) -> None:
    suite.send(address, sender="s@far.example")
    suite.wait_for(f" to local {to}")
    suite.wait_for("success: did_1+0+0/")


@pytest.mark.parametrize(
    "address", ["a@www.wild.ex", "a@wild.ex", "other@one.ex", "a@unknown.example"]
)
def test_delivery_1_what_no_key_or_an_empty_prepend_names_is_remote(
    suite: Suite, address: str
) -> None:
    suite.send(address, sender="s@far.example")
    number = suite.wait_for("info msg ").split()[2].rstrip(":")
    suite.send("info@one.ex", sender="s@far.example")
    suite.wait_for("success: did_1+0+0/")
    (records,) = (suite.home / "queue/todo").glob(number)
    assert f"T{address}\0".encode() in records.read_bytes()


@pytest.mark.parametrize("host", ["shop.ex", "vpop.ex"])
def test_delivery_5_exit_100_bounces_with_the_programs_text_and_the_address_as_written(
    suite: Suite, host: str
) -> None:
    mail_in(suite.home / "alias/Maildir")
    suite.send(f"nobody@{host}", sender="postmaster@me.ex")
    suite.wait_for("failure: No_mailbox_here_by_that_name._(#5.1.1)/")
    suite.wait_for("success: did_1+0+0/")
    (bounce,) = mail_in(suite.home / "alias/Maildir")
    assert f"\n<nobody@{host}>:\nNo mailbox here by that name. (#5.1.1)\n\n".encode() in bounce


def test_bounces_2_the_prepend_of_a_virtual_user_stays_in_the_bounce(suite: Suite) -> None:
    write(suite, "one-info", "|echo closed; exit 100")
    mail_in(suite.home / "alias/Maildir")
    suite.send("info@one.ex", sender="postmaster@me.ex")
    suite.wait_for("failure: closed/")
    suite.wait_for("success: did_1+0+0/")
    write(suite, "one-info", "./Maildir/")
    (bounce,) = mail_in(suite.home / "alias/Maildir")
    assert b"\n<one-info@one.ex>:\nclosed\n\n" in bounce


@pytest.mark.parametrize("host", ["shop.ex", "vpop.ex"])
def test_delivery_5_exit_111_puts_the_mail_off(suite: Suite, host: str) -> None:
    folder = make_mailbox(suite, host, "moved")
    with as_owner():
        (folder / "moving").touch()
    suite.send(f"moved@{host}", sender="s@far.example")
    suite.wait_for("deferral: The_mailbox_is_being_moved._(#4.2.1)/")
    assert mail_in(folder) == []
