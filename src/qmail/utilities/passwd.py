"""qmail passwd: passwords of mailboxes, in users/passwd, which Dovecot can read as well.

A password is read from the terminal or from standard input, never from the command line, where
others could see it. Every change makes the file anew under another name, syncs and renames it.
"""

import argparse
import os
import sys
from collections.abc import Sequence
from typing import Final

from qmail.core.login.passwd_line import PasswdLineError
from qmail.edge.machine.accounts import MissingAccountError, home_folder
from qmail.protocol.exits import Exit
from qmail.protocol.scram_keys import ITERATIONS, ITERATIONS_MAX, ITERATIONS_MIN
from qmail.utilities.passwd_acts import ACTS, ActError

DESCRIPTION: Final = """\
Manage the passwords of mailboxes, in users/passwd.

A name is a user of this machine, or a virtual one like joe@example.org, for whom --uid,
--gid and --mailhome say whose the mail is. Passwords are asked for on the terminal, or read
from standard input, a line; they are kept as keys for SCRAM-SHA-256.
"""
EPILOG: Final = """\
commands:
  add NAME     a new name with a password
  set NAME     another password
  remove NAME  no login for this name any more
  list         all names
  check        whether every line of the file can be used
  check NAME   whether a password is the right one

exit codes: 0 done; 1 'check' says no; 100 wrong usage, no such name, or one that is there
already; 111 it could not be done
"""


def main(argv: Sequence[str]) -> int:
    """Run the command that `argv` names. Returns: its exit code."""
    options = _parse(argv)
    home = os.path.abspath(options.home)
    try:
        return ACTS[options.command](home, options)
    except ActError as wrong:
        print(f"qmail passwd: fatal: {wrong}", file=sys.stderr)
        return Exit.PERMANENT
    except (PasswdLineError, MissingAccountError) as wrong:
        print(f"qmail passwd: fatal: {wrong}", file=sys.stderr)
        return Exit.TEMPORARY
    except OSError as trouble:
        where = f"{trouble.filename}: " if trouble.filename else ""
        print(f"qmail passwd: fatal: {where}{trouble.strerror}", file=sys.stderr)
        return Exit.TEMPORARY
    except KeyboardInterrupt:
        print("\nqmail passwd: interrupted, nothing is changed", file=sys.stderr)
        return Exit.TEMPORARY


def _parse(argv: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="qmail passwd",
        usage="qmail passwd COMMAND [NAME] [option ...]",
        description=DESCRIPTION,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    hidden = argparse.SUPPRESS
    parser.add_argument("command", choices=tuple(ACTS), help=hidden)
    parser.add_argument("name", nargs="?", help=hidden)
    parser.add_argument(
        "--home", default=home_folder(), metavar="DIR", help="the home of qmail (%(default)s)"
    )
    parser.add_argument(
        "--uid", type=int, metavar="N", help="add: user id of the mail (default: the account's)"
    )
    parser.add_argument("--gid", type=int, metavar="N", help="add: group id of the mail")
    parser.add_argument("--mailhome", metavar="DIR", help="add: folder that the mail is in")
    parser.add_argument(
        "--maildir", metavar="PATH", help="add: the maildir, from that folder (default: Maildir)"
    )
    parser.add_argument(
        "--iterations",
        type=int,
        default=ITERATIONS,
        metavar="N",
        help=f"add, set: work for each guess, {ITERATIONS_MIN} to {ITERATIONS_MAX} (%(default)s)",
    )
    parser.add_argument("--json", action="store_true", help="list: a JSON array")
    options = parser.parse_args(argv)
    if (options.name is None) != (options.command == "list") and options.command != "check":
        parser.error(f"{options.command} {'takes no' if options.name else 'needs a'} NAME")
    if not ITERATIONS_MIN <= options.iterations <= ITERATIONS_MAX:
        parser.error(f"--iterations must be {ITERATIONS_MIN} to {ITERATIONS_MAX}")
    return options
