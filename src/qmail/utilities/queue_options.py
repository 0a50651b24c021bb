"""The options by which `qmail queue` is told what messages are meant."""

import argparse
import os
import re
from collections.abc import Sequence
from typing import Final

from qmail.mail import Channel
from qmail.protocol.queue_filter import NUMBERS_MAX, PATTERN_BYTES_MAX, SECONDS_MAX, Filter

UNITS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}
SIZES: Final = {"": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30}
_AGE: Final = re.compile(r"(\d{1,10})([smhdw]?)")
_SIZE: Final = re.compile(r"([+-]?)(\d{1,12})([kmg]?)", re.IGNORECASE)


def add_filter(parser: argparse.ArgumentParser) -> None:
    """Add numbers and filters to the arguments of a command."""
    parser.add_argument(
        "numbers", nargs="*", type=_message, metavar="NUMBER", help="these messages only"
    )
    group = parser.add_argument_group("which messages and recipients (all that are given hold)")
    group.add_argument(
        "--from", dest="sender", type=_pattern, metavar="PATTERN", help="'<>' is that of bounces"
    )
    group.add_argument(
        "--to", type=_pattern, metavar="PATTERN", help="recipients, as '*@example.org'"
    )
    group.add_argument("--older", type=age, metavar="AGE", help="at least so old: 90s 30m 2h 1d 1w")
    group.add_argument("--younger", type=age, metavar="AGE", help="not so old")
    group.add_argument(
        "--reason", type=_pattern, metavar="WHY", help="a code as 4.4.1, or text, of the last try"
    )
    group.add_argument("--channel", choices=("local", "remote"), help="only that way out")
    group.add_argument("--held", action="store_true", help="only those that are held")
    group.add_argument(
        "--size", type=_size, metavar="SIZE", help="at least +SIZE or at most -SIZE bytes, as +1M"
    )


def parse(parser: argparse.ArgumentParser, argv: Sequence[str]) -> argparse.Namespace:
    """Parse the arguments; a size of its own that begins with a minus is no option."""
    words: list[str] = []
    for word in argv:
        if words and words[-1] == "--size":
            words[-1] = f"--size={word}"
        else:
            words.append(word)
    return parser.parse_intermixed_args(words)


def filter_of(chosen: argparse.Namespace) -> Filter:
    """Return the filter that the options make."""
    least, most = chosen.size or (None, None)
    if len(chosen.numbers) > NUMBERS_MAX:
        raise argparse.ArgumentTypeError(f"more than {NUMBERS_MAX} numbers")
    return Filter(
        numbers=tuple(chosen.numbers),
        sender=chosen.sender,
        recipient=chosen.to,
        older_s=chosen.older,
        younger_s=chosen.younger,
        reason=chosen.reason,
        channel=Channel[chosen.channel.upper()] if chosen.channel else None,
        held=chosen.held,
        size_min=least,
        size_max=most,
    )


def age(text: str) -> int:
    """Return seconds: a number with s, m, h, d or w after it; minutes without."""
    found = _AGE.fullmatch(text)
    seconds = int(found[1]) * UNITS[found[2] or "m"] if found else -1
    if not 0 <= seconds <= SECONDS_MAX:
        raise argparse.ArgumentTypeError(f"{text!r} is no age: write 90s, 30m, 2h, 1d or 1w")
    return seconds


def _size(text: str) -> tuple[int | None, int | None]:
    found = _SIZE.fullmatch(text)
    if not found:
        raise argparse.ArgumentTypeError(f"{text!r} is no size: write +100k or -1M")
    size = int(found[2]) * SIZES[found[3].lower()]
    return (None, size) if found[1] == "-" else (size, None)


def _message(text: str) -> int:
    digits = text.removeprefix("#")
    if not (digits.isascii() and digits.isdigit() and len(digits) < 20):
        raise argparse.ArgumentTypeError(f"{text!r} is no message number")
    return int(digits)


def _pattern(text: str) -> bytes:
    pattern = os.fsencode(text)
    if len(pattern) > PATTERN_BYTES_MAX or b"\0" in pattern:
        raise argparse.ArgumentTypeError(f"longer than {PATTERN_BYTES_MAX} bytes")
    return pattern
