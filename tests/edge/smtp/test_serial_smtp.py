"""One SMTP connection of serialsmtp, with servers that say anything at any time."""

import contextlib
import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from qmail.edge.smtp.serial_smtp import SerialSmtp
from qmail.edge.tools.line_tool import ToolError
from qmail.edge.tools.serial_input import Stored, open_stored
from qmail.edge.wires.timed_wire import Limits, TimedWire, WireError
from qmail.protocol.remote_reports import Outcome
from qmail.protocol.serial_reports import smtp_report

TOP = b"Return-Path: <joe@a.ex>\nDelivered-To: far-ann@b.ex\n"
REPLIES = st.lists(
    st.sampled_from([
        b"220 hi\r\n", b"250 ok\r\n", b"250-PIPELINING\r\n250 SIZE 0\r\n", b"354 go\r\n",
        b"421 bye\r\n", b"451 later\r\n", b"550 never\r\n", b"5", b"xyz\r\n", b"250\r\n", b"\r\n",
        b"250-", b"\0\xff\n", b"199 odd\r\n", b"600 odd\r\n", b"250 " + b"x" * 5000,
    ]),
    max_size=16,
)  # fmt: skip


class Script(TimedWire):
    """A server that says one thing after the other, whatever it hears, and then hangs up."""

    def __init__(self, says: list[bytes]) -> None:
        self._says = list(says)
        self.heard = b""

    def is_readable(self) -> bool:
        """Say whether it has more to say."""
        return bool(self._says)

    def read(self, deadline: float | None = None) -> bytes:
        """Return the next thing that it says."""
        assert deadline is not None or self._says
        if not self._says:
            raise WireError("network read error: end of file")
        return self._says.pop(0)

    def write(self, data: bytes) -> None:
        """Hear."""
        self.heard += data


def stored(folder: Path, body: bytes) -> Stored:
    path = folder / "message"
    path.write_bytes(TOP + body)
    found = open_stored("test", bytes(path), b"far-")
    assert found is not None
    return found


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(says=REPLIES, size=st.sampled_from([0, 100, 200_000]))
def test_whatever_a_server_says_only_a_250_after_the_dot_is_success(
    tmp_path: Path, says: list[bytes], size: int
) -> None:
    wire = Script(says)
    smtp = SerialSmtp(wire, b"1.2.3.4", b"me.ex")
    outcome: Outcome | None = None
    message = stored(tmp_path, b"x" * size + b"\n.\n")
    is_ours = True
    with contextlib.suppress(ToolError):
        smtp.greet()
        is_ours = False
        outcome = smtp.send(message)
    smtp.say_goodbye()
    if is_ours:
        os.close(message.fd)
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(message.fd)
    if outcome is not None:
        report = smtp_report(b"n", outcome, b"1.2.3.4")
        assert report.letter in (b"K", b"Z", b"D")
        assert b"\n" not in report.text
        if report.letter == b"K":
            assert b"\r\n.\r\n" in wire.heard
            assert report.text.startswith(b"1.2.3.4 said: 25")


def test_a_file_that_becomes_shorter_is_never_taken_for_whole(tmp_path: Path) -> None:
    says = [b"220 hi\r\n", b"250 ok\r\n", b"250 ok\r\n", b"250 ok\r\n", b"354 go\r\n"]
    wire = Script(says)
    smtp = SerialSmtp(wire, b"1.2.3.4", b"me.ex")
    message = stored(tmp_path, b"x" * 200_000)
    smtp.greet()
    os.close(message.fd)
    broken = message._replace(fd=os.open(tmp_path, os.O_RDONLY))
    with pytest.raises(ToolError, match="unable to read file"):
        smtp.send(broken)
    smtp.say_goodbye()
    assert b"\r\n.\r\n" not in wire.heard
    assert b"QUIT" not in wire.heard


def test_waits_have_an_end() -> None:
    reader, writer = os.pipe()
    try:
        with TimedWire(reader, writer, Limits(0.01, 0.01)) as wire:
            with pytest.raises(WireError, match="timed out"):
                wire.read()
            with pytest.raises(WireError, match="timed out"):
                wire.write(b"x" * 10_000_000)
            os.close(reader)
            with pytest.raises(WireError, match="network write error"):
                wire.write(b"x")
            reader = os.open("/dev/null", os.O_RDONLY)
        with (
            TimedWire(reader, writer, Limits(5, 5)) as wire,
            pytest.raises(WireError, match="end of file"),
        ):
            wire.read()
    finally:
        os.close(reader)
        os.close(writer)
