"""The program qmail-queue: the classic command, with the service and without (spec/queue.md 4)."""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest
from tests.fakes.homes import (
    BECOME,
    IS_ROOT,
    UID,
    as_owner,
    call,
    listen,
    make_home,
    open_folder,
    resident,
)
from tests.fakes.queue_world import files_of

from qmail.protocol.doors import Notice, Receipt, Submission
from qmail.protocol.exits import QueueExit
from qmail.protocol.netstring import FrameReader

CODE: Final = (
    BECOME
    + """
import qmail.core.queue.write, qmail.core.queue.layout, qmail.programs.queue_service
from qmail.programs.queue import main
become(int(sys.argv[1]))
sys.exit(main([]))
"""
)
ENVELOPE: Final = b"Fjoe@a.ex\0Tann@b.ex\0Tbob@c.ex\0\0"
WAIT_S: Final = 60
STRANGER: Final = 54399


@pytest.fixture
def home() -> Iterator[Path]:
    with open_folder() as folder:
        make_home(folder / "home")
        yield folder / "home"


def start_command(home: Path, uid: int, envelope: bytes | None) -> subprocess.Popen[bytes]:
    """Start the command; its envelope waits on descriptor 1 (None: there is nothing to read)."""
    reader, writer = os.pipe()
    if envelope:
        # Now, and the pipe takes it whole: the command may end without reading it.
        os.write(writer, envelope)
    environ = {"PATH": os.environ["PATH"], "QMAIL_HOME": str(home)}
    try:
        return subprocess.Popen(
            [sys.executable, "-c", CODE, str(uid)],
            stdin=subprocess.PIPE,
            stdout=reader if envelope is not None else writer,
            env=environ,
            cwd="/",
        )
    finally:
        os.close(reader)
        os.close(writer)


def run(
    home: Path, envelope: bytes | None = ENVELOPE, *, text: bytes = b"text\n", uid: int = UID
) -> tuple[int, int]:
    """Run the command. Returns: its exit code and its pid."""
    command = start_command(home, uid, envelope)
    with contextlib.suppress(BrokenPipeError):
        command.communicate(text, timeout=WAIT_S)
    return command.wait(WAIT_S), command.pid


def messages(home: Path) -> list[Path]:
    return [path for path in (home / "queue/mess").rglob("*") if path.is_file()]


def queue_files(home: Path) -> set[str]:
    lock_files = {"lock/sendmutex", "lock/trigger", "lock/tcpto", "lock/tcpto6"}
    return {path for path in files_of(home / "queue") if path not in lock_files}


@contextlib.contextmanager
def service(home: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Run the resident qmail-queue of `home`."""
    with resident(home, "queue", CODE) as process:
        os.chmod(home / "run/queue", 0o666)
        yield process


# --- without the service --------------------------------------------------------------------------


def test_without_the_service_the_owner_writes_the_queue(home: Path) -> None:
    code, pid = run(home)
    assert code == QueueExit.QUEUED
    (mess,) = messages(home)
    received, _, text = mess.read_bytes().partition(b"\n")
    assert received.startswith(b"Received: (qmail %d invoked by uid %d); " % (pid, UID))
    assert text == b"text\n"
    assert int(mess.name) == mess.stat().st_ino
    todo = home / "queue/todo" / mess.name
    uid, record, envelope = todo.read_bytes().split(b"\0", 2)
    assert (uid, record.split(b"/")[0]) == (b"u%d" % UID, b"p%d" % pid)
    assert envelope == b"Fjoe@a.ex\0Tann@b.ex\0Tbob@c.ex\0"
    assert queue_files(home) == {f"mess/{mess.parent.name}/{mess.name}", f"todo/{mess.name}"}
    assert {path.stat().st_mode & 0o777 for path in (mess, todo)} == {0o644}


@pytest.mark.root
def test_without_the_service_root_writes_the_queue_as_its_owner(home: Path) -> None:
    if not IS_ROOT:
        pytest.skip("needs root")
    assert run(home, uid=0)[0] == QueueExit.QUEUED
    (mess,) = messages(home)
    assert mess.stat().st_uid == UID
    assert b"invoked by uid 0)" in mess.read_bytes()


@pytest.mark.root
def test_without_the_service_anybody_else_is_told_to_come_back(home: Path) -> None:
    if not IS_ROOT:
        pytest.skip("needs root")
    assert run(home, uid=STRANGER)[0] == QueueExit.CONNECT_REFUSED
    assert queue_files(home) == set()


def test_queue_6_a_lone_writer_pulls_the_trigger(home: Path) -> None:
    trigger = os.open(home / "queue/lock/trigger", os.O_RDWR | os.O_NONBLOCK)
    try:
        assert run(home)[0] == 0
        assert os.read(trigger, 10) == b"\0"
    finally:
        os.close(trigger)


ENVELOPES: Final = [
    (b"F\0T" + b"x" * 1002 + b"\0\0", QueueExit.QUEUED),
    (b"F\0T" + b"x" * 1003 + b"\0\0", QueueExit.ADDRESS_TOO_LONG),
    (b"F" + b"x" * 5000, QueueExit.ADDRESS_TOO_LONG),
    (b"F\0\0", QueueExit.QUEUED),
    (ENVELOPE + b"more that nobody reads", QueueExit.QUEUED),
    (b"", QueueExit.READ_ERROR),
    (b"F", QueueExit.READ_ERROR),
    (b"Fjoe@a.ex\0", QueueExit.READ_ERROR),
    (b"Fjoe@a.ex\0Tann@b.ex\0", QueueExit.READ_ERROR),
    (b"\0\0", QueueExit.BAD_ENVELOPE),
    (b"Tann@b.ex\0\0", QueueExit.BAD_ENVELOPE),
    (b"Fjoe@a.ex\0Fann@b.ex\0\0", QueueExit.BAD_ENVELOPE),
]
ENVELOPE_IDS: Final = [f"{envelope[:24]!r}-{code}" for envelope, code in ENVELOPES]


@pytest.mark.parametrize(("envelope", "code"), ENVELOPES, ids=ENVELOPE_IDS)
def test_queue_4_each_envelope_has_its_exit_code(
    home: Path, envelope: bytes, code: QueueExit
) -> None:
    assert run(home, envelope)[0] == code
    assert len(queue_files(home)) == (2 if code == QueueExit.QUEUED else 0)


def test_queue_4_an_unreadable_envelope_is_a_read_error(home: Path) -> None:
    assert run(home, None)[0] == QueueExit.READ_ERROR
    assert queue_files(home) == set()


def test_an_envelope_of_any_length_takes_no_more_memory_than_allowed(home: Path) -> None:
    reader, writer = os.pipe()
    command = subprocess.Popen(
        [sys.executable, "-c", CODE, str(UID)],
        stdin=subprocess.DEVNULL,
        stdout=reader,
        env={"QMAIL_HOME": str(home)},
        cwd="/",
    )
    os.close(reader)
    record = b"T" + b"x" * 1000 + b"\0"
    with contextlib.suppress(BrokenPipeError), open(writer, "wb") as pipe:
        pipe.writelines([b"F\0", *(record * 1000 for _ in range(10)), b"\0"])
    assert command.wait(WAIT_S) == QueueExit.NO_MEMORY
    assert queue_files(home) == set()


def test_queue_4_without_a_home_it_ends_with_61_and_without_folders_with_62(home: Path) -> None:
    assert run(home / "nowhere")[0] == QueueExit.NO_HOME
    shutil.rmtree(home / "queue/mess")
    assert run(home)[0] == QueueExit.NO_QUEUE


def test_queue_4_a_folder_that_is_missing_has_its_exit_code(home: Path) -> None:
    shutil.rmtree(home / "queue/todo")
    assert run(home)[0] == QueueExit.NO_TODO
    shutil.rmtree(home / "queue/pid")
    assert run(home)[0] == QueueExit.NO_PID
    assert queue_files(home) == set()


def in_the_middle(home: Path) -> subprocess.Popen[bytes]:
    """Start the command and return when it has written a part of its message."""
    command = start_command(home, UID, ENVELOPE)
    assert command.stdin is not None
    # More than the pipe holds, so it has read and written most of it by now.
    command.stdin.write(b"x" * 500_000)
    return command


def test_queue_4_interrupts_do_not_stop_a_message_half_way(home: Path) -> None:
    command = in_the_middle(home)
    for number in (signal.SIGINT, signal.SIGHUP, signal.SIGQUIT):
        command.send_signal(number)
    command.communicate(b"the end", timeout=WAIT_S)
    assert command.returncode == 0
    assert messages(home)[0].read_bytes().endswith(b"xthe end")


def test_oddities_6_term_cleans_up(home: Path) -> None:
    command = in_the_middle(home)
    assert messages(home)
    command.terminate()
    with contextlib.suppress(BrokenPipeError):
        command.communicate(b"", timeout=WAIT_S)
    assert command.wait(WAIT_S) == -signal.SIGTERM
    assert queue_files(home) == set()


def test_arguments_are_refused(home: Path) -> None:
    code = CODE.replace("main([])", "main(['-x'])")
    command = [sys.executable, "-c", code, str(UID)]
    assert subprocess.run(command, check=False, cwd="/", capture_output=True).returncode == 100


# --- with the service -----------------------------------------------------------------------------


def test_with_the_service_the_message_goes_through_its_door(home: Path) -> None:
    with service(home):
        code, pid = run(home, text=b"x" * 200_000)
        assert code == QueueExit.QUEUED
        (mess,) = messages(home)
        assert b"(qmail %d invoked by uid %d)" % (pid, UID) in mess.read_bytes()[:100]
        assert mess.read_bytes().endswith(b"\n" + b"x" * 200_000)
        assert run(home, b"Fx\0X\0\0")[0] == QueueExit.BAD_ENVELOPE
        assert run(home, b"Fx\0Tx\0")[0] == QueueExit.READ_ERROR
    assert len(messages(home)) == 1


@pytest.mark.root
def test_with_the_service_anybody_may_queue_and_the_kernel_says_who(home: Path) -> None:
    if not IS_ROOT:
        pytest.skip("needs root")
    with service(home):
        assert run(home, uid=STRANGER)[0] == QueueExit.QUEUED
        (mess,) = messages(home)
        assert b"invoked by uid %d)" % STRANGER in mess.read_bytes()
        assert (home / "queue/todo" / mess.name).read_bytes().startswith(b"u%d\0" % STRANGER)


def test_a_service_that_hangs_up_without_an_answer_is_a_temporary_failure(home: Path) -> None:
    with listen(home, "queue") as door:
        command = start_command(home, UID, ENVELOPE)
        caller, _ = door.accept()
        caller.close()
        with contextlib.suppress(BrokenPipeError):
            command.communicate(b"x" * 300_000, timeout=WAIT_S)
        assert command.wait(WAIT_S) == QueueExit.COMMUNICATION
    assert queue_files(home) == set()


def receipts(sock: socket.socket, count: int) -> list[Receipt]:
    reader, found = FrameReader(4096), list[Receipt]()
    while len(found) < count:
        data = sock.recv(65536)
        assert data
        found += map(Receipt.unpack, reader.feed(data))
    return found


def test_many_messages_through_one_connection_share_their_commits(home: Path) -> None:
    with service(home), call(home, "queue") as sock:
        sock.sendall(b"".join(Submission(b"M", n, ENVELOPE, b"x").pack() for n in range(500)))
        found = receipts(sock, 500)
    assert [receipt.tag for receipt in found] == list(range(500))
    assert {receipt.code for receipt in found} == {0}
    assert len({receipt.qp for receipt in found}) == 500
    assert len(messages(home)) == 500


def test_a_caller_that_breaks_the_rules_is_cut_off_and_nobody_else(home: Path) -> None:
    with service(home), call(home, "queue") as good:
        good.sendall(Submission(b"O", 1).pack())
        for nonsense in (b"hello", b"3:Z1,,", Submission(b"O", 1).pack() * 2):
            with call(home, "queue") as bad:
                bad.sendall(nonsense)
                assert bad.recv(10) == b""
        good.sendall(Submission(b"E", 1, ENVELOPE).pack())
        assert [receipt.code for receipt in receipts(good, 1)] == [0]


def test_qmail_send_hears_hello_and_of_each_message(home: Path) -> None:
    with listen(home, "send") as door, service(home):
        send, _ = door.accept()
        send.settimeout(WAIT_S)
        with send:
            assert run(home)[0] == 0
            reader, found = FrameReader(10000), list[bytes]()
            while len(found) < 2:
                data = send.recv(65536)
                assert data
                found += reader.feed(data)
            assert found[0] == b"H"
            notice = Notice.unpack(found[1])
    (mess,) = messages(home)
    assert notice.message == int(mess.name)
    assert (notice.size, notice.uid) == (mess.stat().st_size, UID)
    assert notice.envelope == ENVELOPE


def test_at_start_the_service_removes_envelopes_without_a_message(home: Path) -> None:
    with as_owner():
        (home / "queue/todo/7").write_bytes(b"u1\0p1\0Fx\0")
        (home / "queue/intd/8").write_bytes(b"")
    with service(home):
        assert run(home)[0] == 0
        assert not (home / "queue/todo/7").exists()
        assert not (home / "queue/intd/8").exists()
