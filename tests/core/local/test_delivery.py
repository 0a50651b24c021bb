"""One local delivery, line by line (spec/delivery.md 3, steps 6 to 13, and 5 to 9)."""

import errno
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from qmail.core.fs import RealFs
from qmail.core.local.delivery import Delivery, deliver_one, show_plan
from qmail.core.local.home_files import HomeFiles
from qmail.core.local.message_source import FileSource
from qmail.mail import Envelope, Result, deferred, failed
from qmail.protocol.exits import Exit
from qmail.protocol.local_door import Target

MESSAGE = b"Subject: x\n\nFrom here on\nno end"
DTLINE = b"Delivered-To: joe-list@example.net\n"
TRACE = b"Return-Path: <s@t>\n" + DTLINE
NOW_S = 951827696


@dataclass
class FakeHands:
    """Notes what a delivery asks for; programs exit as their command's last word says."""

    said: bytes = b""
    commands: list[bytes] = field(default_factory=list)
    variables: dict[bytes, bytes] = field(default_factory=dict)
    queued: list[tuple[Envelope, bytes]] = field(default_factory=list)
    queue_trouble: Result | None = None
    trouble: Exception | None = None

    def run(self, command: bytes, variables: Mapping[bytes, bytes]) -> int:
        self.commands.append(command)
        self.variables = dict(variables)
        if self.trouble is not None:
            raise self.trouble
        return int(command.split()[-1])

    def submit(self, parts: Iterator[bytes], envelope: Envelope) -> tuple[Result | None, int]:
        if self.trouble is not None:
            raise self.trouble
        self.queued.append((envelope, b"".join(parts)))
        return self.queue_trouble, 4711

    def lock(self, fd: int) -> None:
        assert fd >= 0
        if self.trouble is not None:
            raise self.trouble

    def say(self, text: bytes) -> None:
        self.said += text


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    tmp_path.chmod(0o700)
    for part in ("M", "M/tmp", "M/new", "M/cur"):
        (tmp_path / part).mkdir()
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def hands() -> FakeHands:
    return FakeHands()


Deliver = Callable[..., tuple[int, bytes]]


@pytest.fixture
def deliver(home: Path, hands: FakeHands) -> Iterator[Deliver]:
    """Delivers a message by the lines of `.qmail-list`; returns exit code and report."""
    folder = os.open(home, os.O_PATH)

    def run(
        lines: str, message: bytes = MESSAGE, sender: bytes = b"s@t", mode: int = 0o600
    ) -> tuple[int, bytes]:
        (home / ".qmail-list").write_text(lines)
        (home / ".qmail-list").chmod(mode)
        fd = os.memfd_create("message")
        os.write(fd, message)
        delivery = Delivery(
            target=Target(b"joe", os.fsencode(home), b"joe-list", b"-", b"list", b"example.net"),
            sender=sender,
            files=HomeFiles(folder),
            source=FileSource(fd),
            default_delivery=b"./M/",
            now_s=NOW_S,
            inherited={b"PATH": b"/bin", b"DEFAULT": b"stale"},
        )
        code = deliver_one(delivery, hands)
        os.close(fd)
        return code, hands.said

    yield run
    os.close(folder)


def mail(home: Path) -> list[bytes]:
    assert list((home / "M" / "tmp").iterdir()) == []
    return [file.read_bytes() for file in (home / "M" / "new").iterdir()]


# --- steps 6 and 13 -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("message", "is_loop"),
    [
        (DTLINE + b"\n", True),
        (b"X: y\n" + DTLINE, True),
        (b"X: y\n" + DTLINE.lower(), False),
        (b"X: y\n" + DTLINE.rstrip() + b" \n", False),
        (b"X: y\n " + DTLINE, False),
        (b"X: y\n\n" + DTLINE, False),
        (b"\n" + DTLINE, False),
        (DTLINE.rstrip(), False),
        (b"Delivered-To: joe@example.net\n", False),
        (b"", False),
    ],
)
def test_delivery_3_own_line_in_the_header_is_a_loop(
    deliver: Deliver, message: bytes, is_loop: bool
) -> None:
    code, said = deliver("#\n", message)
    assert (code == Exit.PERMANENT) is is_loop
    assert (b"#5.4.6" in said) is is_loop


def test_delivery_3_report_counts_files_forwards_programs_and_names_the_queue_file(
    home: Path, deliver: Deliver, hands: FakeHands
) -> None:
    assert deliver("./M/\na@b\n./box\n|true 0\n&c@d\n#\n") == (0, b"did 2+2+1\nqp 4711\n")
    assert hands.queued[0][0] == Envelope(b"s@t", (b"a@b", b"c@d"))
    assert mail(home) == [TRACE + MESSAGE]


def test_delivery_3_without_forwards_no_queue_file_is_named(deliver: Deliver) -> None:
    assert deliver("|true 0\n") == (0, b"did 0+0+1\n")


# --- section 5 ----------------------------------------------------------------------------------


def test_delivery_5_lines_are_done_in_order_and_the_first_failure_ends_it(
    home: Path, deliver: Deliver, hands: FakeHands
) -> None:
    assert deliver("a@b\n|one 0\n./M/\n|two 111\n|three 0\n./M/\n")[0] == Exit.TEMPORARY
    assert hands.commands == [b"one 0", b"two 111"]
    assert hands.queued == []
    assert len(mail(home)) == 1


@pytest.mark.parametrize("lines", ["|x 0\n+list\n./M/\n", "+list\n|x 0\n", "+list\n./box\n"])
def test_delivery_5_list_line_forbids_what_follows(
    home: Path, deliver: Deliver, hands: FakeHands, lines: str
) -> None:
    code, said = deliver("a@b\n" + lines)
    assert (code, hands.queued, mail(home)) == (Exit.TEMPORARY, [], [])
    assert b"#4.7.0" in said


def test_delivery_5_execute_bit_lets_only_forwards_through(
    deliver: Deliver, hands: FakeHands
) -> None:
    assert deliver("# list\na@b\n&c@d\n", mode=0o700) == (0, b"did 0+2+0\nqp 4711\n")
    assert deliver("a@b\n|x 0\n", mode=0o700)[0] == Exit.TEMPORARY
    assert hands.commands == []


def test_delivery_5_blank_first_line_puts_the_mail_off(home: Path, deliver: Deliver) -> None:
    code, said = deliver("  \n./M/\n")
    assert (code, mail(home)) == (Exit.TEMPORARY, [])
    assert b"#4.2.1" in said


def test_delivery_5_missing_final_line_feed_is_supplied(home: Path, deliver: Deliver) -> None:
    assert deliver("#\n./M/ \t")[0] == 0
    assert len(mail(home)) == 1


PROGRAM_EXITS = {
    0: Exit.OK,
    99: Exit.OK,
    **dict.fromkeys((100, 64, 65, 70, 76, 77, 78, 112), Exit.PERMANENT),
}


@pytest.mark.parametrize("code", range(256))
def test_delivery_5_what_every_exit_code_of_a_program_means(
    deliver: Deliver, hands: FakeHands, code: int
) -> None:
    expected = PROGRAM_EXITS.get(code, Exit.TEMPORARY)
    assert deliver(f"a@b\n|x {code}\nc@d\n|y 0\n")[0] == expected
    went_on = {0: (b"a@b", b"c@d"), 99: (b"a@b",)}
    assert [envelope.recipients for envelope, _ in hands.queued] == (
        [went_on[code]] if code in went_on else []
    )
    assert len(hands.commands) == (2 if code == 0 else 1)


@pytest.mark.parametrize("signal", [1, 9, 11, 13, 15])
def test_delivery_5_a_program_that_a_signal_kills_is_tried_again(
    deliver: Deliver, signal: int
) -> None:
    code, said = deliver(f"|x -{signal}\n")
    assert code == Exit.TEMPORARY
    assert b"#4.3.0" in said


@pytest.mark.parametrize(
    ("trouble", "text"),
    [
        (TimeoutError(), b"took too long"),
        (PermissionError(errno.EACCES, "Permission denied"), b"/bin/sh: permission denied"),
        (OSError(errno.E2BIG, "Argument list too long"), b"/bin/sh: argument list too long"),
        (ValueError("embedded null byte"), b"/bin/sh: bad command"),
    ],
)
def test_delivery_5_a_shell_that_can_not_be_started_puts_the_mail_off(
    deliver: Deliver, hands: FakeHands, trouble: Exception, text: bytes
) -> None:
    hands.trouble = trouble
    code, said = deliver("|x 0\n")
    assert code == Exit.TEMPORARY
    assert text in said


def test_delivery_5_forwarded_message_has_the_delivered_to_line_only(
    deliver: Deliver, hands: FakeHands
) -> None:
    assert deliver("&a@b\n")[0] == 0
    assert hands.queued == [(Envelope(b"s@t", (b"a@b",)), DTLINE + MESSAGE)]


@pytest.mark.parametrize(
    ("result", "code"),
    [
        (failed(b"mail server permanently rejected message (#5.3.0)"), Exit.PERMANENT),
        (deferred(b"qq write error or disk full (#4.3.0)"), Exit.TEMPORARY),
    ],
)
def test_delivery_5_the_queues_answer_decides_about_forwards(
    deliver: Deliver, hands: FakeHands, result: Result, code: int
) -> None:
    hands.queue_trouble = result
    assert deliver("&a@b\n") == (code, b"Unable to forward message: " + result.text + b".\n")


def test_delivery_5_forward_address_that_is_too_long_bounces(deliver: Deliver) -> None:
    code, said = deliver("&" + "x" * 5000 + "@b\n")
    assert code == Exit.PERMANENT
    assert b"#5.1.3" in said


def test_delivery_5_message_that_can_not_be_read_while_forwarded_puts_it_off(
    deliver: Deliver, hands: FakeHands
) -> None:
    hands.trouble = OSError(errno.EIO, "Input/output error")
    code, said = deliver("&a@b\n")
    assert code == Exit.TEMPORARY
    assert b"Unable to read message: input/output error" in said


def test_oddities_7_lone_ampersand_forwards_to_nobody(deliver: Deliver, hands: FakeHands) -> None:
    assert deliver("&\n") == (0, b"did 0+0+0\n")
    assert hands.queued == []


def test_oddities_7_doubtful_addresses_are_used_as_they_stand_and_warned_of_once(
    deliver: Deliver, hands: FakeHands
) -> None:
    code, said = deliver("c@d\n<a@b>\n x@y\n")
    assert code == 0
    assert hands.queued[0][0].recipients == (b"c@d", b"<a@b>", b" x@y")
    warning = b"warning: .qmail-list: <a@b> was taken as it stands, brackets around it\n"
    assert said == warning + b"did 0+3+0\nqp 4711\n"


# --- sections 6 and 7 ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("files", "sender", "expected"),
    [
        ([], b"s@t", b"s@t"),
        (["-owner"], b"s@t", b"joe-list-owner@example.net"),
        (["-owner", "-owner-default"], b"s@t", b"joe-list-owner-@example.net-@[]"),
        (["-owner-default"], b"s@t", b"s@t"),
        (["-owner", "-owner-default"], b"", b""),
        (["-owner", "-owner-default"], b"#@[]", b"#@[]"),
    ],
)
def test_delivery_6_owner_files_make_the_new_sender(
    home: Path,
    deliver: Deliver,
    hands: FakeHands,
    files: list[str],
    sender: bytes,
    expected: bytes,
) -> None:
    for name in files:
        (home / f".qmail-list{name}").touch()
    assert deliver("|x 0\n&a@b\n", sender=sender)[0] == 0
    assert hands.variables[b"NEWSENDER"] == expected
    assert hands.variables[b"SENDER"] == sender
    assert hands.queued[0][0].sender == expected


def test_delivery_7_programs_inherit_the_rest_and_no_stale_default(
    deliver: Deliver, hands: FakeHands
) -> None:
    deliver("|x 0\n")
    assert hands.variables[b"PATH"] == b"/bin"
    assert b"DEFAULT" not in hands.variables
    assert hands.variables[b"UFLINE"] == b"From s@t Tue Feb 29 12:34:56 2000\n"


# --- sections 8 and 9 ---------------------------------------------------------------------------


def test_delivery_8_mbox_gets_the_three_lines_and_quoting(home: Path, deliver: Deliver) -> None:
    assert deliver("./box\n") == (0, b"did 1+0+0\n")
    head = b"From s@t Tue Feb 29 12:34:56 2000\n" + TRACE
    assert (home / "box").read_bytes() == head + b"Subject: x\n\n>From here on\nno end\n\n"


@pytest.mark.parametrize("path", ["./no/box", "./M", "./fifo", "./.", "/dev/null"])
def test_delivery_8_what_can_not_be_an_mbox_puts_the_mail_off(
    home: Path, deliver: Deliver, path: str
) -> None:
    os.mkfifo(home / "fifo")
    code, said = deliver(path + "\n")
    assert code == Exit.TEMPORARY
    assert said.startswith(b"Unable to deliver to " + path.encode())


@pytest.mark.parametrize(
    ("trouble", "text"),
    [(TimeoutError(), b"in time"), (OSError(errno.ENOLCK, "No locks available"), b"no locks")],
)
def test_delivery_8_no_lock_puts_the_mail_off(
    home: Path, deliver: Deliver, hands: FakeHands, trouble: Exception, text: bytes
) -> None:
    hands.trouble = trouble
    code, said = deliver("./box\n")
    assert code == Exit.TEMPORARY
    assert text in said
    assert (home / "box").read_bytes() == b""


def test_delivery_8_a_linked_mbox_is_appended_to_where_it_is(home: Path, deliver: Deliver) -> None:
    (home / "real").write_bytes(b"old\n")
    (home / "box").symlink_to("real")
    assert deliver("./box\n")[0] == 0
    assert (home / "real").read_bytes().startswith(b"old\nFrom s@t ")


def test_delivery_8_folder_of_an_mbox_need_not_be_listed(
    home: Path, deliver: Deliver, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Closed(RealFs):
        def __init__(self, root: str) -> None:
            if root == str(home / "spool"):
                raise PermissionError(errno.EACCES, "Permission denied")
            super().__init__(root)

    (home / "spool").mkdir()
    monkeypatch.setattr("qmail.core.local.delivery.RealFs", Closed)
    assert deliver("./spool/box\n") == (0, b"did 1+0+0\n")
    assert (home / "spool" / "box").read_bytes().startswith(b"From s@t ")


@pytest.mark.parametrize(
    ("path", "status"), [("./no/", b"#4.2.1"), ("./box/", b"#4.2.1"), ("/proc/", b"#4.2.1")]
)
def test_delivery_9_what_is_no_maildir_puts_the_mail_off(
    home: Path, deliver: Deliver, path: str, status: bytes
) -> None:
    (home / "box").touch()
    code, said = deliver(path + "\n")
    assert code == Exit.TEMPORARY
    assert status in said


def test_delivery_9_every_maildir_line_is_a_copy_of_its_own(home: Path, deliver: Deliver) -> None:
    assert deliver("./M/\n|x 0\n./M/\n")[0] == 0
    assert mail(home) == [TRACE + MESSAGE] * 2


# --- option -n ----------------------------------------------------------------------------------


def test_show_plan_stops_where_a_delivery_would(home: Path) -> None:
    (home / ".qmail-list").write_text("./M/\na@b\n+list\n|x\nc@d\n")
    (home / ".qmail-list").chmod(0o600)
    folder = os.open(home, os.O_PATH)
    said: list[bytes] = []
    delivery = Delivery(
        target=Target(b"joe", os.fsencode(home), b"joe-list", b"-", b"list", b"example.net"),
        sender=b"s@t",
        files=HomeFiles(folder),
        source=FileSource(-1),
        default_delivery=b"./M/",
        now_s=0,
        inherited={},
    )
    assert show_plan(delivery, said.append) == Exit.TEMPORARY
    assert said[:2] == [b"maildir ./M/\n", b"forward a@b\n"]
    assert b"#4.7.0" in said[2]
    os.close(folder)
