"""sendmail as a command: the options other programs give it (spec/inject.md 10, oddities.md 8)."""

import os
from pathlib import Path

import pytest
from tests.programs.injection import Injection

from qmail.programs.sendmail import author

SHOW = '#!/bin/sh\necho "NAME $# $PROTO $RELAYCLIENT-$TCPREMOTEIP $TCPREMOTEINFO"; pwd\n'


@pytest.fixture
def post(tmp_path: Path) -> Injection:
    return Injection(tmp_path)


@pytest.mark.parametrize(
    "options",
    [
        [],
        ["-i"],
        ["-oi", "-oem"],
        ["-bm", "-v", "-m"],
        ["-N", "never", "-R", "hdrs", "-V", "id"],
        ["-O", "DeliveryMode=b", "-odi", "-B8BITMIME", "-p", "UUCP:x"],
        ["-e", "q", "-E", "-J", "-x", "y", "-G", "-U", "-n"],
        ["-Am", "-L", "tag", "-h", "3", "-C", "/etc/mail/sendmail.cf", "-d0"],
        ["-q"],
    ],
)
def test_arguments_are_the_recipients_whatever_is_ignored(
    post: Injection, options: list[str]
) -> None:
    ended = post.run(["sendmail", *options, "ann", "b@c.d"], b"To: x\n\n.\nhi\n")
    assert (ended.code, ended.err) == (0, b"")
    assert post.envelope.recipients == (b"ann@dh.ex", b"b@c.d")
    assert post.message.endswith(b"To: x@dh.ex\n\n.\nhi\n")


def test_option_t_takes_header_and_arguments(post: Injection) -> None:
    assert post.run(["sendmail", "-t", "-oi", "ann"], b"To: bob\nBcc: eve\n\nx\n").code == 0
    assert set(post.envelope.recipients) == {b"ann@dh.ex", b"bob@dh.ex", b"eve@dh.ex"}
    assert b"eve" not in post.message


def test_option_f_is_sender_and_author(post: Injection) -> None:
    post.run(["sendmail", "-f", "f@g.h", "ann"], NAME="Joe", MAILHOST="x")
    assert post.envelope.sender == b"f@g.h"
    assert b"\nFrom: f@g.h\n" in post.message
    post.run(["sendmail", "-r", "f", "ann"])
    assert post.envelope.sender == b"f@dh.ex"
    for null in ("", "<>"):
        post.run(["sendmail", "-f", null, "ann"], NAME="Joe")
        assert post.envelope.sender == b""
        assert b'\nFrom: "Joe" <joe@dh.ex>\n' in post.message


def test_oddities_8_options_f_and_F_are_both_honoured(post: Injection) -> None:
    for options in (["-F", "Full Name", "-f", "f@g.h"], ["-ff@g.h", "-FFull Name"]):
        post.run(["sendmail", *options, "ann"], NAME="Joe")
        assert b'\nFrom: "Full Name" <f@g.h>\n' in post.message


def test_the_author_of_f_has_no_host_of_the_environment() -> None:
    environ = {b"MAILHOST": b"x", b"NAME": b"Joe", b"PATH": b"p"}
    assert author(environ, b"<a@b@c>", None) == {
        b"QMAILUSER": b"a@b",
        b"QMAILHOST": b"c",
        b"PATH": b"p",
    }
    assert author(environ, b"a", b"N") == {b"QMAILUSER": b"a", b"QMAILNAME": b"N", b"PATH": b"p"}
    assert author(environ, None, None) == environ


@pytest.mark.parametrize(
    ("options", "shown"),
    [
        (["-z"], b"sendmail: illegal option -- z\nusage: sendmail "),
        (["-f"], b"sendmail: option requires an argument -- f\n"),
        (["-bd"], b"sendmail: fatal: -bd: the daemon is qmail-smtpd"),
        (["-bt"], b"sendmail: fatal: -bt: "),
        (["-bv", "a"], b"sendmail: fatal: -bv: "),
        (["-bX"], b"sendmail: unknown mode -bX\n"),
        ([], b"sendmail: fatal: no recipients"),
        (["-t"], b"sendmail: fatal: no recipients"),
    ],
)
def test_what_it_does_not_do_ends_with_100_and_a_reason(
    post: Injection, options: list[str], shown: bytes
) -> None:
    ended = post.run(["sendmail", *options], b"Subject: x\n")
    assert ended.code == 100
    assert shown in ended.err


def test_the_queue_is_shown_by_qread(post: Injection) -> None:
    post.add("qmail-qread", SHOW.replace("NAME", "qread"))
    where = os.path.realpath(post.home).encode()
    for command in (["sendmail", "-bp"], ["mailq"]):
        ended = post.run(command)
        assert ended.code == 0
        assert ended.out.split(b"\n")[:2] == [b"qread 0  - ", where]


def test_smtp_is_spoken_by_smtpd(post: Injection) -> None:
    post.add("qmail-smtpd", SHOW.replace("NAME", "smtpd"))
    ended = post.run(["sendmail", "-bs"])
    assert ended.out.startswith(b"smtpd 0 TCP -127.0.0.1 sendmail-bs\n")
    ended = post.run(["sendmail", "-bs"], PROTO="TCP", TCPREMOTEIP="1.2.3.4")
    assert ended.out.startswith(b"smtpd 0 TCP -1.2.3.4 \n")


def test_a_command_that_is_missing_is_a_temporary_failure(post: Injection) -> None:
    (post.home / "bin/qmail-qread").unlink()
    ended = post.run(["mailq"], PATH="/nonexistent")
    assert ended.code == 111
    assert b"unable to find qmail-qread" in ended.err


@pytest.mark.parametrize("command", [["sendmail", "-bi"], ["sendmail", "-bi", "-v"]])
def test_option_bi_makes_the_alias_table(post: Injection, command: list[str]) -> None:
    post.add("newaliases", SHOW.replace("NAME", "newaliases"))
    ended = post.run(command)
    assert (ended.code, ended.out[:13]) == (0, b"newaliases 0 ")


def test_newaliases_that_is_a_link_to_sendmail_makes_it_too(post: Injection) -> None:
    post.add("newaliases", SHOW.replace("NAME", "newaliases"))
    (post.home / "usr").mkdir()
    for name in ("sendmail", "newaliases"):
        os.symlink("../bin/sendmail", post.home / "usr" / name)
    ended = post.run(["../usr/newaliases"])
    assert (ended.code, ended.out[:13]) == (0, b"newaliases 0 ")


def test_option_q_alone_wakes_the_queue(post: Injection) -> None:
    trigger = post.home / "queue/lock/trigger"
    os.mkfifo(trigger)
    assert post.run(["sendmail", "-q15m"]).code == 111
    reader = os.open(trigger, os.O_RDONLY | os.O_NONBLOCK)
    try:
        assert post.run(["sendmail", "-q"]).code == 0
        assert os.read(reader, 10) == b"\0"
    finally:
        os.close(reader)
