"""Log lines: whole, together, and never in the way of the mail (spec/logging.md 1)."""

import contextlib
import os
from collections.abc import Iterator

import pytest

from qmail.edge.log import lines as log_module
from qmail.edge.log.lines import ATOMIC_BYTES, Log, complain, pieces


def test_lines_are_written_together_at_the_flush() -> None:
    reader, writer = os.pipe()
    os.set_blocking(reader, False)
    log = Log(writer)
    log.line(b"one")
    log.line(b"two")
    with pytest.raises(BlockingIOError):
        os.read(reader, 100)
    log.flush()
    assert os.read(reader, 100) == b"one\ntwo\n"
    log.flush()
    with pytest.raises(BlockingIOError):
        os.read(reader, 100)
    os.close(reader)
    os.close(writer)


def test_a_log_that_nobody_reads_stops_nothing() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    log = Log(writer)
    log.line(b"lost")
    log.flush()
    log.flush()
    os.close(writer)
    log.line(b"lost as well")
    log.flush()


def test_a_complaint_is_one_line_with_the_programs_name(capfd: pytest.CaptureFixture[str]) -> None:
    complain("qmail-x", "fatal: caf\udce9")
    assert capfd.readouterr().err == "qmail-x: fatal: caf?\n"


# --- into the pipe of qmail-log -----------------------------------------------------------------


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    reader, writer = os.pipe()
    os.set_blocking(reader, False)
    os.set_blocking(writer, False)
    yield reader, writer
    os.close(reader)
    os.close(writer)


def drained(reader: int) -> bytes:
    found = b""
    with contextlib.suppress(BlockingIOError):
        while data := os.read(reader, 65536):
            found += data
    return found


def test_a_slow_logger_gets_everything_later_and_in_order(pipe: tuple[int, int]) -> None:
    reader, writer = pipe
    log = Log(writer)
    lines = [b"%d " % number + b"x" * 80 for number in range(3000)]
    for line in lines[:2000]:
        log.line(line)
    log.flush()
    found = drained(reader)
    assert found.endswith(b"\n")
    for line in lines[2000:]:
        log.line(line)
    while (more := drained(reader)) or len(found) < sum(map(len, lines)):
        found += more
        log.flush()
    assert found == b"".join(line + b"\n" for line in lines)


def test_a_dead_logger_costs_lines_that_are_counted_and_no_memory(pipe: tuple[int, int]) -> None:
    reader, writer = pipe
    log = Log(writer)
    for _ in range(100):
        for number in range(100):
            log.line(b"%d " % number + b"x" * 80)
        log.flush()
    found = b""
    while more := drained(reader):
        found += more
        log.flush()
    *lines, last = found.splitlines()
    lost = int(last.removeprefix(b"log: no room: ").removesuffix(b" lines lost"))
    assert len(lines) + lost == 10000
    assert lost > 0
    assert all(len(line) > 80 for line in lines)


def test_lines_of_two_programs_do_not_mix(pipe: tuple[int, int]) -> None:
    reader, writer = pipe
    logs = [Log(writer), Log(writer)]
    for name, log in zip((b"a", b"b"), logs, strict=True):
        for _ in range(900):
            log.line(name * 99)
    found = b""
    for _ in range(100):
        for log in logs:
            log.flush()
        found += drained(reader)
    assert sorted(found.splitlines()) == [b"a" * 99] * 900 + [b"b" * 99] * 900


def test_a_longer_line_than_a_pipe_takes_whole_goes_alone() -> None:
    lines = [b"a", b"b" * ATOMIC_BYTES, b"c"]
    assert pieces(lines) == [b"a\n", b"b" * ATOMIC_BYTES + b"\n", b"c\n"]
    assert pieces([]) == []


def test_the_end_waits_for_a_reader_but_not_for_ever(
    pipe: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log_module, "END_S_MAX", 0.01)
    _, writer = pipe
    log = Log(writer)
    for _ in range(2000):
        log.line(b"x" * 99)
    log.end()
