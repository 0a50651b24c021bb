"""What `qmail explain` says is what the running suite does: the same answers, ways and ends."""

import json
import smtplib
from collections.abc import Iterator
from typing import Any, Final

import pytest
from tests.fakes.homes import (
    HOST,
    IS_ROOT,
    as_owner,
    free_port,
    open_folder,
    others_can_run_the_programs,
)
from tests.fakes.suite import WAIT_S, Suite

from qmail.protocol.path import quote
from qmail.utilities import front

SENDER: Final = "#@[]"
"""Failures of its mail are thrown away: no bounce gets into the log."""
ENDS: Final = {"success": 0, "failure": 100, "deferral": 111}
VIRTUAL: Final = "V.ex:joe-v\n.w.ex:list\nno.w.ex:\nann@one.ex:ann\n:all\n"
HOME_FILES: Final = {
    ".qmail-joe": "./Maildir/\n",
    ".qmail-joe-v-default": "# nothing\n",
    ".qmail-list-default": "./Maildir/\n|exit 99\n/nonexistent/box\n",
    ".qmail-ann-ann": "|exit 100\n",
    ".qmail-blank": "\n./Maildir/\n",
    ".qmail-closed": "./Maildir/\n",
    ".qmail-only": "+list\n|true\n",
    ".qmail-lost": "./no-such-maildir/\n",
    ".qmail-empty": "",
    ".qmail-all-catch-default": "./Maildir/\n",
}
ADDRESSES: Final = (
    f"joe@{HOST}",
    f"JOE@{HOST.upper()}",
    f"nobody@{HOST}",
    f"@{HOST}",
    f"blank@{HOST}",
    f"closed@{HOST}",
    f"only@{HOST}",
    f"lost@{HOST}",
    f"empty@{HOST}",
    "info@v.ex",
    "a@b.W.ex",
    "a@no.w.ex",
    "a@w.ex",
    "ann@one.ex",
    "catch-this@far.ex",
    "other@far.ex",
    "joe%v.ex@hack.ex",
    "postmaster",
)


@pytest.fixture(scope="module")
def suite() -> Iterator[Suite]:
    """A running suite with virtual domains and `.qmail` files of every kind."""
    if not others_can_run_the_programs():
        pytest.skip("the programs may not be read by other accounts here")
    with open_folder() as folder, Suite(folder) as made:
        made.control("virtualdomains", VIRTUAL)
        made.control("percenthack", "hack.ex\n")
        made.control("rcpthosts", f"{HOST}\nv.ex\n.w.ex\nw.ex\none.ex\nhack.ex\n")
        made.control("smtproutes", f":127.0.0.1:{free_port()}\n")
        with as_owner():
            for name, text in HOME_FILES.items():
                path = made.home / "alias" / name
                path.write_text(text)
                path.chmod(0o602 if name == ".qmail-closed" else 0o600)
        made.start("./Maildir/")
        made.wait_for("status: local 0/")
        yield made


def explained(suite: Suite, address: str, capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    front.main(["explain", address, "--from", SENDER, "--json", "--home", str(suite.home)])
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return found


def texts(found: dict[str, Any], part: str) -> list[str]:
    return [step["text"] for step in found["explained"][0]["steps"] if step["part"] == part]


@pytest.mark.parametrize("address", ADDRESSES)
def test_rcpt_is_answered_as_explained(
    suite: Suite, capsys: pytest.CaptureFixture[str], address: str
) -> None:
    said = texts(explained(suite, address, capsys), "smtp in")[-1]
    with smtplib.SMTP("127.0.0.1", suite.port, timeout=WAIT_S) as smtp:
        smtp.ehlo("client.ex")
        smtp.mail("s@far.ex")
        code, text = smtp.docmd("RCPT", f"TO:<{quote(address.encode()).decode()}>")
    assert said == f"RCPT is answered {code} {text.decode()}"


@pytest.mark.parametrize("address", ADDRESSES)
def test_a_message_goes_and_ends_as_explained(
    suite: Suite, capsys: pytest.CaptureFixture[str], address: str
) -> None:
    found = explained(suite, address, capsys)
    suite.send(address, sender=SENDER)
    started = suite.wait_for("starting delivery").split()
    number, channel, routed = started[2].rstrip(":"), started[6], started[7]
    way = texts(found, "route")[-1]
    if channel == "local":
        assert routed in way
        end, *report = suite.wait_for(f"delivery {number}: ").partition(": ")[2].split(": ")
        assert ENDS[end] == found["exit"], report
        summary = texts(found, "result")
        assert not summary or report == [did(summary[0])]
    else:
        assert "remote" in way
        suite.wait_for(f"delivery {number}: ")


def did(summary: str) -> str:
    """Return what qmail-local reports of what `result` says."""
    counts = {"file": 0, "forward": 0, "program": 0}
    for part in summary.split(", "):
        number, _, word = part.partition(" ")
        if number.isdigit():
            counts[word.removesuffix("s")] = int(number)
    return f"did_{counts['file']}+{counts['forward']}+{counts['program']}/"


def test_the_default_delivery_is_what_qmail_start_was_told(
    suite: Suite, capsys: pytest.CaptureFixture[str]
) -> None:
    said = texts(explained(suite, f"empty@{HOST}", capsys), ".qmail")[-1]
    # Another account's environment, and so its home, is for root and itself only.
    assert said.endswith("the default delivery, as qmail-start was told"), IS_ROOT
