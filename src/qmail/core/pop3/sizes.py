"""How long a message of a maildir is on the wire (RFC 1939 11; spec/oddities.md 9).

Lines end in CR LF there, and the last one has an end; dots that are doubled don't count. It is the
length of what `protocol.dotstuffing` makes of the file, and what Courier and Dovecot write behind
`,W=` in the file's name.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Final

SIZE_DIGITS_MAX: Final = 15
_MARK: Final = ",W="


def size_in_name(base: str, stored: int) -> int | None:
    """Return the size that a file's name tells; None: it tells none that `stored` bytes can have.

    `base`: the name up to its flags. Each stored byte is one or two on the wire.
    """
    _, mark, rest = base.partition(_MARK)
    digits = rest.partition(",")[0]
    if not (mark and digits.isascii() and digits.isdigit()) or len(digits) > SIZE_DIGITS_MAX:
        return None
    size = int(digits)
    return size if stored <= size <= 2 * stored + 2 else None


def wire_size(parts: Iterable[bytes]) -> int:
    """Return the length on the wire of a message that is stored as `parts`."""
    size = 0
    last = b"\n"
    for part in parts:
        lf = part.count(b"\n")
        size += len(part) + lf
        if b"\r" in part:
            size += _correction(part)
        if last == b"\r" and part[:1] == b"\n":
            # One line end, cut in two: counted as two.
            size -= 2
        last = part[-1:] or last
    return size if last in (b"\n", b"\r") else size + 2


def _correction(part: bytes) -> int:
    """Return what lone CRs add, which become CR LF, less what CR LFs were counted too much."""
    pairs = part.count(b"\r\n")
    return part.count(b"\r") - pairs - pairs
