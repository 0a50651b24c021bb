"""qmail-getpw: say who controls a local address, as six fields each ended by NUL.

Source: spec/delivery.md 2; exit codes spec/programs.md 1.
"""

import os
import sys
from collections.abc import Sequence

from qmail.core.addresses.users import answer_for, sole_owner
from qmail.core.settings.controls import ControlError, control_reader, load
from qmail.core.settings.local import LocalControls
from qmail.edge.machine.accounts import MissingAccountError, accounts_of, home_folder
from qmail.edge.machine.passwd import Machine
from qmail.protocol.exits import Exit
from qmail.protocol.local_door import Answer
from qmail.protocol.local_exits import LocalExit


def main(argv: Sequence[str]) -> int:
    """Run the command."""
    if len(argv) != 1:
        print("qmail-getpw: usage: qmail-getpw local", file=sys.stderr)
        return Exit.PERMANENT
    try:
        answer = find(os.fsencode(argv[0]), home_folder())
    except (ControlError, MissingAccountError, OSError) as trouble:
        print(f"qmail-getpw: fatal: {trouble}", file=sys.stderr)
        return LocalExit.SYSTEM
    if answer.owner is None:
        return answer.code
    sys.stdout.buffer.write(answer.owner.pack())
    sys.stdout.buffer.flush()
    return Exit.OK


def find(local: bytes, home: str) -> Answer:
    """Return who controls `local` by the rules; users/cdb is not asked.

    Raises: MissingAccountError, ControlError, OSError: there is no saying by which rules.
    """
    alias_home = os.fsencode(f"{home}/alias")
    sole = sole_account(home)
    if sole is not None:
        return Answer(local, 0, sole_owner(local, *sole, alias_home))
    break_ = load(LocalControls, control_reader(home)).break_
    return answer_for(local, Machine(), alias_home if os.path.isdir(alias_home) else b"", break_)


def sole_account(home: str) -> tuple[int, int] | None:
    """Return user and group of the one account that runs `home`; None where they are separate."""
    try:
        return accounts_of(home).sole
    except OSError:
        # Without a home to serve, the rules for separate accounts still have an answer.
        return None
