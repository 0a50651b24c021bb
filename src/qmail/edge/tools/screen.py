"""A terminal that is drawn again and again, and given back as it was, whatever happens."""

import os
import select
import shutil
import signal
import sys
import termios
import tty
from types import FrameType, TracebackType
from typing import Final

ENTER: Final = "\x1b[?1049h\x1b[?25l"
LEAVE: Final = "\x1b[?25h\x1b[?1049l"
HOME: Final = "\x1b[H"
LINE_END: Final = "\x1b[K\n"
BELOW: Final = "\x1b[J"
_SIGNALS: Final = (signal.SIGTERM, signal.SIGHUP)


class Screen:
    """Keys come one by one and are not echoed. Stopping it by control-Z is not possible."""

    def __init__(self) -> None:
        self._fd = sys.stdin.fileno()
        self._before: list[object] = []

    def __enter__(self) -> "Screen":
        self._before = termios.tcgetattr(self._fd)
        for number in _SIGNALS:
            signal.signal(number, self._on_signal)
        signal.signal(signal.SIGTSTP, signal.SIG_IGN)
        tty.setcbreak(self._fd)
        self._write(ENTER)
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _wrong: object, _trace: TracebackType | None
    ) -> None:
        termios.tcsetattr(self._fd, termios.TCSADRAIN, self._before)  # type: ignore[arg-type]
        self._write(LEAVE)

    @staticmethod
    def _on_signal(number: int, _frame: FrameType | None) -> None:
        sys.exit(128 + number)

    @property
    def width(self) -> int:
        """Return how many characters fit into a line now."""
        return shutil.get_terminal_size().columns

    def show(self, lines: list[str]) -> None:
        """Draw the lines that fit; the last one stays at the bottom."""
        size = shutil.get_terminal_size()
        fitting = [*lines[: size.lines - 1], lines[-1]] if len(lines) > size.lines else lines
        cut = [line[: size.columns] for line in fitting[-size.lines :]]
        self._write(HOME + LINE_END.join(cut) + "\x1b[K" + BELOW)

    def key(self, wait_s: float) -> str:
        """Return the next key, "" when none came in time; control-C and the end are `q`."""
        try:
            if not select.select([self._fd], [], [], wait_s)[0]:
                return ""
            data = os.read(self._fd, 1)
        except KeyboardInterrupt:
            return "q"
        except OSError:
            return "q"
        return data.decode("ascii", "replace") if data else "q"

    @staticmethod
    def _write(text: str) -> None:
        data = text.encode("utf-8", "replace")
        while data:
            data = data[os.write(1, data) :]
