"""Submission to the queue: at the door, by another program, with the service down."""

import contextlib
import os
import socket
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from qmail.edge.doors import doorway
from qmail.edge.doors.station import listen_door
from qmail.edge.submit import queue as submit
from qmail.edge.submit.queue import Outcome
from qmail.mail import Envelope, Letter
from qmail.protocol.doors import FRAME_BYTES_MAX, MESSAGE_INLINE_MAX, Receipt, Submission
from qmail.protocol.netstring import FrameReader

ENVELOPE = Envelope(b"joe@dh.ex", (b"ann@dh.ex", b"bob@dh.ex"))


class FakeQueue:
    """Answers one caller at run/queue: at the first frame of `answer_at`, with `answer`."""

    def __init__(self, home: Path, answer: bytes, answer_at: bytes = b"ME") -> None:
        (home / "run").mkdir()
        self.frames: list[Submission] = []
        self._answer = answer
        self._answer_at = answer_at
        self._listener = listen_door(str(home), "queue")
        self._listener.settimeout(60)
        self._thread = threading.Thread(target=self._serve)

    def __enter__(self) -> "FakeQueue":
        self._thread.start()
        return self

    def __exit__(self, *_trouble: object) -> None:
        self._thread.join(60)
        self._listener.close()

    def _serve(self) -> None:
        caller, _ = self._listener.accept()
        caller.settimeout(60)
        reader = FrameReader(FRAME_BYTES_MAX)
        with caller:
            while data := caller.recv(65536):
                for payload in reader.feed(data):
                    frame = Submission.unpack(payload)
                    self.frames.append(frame)
                    if frame.kind in self._answer_at:
                        with contextlib.suppress(OSError):
                            caller.sendall(self._answer)
                        return


def send(home: Path, parts: Sequence[bytes], environ: dict[str, str] | None = None) -> Outcome:
    return submit.submit(str(home), parts, ENVELOPE, environ or {})


def script(folder: Path, text: str) -> str:
    path = folder / "filter"
    path.write_text("#!/bin/sh\n" + text)
    path.chmod(0o755)
    return str(path)


# --- at the door --------------------------------------------------------------------------------


def test_a_small_message_crosses_in_one_frame(tmp_path: Path) -> None:
    with FakeQueue(tmp_path, Receipt(1, 0, 4711).pack()) as queue:
        assert send(tmp_path, [b"a: b\n", b"\nbody\n"]) == Outcome(None, 4711)
    assert queue.frames == [Submission(b"M", 1, ENVELOPE.pack(), b"a: b\n\nbody\n")]


def test_a_long_message_is_streamed(tmp_path: Path) -> None:
    parts = [bytes((65 + at,)) * 50000 for at in range(20)] + [b"z" * (MESSAGE_INLINE_MAX * 3)]
    with FakeQueue(tmp_path, Receipt(1, 0, 7).pack()) as queue:
        assert send(tmp_path, parts).result is None
    assert [frame.kind for frame in queue.frames[:2]] == [b"O", b"C"]
    assert queue.frames[-1] == Submission(b"E", 1, ENVELOPE.pack())
    assert b"".join(frame.data for frame in queue.frames) == b"".join(parts)
    assert max(len(frame.data) for frame in queue.frames) <= MESSAGE_INLINE_MAX


@pytest.mark.parametrize(
    ("code", "text", "letter", "shown"),
    [
        (31, b"", Letter.FAILED, b"#5.3.0"),
        (11, b"", Letter.FAILED, b"#5.1.3"),
        (53, b"", Letter.DEFERRED, b"#4.3.0"),
        (82, b"Dnot today", Letter.FAILED, b"not today"),
    ],
)
def test_the_receipts_code_becomes_a_result(
    tmp_path: Path, code: int, text: bytes, letter: Letter, shown: bytes
) -> None:
    with FakeQueue(tmp_path, Receipt(1, code, 0, text).pack()):
        result = send(tmp_path, [b"x"]).result
    assert result is not None
    assert result.letter == letter
    assert shown in result.text


def test_an_early_refusal_is_heard_while_the_message_is_on_its_way(tmp_path: Path) -> None:
    with FakeQueue(tmp_path, Receipt(1, 31, 0).pack(), answer_at=b"O"):
        result = send(tmp_path, [b"x" * 65536] * 100).result
    assert result is not None
    assert result.letter == Letter.FAILED


@pytest.mark.parametrize("answer", [b"", b"x", b"3:R1,,", Receipt(2, 0, 1).pack()])
def test_a_door_that_talks_nonsense_is_a_temporary_failure(tmp_path: Path, answer: bytes) -> None:
    with FakeQueue(tmp_path, answer):
        result = send(tmp_path, [b"x"]).result
    assert result is not None
    assert result.letter == Letter.DEFERRED
    assert b"#4.4.2" in result.text


def test_a_door_that_does_not_answer_is_a_temporary_failure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "run").mkdir()
    listener = listen_door(str(tmp_path), "queue")
    monkeypatch.setattr(submit, "WAIT_S_MAX", 1)
    with listener:
        result = send(tmp_path, [b"x"]).result
    assert result is not None
    assert b"#4.4.1" in result.text


@pytest.mark.parametrize("size", [1, MESSAGE_INLINE_MAX + 1])
def test_trouble_with_the_source_gives_the_message_up(tmp_path: Path, size: int) -> None:
    def parts() -> Iterator[bytes]:
        yield b"x" * size
        raise OSError("unable to read")

    with (
        FakeQueue(tmp_path, b"", answer_at=b"X") as queue,
        pytest.raises(OSError, match="unable to read"),
    ):
        submit.submit(str(tmp_path), parts(), ENVELOPE, {})
    kinds = [frame.kind for frame in queue.frames]
    assert b"E" not in kinds
    assert b"M" not in kinds
    assert kinds[-1:] == ([b"X"] if size > MESSAGE_INLINE_MAX else [])


def test_a_deep_home_is_reached(tmp_path: Path) -> None:
    home = tmp_path / ("deep" * 20) / ("home" * 20)
    home.mkdir(parents=True)
    assert len(doorway.door_path(str(home), "queue")) > 107
    with FakeQueue(home, Receipt(1, 0, 1).pack()):
        assert send(home, [b"x"]).result is None


def test_a_list_that_has_outgrown_a_frame_waits_to_be_split(tmp_path: Path) -> None:
    envelope = Envelope(b"", (b"x" * 1000,) * 9000)
    result = submit.submit(str(tmp_path), [b"x"], envelope, {}).result
    assert result is not None
    assert result.letter == Letter.DEFERRED
    assert result.text == b"more recipients than one message can have (#4.5.3)"


# --- the service is down ------------------------------------------------------------------------


def test_without_the_service_others_get_a_temporary_failure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 54321)
    (tmp_path / "queue").mkdir()
    result = send(tmp_path, [b"x"]).result
    assert result is not None
    assert (result.letter, result.text) == (
        Letter.DEFERRED,
        b"qmail-queue service is not running (#4.3.0)",
    )


def test_without_the_service_the_owner_of_the_queue_runs_the_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for folder in ("queue", "bin", "run"):
        (tmp_path / folder).mkdir()
    stale = socket.socket(socket.AF_UNIX)
    stale.bind(str(tmp_path / "run/queue"))
    stale.close()
    os.rename(script(tmp_path, "cat >m; cat <&1 >e\n"), tmp_path / "bin/qmail-queue")
    monkeypatch.setenv("QMAIL_HOME", str(tmp_path))
    monkeypatch.setattr("sys.argv", ["sendmail"])
    outcome = send(tmp_path, [b"hello\n"])
    assert outcome.result is None
    assert outcome.qp > 0
    assert (tmp_path / "m").read_bytes() == b"hello\n"
    assert (tmp_path / "e").read_bytes() == ENVELOPE.pack()


# --- QMAILQUEUE ---------------------------------------------------------------------------------


def test_qmailqueue_gets_message_envelope_and_home(tmp_path: Path) -> None:
    program = script(tmp_path, "test $# = 0 || exit 81\npwd >d; cat >m; cat <&1 >e\n")
    message = b"line\n" * 100000
    outcome = send(tmp_path, [message], {"QMAILQUEUE": program})
    assert outcome.result is None
    assert (tmp_path / "m").read_bytes() == message
    assert (tmp_path / "e").read_bytes() == ENVELOPE.pack()
    assert (tmp_path / "d").read_text().strip() == os.path.realpath(tmp_path)


@pytest.mark.parametrize(
    ("text", "letter", "shown"),
    [
        ("exit 31", Letter.FAILED, b"#5.3.0"),
        ("exit 71", Letter.DEFERRED, b"#4.3.0"),
        ("exit 99", Letter.DEFERRED, b"#4.3.0"),
        ("kill -9 $$", Letter.DEFERRED, b"#4.3.0"),
        ("printf 'Dspam (#5.7.1)' >&6; exit 82", Letter.FAILED, b"spam (#5.7.1)"),
        ("printf 'Zlater' >&6; exit 82", Letter.DEFERRED, b"later"),
        ("printf 'Xlater' >&6; exit 82", Letter.DEFERRED, b"#4.3.0"),
        ("cat >/dev/null; cat <&1 >/dev/null; exit 0 6>&-", None, b""),
        ("exit 0", Letter.DEFERRED, b"#4.3.0"),
    ],
)
def test_the_programs_exit_code_becomes_a_result(
    tmp_path: Path, text: str, letter: Letter | None, shown: bytes
) -> None:
    environ = {"QMAILQUEUE": script(tmp_path, text + "\n")}
    # More than a pipe holds: a program that does not read must not stop us.
    result = send(tmp_path, [b"x" * 100000] * 3, environ).result
    assert (result and result.letter) == letter
    assert shown in (result.text if result else b"")


def test_the_error_text_ends_after_255_bytes(tmp_path: Path) -> None:
    text = "cat >/dev/null; cat <&1 >/dev/null; printf 'D%0400d' 7 >&6; exit 82\n"
    result = send(tmp_path, [b"x"], {"QMAILQUEUE": script(tmp_path, text)}).result
    assert result is not None
    assert len(result.text) == 254


@pytest.mark.parametrize("program", ["", "relative", "/nonexistent/filter"])
def test_a_program_that_can_not_run_is_a_temporary_failure(tmp_path: Path, program: str) -> None:
    result = send(tmp_path, [b"x"], {"QMAILQUEUE": program}).result
    assert result is not None
    assert result.letter == Letter.DEFERRED


def test_the_program_sees_a_broken_envelope_when_the_source_fails(tmp_path: Path) -> None:
    def parts() -> Iterator[bytes]:
        yield b"x"
        raise OSError("unable to read")

    program = script(tmp_path, "cat >m; cat <&1 >e\n")
    with pytest.raises(OSError, match="unable to read"):
        submit.submit(str(tmp_path), parts(), ENVELOPE, {"QMAILQUEUE": program})
    assert (tmp_path / "e").read_bytes() == b""


def test_no_descriptor_and_no_child_is_left(tmp_path: Path) -> None:
    before = set(os.listdir("/proc/self/fd"))
    send(tmp_path, [b"x"], {"QMAILQUEUE": script(tmp_path, "exit 31\n")})
    assert set(os.listdir("/proc/self/fd")) <= before
    with pytest.raises(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)
