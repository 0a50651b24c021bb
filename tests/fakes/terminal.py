"""A terminal that keeps what is written to it."""

import io


class Terminal(io.StringIO):
    """Text that says it is a terminal. `is_gone`: nobody looks any more."""

    is_gone = False

    def isatty(self) -> bool:
        return True

    def write(self, text: str) -> int:
        if self.is_gone:
            raise BrokenPipeError
        return super().write(text)
