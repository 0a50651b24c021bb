"""Whether the files of a queued message hold what they ought to (spec/queue.md 2)."""

from typing import Final

from qmail.core.fs import Fs
from qmail.core.queue.layout import ENVELOPE_BYTES_MAX
from qmail.core.queue.seal import qp_of

NUL: Final = b"\0"
REPORTS_BYTES_MAX: Final = 64 * 1024 * 1024
BYTES_MAX: Final = {
    "todo": ENVELOPE_BYTES_MAX,
    "info": ENVELOPE_BYTES_MAX,
    "local": ENVELOPE_BYTES_MAX,
    "remote": ENVELOPE_BYTES_MAX,
    "bounce": REPORTS_BYTES_MAX,
}
"""The longest file of each kind that is read."""


def read_record(fs: Fs, kind: str, path: str) -> bytes:
    """Return the whole file. Raises: OSError."""
    return fs.read(path, BYTES_MAX[kind])


def wrong_with(kind: str, data: bytes) -> str:
    """Say what is wrong with the contents of a file, "" where nothing is."""
    if not data:
        return "it is empty"
    if kind == "todo":
        return _wrong_with_envelope(data)
    if kind == "info":
        is_sender = data[:1] == b"F" and data.find(NUL) == len(data) - 1
        return "" if is_sender else "it is not F, an address and a NUL"
    if kind == "bounce":
        return _wrong_with_bounce(data)
    return _wrong_with_recipients(data)


def _wrong_with_recipients(data: bytes) -> str:
    if data[-1:] != NUL:
        return "its last record has no end"
    begun = data.count(b"\0T") + data.count(b"\0D") + (data[:1] in (b"T", b"D"))
    return "" if begun == data.count(NUL) else "it has a record that is neither T nor D"


def _wrong_with_envelope(data: bytes) -> str:
    if data[-1:] != NUL:
        return "its last record has no end"
    records = data.split(NUL, 3)
    if len(records) != 4:
        return "it lacks a record"
    uid, qp, sender, rest = records
    if uid[:1] != b"u" or not uid[1:].isdigit() or sender[:1] != b"F" or not _is_qp(qp):
        return "it does not begin with the records u, p and F"
    begun = rest.count(b"\0T") + (rest[:1] == b"T")
    return "" if begun == rest.count(NUL) else "it has a record that is not T"


def _is_qp(record: bytes) -> bool:
    try:
        return qp_of(record) >= 0
    except ValueError:
        return False


def _wrong_with_bounce(data: bytes) -> str:
    if NUL in data:
        return "it holds zeros"
    return "" if data[-1:] == b"\n" else "its last line has no end"


def mended_bounce(data: bytes) -> bytes:
    """Return what can be read of failure reports; b"" where nothing can."""
    text = data.replace(NUL, b"").rstrip(b"\n")
    return text + b"\n\n" if text else b""
