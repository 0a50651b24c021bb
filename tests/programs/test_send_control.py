"""run/control of a qmail-send at work: dialogues under load, callers that misbehave, restarts."""

import os
import signal
import socket
import subprocess
import time
from collections import Counter
from collections.abc import Iterator

import pytest
from tests.fakes.homes import (
    HOST,
    IS_ROOT,
    SPARE_UID,
    call,
    open_folder,
    others_can_run_the_programs,
)
from tests.fakes.suite import WAIT_S, Suite

from qmail.protocol.control_door import ANSWER_FRAME_MAX, Answer, Question
from qmail.protocol.netstring import FrameReader
from qmail.protocol.queue_filter import Filter

LATE = f"late@{HOST}"
MESSAGES = 40
EMPTY_S_MAX = 300.0


@pytest.fixture
def suite() -> Iterator[Suite]:
    """A suite where mail for `late` is put off until the file `go` is there."""
    if not others_can_run_the_programs():
        pytest.skip("the programs lie where only root can read them")
    with open_folder() as folder, Suite(folder) as made:
        text = f"|test -e {folder}/go || exit 111\n./Maildir/\n"
        (made.home / "alias/.qmail-late").write_text(text)
        made.start().wait_for("status: local 0/")
        yield made


def queue(suite: Suite, *arguments: str, stdin: str = "") -> str:
    done = suite.qmail("queue", *arguments, stdin=stdin)
    assert done.returncode in (0, 1), done.stderr
    return done.stdout


def count(suite: Suite, *arguments: str) -> int:
    return len(queue(suite, "list", "--json", *arguments).splitlines())


def subjects(suite: Suite) -> Counter[bytes]:
    return Counter(text.rpartition(b"\n\n")[2].strip() for text in suite.mailbox)


def test_steered_under_load_nothing_is_lost_and_nothing_comes_twice(suite: Suite) -> None:
    for number in range(MESSAGES):
        suite.send(LATE, f"postmaster@{HOST}", sender="", text=f"mail {number}\n")
        if number % 8 == 3:
            queue(suite, "hold", "--to", "late@*", "--yes")
        elif number % 8 == 5:
            queue(suite, "retry", "--all", "--yes")
        elif number % 8 == 6:
            queue(suite, "delete", "--to", "late@*", "--yes")
        elif number % 8 == 7:
            assert "back in the queue" in queue(suite, "undo")
            queue(suite, "release", "--all", "--yes")
    suite.lines_until("success: ", MESSAGES)
    deadline = time.monotonic() + EMPTY_S_MAX
    while count(suite, "--to", "late@*") < MESSAGES:
        assert time.monotonic() < deadline
    (suite.home.parent / "go").touch()
    while count(suite):
        queue(suite, "release", "--all", "--yes")
        queue(suite, "retry", "--all", "--yes")
        assert time.monotonic() < deadline
    assert subjects(suite) == {b"mail %d" % number: 2 for number in range(MESSAGES)}


def test_held_and_set_aside_survive_a_kill_and_a_restart(suite: Suite) -> None:
    for number in range(3):
        suite.send(LATE, sender="", text=f"mail {number}\n")
    suite.lines_until("deferral: ", 3)
    numbers = [line.split()[0] for line in queue(suite, "list").splitlines()[1:]]
    queue(suite, "hold", numbers[0], "--yes")
    queue(suite, "delete", numbers[1], "--yes")
    os.kill(suite.children["qmail-send"], signal.SIGKILL)
    suite.wait_for("qmail-send is gone")
    suite.wait_for("status: local 0/")
    (suite.home.parent / "go").touch()
    queue(suite, "retry", "--all", "--yes")
    suite.wait_for("end msg ")
    states = [line.split()[1] for line in queue(suite, "list").splitlines()[1:]]
    assert sorted(states) == ["deleted", "held"]
    assert queue(suite, "undo", "--list").startswith("2  1 message deleted, final in ")
    queue(suite, "undo")
    suite.wait_for("end msg ")
    queue(suite, "release", "--all", "--yes")
    suite.wait_for("end msg ")
    assert len(suite.mailbox) == 3


def test_a_no_does_nothing(suite: Suite) -> None:
    with call(suite.home, "control") as sock:
        suite.send(LATE, sender="")
        suite.wait_for("deferral: ")
        sock.sendall(Question(tag=1, verb="delete").pack())
        assert receive(sock)[0].kind == "found"
    assert count(suite) == 1
    assert "waiting" in queue(suite, "list")


def receive(sock: socket.socket) -> list[Answer]:
    reader = FrameReader(ANSWER_FRAME_MAX)
    found: list[Answer] = []
    while not found:
        data = sock.recv(65536)
        if not data:
            return []
        found = [Answer.unpack(payload) for payload in reader.feed(data)]
    return found


@pytest.mark.parametrize(
    "data", [b"x", b"5:hello,", b"999999999:", Question(tag=1, verb="list").pack() * 9]
)
def test_a_caller_that_breaks_the_rules_is_hung_up_on_and_mail_goes_on(
    suite: Suite, data: bytes
) -> None:
    with call(suite.home, "control") as sock:
        sock.sendall(data)
        end = time.monotonic() + WAIT_S
        while receive(sock):
            assert time.monotonic() < end
    suite.send(f"postmaster@{HOST}", sender="")
    suite.wait_for("success: ")


def test_a_yes_to_nothing_is_an_error(suite: Suite) -> None:
    with call(suite.home, "control") as sock:
        sock.sendall(Question(tag=3, verb="yes").pack())
        (answer,) = receive(sock)
    assert answer == Answer(3, "error", (b"there is no such question",))


@pytest.mark.skipif(not IS_ROOT, reason="needs root to become another account")
def test_other_accounts_are_refused(suite: Suite) -> None:
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    os.seteuid(SPARE_UID + 1)
    try:
        with pytest.raises(PermissionError):
            sock.connect(str(suite.home / "run/control"))
    finally:
        os.seteuid(0)
        sock.close()


def as_user(suite: Suite, uid: int, *words: str, text: str = "") -> str:
    """Run a command as an account without a name. Returns: what it printed."""
    done = subprocess.run(
        [str(suite.bin / words[0]), *words[1:]],
        check=False,
        input=text,
        capture_output=True,
        env={"PATH": os.environ["PATH"], "QMAIL_HOME": str(suite.home), "USER": f"u{uid}"},
        cwd="/",
        text=True,
        timeout=60,
        user=uid if IS_ROOT else None,
        group=uid if IS_ROOT else None,
        extra_groups=[] if IS_ROOT else None,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.skipif(not IS_ROOT, reason="needs root to become other accounts")
def test_mailq_shows_each_user_own_messages_and_root_all(suite: Suite) -> None:
    joe, ann = SPARE_UID + 1, SPARE_UID + 2
    as_user(suite, joe, "sendmail", "-t", text=f"To: {LATE}\n\nx\n")
    smtp = f"EHLO x\r\nMAIL FROM:<a@b.ex>\r\nRCPT TO:<{LATE}>\r\nDATA\r\nhi\r\n.\r\nQUIT\r\n"
    assert "250 2.0.0 ok " in as_user(suite, ann, "sendmail", "-bs", text=smtp)
    suite.lines_until("deferral: ", 2)
    for uid, sender in ((joe, f"u{joe}@{HOST}"), (ann, "a@b.ex")):
        head, recipient = as_user(suite, uid, "mailq").splitlines()
        assert f"  <{sender}> " in head
        assert recipient == f"\tlocal\t{LATE}"
        assert as_user(suite, uid, "sendmail", "-bp").splitlines()[1:] == [recipient]
    assert as_user(suite, SPARE_UID + 3, "mailq") == ""
    assert len(as_user(suite, 0, "mailq").splitlines()) == 4


@pytest.mark.parametrize(
    "questions",
    [
        [Question(tag=1, verb="list")],
        [Question(tag=1, verb="delete")],
        [Question(tag=1, verb="show", filter=Filter(sender=b"*"))],
        [Question(tag=1, verb="show"), Question(tag=2, verb="show")],
        [Question(tag=1, verb="yes")],
    ],
)
def test_a_user_is_asked_for_one_plain_question(suite: Suite, questions: list[Question]) -> None:
    with call(suite.home, "mailq") as sock:
        sock.sendall(b"".join(question.pack() for question in questions))
        assert sock.recv(100) == b""
    with call(suite.home, "mailq") as sock:
        sock.sendall(Question(tag=1, verb="show").pack())
        assert b"done" in sock.recv(100)


def test_a_user_has_two_calls_at_a_time(suite: Suite) -> None:
    with call(suite.home, "mailq"), call(suite.home, "mailq"):
        with call(suite.home, "mailq") as third:
            assert third.recv(100) == b""
        assert count(suite) == 0
