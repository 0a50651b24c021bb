"""Running a `|` line, and locking."""

import fcntl
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from qmail.edge.children import shell
from qmail.edge.children.shell import lock_exclusively, run_shell


@pytest.fixture
def message(tmp_path: Path) -> Path:
    """Descriptor 0 of the test is a message for as long as it runs."""
    file = tmp_path / "message"
    file.write_bytes(b"hello\n")
    return file


def run(message: Path, command: bytes, time_s_max: float = 30) -> int:
    saved = os.dup(0)
    fd = os.open(message, os.O_RDONLY)
    os.dup2(fd, 0)
    try:
        return run_shell(command, os.environb, time_s_max)
    finally:
        os.dup2(saved, 0)
        os.close(fd)
        os.close(saved)


def test_exit_code_and_message(message: Path, tmp_path: Path) -> None:
    copy = os.fsencode(tmp_path / "copy")
    assert run(message, b"cat > " + copy + b"; exit 42") == 42
    assert Path(os.fsdecode(copy)).read_bytes() == b"hello\n"


def test_signal_is_a_negative_code(message: Path) -> None:
    assert run(message, b"kill -TERM $$") == -signal.SIGTERM


def test_pipe_signal_kills_as_it_does_in_a_shell(message: Path) -> None:
    script = b"trap '' INT; kill -PIPE $$; exit 3"
    assert run(message, script) == -signal.SIGPIPE


def test_program_that_takes_too_long_is_killed_with_what_it_started(
    message: Path, tmp_path: Path
) -> None:
    gate = tmp_path / "gate"
    os.mkfifo(gate)
    # Opened by us so that the program's own opening does not wait: the read does.
    keep = os.open(gate, os.O_RDWR)
    command = b"sh -c 'read x < " + os.fsencode(gate) + b"'; exit 0"
    with pytest.raises(TimeoutError):
        run(message, command, 0.05)
    os.close(keep)


def test_shell_line_that_is_too_long_is_an_error(message: Path) -> None:
    with pytest.raises(OSError, match="too long"):
        run(message, b": " + b"x" * 10_000_000)


def test_lock_that_another_process_has_is_waited_for_and_given_up(tmp_path: Path) -> None:
    file = tmp_path / "box"
    holder = (
        "import fcntl, sys; f = open(sys.argv[1], 'a'); fcntl.flock(f, 2);"
        "print('x', flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", holder, str(file)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stdin is not None
        process.stdout.readline()
        fd = os.open(file, os.O_RDWR)
        with pytest.raises(TimeoutError):
            lock_exclusively(fd, 0.05)
        process.stdin.close()
        lock_exclusively(fd, 30)
        os.close(fd)
    assert signal.getsignal(signal.SIGALRM) is signal.SIG_DFL


def test_an_alarm_that_comes_just_before_the_wait_for_a_lock_is_not_the_last(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = fcntl.flock

    def late(fd: int, operation: int) -> None:
        # What comes here is lost, as between the last look at signals and the call of the kernel.
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGALRM])
        signal.sigwait([signal.SIGALRM])
        signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGALRM])
        real(fd, operation)

    with open(tmp_path / "box", "wb") as other, open(tmp_path / "box", "ab") as ours:
        fcntl.flock(other, fcntl.LOCK_EX)
        monkeypatch.setattr(shell, "ALARM_AGAIN_S", 0.05)
        monkeypatch.setattr(fcntl, "flock", late)
        with pytest.raises(TimeoutError):
            lock_exclusively(ours.fileno(), 0.01)
    assert signal.getitimer(signal.ITIMER_REAL)[0] == 0
    assert signal.getsignal(signal.SIGALRM) is signal.SIG_DFL
