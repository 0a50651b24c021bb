"""Names and addresses of ofmipd's users: a table that ofmipname makes (spec/companion.md 7).

Each record: the sender as it comes, rewritten; its data are a name, NUL, and the address to use.
"""

from typing import NamedTuple

from qmail.core.cdb import Cdb, CdbError


class BadNameError(ValueError):
    """A line that can't be used; the text names it and says why."""


class Person(NamedTuple):
    """Who sends: the address for envelope and From; name None leaves a From that came."""

    address: bytes
    name: bytes | None


def look_up(table: Cdb | None, sender: bytes) -> Person:
    """Return who that sender is.

    Raises: CdbError: the table is damaged. OSError: it can't be read.
    """
    data = None if table is None else table.get(sender)
    if table is None or data is None:
        return Person(sender, None)
    name, nul, address = data.partition(b"\0")
    if not nul:
        raise CdbError(table.path, "a record without NUL: make it anew with ofmipname")
    return Person(address, name)


def read_names(text: bytes) -> list[tuple[bytes, bytes]]:
    """Read lines `key:name:address:`; lines that begin with # and empty ones are none.

    Returns: the records.
    Raises: BadNameError: another line.
    """
    records = []
    for number, line in enumerate(text.split(b"\n"), 1):
        if not line.strip() or line.startswith(b"#"):
            continue
        fields = line.split(b":")
        if len(fields) < 4:
            raise BadNameError(f"input:{number}: not a line KEY:NAME:ADDRESS:")
        key, name, address = fields[:3]
        if any(byte < 32 or byte == 127 for byte in b"".join(fields[:3])):
            raise BadNameError(f"input:{number}: a control byte")
        records.append((key, name + b"\0" + address))
    return records
