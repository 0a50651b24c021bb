"""A bar on the terminal that says how far something long is: on descriptor 2, and nowhere else."""

import contextlib
import sys
import time
from collections.abc import Callable
from types import TracebackType
from typing import Final, TextIO

WIDTH: Final = 30
AFTER_S: Final = 0.3
"""What is done by then shows no bar."""
EVERY_S: Final = 0.1
CLEAR: Final = "\r\x1b[K"


def bar(done: int, total: int, what: str = "") -> str:
    """Return a bar; without a `total`, only how many."""
    words = f" {what}" if what else ""
    if not total:
        return f"{done:,}{words}"
    full = WIDTH * min(done, total) // total
    return f"[{'#' * full}{'.' * (WIDTH - full)}] {done:,} of {total:,}{words}"


class Progress:
    """One bar. Leave it as a context, or `clear` it before anything else is written."""

    def __init__(
        self, stream: TextIO | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._stream = stream or sys.stderr
        self._clock = clock
        self._shows = self._stream.isatty()
        self._next = clock() + AFTER_S
        self._is_shown = False

    def __enter__(self) -> "Progress":
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _wrong: object, _trace: TracebackType | None
    ) -> None:
        self.clear()

    def show(self, done: int, total: int = 0, what: str = "") -> None:
        """Say how far it is; costs next to nothing where it is too early for that."""
        if self._shows and (now := self._clock()) >= self._next:
            self._next = now + EVERY_S
            self._is_shown = True
            self._write(CLEAR + bar(done, total, what))

    def clear(self) -> None:
        """Leave nothing of the bar on the terminal."""
        if self._is_shown:
            self._is_shown = False
            self._write(CLEAR)

    def _write(self, text: str) -> None:
        # A terminal that went away stops no work.
        with contextlib.suppress(OSError):
            self._stream.write(text)
            self._stream.flush()
