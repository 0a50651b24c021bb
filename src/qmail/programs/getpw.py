"""qmail-getpw: say who controls a local address, as six fields each ended by NUL.

Source: spec/delivery.md 2; exit codes spec/programs.md 1.
"""

import os
import sys
from collections.abc import Sequence

from qmail.core.users import answer_for, sole_owner
from qmail.edge.accounts import MissingAccountError, accounts_of, home_folder
from qmail.edge.passwd import Machine
from qmail.protocol.exits import Exit
from qmail.protocol.local_exits import LocalExit


def main(argv: Sequence[str]) -> int:
    """Run the command."""
    if len(argv) != 1:
        print("qmail-getpw: usage: qmail-getpw local", file=sys.stderr)
        return Exit.PERMANENT
    local = os.fsencode(argv[0])
    home = home_folder()
    own_alias = os.fsencode(f"{home}/alias")
    try:
        accounts = accounts_of(home)
    except MissingAccountError as missing:
        print(f"qmail-getpw: fatal: {missing}", file=sys.stderr)
        return LocalExit.SYSTEM
    except OSError:
        # Without a home to serve, the rules for separate accounts still have an answer.
        accounts = None
    if accounts is not None and not accounts.separate:
        owner = sole_owner(local, accounts["alias"].uid, accounts["alias"].gid, own_alias)
    else:
        alias_home = own_alias if os.path.isdir(own_alias) else b""
        answer = answer_for(local, Machine(), alias_home)
        if answer.owner is None:
            return answer.code
        owner = answer.owner
    sys.stdout.buffer.write(owner.pack())
    sys.stdout.buffer.flush()
    return Exit.OK
