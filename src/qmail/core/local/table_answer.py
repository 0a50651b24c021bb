"""Whether a recipient exists whose `.qmail-default` only looks names up in a forwarding table.

Such a file covers every name, and the table knows which of them there are: the line that
`qmail init --sendmail` writes would otherwise have every name taken at RCPT, to be bounced later.
Every other program is taken at its word: who has a `.qmail-default` that runs it is there.
"""

import os

from qmail.core.aliases.forward_order import Order, read_order
from qmail.core.aliases.forward_table import wildcard_keys
from qmail.core.cdb import Cdb, CdbError
from qmail.core.local.dotqmail import Program
from qmail.core.local.home_files import StoppedError, put_off
from qmail.core.local.plan import Plan
from qmail.core.shell_words import simple_words
from qmail.protocol.exits import Exit
from qmail.protocol.local_door import Target
from qmail.protocol.options import OptionError

COMMAND = b"fastforward"
NOT_LISTED = b"There is no mailbox of this name here. (#5.1.1)\n"


def ask_table(plan: Plan, target: Target) -> None:
    """Return where there is such a recipient, or no table that could say otherwise.

    Raises: StoppedError: the table has no such name, or it can't be read now.
    """
    order = _order(plan)
    if order is None:
        return
    path = os.path.join(os.fsdecode(target.home), order.table)
    keys = wildcard_keys(b":", _address(order, plan, target))
    try:
        with Cdb(path) as table:
            is_listed = any(table.get(key) is not None for key in keys)
    except (OSError, CdbError):
        raise put_off(b"Unable to read the table of names. (#4.3.0)\n") from None
    if not is_listed:
        raise StoppedError(Exit.PERMANENT, NOT_LISTED)


def _order(plan: Plan) -> Order | None:
    """Return what the plan asks of fastforward, where that is all it does and unknown names end."""
    if plan.default is None or len(plan.instructions) != 1:
        return None
    line = plan.instructions[0]
    words = simple_words(line.command, {}) if isinstance(line, Program) else None
    if words is None or os.path.basename(words[0]) != COMMAND:
        return None
    try:
        order = read_order([os.fsdecode(word) for word in words[1:]])
    except OptionError:
        return None
    return None if order.passes or order.is_shown else order


def _address(order: Order, plan: Plan, target: Target) -> bytes:
    """Return the address that fastforward would look up."""
    name = target.local if not order.is_default or plan.default is None else plan.default
    return name + b"@" + target.domain
