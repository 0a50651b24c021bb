"""The machine part of a log line: what qmail-log makes structured records of.

It stands behind the classic text, and programs add it only where qmail-start says that qmail-log
reads them: a unit separator, then `name=value` with unit separators between. Text before it never
holds that byte. A line that is nothing but a tail has no classic form. Values are as `safe` makes
them; docs/logging.md lists the names.
"""

from typing import Final

from qmail.protocol.logtext import SAFE

MARK: Final = b"\x1f"


def packed_tail(**fields: bytes) -> bytes:
    """Return the tail of a line; fields without a value are left out."""
    return b"".join(
        [
            b"\x1f%b=%b" % (name.encode(), value.translate(SAFE))
            for name, value in fields.items()
            if value
        ]
    )


def split_line(line: bytes) -> tuple[bytes, dict[str, bytes]]:
    """Return the classic text of a line, and the fields of its tail."""
    text, *pieces = line.split(MARK)
    fields = {}
    for piece in pieces:
        name, equals, value = piece.partition(b"=")
        if equals:
            fields[name.decode("ascii", "replace")] = value
    return text, fields
