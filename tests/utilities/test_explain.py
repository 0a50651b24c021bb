"""qmail explain: the whole of it, on real files."""

import io
import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Final

import pytest
from tests.utilities.explained_host import accounts, explained_host, write

from qmail.core.explain.explanation import Explanation, Part, Question, Step
from qmail.protocol.exits import Exit
from qmail.utilities import explain, explain_parts, front
from qmail.utilities.explain_parts import Observer
from qmail.utilities.explain_text import Style, lines_of

Run = Callable[..., tuple[int, str]]
IS_ROOT: Final = os.geteuid() == 0


@pytest.fixture
def host(open_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The folder of a host with accounts, virtual domains and a name server."""
    with explained_host(open_folder, monkeypatch):
        yield open_folder


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs the command; returns its exit code and what it printed."""

    def begin(*arguments: str) -> tuple[int, str]:
        code = front.main(["explain", *arguments])
        return code, capsys.readouterr().out

    return begin


# --- what it says -------------------------------------------------------------------------------


def test_a_local_address_from_rcpt_to_the_last_line(host: Path, run: Run) -> None:
    code, text = run("joe-list@Here.Example", "--from", "someone@isp.example")
    assert code == 0
    lines = [line.split() for line in text.splitlines()]
    assert [line[0] for line in lines] == [
        "joe-list@Here.Example,",
        *("smtp", "smtp", "smtp", "route", "account", "account", "loop", ".qmail"),
        *("sender", "sender", "sender", "line", "line", "line", "result", "verdict"),
    ]
    assert ["control/rcpthosts:2" in line for line in lines].count(True) == 1
    assert "/home/joe/.qmail-list" in text
    assert text.splitlines()[-1].split(maxsplit=1) == ["verdict", "deliverable"]


def test_an_unknown_mailbox_ends_with_100(host: Path, run: Run) -> None:
    code, text = run("joe-nothing@here.example")
    assert code == 100
    assert "RCPT is answered 550 5.1.1" in text
    assert "/home/joe/.qmail-default" in text


def test_an_alias_file_is_followed_to_its_lines(host: Path, run: Run) -> None:
    text = run("support@here.example", "--from", "s@isp.example", "--follow")[1]
    assert "/etc/aliases:3" in text
    assert headings(text)[1].startswith("ann@here.example, from s@isp.example")


def test_trouble_ends_with_111(host: Path, run: Run) -> None:
    (host / "home/control/virtualdomains").write_text("nonsense\n")
    code, text = run("joe@here.example")
    assert code == 111
    assert "control/virtualdomains:1" in text
    assert "there is no telling" in text


def test_a_remote_address_with_its_exchangers(host: Path, run: Run) -> None:
    code, text = run("bob@far.example")
    assert code == 0
    assert "MX of far.example: 10 mx1.far.example, 20 mx2.far.example" in text
    assert "tried in this order: 192.0.2.10, 192.0.2.20" in text


def test_an_address_without_a_mailbox_in_front_of_the_at_is_trash(host: Path, run: Run) -> None:
    code, text = run("@here.example")
    assert code == 0
    assert "trash" in text


def test_what_rcpt_is_answered_counts_only_when_asked_for(host: Path, run: Run) -> None:
    assert run("bob@isp.example")[0] == 0
    assert run("bob@isp.example", "--smtp")[0] == 100
    assert run("bob@isp.example", "--client", "192.0.2.5")[0] == 100
    (host / "home/control/relayclients").write_text("192.0.2.0/24\n")
    code, text = run("bob@isp.example", "--client", "192.0.2.5")
    assert code == 0
    assert "control/relayclients:1" in text


def test_by_smtp_the_address_that_is_queued_is_explained(host: Path, run: Run) -> None:
    plain = run("joe@[127.0.0.1]")[1]
    assert "[127.0.0.1] is not local" in plain
    assert "queued for joe@mx.here.example, if there is such a mailbox" in plain
    code, text = run("joe@[127.0.0.1]", "--smtp")
    assert code == 0
    assert "mx.here.example is local" in text
    assert text.startswith("joe@[127.0.0.1], from")


def test_the_default_delivery_can_be_given(host: Path, run: Run) -> None:
    text = run("joe@here.example", "--default", "./Mailbox")[1]
    assert "the default delivery, as --default says" in text
    assert "appends to this mbox file" in text


def test_the_default_delivery_may_be_a_control_file(host: Path, run: Run) -> None:
    (host / "home/control/defaultdelivery").write_text("|dot-forward .forward\n./Mailbox\n")
    text = run("joe@here.example")[1]
    assert "the default delivery, as control/defaultdelivery says" in text
    assert "runs a program" in text
    assert "appends to this mbox file" in text


def test_bytes_that_are_no_text_are_shown_and_break_nothing(host: Path, run: Run) -> None:
    address = os.fsdecode(b"j\xff\x1b[2J@here.example")
    code, text = run(address)
    assert code == 100
    assert "j\\xff\\x1b[2J@here.example" in text
    assert "\x1b" not in text


# --- forwards -----------------------------------------------------------------------------------


def headings(text: str) -> list[str]:
    return [line for line in text.splitlines() if line and not line.startswith(" ")]


def test_forwards_are_followed_from_the_sender_that_they_go_on_with(host: Path, run: Run) -> None:
    text = run("joe-list@here.example", "--from", "s@isp.example", "--follow")[1]
    origin = "(forwarded by joe-list@here.example)"
    assert headings(text)[1:] == [
        f"bob@far.example, from joe-list-owner@here.example {origin}",
        f"carol@isp.example, from joe-list-owner@here.example {origin}",
    ]


def test_a_followed_address_gets_the_sender_that_names_it(host: Path, run: Run) -> None:
    write(host / "users/joe/.qmail-list-owner-default", "./Maildir/\n")
    text = run("joe-list@here.example", "--from", "s@isp.example", "--follow")[1]
    assert "joe-list-owner-bob=far.example@here.example: VERP" in text


def test_forwards_in_a_circle_end(host: Path, run: Run) -> None:
    write(host / "users/joe/.qmail-a", "joe-b@here.example\n")
    write(host / "users/joe/.qmail-b", "joe-a@here.example\njoe-b@here.example\n")
    text = run("joe-a@here.example", "--follow")[1]
    assert [line.split(",")[0] for line in headings(text)] == [
        "joe-a@here.example",
        "joe-b@here.example",
    ]


def test_a_chain_of_forwards_is_followed_to_a_limit(host: Path, run: Run) -> None:
    write(host / "users/joe/.qmail-default", '|forward "joe-x$DEFAULT@here.example"\n')
    text = run("joe-x@here.example", "--follow")[1]
    assert len(headings(text)) == explain.DEPTH_MAX + 1
    assert text.endswith("\n1 more addresses are not explained: --follow has a limit\n")


def test_of_very_many_forwards_some_are_followed(host: Path, run: Run) -> None:
    many = "".join(f"joe-old@{number}.isp.example\n" for number in range(60))
    write(host / "users/joe/.qmail-many", many.replace("isp.example", "gone.invalid"))
    write(host / "home/control/smtproutes", ":[192.0.2.9]\n")
    text = run("joe-many@here.example", "--follow")[1]
    assert len(headings(text)) == explain.FOLLOWED_MAX + 1
    assert text.endswith("\n11 more addresses are not explained: --follow has a limit\n")


def test_with_forwards_the_worst_verdict_counts(host: Path, run: Run) -> None:
    write(host / "users/joe/.qmail-on", "nobody@here.example\n")
    assert run("joe-on@here.example")[0] == 0
    assert run("joe-on@here.example", "--follow")[0] == 100


# --- how it is shown ----------------------------------------------------------------------------


def test_json_has_the_same_steps(host: Path, run: Run) -> None:
    code, text = run("joe-list@here.example", "--follow", "--json")
    found = json.loads(text)
    assert found["exit"] == code == 0
    assert [one["address"] for one in found["explained"]] == [
        "joe-list@here.example",
        "bob@far.example",
        "carol@isp.example",
    ]
    steps = found["explained"][0]["steps"]
    line = next(step for step in steps if step["part"] == "line 2")
    assert line == {
        "part": "line 2",
        "file": "/home/joe/.qmail-list",
        "line": 2,
        "text": "forwards to bob@far.example",
        "quote": "&bob@far.example",
    }


STEPS: Final = (
    Step("route", "short", "control/locals", 1),
    Step(".qmail", "not there", "/home/joe/" + "x" * 60),
    Step("line 1", "a text of several words that is too long for its column", "f", 1, "./M/", 1),
)


def shown(style: Style) -> list[str]:
    return list(lines_of(Explanation(Question(b"a@b", b""), STEPS, Exit.OK), style))


def test_columns_are_aligned_and_a_long_path_has_a_line_of_its_own() -> None:
    assert shown(Style()) == [
        "a@b, from <>, the null sender",
        "  route     control/locals:1  short",
        "  .qmail    /home/joe/" + "x" * 60,
        "                              not there",
        "    line 1  ./M/              a text of several words that is too long for its column",
        "  verdict                     deliverable",
    ]


def test_on_a_terminal_texts_are_wrapped_and_the_heading_is_bold() -> None:
    lines = shown(Style(width=65, is_bold=True))
    assert lines[0] == "\x1b[1ma@b, from <>, the null sender\x1b[0m"
    assert lines[4:6] == [
        "    line 1  ./M/              a text of several words that is too",
        "                              long for its column",
    ]
    assert max(map(len, lines[4:])) <= 65


def test_a_narrow_terminal_wraps_nothing() -> None:
    assert shown(Style(width=20)) == shown(Style())


def test_a_reader_that_has_seen_enough_is_no_trouble(
    host: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    with open(writer, "w", encoding="ascii") as out:
        monkeypatch.setattr(sys, "stdout", out)
        assert front.main(["explain", "joe@here.example"]) == 0


def test_a_disk_that_is_full_is_told(
    host: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with open("/dev/full", "wb", buffering=0) as full, io.TextIOWrapper(full) as out:
        monkeypatch.setattr(sys, "stdout", out)
        assert front.main(["explain", "joe@here.example"]) == 111
    assert "unable to write: No space left on device" in capsys.readouterr().err


def test_what_the_terminal_has_no_letters_for_is_escaped(
    host: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    raw = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(raw, encoding="ascii"))
    front.main(["explain", "jö@here.example"])
    assert raw.getvalue().startswith(b"j\\xf6@here.example, from")


# --- wrong usage --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "wrong"),
    [
        ([], "ADDRESS"),
        (["a@b", "--client", "host"], "--client: host is not an IP address"),
        (["x" * 2000], "ADDRESS: 2000 bytes"),
        (["a@b", "--from", "x" * 2000], "--from: 2000 bytes"),
        (["a@b", "--no-such"], "--no-such"),
    ],
)
def test_wrong_usage_ends_with_100(
    host: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], wrong: str
) -> None:
    assert front.main(["explain", *arguments]) == 100
    assert wrong in capsys.readouterr().err


def test_without_a_home_it_ends_with_111(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert front.main(["explain", "a@b", "--home", str(tmp_path / "none")]) == 111
    assert "No such file or directory: run 'qmail check'" in capsys.readouterr().err


def test_a_home_of_one_account_says_so_and_all_is_alias(home: Path, run: Run) -> None:
    code, text = run("postmaster@mx.example.org")
    assert code == 0
    assert "note" in text.splitlines()[1]
    assert "runs all of this home" in text
    assert f"{home}/alias/.qmail-postmaster" in text


# --- a part that does not answer ----------------------------------------------------------------


class Stuck:
    """A list of accounts that never answers."""

    def account(self, _name: bytes) -> None:
        time.sleep(60)

    def folder_owner(self, _path: bytes) -> None:
        raise AssertionError


class Broken(Stuck):
    """A list of accounts with a bug."""

    def account(self, _name: bytes) -> None:
        raise ValueError("no\nsense")


def steps_of(observer: Observer) -> tuple[Exit, list[str]]:
    inquiry = explain.Inquiry(observer, default=(b"./Maildir/", "as the test says"))
    question = Question(b"joe@mx.here.example", b"")
    (found,) = inquiry.run(question, is_following=False)
    return found.verdict, [step.text for step in found.steps if step.part == "account"]


def test_a_part_that_takes_too_long_says_so(host: Path) -> None:
    class Hasty(Observer):
        """Gives little time to the part that hangs, and to no other."""

        def account(self, recipient: bytes) -> Part:
            return Observer.account(replace(self, wait_s=0.1), recipient)

    observer = Hasty(str(host / "home"), accounts(), IS_ROOT, Stuck())
    assert steps_of(observer) == (Exit.TEMPORARY, ["no answer within 0.1 seconds"])


def test_a_part_that_breaks_says_so(host: Path) -> None:
    observer = Observer(str(host / "home"), accounts(), IS_ROOT, Broken())
    text = "unexpected trouble: ValueError('no\\nsense')"
    assert steps_of(observer) == (Exit.TEMPORARY, [text])


def test_an_answer_that_makes_no_sense_is_not_believed(
    host: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(explain_parts, "ask_child", lambda *_given, **_limits: b"nonsense")
    observer = Observer(str(host / "home"), accounts(), IS_ROOT, Stuck())
    assert steps_of(observer) == (Exit.TEMPORARY, [])
