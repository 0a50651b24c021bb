"""sendmail as a command: the options other programs give it (spec/inject.md 10, oddities.md 8)."""

import os
import pwd
import subprocess
from pathlib import Path

import pytest
from tests.fakes.homes import SPARE_UID, open_folder, others_can_run_the_programs
from tests.programs.injection import Injection

from qmail.programs import sendmail

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
        ["-e", "q", "-E", "-J", "-x", "-G", "-U", "-n", "-c", "-s", "-T"],
        ["-X", "/nonexistent/log", "-D", "/nonexistent/debug", "-Mxvalue", "-M", "xvalue"],
        ["-vim", "-oQ/nonexistent", "-ifx@y.z", "--"],
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


def test_an_empty_F_means_no_name(post: Injection) -> None:
    post.run(["sendmail", "-F", "", "ann"], NAME="Joe", MAILNAME="Joe")
    assert b"\nFrom: joe@dh.ex\n" in post.message


def test_without_a_user_in_the_environment_the_account_is_the_author(post: Injection) -> None:
    del post.environ["USER"]
    login = pwd.getpwuid(os.getuid()).pw_name.encode()
    assert post.run(["sendmail", "ann"]).code == 0
    assert post.envelope.sender == login + b"@dh.ex"
    assert b"\nFrom: " + login + b"@dh.ex\n" in post.message
    assert post.run(["sendmail", "ann"], LOGNAME="eve").code == 0
    assert post.envelope.sender == b"eve@dh.ex"


def test_crlf_at_the_ends_of_lines_becomes_lf(post: Injection) -> None:
    text = b"To: ann\r\nSubject: x\r\n\r\nhi\r\nbare \r here\r\n.\r\n"
    assert post.run(["sendmail", "-t"], text).code == 0
    assert post.envelope.recipients == (b"ann@dh.ex",)
    assert post.message.endswith(b"\nSubject: x\n\nhi\nbare \r here\n.\n")
    assert post.message.count(b"\r") == 1


def test_an_argument_is_a_list_of_addresses(post: Injection) -> None:
    words = ["ann,bob@c.d", 'Joe "X" <joe@e.f>', '"q r"@g.h', "\\root", "last"]
    assert post.run(["sendmail", *words]).code == 0
    assert post.envelope.recipients == (
        b"ann@dh.ex", b"bob@c.d", b"joe@e.f", b"q r@g.h", b"root@dh.ex", b"last@dh.ex",
    )  # fmt: skip
    assert post.run(["sendmail", "-f", "Joe <joe@e.f>", "ann"]).code == 0
    assert post.envelope.sender == b"joe@e.f"
    assert b"\nFrom: joe@e.f\n" in post.message


def test_behind_two_dashes_anything_is_a_recipient(post: Injection) -> None:
    assert post.run(["sendmail", "-i", "--", "ann", "-f", "-t"]).code == 0
    assert post.envelope.recipients == (b"ann@dh.ex", b"-f@dh.ex", b"-t@dh.ex")


@pytest.mark.parametrize(
    ("options", "code", "shown"),
    [
        (["-z"], 64, b"sendmail: illegal option -- z\nusage: sendmail "),
        (["-f"], 64, b"sendmail: option requires an argument -- f\n"),
        (["-bd"], 64, b"sendmail: -bd: qmail-smtpd takes mail from the network"),
        (["-bl", "-q15m"], 64, b"sendmail: -bl: qmail-smtpd"),
        (["-bX"], 64, b"sendmail: -bX: no such mode\n"),
        (["-bv"], 64, b"sendmail: -bv: no recipients"),
        (["ann", "-f", "joe"], 64, b"sendmail: -f: options stand before recipients\n"),
        ([], 64, b"sendmail: fatal: no recipients"),
        (["-t"], 64, b"sendmail: fatal: no recipients"),
        (["ann, (", "x"], 65, b"sendmail: unable to parse this address: ann, (: a comment"),
        (["-f", "a,b", "ann"], 65, b"sendmail: -f: 2 addresses, not one: a,b"),
        (["a" * 1000], 65, b"sendmail: fatal: unable to send: "),
    ],
)
def test_what_it_does_not_do_ends_with_a_code_of_sysexits_and_a_reason(
    post: Injection, options: list[str], code: int, shown: bytes
) -> None:
    ended = post.run(["sendmail", *options], b"Subject: x\n")
    assert shown in ended.err
    assert ended.code == code
    assert not post.queued.with_suffix(".message").exists()


def test_a_header_that_can_not_be_understood_ends_with_65(post: Injection) -> None:
    for text in (b"To: ann, <b\n", b"From: a)(\nTo: ann\n"):
        assert post.run(["sendmail", "-t"], text).code == 65


@pytest.mark.parametrize(
    ("queue_exit", "code"), [("31", 77), ("11", 77), ("53", 71), ("71", 71), ("120", 71)]
)
def test_what_the_queue_says_decides_the_code(post: Injection, queue_exit: str, code: int) -> None:
    ended = post.run(["sendmail", "ann"], b"x\n", QUEUE_EXIT=queue_exit)
    assert ended.code == code
    assert ended.err.startswith(b"sendmail: fatal: ")


def test_a_reason_of_the_queue_is_told(post: Injection) -> None:
    ended = post.run(["sendmail", "ann"], QUEUE_EXIT="82", QUEUE_SAYS="Dno spam here (#5.7.1)")
    assert (ended.code, ended.err) == (77, b"sendmail: fatal: no spam here (#5.7.1)\n")


def test_php_never_takes_a_message_for_sent_that_is_not_queued(post: Injection) -> None:
    # Its mail() says true where sendmail ends with 0 or with 75, EX_TEMPFAIL.
    environ = {"QMAILQUEUE": "/nonexistent"}
    assert post.run(["sendmail", "-t", "-i"], b"To: ann\n\nx\n", **environ).code == 71
    (post.home / "control/defaulthost").write_text("a b\n")
    assert post.run(["sendmail", "-t", "-i"], b"To: ann\n\nx\n").code == 72


def test_a_message_that_can_not_be_read_is_not_queued(post: Injection) -> None:
    command = [str(post.home / "bin/sendmail"), "ann"]
    unreadable = os.open("/dev/null", os.O_WRONLY)
    try:
        ended = subprocess.run(
            command,
            stdin=unreadable,
            capture_output=True,
            env=post.environ,
            check=False,
            timeout=60,
        )
    finally:
        os.close(unreadable)
    assert (ended.returncode, ended.stderr) == (
        74, b"sendmail: fatal: unable to read the message: bad file descriptor\n",
    )  # fmt: skip
    assert not post.queued.with_suffix(".message").exists()


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


@pytest.mark.parametrize(
    ("option", "command"), [("-bP", "qmail-qstat"), ("-bh", "qmail-tcpto"), ("-bH", "qmail-tcpok")]
)
def test_modes_for_operators_are_other_commands(post: Injection, option: str, command: str) -> None:
    post.add(command, SHOW.replace("NAME", command))
    assert post.run(["sendmail", option]).out.startswith(command.encode() + b" 0 ")


def test_a_command_that_is_missing_is_told(post: Injection) -> None:
    (post.home / "bin/qmail-qread").unlink()
    ended = post.run(["mailq"], PATH="/nonexistent")
    assert ended.code == 69
    assert b"unable to find qmail-qread" in ended.err


EXPLAIN = """#!/bin/sh
echo "$*"
case $3 in joe*) exit 0;; later*) exit 111;; *) exit 100;; esac
"""


@pytest.mark.parametrize(
    ("words", "code"), [("joe", 0), ("joe ann", 67), ("later", 75), ("joe ann later", 75)]
)
def test_addresses_are_explained(post: Injection, words: str, code: int) -> None:
    post.add("qmail", EXPLAIN)
    shown = "".join(f"explain -- {word}\n" for word in words.split()).encode()
    ended = post.run(["sendmail", "-bv", *words.split()])
    assert (ended.code, ended.out, ended.err) == (code, shown, b"")
    lines = "".join(f"3,0 {word}\n\n" for word in words.split()).removesuffix("\n")
    assert post.run(["sendmail", "-bt"], lines.encode()) == (code, shown, b"")


@pytest.mark.parametrize(
    "command", [["sendmail", "-bi"], ["sendmail", "-bi", "-v"], ["sendmail", "-I"]]
)
def test_option_bi_makes_the_alias_table(post: Injection, command: list[str]) -> None:
    post.add("newaliases", SHOW.replace("NAME", "newaliases"))
    ended = post.run(command)
    assert (ended.code, ended.out[:13]) == (0, b"newaliases 0 ")


@pytest.mark.parametrize("option", ["-oA/tmp/a b", "-OAliasFile=/tmp/a b"])
def test_option_oA_names_the_alias_file(post: Injection, option: str) -> None:
    post.add("newaliases", '#!/bin/sh\necho "$# $1"\n')
    assert post.run(["sendmail", "-bi", option]).out == b"1 /tmp/a b\n"


def test_newaliases_that_is_a_link_to_sendmail_makes_it_too(post: Injection) -> None:
    post.add("newaliases", SHOW.replace("NAME", "newaliases"))
    (post.home / "usr").mkdir()
    for name in ("sendmail", "newaliases"):
        os.symlink("../bin/sendmail", post.home / "usr" / name)
    ended = post.run(["../usr/newaliases"])
    assert (ended.code, ended.out[:13]) == (0, b"newaliases 0 ")


@pytest.mark.parametrize(
    ("option", "words"),
    [
        ("-q", "--all"),
        ("-q30m", "--all"),
        ("-qf", "--all"),
        ("-qI17", "17"),
        ("-qRx.org", "--to=*x.org*"),
        ("-qSjoe@", "--from=*joe@*"),
    ],
)
def test_option_q_has_the_queue_tried(post: Injection, option: str, words: str) -> None:
    post.add("qmail", '#!/bin/sh\necho "$*"; exit 1\n')
    (post.home / "queue/lock/sendmutex").touch()
    ended = post.run(["sendmail", option])
    assert (ended.code, ended.out, ended.err) == (0, f"queue retry --yes {words}\n".encode(), b"")
    post.add("qmail", "#!/bin/sh\nexit 111\n")
    assert post.run(["sendmail", option]).code == 75


@pytest.mark.parametrize("option", ["-q", "-qf", "-q15m"])
def test_option_q_of_an_ordinary_user_wakes_the_queue(
    post: Injection, option: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    trigger = post.home / "queue/lock/trigger"
    os.mkfifo(trigger)
    monkeypatch.setenv("QMAIL_HOME", str(post.home))
    # There is no sendmutex: whose queue this is can't be told.
    monkeypatch.setattr(os, "geteuid", lambda: 54322)
    assert sendmail.main([option]) == 75
    assert "unable to wake qmail-send" in capfd.readouterr().err
    reader = os.open(trigger, os.O_RDONLY | os.O_NONBLOCK)
    try:
        assert sendmail.main([option]) == 0
        assert os.read(reader, 10) == b"\0"
    finally:
        os.close(reader)
    assert sendmail.main(["-qRexample.org"]) == 77


@pytest.mark.skipif(os.getuid() != 0, reason="needs root to become another account")
def test_option_q_of_a_user_who_can_not_reach_the_queue_is_refused() -> None:
    with open_folder() as folder:
        if not others_can_run_the_programs():
            pytest.skip("the programs lie where only root can read them")
        post = Injection(folder)
        (post.home / "queue").chmod(0o700)
        ended = subprocess.run(
            [post.home / "bin/sendmail", "-q"],
            capture_output=True,
            env=post.environ,
            check=False,
            timeout=60,
            user=SPARE_UID,
            group=SPARE_UID,
            extra_groups=[],
        )
    shown = b"sendmail: -q: only root may have mail tried before its time\n"
    assert (ended.returncode, ended.stderr) == (77, shown)
