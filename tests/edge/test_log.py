"""Log lines: whole, together, and never in the way of the mail (spec/logging.md 1)."""

import os

import pytest

from qmail.edge.log import Log, complain


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
