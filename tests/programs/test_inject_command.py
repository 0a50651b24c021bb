"""qmail-inject as a command: options, environment, exit codes, what is queued (spec/inject.md)."""

import re
from pathlib import Path

import pytest
from tests.programs.injection import Injection

from qmail.core.inject import run as inject_run
from qmail.core.inject.message import Request
from qmail.mail import Envelope


@pytest.fixture
def post(tmp_path: Path) -> Injection:
    return Injection(tmp_path)


def test_a_message_is_completed_and_queued(post: Injection) -> None:
    ended = post.run(["qmail-inject"], b"To: ann, Bob <b@c>\nBcc: eve\n\nhello", NAME="Joe Q.")
    assert (ended.code, ended.out, ended.err) == (0, b"", b"")
    assert re.fullmatch(
        rb"Date: \d+ \w{3} \d{4} \d\d:\d\d:\d\d -0000\n"
        rb"Message-ID: <\d{14}\.\d+\.qmail@dh\.ex>\n"
        rb'From: "Joe Q\." <joe@dh\.ex>\n'
        rb"To: ann@dh\.ex, Bob <b@c\.dh\.ex>\n\nhello\n",
        post.message,
    )
    assert post.envelope == Envelope(b"joe@dh.ex", (b"b@c.dh.ex", b"ann@dh.ex", b"eve@dh.ex"))


def test_message_ids_differ_within_a_second(post: Injection) -> None:
    found = set()
    for _ in range(3):
        post.run(["qmail-inject", "a"])
        found.update(re.findall(rb"^Message-ID: .*", post.message, re.MULTILINE))
    assert len(found) == 3


def test_the_body_passes_unchanged_whatever_its_size(post: Injection) -> None:
    body = bytes(range(256)) * 2000 + b"\n.\nFrom x\n"
    assert post.run(["qmail-inject", "a"], b"X: y\n\n" + body).code == 0
    assert post.message.partition(b"\n\n")[2] == body
    assert post.run(["qmail-inject", "a"], b"X: y").code == 0
    assert post.message.endswith(b"shown: ;\nX: y\n")


def test_option_n_shows_and_queues_nothing(post: Injection) -> None:
    ended = post.run(["qmail-inject", "-n", "-f", "a b@c.d"], b"Subject: x\n\nbody\n")
    assert ended.code == 0
    assert ended.out.startswith(b'Return-Path: <"a b"@c.d>\nDate: ')
    assert ended.out.endswith(b"Subject: x\n\nbody\n")
    assert not post.queued.with_suffix(".message").exists()
    assert post.run(["qmail-inject", "-nN", "a"]).code == 0
    assert post.envelope.recipients == (b"a@dh.ex",)


@pytest.mark.parametrize(
    ("options", "recipients"),
    [
        (["x"], (b"x@dh.ex",)),
        ([], (b"a@dh.ex",)),
        (["-h", "x"], (b"a@dh.ex",)),
        (["-H", "x"], (b"x@dh.ex", b"a@dh.ex")),
        (["-h", "-a", "--", "-x"], (b"-x@dh.ex",)),
    ],
)
def test_the_last_letter_says_where_recipients_come_from(
    post: Injection, options: list[str], recipients: tuple[bytes, ...]
) -> None:
    assert post.run(["qmail-inject", *options], b"To: a\n").code == 0
    assert post.envelope.recipients == recipients


@pytest.mark.parametrize(
    ("options", "message", "shown"),
    [
        (["-z"], b"", b"qmail-inject: illegal option -- z\n"),
        (["-a"], b"To: a\n", b"qmail-inject: fatal: no recipients"),
        ([], b"To: a)(\n", b"fatal: unable to parse this line: To: a)("),
        (["x"], b"From: (\n", b"fatal: unable to parse this line: From: ("),
        (["a@[b"], b"", b"fatal: unable to parse this address: a@[b"),
        (["a@" + "b" * 1100], b"", b"fatal: unable to send: address too long (#5.1.3)"),
    ],
)
def test_what_can_not_be_sent_ends_with_100(
    post: Injection, options: list[str], message: bytes, shown: bytes
) -> None:
    ended = post.run(["qmail-inject", *options], message)
    assert ended.code == 100
    assert shown in ended.err
    assert not post.queued.with_suffix(".message").exists()


def test_a_broken_field_is_told_when_others_get_the_message(post: Injection) -> None:
    ended = post.run(["qmail-inject"], b"To: a)(\nCc: b\n")
    assert ended.code == 0
    assert ended.err.startswith(b"qmail-inject: warning: unable to parse this line: To: a)(")


@pytest.mark.parametrize(
    ("code", "says", "ends", "shown"),
    [
        ("31", "", 100, b"permanently rejected message (#5.3.0)"),
        ("53", "", 111, b"disk full (#4.3.0)"),
        ("82", "Dtoo much of it", 100, b"qmail-inject: fatal: too much of it\n"),
    ],
)
def test_the_queues_refusal_becomes_the_exit_code(
    post: Injection, code: str, says: str, ends: int, shown: bytes
) -> None:
    ended = post.run(["qmail-inject", "a"], QUEUE_EXIT=code, QUEUE_SAYS=says)
    assert ended.code == ends
    assert shown in ended.err


def test_trouble_with_home_or_control_files_ends_with_111(post: Injection) -> None:
    ended = post.run(["qmail-inject", "a"], QMAIL_HOME="/nonexistent/home")
    assert ended.code == 111
    assert b"fatal: /nonexistent/home: no such file or directory" in ended.err
    (post.home / "control/idhost").write_text("a b\n")
    ended = post.run(["qmail-inject", "a"])
    assert ended.code == 111
    assert b"control/idhost:1: " in ended.err


def test_the_list_file_is_read_from_where_the_caller_is(post: Injection) -> None:
    lists = post.home.parent / "lists"
    lists.write_text("list@dh.ex\n")
    post.run(["qmail-inject"], b"To: list\n", QMAILMFTFILE=str(lists).lstrip("/"))
    assert b"\nMail-Followup-To: list@dh.ex\nTo: list@dh.ex\n" in post.message
    ended = post.run(["qmail-inject"], b"To: list\n", QMAILMFTFILE="/")
    assert ended.code == 111


def test_a_header_without_end_names_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inject_run, "HEADER_BYTES_MAX", 200000)
    said: list[str] = []
    taken: list[int] = []

    def endless(size: int) -> bytes:
        taken.append(size)
        return b"To: a\n" * (size // 6)

    hosts = {
        b"QMAIL" + name.upper().encode(): b"x"
        for name in ("defaulthost", "defaultdomain", "plusdomain", "idhost")
    }
    world = inject_run.World(
        name="qmail-inject",
        home="/nonexistent",
        environ=hosts,
        read=endless,
        show=lambda _data: None,
        say=said.append,
        submit=lambda _parts, _envelope: None,
        enter_home=lambda: None,
        now=lambda: 1795428672.0,
        pid=1,
        random=bytes,
    )
    assert inject_run.inject(Request(), world) == 100
    assert said == ["qmail-inject: fatal: the header is longer than 200000 bytes"]
    assert sum(taken) < 400000
