"""What a command line of fastforward asks for: the recipient, its table and the lists are read.

The program does what comes of it, and `qmail explain` shows it. Source: spec/companion.md 2.1.
"""

from __future__ import annotations

import os

from qmail.core.aliases.forward_table import LIST_BYTES_MAX, Forward, ForwardError, plan_forward
from qmail.core.cdb import Cdb, CdbError
from qmail.core.whole_files import read_whole
from qmail.protocol.options import OptionError, split_options
from qmail.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import Final

    Environ = Mapping[bytes, bytes]
    Variable = Callable[[str], bytes]
    """Returns a variable that has to be set."""

SOMEBODY: Final = b"original envelope sender"
"""Stands for it where somebody tries a table by hand."""
READABLE: Final = 0o444


class Order(Record):
    """What the command line asks for."""

    table: str
    is_shown: bool
    """-n: say what would be done, and do nothing."""
    passes: bool
    """-p: the next lines of .qmail have what is not in the table."""
    is_default: bool
    """-d: the address is what .qmail-default stands for, not the whole recipient."""


def read_order(argv: Sequence[str]) -> Order:
    """Read the command line; of a letter and its capital the later one counts.

    Raises: OptionError: an unknown option, or no table.
    """
    options, arguments = split_options(argv, "nNpPdD")
    if len(arguments) != 1:
        raise OptionError("name one table")
    is_set = {letter.lower(): letter.islower() for letter, _ in options}
    n, p, d = (is_set.get(letter, False) for letter in "npd")
    return Order(arguments[0], n, p, d)


def plan_order(order: Order, environ: Environ, variable: Variable) -> Forward:
    """Return what is to be done.

    Raises: ForwardError: the table or a list can't be read. Whatever `variable` raises.
    """
    address = recipient(environ, variable, is_default=order.is_default)
    sender = environ.get(b"SENDER", SOMEBODY) if order.is_shown else variable("SENDER")
    try:
        with Cdb(order.table) as table:
            return plan_forward(address, sender, table.get, read_list)
    except OSError as trouble:
        raise ForwardError(f"unable to read {order.table}: {_reason_of(trouble)}") from None
    except CdbError as wrong:
        raise ForwardError(str(wrong)) from None


def recipient(environ: Environ, variable: Variable, *, is_default: bool) -> bytes:
    """Return the address that is looked up. Raises: whatever `variable` raises."""
    if not is_default:
        return variable("RECIPIENT")
    name = environ.get(b"DEFAULT")
    return (variable("EXT") if name is None else name) + b"@" + variable("HOST")


def read_list(path: bytes) -> bytes:
    """Return a list file, which everybody may read: so it was meant to be one.

    Raises: ForwardError.
    """
    shown = os.fsdecode(path)
    try:
        data, found = read_whole(path, LIST_BYTES_MAX)
    except OSError as trouble:
        raise ForwardError(f"unable to read {shown}: {_reason_of(trouble)}") from None
    if found.st_mode & READABLE != READABLE:
        raise ForwardError(f"{shown} is not world-readable")
    return data


def _reason_of(trouble: OSError) -> str:
    return (trouble.strerror or str(trouble)).lower()
