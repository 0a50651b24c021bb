"""Text with CR LF at the ends of its lines, as programs hand it over that think of SMTP."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable


class UnixLines:
    """Reads what `read` reads, with LF for each CR LF, wherever the parts are cut.

    A CR that no LF follows stays. PHP's mail() writes its header so, whatever the body has.
    """

    def __init__(self, read: Callable[[int], bytes]) -> None:
        self._read = read
        self._held = b""

    def __call__(self, size: int) -> bytes:
        """Return some bytes, `size` and a held CR at most; b"" at the end."""
        while True:
            part = self._read(size)
            data = self._held + part
            self._held = b""
            if part and data.endswith(b"\r"):
                data, self._held = data[:-1], b"\r"
                if not data:
                    continue
            return data.replace(b"\r\n", b"\n") if b"\r" in data else data
