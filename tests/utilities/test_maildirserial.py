"""maildirserial: which files are offered, and what follows each report (spec/companion.md 3.1)."""

import os
import signal
import subprocess
from pathlib import Path

import pytest
from tests.fakes.smtp_server import FakeServer
from tests.utilities.serial_world import Serial

# A client that tells the same of every file.
EACH = 'tr "\\0" "\\n" | while read -r name; do printf "%s\\0{}\\n" "$name"; done\n'


@pytest.fixture
def world(tmp_path: Path) -> Serial:
    return Serial(tmp_path)


def test_files_of_new_and_cur_are_offered_in_the_order_of_their_age(world: Serial) -> None:
    for number in (3, 1, 2):
        world.deliver(number)
    os.rename(world.maildir / "new/2.x", world.maildir / "cur/2.x:2,S")
    ended = world.serial(world.client(EACH.format("Kit said: fine")))
    assert (ended.code, ended.out, world.left) == (0, b"", [])
    assert ended.err.splitlines() == [
        b"maildirserial: info: new/1.x succeeded: it said: fine",
        b"maildirserial: info: cur/2.x:2,S succeeded: it said: fine",
        b"maildirserial: info: new/3.x succeeded: it said: fine",
    ]


def test_files_for_others_are_left_alone(world: Serial) -> None:
    world.deliver(1)
    world.deliver(2, top=b"Return-Path: <>\nDelivered-To: near-x@b.ex\n")
    world.deliver(3, top=b"Delivered-To: far-x@b.ex\n")
    ended = world.serial(world.client(EACH.format("K")))
    assert (ended.code, world.left) == (0, ["2.x", "3.x"])
    ended = world.serial(world.client(EACH.format("K")), prefix="")
    assert (ended.code, world.left) == (0, [])


def test_nothing_to_send_starts_no_client(world: Serial) -> None:
    assert world.serial("/nonexistent/client") == (0, b"", b"")


@pytest.mark.parametrize(
    ("letter", "what"),
    [("Z", b"failed temporarily"), ("D", b"failed"), ("?", b"failed temporarily")],
)
def test_what_is_not_sent_stays_and_is_offered_once(
    world: Serial, letter: str, what: bytes
) -> None:
    world.deliver(1)
    ended = world.serial(world.client(EACH.format(f"{letter}no\\001 way")))
    assert (ended.code, world.left) == (111, ["1.x"])
    assert ended.err == b"maildirserial: info: new/1.x " + what + b": no? way\n"
    assert not world.queued.with_suffix(".message").exists()


def test_option_b_bounces_what_is_refused_for_good(world: Serial) -> None:
    world.deliver(1, b"Subject: x\n\n.text", top=b'Return-Path: <"j \\"o"@a.ex>\n'
                  b"Delivered-To: far-ann@b.ex\n")  # fmt: skip
    ended = world.serial(world.client(EACH.format("D1.2.3.4 said: 550 no")), options=("-b",))
    assert (ended.code, world.left) == (0, [])
    first, second = ended.err.splitlines()
    assert first == b"maildirserial: info: new/1.x bounced: 1.2.3.4 said: 550 no"
    assert second.startswith(b"maildirserial: info: returned new/1.x: qp ")
    assert world.envelope.sender == b""
    assert world.envelope.recipients == (b'j "o@a.ex',)
    header, intro, told, broken, original = world.message.split(b"\n\n", 4)
    assert b'From: MAILER-DAEMON@dh.ex\nTo: "j \\"o"@a.ex\n' in header
    assert intro.startswith(b"Hi. This is the maildirbounce program at dh.ex.\n")
    assert told == b"<ann@b.ex>:\n1.2.3.4 said: 550 no"
    assert broken == b"--- Below this line is a copy of the message."
    assert original == b'Return-Path: <"j \\"o"@a.ex>\nSubject: x\n\n.text\n'


@pytest.mark.parametrize(("sender", "to"), [(b"", b"postmaster@dh.ex"), (b"l-@[]", b"l")])
def test_bounces_of_bounces_and_of_lists_go_where_qmail_send_sends_them(
    world: Serial, sender: bytes, to: bytes
) -> None:
    world.deliver(1, top=b"Return-Path: <" + sender + b">\nDelivered-To: far-ann@b.ex\n")
    assert world.serial(world.client(EACH.format("Dno")), options=("-b",)).code == 0
    assert world.envelope.recipients == (to,)
    assert world.envelope.sender == (b"" if sender else b"#@[]")


def test_a_double_bounce_that_comes_back_is_dropped(world: Serial) -> None:
    world.deliver(1, top=b"Return-Path: <#@[]>\nDelivered-To: far-ann@b.ex\n")
    ended = world.serial(world.client(EACH.format("Dno")), options=("-b",))
    assert (ended.code, world.left) == (0, [])
    assert ended.err.endswith(b"maildirserial: info: discarding new/1.x: triple bounce\n")
    assert not world.queued.with_suffix(".message").exists()


def test_a_message_whose_bounce_is_not_taken_stays(world: Serial) -> None:
    world.deliver(1)
    world.deliver(2, top=b"X: y\nDelivered-To: far-ann@b.ex\n")
    world.environ["QUEUE_EXIT"] = "53"
    ended = world.serial(world.client(EACH.format("Dno")), options=("-b",))
    assert (ended.code, world.left) == (111, ["1.x", "2.x"])
    assert b"unable to bounce new/1.x: qq failed: qq write error or disk full" in ended.err
    assert b"unable to bounce new/2.x: bad file format\n" in ended.err


def test_option_t_makes_old_messages_refused_for_good(world: Serial) -> None:
    world.deliver(1)
    young = world.deliver(2)
    os.utime(young)
    ended = world.serial(world.client(EACH.format("Zbusy")), options=("-b", "-t", "3600"))
    assert (ended.code, world.left) == (111, ["2.x"])
    assert b"new/1.x bounced: busy\n" in ended.err
    assert b"new/2.x failed temporarily: busy\n" in ended.err
    assert b"<ann1@b.ex>:\nbusy\nThe message has been queued too long;" in world.message


def test_the_client_is_started_again_while_it_gets_on(world: Serial) -> None:
    for number in range(1, 6):
        world.deliver(number)
    one = 'echo >>"$QUEUED.runs"; tr "\\0" "\\n" | head -n1 | while read -r name; do '
    one += 'printf "%s\\0Kfine\\n" "$name"; done; exit 111\n'
    ended = world.serial(world.client(one))
    assert (ended.code, world.left) == (0, [])
    assert world.queued.with_suffix(".runs").read_text() == "\n" * 5


def test_three_rounds_without_any_report_end_it(world: Serial) -> None:
    world.deliver(1)
    ended = world.serial(world.client('echo >>"$QUEUED.runs"; exit 111\n'))
    assert (ended.code, world.left) == (111, ["1.x"])
    assert ended.err == b"maildirserial: fatal: making no progress, giving up\n"
    assert world.queued.with_suffix(".runs").read_text() == "\n" * 3


@pytest.mark.parametrize(
    ("script", "code", "said"),
    [
        ("exit 100\n", 100, b"can't go on\n"),
        ("kill -9 $$\n", 111, b"was killed by signal 9\n"),
        ("head -c 70000 /dev/zero\n", 111, b"something else than a report: no report: a name"),
    ],
)
def test_a_client_that_fails_ends_it(world: Serial, script: str, code: int, said: bytes) -> None:
    world.deliver(1)
    ended = world.serial(world.client(script))
    assert (ended.code, world.left) == (code, ["1.x"])
    assert said in ended.err


def test_a_client_can_have_no_other_file_removed(world: Serial) -> None:
    world.deliver(1)
    other = world.deliver(2, top=b"Return-Path: <>\nDelivered-To: near-x@b.ex\n")
    script = 'cat >&2; printf "new/2.x\\0Kfine\\nnew/1.x\\0Kfine\\nnew/1.x\\0Kfine\\n"\n'
    ended = world.serial(world.client(script))
    assert (ended.code, other.exists(), world.left) == (0, True, ["2.x"])
    assert ended.err.count(b"tells of new/2.x, which it was not given\n") == 1
    assert ended.err.count(b"tells of new/1.x, which it was not given\n") == 1


def test_more_names_than_a_pipe_holds_reach_a_client_that_answers_late(world: Serial) -> None:
    for number in range(1200):
        path = world.deliver(number)
        path.rename(path.with_name(f"{number}.{'long' * 20}"))
    late = 'tr "\\0" "\\n" >"$QUEUED.names"; while read -r name; do printf "%s\\0K\\n" "$name"; '
    late += 'done <"$QUEUED.names"\n'
    assert world.serial(world.client(late)).code == 0
    assert world.left == []


def test_kill_it_at_any_time_and_no_message_is_lost(world: Serial) -> None:
    for number in range(40):
        world.deliver(number, b"number %d.\n" % number)
    with FakeServer() as server:
        words = ["maildirserial", str(world.maildir), "far-", "tcpclient", "-RHl0", "127.0.0.1",
                 str(server.port), "serialsmtp", "far-", "me.ex"]  # fmt: skip
        for count in (1, 5, 10):
            process = subprocess.Popen(
                [str(world.home / "bin" / words[0]), *words[1:]],
                stdin=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                env=world.environ,
                start_new_session=True,
            )
            assert process.stderr is not None
            for _ in range(count):
                process.stderr.readline()
            # With its client, as when the power goes.
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate(timeout=60)
        taken = {mail.data for mail in server.taken}
        left = {path.read_bytes().partition(b"number")[2] for path in world.maildir.glob("new/*")}
        for number in range(40):
            wire = b"number %d.\r\n" % number
            assert wire in taken or b" %d.\n" % number in left
        assert len(left) < 40
        assert world.smtp(server.port).code == 0
    assert len({mail.data for mail in server.taken}) == 40


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        ([], 100, b"usage: "),
        (["-x", ".", "", "true"], 100, b"illegal option -- x\n"),
        ([".", ""], 100, b"usage: "),
        (["-t", "soon", ".", "", "true"], 100, b"not 'soon'\n"),
        (["/nonexistent", "", "true"], 111, b"unable to chdir to /nonexistent: no such file"),
        (["/", "", "true"], 111, b"new: no such file or directory\n"),
    ],
)
def test_wrong_usage_and_wrong_folders_are_told(
    world: Serial, arguments: list[str], code: int, said: bytes
) -> None:
    ended = world.run(["maildirserial", *arguments])
    assert ended.code == code
    assert said in ended.err


def test_a_bad_control_file_and_a_missing_client_are_told(world: Serial) -> None:
    world.deliver(1)
    ended = world.serial("/nonexistent/client")
    assert (ended.code, ended.err) == (
        111,
        b"maildirserial: fatal: unable to run /nonexistent/client: no such file or directory\n",
    )
    (world.home / "control/bouncehost").write_text("\n")
    ended = world.serial(world.client(EACH.format("K")))
    assert (ended.code, world.left) == (111, ["1.x"])
    assert b"fatal: control/bouncehost:1: empty" in ended.err
