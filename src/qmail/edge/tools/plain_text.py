"""How tools write for people: short ages and sizes, tables, text that steers no terminal."""

import shutil
import sys
from collections.abc import Iterable, Sequence
from typing import Final

WIDTH_MIN: Final = 60
COLUMN_GAP: Final = "  "


def shown(text: bytes) -> str:
    """Return text from outside with nothing in it that could steer a terminal."""
    decoded = text.decode("utf-8", "replace")
    return "".join(char if char.isprintable() else "?" for char in decoded)


def short_age(seconds: float) -> str:
    """Return an age in the largest unit that says something: 42s, 12m, 5h, 3d."""
    for unit, length in (("d", 86400), ("h", 3600), ("m", 60)):
        if seconds >= 2 * length or (unit == "m" and seconds >= length):
            return f"{int(seconds // length)}{unit}"
    return f"{int(max(0, seconds))}s"


def short_size(size: int) -> str:
    """Return a size in bytes, k, M or G."""
    amount = float(size)
    for unit in ("", "k", "M"):
        if amount < 1000:
            return f"{amount:.0f}{unit}" if amount >= 10 or not unit else f"{amount:.1f}{unit}"
        amount /= 1024
    return f"{amount:.1f}G"


def plural(count: int, word: str) -> str:
    """Return a number and its noun."""
    return f"{count:,} {word}" if count == 1 else f"{count:,} {word}s"


def terminal_width() -> int | None:
    """Return the width of the terminal that output goes to; None: it goes elsewhere."""
    return max(WIDTH_MIN, shutil.get_terminal_size().columns) if sys.stdout.isatty() else None


def table(rows: Iterable[Sequence[str]], rights: frozenset[int], width: int | None) -> list[str]:
    """Return the lines of a table whose first row is its head.

    `rights`: the columns that are set flush right. With a width, the last columns give way.
    """
    listed = [tuple(row) for row in rows]
    widths = [max(map(len, column)) for column in zip(*listed, strict=True)]
    lines = []
    for row in listed:
        cells = [
            cell.rjust(wide) if place in rights else cell.ljust(wide)
            for place, (cell, wide) in enumerate(zip(row, widths, strict=True))
        ]
        line = COLUMN_GAP.join(cells).rstrip()
        lines.append(line if width is None or len(line) <= width else line[: width - 1] + "~")
    return lines


def text_of(data: bytes) -> str:
    """Return bytes as text; one that is not UTF-8 stands for itself, as in latin-1."""
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        return data.decode("latin-1")
