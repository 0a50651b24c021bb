"""Why recipients wait: the last deferral of each, in memory, with a bound.

After a start nothing is known until the next try. Texts are cut and shared: most of a long queue
waits for the same few reasons.
"""

from typing import Final

REASON_BYTES_MAX: Final = 160
TEXTS_MAX: Final = 4096
REASONS_MAX: Final = 120000
"""Of more recipients than these the oldest reasons are forgotten."""
_OFFSET_BITS: Final = 28


class Reasons:
    """The last reason by message, channel and place of the recipient's record."""

    def __init__(self) -> None:
        self._texts: dict[bytes, bytes] = {}
        self._by_place: dict[int, bytes] = {}

    def __len__(self) -> int:
        """Return of how many recipients a reason is known."""
        return len(self._by_place)

    def note(self, message: int, channel: int, offset: int, text: bytes) -> None:
        """Remember why this recipient was deferred."""
        text = text[:REASON_BYTES_MAX].strip().replace(b"\n", b" ")
        if len(self._texts) >= TEXTS_MAX:
            # Whoever still has one of them keeps it; new ones are shared anew.
            self._texts.clear()
        place = _place(message, channel, offset)
        self._by_place.pop(place, None)
        self._by_place[place] = self._texts.setdefault(text, text)
        if len(self._by_place) > REASONS_MAX:
            del self._by_place[next(iter(self._by_place))]

    def drop(self, message: int, channel: int, offset: int) -> None:
        """Forget a recipient that is done."""
        if self._by_place:
            self._by_place.pop(_place(message, channel, offset), None)

    def of(self, message: int, channel: int, offset: int) -> bytes:
        """Return the reason, b"" where none is known."""
        return self._by_place.get(_place(message, channel, offset), b"")


def _place(message: int, channel: int, offset: int) -> int:
    return (message << 1 | channel) << _OFFSET_BITS | offset
