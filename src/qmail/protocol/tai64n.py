"""Time stamps: TAI64N labels as multilog writes them, and ISO 8601 (spec/logging.md 5)."""

from datetime import UTC, datetime
from typing import Final

LABEL_BYTES: Final = 25
_EPOCH: Final = (1 << 62) + 10
"""What 1970 is in TAI64, with the ten leap seconds of its first days, as daemontools counts."""
_NS: Final = 1_000_000_000


def tai64n(now_ns: int) -> bytes:
    """Return the label `@` and 24 hexadecimal digits for a time in nanoseconds since 1970."""
    seconds, rest = divmod(now_ns, _NS)
    return b"@%016x%08x" % (_EPOCH + seconds, rest)


def from_tai64n(label: bytes) -> int | None:
    """Return the nanoseconds since 1970 that a label means; None: it is none."""
    if len(label) != LABEL_BYTES or label[:1] != b"@" or label.strip(b"@0123456789abcdef"):
        return None
    try:
        seconds, rest = int(label[1:17], 16) - _EPOCH, int(label[17:], 16)
    except ValueError:
        return None
    return seconds * _NS + rest if 0 <= seconds < 1 << 40 and rest < _NS else None


def seconds(now_ns: int) -> bytes:
    """Return decimal seconds since 1970 with microseconds, as qmailanalog and splogger have."""
    whole, rest = divmod(now_ns, _NS)
    return b"%d.%06d" % (whole, rest // 1000)


def from_seconds(text: bytes) -> int | None:
    """Return the nanoseconds since 1970 that `seconds` wrote as `text`; None: it did not."""
    whole, dot, rest = text.partition(b".")
    is_form = dot and whole.isdigit() and rest.isdigit() and len(rest) == 6 and len(whole) <= 12
    return int(whole) * _NS + int(rest) * 1000 if is_form else None


def iso(now_ns: int) -> str:
    """Return date and time in UTC with microseconds: 2026-11-25T16:27:26.123456Z."""
    seconds, rest = divmod(now_ns, _NS)
    moment = datetime.fromtimestamp(seconds, UTC)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{rest // 1000:06d}Z"


def from_iso(text: str) -> int | None:
    """Return the nanoseconds since 1970 that `iso` wrote as `text`; None: it did not."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    if moment.tzinfo is None:
        return None
    whole = moment.replace(microsecond=0)
    return int(whole.timestamp()) * _NS + moment.microsecond * 1000
