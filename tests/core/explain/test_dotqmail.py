"""What `qmail explain` says of `.qmail` files (spec/delivery.md 3 to 6)."""

import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qmail.core.explain.dotqmail import (
    STEPS_SHOWN_MAX,
    LocalQuestion,
    explain_delivery,
    explain_plan,
)
from qmail.core.explain.explanation import STEPS_MAX, Part
from qmail.core.local.delivery import Delivery, show_plan
from qmail.core.local.home_files import DotqmailFile, StoppedError, put_off
from qmail.protocol.exits import Exit
from qmail.protocol.local_door import Target
from qmail.protocol.verify_door import Verdict, verdict_of

SENDER: Final = b"someone@far.example"
CONTROLS: Final = {"me": b"mx.here.example\n"}


class MemoryHome:
    """A home in memory: text and whether it may only forward, by name; None can't be read now."""

    def __init__(
        self, files: Mapping[bytes, tuple[bytes, bool] | None], *, has_maildirs: bool = True
    ) -> None:
        self._files = files
        self._has_maildirs = has_maildirs
        self.files = self

    def read(self, name: bytes) -> DotqmailFile | None:
        if name not in self._files:
            return None
        found = self._files[name]
        if found is None:
            raise put_off(b"Unable to read " + name + b". (#4.3.0)\n")
        return DotqmailFile(*found)

    def exists(self, name: bytes) -> bool:
        return name in self._files

    def describe(self, name: bytes) -> str:
        return "mode 0600" if name in self._files else "not there"

    def has_maildir(self, _path: bytes) -> bool:
        return self._has_maildirs


def target(ext: bytes = b"list", dash: bytes = b"-", home: bytes = b"/home/joe") -> Target:
    return Target(b"joe", home, b"joe" + dash + ext, dash, ext, b"here.example")


def question(
    whose: Target, default: bytes = b"./Maildir/", sender: bytes = SENDER
) -> LocalQuestion:
    return LocalQuestion(whose, sender, default, "as the test says")


def explain(home: MemoryHome, whose: Target | None = None, **more: bytes) -> Part:
    return explain_plan(question(whose or target(), **more), home, CONTROLS.get)


def lines(part: Part) -> list[str]:
    """Everything but the loop step, as people read it."""
    return [
        " | ".join(filter(None, (step.part, step.where, step.quote, step.text)))
        for step in part.steps
        if step.part != "loop"
    ]


def test_delivery_4_every_name_that_was_tried_is_told() -> None:
    part = explain(MemoryHome({b".qmail-default": (b"./Maildir/\n", False)}), target(b"a-B.c"))
    assert lines(part) == [
        ".qmail | /home/joe/.qmail-a-b:c | not there",
        ".qmail | /home/joe/.qmail-a-default | not there",
        '.qmail | /home/joe/.qmail-default | governs (mode 0600), DEFAULT is "a-B.c"',
        "line 1 | /home/joe/.qmail-default:1 | ./Maildir/ | delivers to this maildir",
        "result | 1 file",
    ]
    assert part.verdict is Exit.OK


def test_delivery_3_no_file_is_no_mailbox() -> None:
    part = explain(MemoryHome({}))
    assert part.verdict is Exit.PERMANENT
    assert lines(part)[-1] == ".qmail | There is no mailbox of this name here. (#5.1.1)"
    assert verdict_of(part.facts[0]) is Verdict.UNKNOWN


def test_delivery_3_a_bare_user_has_the_default_delivery() -> None:
    part = explain(MemoryHome({}), target(b"", b""), default=b"./Mailbox\n|biff")
    assert lines(part)[:2] == [
        ".qmail | /home/joe/.qmail | not there",
        ".qmail | no such file: the default delivery, as the test says",
    ]
    assert "line 1 | ./Mailbox | appends to this mbox file" in lines(part)
    assert lines(part)[-1] == "result | 1 file, 1 program"


def test_delivery_3_an_empty_file_means_the_default_delivery() -> None:
    part = explain(MemoryHome({b".qmail-list": (b"", True)}))
    default = "is empty: the default delivery, as the test says"
    assert lines(part) == [
        f".qmail | /home/joe/.qmail-list | governs (mode 0600), {default}",
        "line 1 | ./Maildir/ | delivers to this maildir",
        "result | 1 file",
    ]


def test_delivery_5_every_kind_of_line() -> None:
    text = b"# none\n./M/\n/var/mail/joe\n|biff\n&a@far.example\nb@far.example\n\n+x\n&\n"
    part = explain(MemoryHome({b".qmail-list": (text, False)}))
    where = "/home/joe/.qmail-list"
    assert lines(part)[1:] == [
        f"sender | {where}-owner | not there",
        "sender | goes on as someone@far.example",
        f"line 2 | {where}:2 | ./M/ | delivers to this maildir",
        f"line 3 | {where}:3 | /var/mail/joe | appends to this mbox file",
        f"line 4 | {where}:4 | |biff | runs a program: /bin/sh -c, and its exit code counts",
        f"line 5 | {where}:5 | &a@far.example | forwards to a@far.example",
        f"line 6 | {where}:6 | b@far.example | forwards to b@far.example",
        "result | 2 files, 1 program, 2 forwards",
    ]
    assert part.facts == (b"K", SENDER, b"a@far.example", SENDER, b"b@far.example")


def test_delivery_5_a_blank_first_line_puts_off_and_nothing_else_is_reached() -> None:
    part = explain(MemoryHome({b".qmail-list": (b"\n./M/\n&a@far.example\n", False)}))
    assert part.verdict is Exit.TEMPORARY
    assert "put off: The first line of the .qmail file is blank. (#4.2.1)" in lines(part)[-2]
    assert lines(part)[-1] == "... | 2 more that the delivery does not reach"
    assert part.facts == (b"K",)


@pytest.mark.parametrize(("text", "is_executable"), [(b"|x\n", True), (b"+list\n|x\n", False)])
def test_delivery_5_a_file_that_may_only_forward_runs_nothing(
    text: bytes,
    is_executable: bool,
) -> None:
    part = explain(MemoryHome({b".qmail-list": (text, is_executable)}))
    assert part.verdict is Exit.TEMPORARY
    assert "#4.7.0" in lines(part)[-1]
    assert ("forwards only" in lines(part)[0]) == is_executable


def test_delivery_5_what_is_forwarded_comes_last_so_trouble_stops_it() -> None:
    part = explain(MemoryHome({b".qmail-list": (b"&a@far.example\n|x\n", True)}))
    assert part.verdict is Exit.TEMPORARY
    assert lines(part)[-1] == "result | nothing is forwarded: that comes last"
    assert part.facts == (b"K",)


def test_a_maildir_that_is_not_there_puts_off() -> None:
    home = MemoryHome({b".qmail-list": (b"./M/\n", False)}, has_maildirs=False)
    part = explain(home)
    assert part.verdict is Exit.TEMPORARY
    assert "a maildir that is not there" in lines(part)[-1]


def test_a_file_of_comments_throws_mail_away() -> None:
    part = explain(MemoryHome({b".qmail-list": (b"# nothing\n", False)}))
    assert (part.verdict, lines(part)[-1]) == (Exit.OK, "result | nothing: taken and thrown away")


def test_delivery_6_the_lists_owner_gets_the_bounces() -> None:
    files = {b".qmail-list": (b"&a@far.example\n", False), b".qmail-list-owner": (b"", False)}
    part = explain(MemoryHome(files))
    assert lines(part)[1:4] == [
        "sender | /home/joe/.qmail-list-owner | is there",
        "sender | /home/joe/.qmail-list-owner-default | not there",
        "sender | goes on as joe-list-owner@here.example: the list's owner",
    ]
    files[b".qmail-list-owner-default"] = (b"", False)
    part = explain(MemoryHome(files))
    sender = "joe-list-owner-@here.example-@[]"
    assert lines(part)[3] == f"sender | goes on as {sender}: VERP, each recipient gets its own"
    assert part.facts[1] == sender.encode()
    part = explain(MemoryHome(files), sender=b"")
    assert lines(part)[1] == "sender | goes on as <>, the null sender"


def test_delivery_3_the_line_that_stops_a_loop_is_told() -> None:
    step = explain(MemoryHome({})).steps[0]
    assert (step.part, "Delivered-To: joe-list@here.example" in step.text) == ("loop", True)


def test_a_file_that_cannot_be_read_puts_off() -> None:
    part = explain(MemoryHome({b".qmail-list": None}))
    assert part.verdict is Exit.TEMPORARY
    assert lines(part) == [".qmail | /home/joe/.qmail-list | Unable to read .qmail-list. (#4.3.0)"]


def test_of_a_long_list_the_first_lines_are_shown_and_the_rest_counted() -> None:
    count = 10_000
    text = b"".join(b"&a%d@far.example\n" % number for number in range(count))
    part = explain(MemoryHome({b".qmail-list": (text, False)}))
    assert f"... | {count - STEPS_SHOWN_MAX} more like these" in lines(part)
    assert lines(part)[-1] == f"result | {count} forwards"
    assert len(part.steps) < STEPS_MAX
    assert Part.unpack(part.pack()) == part


def test_lines_with_many_details_are_shown_to_the_same_limit() -> None:
    words = b" ".join(b"a%d@far.example" % number for number in range(90))
    text = b"|forward " + words + b"\n"
    part = explain(MemoryHome({b".qmail-list": (text * 100, False)}))
    assert len(part.steps) < STEPS_SHOWN_MAX + 20
    assert "... | 98 more like these" in lines(part)
    assert lines(part)[-1] == "result | 100 programs"
    assert Part.unpack(part.pack()) == part


# --- the suite's own commands -------------------------------------------------------------------


def program(command: bytes, ext: bytes = b"list", sender: bytes = SENDER) -> Part:
    files = {b".qmail-list": (b"|" + command + b"\n./M/\n", False)}
    return explain(MemoryHome(files), target(ext), sender=sender)


def details(part: Part) -> list[str]:
    return [step.text for step in part.steps if step.depth and not step.quote]


@pytest.mark.parametrize(
    ("command", "text"),
    [
        (
            b'forward "$EXT@far.example"',
            "forward: sends it to list@far.example, from someone@far.example",
        ),
        (
            b"/var/qmail/bin/forward a@far.example",
            "forward: sends it to a@far.example, from someone@far.example",
        ),
        (
            b"condredirect a@far.example grep -q x",
            (
                'condredirect: if "grep -q x" ends with 0, sends it to a@far.example, from'
                " someone@far.example, and nothing that follows is done"
            ),
        ),
        (
            b"bouncesaying 'go away' test -f x",
            'bouncesaying: if "test -f x" ends with 0, bounces "go away"',
        ),
        (b"except test -f x", 'except: if "test -f x" ends with 0, it bounces; else goes on'),
        (
            b"preline procmail",
            'preline: the lines on top of a mailbox message, then the message, to "procmail"',
        ),
    ],
)
def test_programs_6_what_our_own_commands_would_do(command: bytes, text: str) -> None:
    part = program(command)
    assert details(part) == [text]
    assert part.verdict is Exit.OK


@pytest.mark.parametrize("command", [b"vacation joe", b"forward a | b", b"forward", b"procmail"])
def test_of_other_programs_nothing_is_guessed(command: bytes) -> None:
    part = program(command)
    assert details(part) == []
    assert part.facts == (b"K",)


@pytest.mark.parametrize("command", [b"bouncesaying 'no more'", b"condredirect a@far.example"])
def test_programs_6_a_bounce_without_condition_ends_the_delivery(command: bytes) -> None:
    part = program(command)
    assert part.verdict is Exit.PERMANENT
    assert details(part)[-1] == "1 more that the delivery does not reach"


@pytest.mark.parametrize(
    ("code", "verdict", "meaning", "result"),
    [
        (b"0", Exit.OK, "goes on with the next line", "result | 1 file, 1 program"),
        (b"99", Exit.OK, "what follows is skipped", "result | 1 program"),
        (b"100", Exit.PERMANENT, "bounces", "... | 1 more that the delivery does not reach"),
        (b"111", Exit.TEMPORARY, "put off", "... | 1 more that the delivery does not reach"),
    ],
)
def test_delivery_5_what_an_exit_code_does(
    code: bytes, verdict: Exit, meaning: str, result: str
) -> None:
    part = program(b"exit " + code)
    assert details(part)[0] == f"exit {code.decode()}: {meaning}"
    assert part.verdict is verdict
    assert lines(part)[-1] == result


def test_delivery_5_what_was_collected_before_99_is_forwarded() -> None:
    text = b"&a@far.example\n|exit 99\n&b@far.example\n"
    part = explain(MemoryHome({b".qmail-list": (text, False)}))
    assert part.verdict is Exit.OK
    assert part.facts == (b"K", SENDER, b"a@far.example")


def test_programs_6_forward_sends_as_the_lists_owner_and_condredirect_does_not() -> None:
    files = {
        b".qmail-list": (b"|forward a@x\n|condredirect b@x y\n", False),
        b".qmail-list-owner": (b"", False),
    }
    part = explain(MemoryHome(files))
    assert part.facts == (b"K", b"joe-list-owner@here.example", b"a@x", SENDER, b"b@x")


# --- the disk -----------------------------------------------------------------------------------


def on_disk(home: Path, ext: bytes = b"list") -> Part:
    return explain_delivery(question(target(ext, home=os.fsencode(home))), CONTROLS.get)


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    # A delivery makes the home its working folder: back from there afterwards.
    monkeypatch.chdir("/")
    tmp_path.chmod(0o755)
    for part in ("tmp", "new", "cur"):
        (tmp_path / "Maildir" / part).mkdir(parents=True)
    return tmp_path


def test_real_files_are_described(home: Path) -> None:
    (home / ".qmail-a-list").mkdir()
    (home / ".qmail-a-default").symlink_to("nowhere")
    (home / ".qmail-default").write_bytes(b"./Maildir/\n")
    (home / ".qmail-default").chmod(0o640)
    part = on_disk(home, b"a-list")
    assert [step.text for step in part.steps if step.part == ".qmail"] == [
        "passed over: not a regular file",
        "not there",
        'governs (mode 0640), DEFAULT is "a-list"',
    ]
    assert part.verdict is Exit.OK


def test_a_name_that_is_too_long_is_passed_over(home: Path) -> None:
    part = on_disk(home, b"x" * 300)
    assert [step.text for step in part.steps if step.part == ".qmail"] == [
        "passed over: file name too long",
        "not there",
        "There is no mailbox of this name here. (#5.1.1)",
    ]


@pytest.mark.parametrize(
    ("mode", "text"),
    [
        (0o1755, "The home folder is sticky: its owner is editing .qmail files. (#4.2.1)"),
        (0o757, "Others may write to the home folder. (#4.7.0)"),
    ],
)
def test_delivery_3_a_home_that_is_not_fit_puts_off(home: Path, mode: int, text: str) -> None:
    home.chmod(mode)
    part = on_disk(home)
    assert [(step.part, step.file, step.text) for step in part.steps] == [("home", str(home), text)]
    assert part.verdict is Exit.TEMPORARY


def test_delivery_3_a_home_that_is_not_there_puts_off(home: Path) -> None:
    part = on_disk(home / "none")
    assert part.verdict is Exit.TEMPORARY
    assert part.steps[0].text.startswith("Unable to switch to ")


def test_delivery_4_a_file_that_others_may_write_puts_off(home: Path) -> None:
    (home / ".qmail-list").write_bytes(b"./Maildir/\n")
    (home / ".qmail-list").chmod(0o666)
    part = on_disk(home)
    assert part.verdict is Exit.TEMPORARY
    assert part.steps[-1].text == "Others may write to .qmail-list. (#4.7.0)"
    assert part.steps[-1].where == f"{home}/.qmail-list"


def test_control_patrn_says_which_mode_bits_are_too_many(home: Path) -> None:
    (home / ".qmail-list").write_bytes(b"./Maildir/\n")
    (home / ".qmail-list").chmod(0o620)
    asked = question(target(home=os.fsencode(home)))
    assert explain_delivery(asked, CONTROLS.get).verdict is Exit.OK
    assert explain_delivery(replace(asked, patrn=0o022), CONTROLS.get).verdict is Exit.TEMPORARY


def test_only_a_whole_maildir_takes_mail(home: Path) -> None:
    (home / ".qmail-list").write_bytes(b"./Maildir/\n")
    assert on_disk(home).verdict is Exit.OK
    (home / "Maildir/new").rmdir()
    assert on_disk(home).verdict is Exit.TEMPORARY


def test_nothing_is_made_and_nothing_is_run(home: Path) -> None:
    text = b"./Mailbox\n|touch ran\n|forward a@b\n./Other/\n"
    (home / ".qmail-list").write_bytes(text)
    before = sorted(path.name for path in home.rglob("*"))
    on_disk(home)
    assert sorted(path.name for path in home.rglob("*")) == before


# --- any input ----------------------------------------------------------------------------------

NAMES = st.sampled_from(
    [b".qmail", b".qmail-a", b".qmail-a-default", b".qmail-default", b".qmail-a-owner"]
)
TEXTS = st.lists(
    st.one_of(
        st.sampled_from([b"", b"./M/", b"/m", b"|x", b"|forward a", b"|bouncesaying x", b"+list"]),
        st.binary(max_size=12),
    ),
    max_size=4,
).map(b"\n".join)
HOMES = st.dictionaries(NAMES, st.one_of(st.none(), st.tuples(TEXTS, st.booleans())), max_size=4)
TARGETS = st.one_of(
    st.just(target(b"", b"")), st.sampled_from([b"a", b"a-b", b"A.b", b""]).map(target)
)


class NoMessage:
    """A dry run reads no message."""

    def read(self, _offset: int, _size: int) -> bytes:
        raise AssertionError


@settings(max_examples=300, deadline=None)
@given(files=HOMES, whose=TARGETS, default=TEXTS)
def test_the_verdict_is_that_of_a_dry_run(
    files: dict[bytes, tuple[bytes, bool] | None], whose: Target, default: bytes
) -> None:
    home = MemoryHome(files)
    part = explain_plan(question(whose, default), home, CONTROLS.get)
    said: list[bytes] = []
    delivery = Delivery(whose, SENDER, home, NoMessage(), default, 0, {})
    verdict = show_plan(delivery, said.append)
    # A dry run does not know what programs do.
    if b"program bouncesaying x\n" not in said:
        assert part.verdict is verdict
    assert Part.unpack(part.pack()) == part


def test_trouble_with_an_owner_file_puts_off() -> None:
    class Broken(MemoryHome):
        def exists(self, name: bytes) -> bool:
            raise StoppedError(Exit.TEMPORARY, b"Unable to read " + name + b". (#4.3.0)\n")

    part = explain(Broken({b".qmail-list": (b"./M/\n", False)}))
    assert part.verdict is Exit.TEMPORARY
    assert lines(part)[-1] == ".qmail | Unable to read .qmail-list-owner. (#4.3.0)"
