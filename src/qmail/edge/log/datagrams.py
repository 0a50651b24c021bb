"""Log lines to syslog and to systemd's journal: a datagram each, lost where nobody takes it."""

import socket
import time
from collections.abc import Callable, Iterable
from typing import Final

from qmail.protocol.log_record import Record

SYSLOG: Final = "/dev/log"
JOURNAL: Final = "/run/systemd/journal/socket"
TEXT_BYTES_MAX: Final = 8000
"""Longer lines are cut: what syslogd takes in one message is limited."""
MAIL: Final = 2 << 3
ALERT: Final = 1
WARNING: Final = 4
INFO: Final = 6
_MONTHS: Final = (
    *("Jan", "Feb", "Mar", "Apr", "May", "Jun"),
    *("Jul", "Aug", "Sep", "Oct", "Nov", "Dec"),
)
SEND_BUFFER_S: Final = 0.2
"""Longest wait for the other side to take one; then it is lost."""


def priority(text: bytes) -> int:
    """Return how grave a classic line is (spec/logging.md 5)."""
    if text.startswith(b"alert:"):
        return ALERT
    return WARNING if text.startswith(b"warning:") else INFO


def syslog_datagram(text: bytes, now_s: float) -> bytes:
    """Return one line as syslog(3) sends it (RFC 3164 4.1)."""
    at = time.localtime(now_s)
    date = (
        f"{_MONTHS[at.tm_mon - 1]} {at.tm_mday:2d} {at.tm_hour:02d}:{at.tm_min:02d}:{at.tm_sec:02d}"
    )
    shown = text[:TEXT_BYTES_MAX].replace(b"\0", b"?")
    return b"<%d>%b qmail: %b" % (MAIL | priority(text), date.encode(), shown)


def journal_datagram(text: bytes, record: Record | None) -> bytes:
    """Return one line in the journal's own form, each field of its record as QMAIL_NAME."""
    fields: list[tuple[str, bytes]] = [
        ("MESSAGE", text[:TEXT_BYTES_MAX]),
        ("PRIORITY", b"%d" % priority(text)),
        ("SYSLOG_FACILITY", b"2"),
        ("SYSLOG_IDENTIFIER", b"qmail"),
    ]
    for name, value in (record or {}).items():
        fields.append((f"QMAIL_{name.upper()}", str(value).encode()[:TEXT_BYTES_MAX]))
    return b"".join(_journal_field(name.encode(), value) for name, value in fields)


def _journal_field(name: bytes, value: bytes) -> bytes:
    if b"\n" in value:
        return name + b"\n" + len(value).to_bytes(8, "little") + value + b"\n"
    return b"%b=%b\n" % (name, value)


class Datagrams:
    """One socket; connects again where it has to. `lost` counts what nobody took."""

    def __init__(self, path: str, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._path = path
        self._monotonic = monotonic
        self._socket: socket.socket | None = None
        self._again_at = 0.0
        self.lost = 0

    def send(self, datagrams: Iterable[bytes]) -> None:
        """Send each, or count it as lost."""
        for datagram in datagrams:
            if not self._sent(datagram):
                self.lost += 1

    def _sent(self, datagram: bytes) -> bool:
        for _ in range(2):
            sock = self._connected()
            if sock is None:
                return False
            try:
                sock.send(datagram)
            except TimeoutError:
                return False
            except OSError:
                # The daemon was started again: its socket is another one.
                self.close()
            else:
                return True
        return False

    def _connected(self) -> socket.socket | None:
        if self._socket is None and self._monotonic() >= self._again_at:
            sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
            sock.settimeout(SEND_BUFFER_S)
            try:
                sock.connect(self._path)
            except OSError:
                sock.close()
                self._again_at = self._monotonic() + 1.0
                return None
            self._socket = sock
        return self._socket

    def close(self) -> None:
        """Hang up."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None
