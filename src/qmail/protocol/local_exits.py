"""What the exit codes of qmail-local, qmail-getpw and delivery programs mean to their callers."""

from collections.abc import Mapping
from enum import IntEnum
from typing import Final

from qmail.mail import Letter
from qmail.protocol.exits import Exit
from qmail.protocol.refusals import REFUSALS

OUTPUT_BYTES_MAX: Final = 3000
"""Longest output that is reported; more is cut (spec/delivery.md 10)."""
_KEPT_BYTES: Final = 2966
_CUT_NOTICE: Final = b"\n[the rest is not shown]\n"


class LocalExit(IntEnum):
    """How the steps before qmail-local end (spec/delivery.md 2 and 10)."""

    USAGE = 112
    ROOT = 113
    HOME_TROUBLE = 115
    NO_ALIAS = 116
    BAD_CDB = 117
    SYSTEM = 118
    MEMORY = 119
    EXEC_SOFT = 120
    NO_GETPW = 121
    EXEC_HARD = 126


CRASHED: Final = b"Zqmail-local crashed. (#4.3.0)\n"
LOOKUP_CRASHED: Final = b"ZThe address look-up crashed. (#4.3.0)\n"

_FIXED: Final[Mapping[int, bytes]] = {
    LocalExit.USAGE: b"ZWrong arguments for qmail-local. (#4.3.5)\n",
    LocalExit.ROOT: b"ZThe recipient is root: root never receives mail. (#4.3.5)\n",
    LocalExit.HOME_TROUBLE: b"ZUnable to reach the recipient's home folder now. (#4.3.0)\n",
    LocalExit.NO_ALIAS: b"ZThe account alias is missing. (#4.3.5)\n",
    LocalExit.BAD_CDB: b"ZTrouble reading users/cdb. (#4.3.0)\n",
    LocalExit.SYSTEM: b"ZThe list of accounts is not available now. (#4.3.0)\n",
    LocalExit.MEMORY: b"ZOut of memory. (#4.3.0)\n",
    LocalExit.EXEC_SOFT: b"ZUnable to start qmail-local now. (#4.3.0)\n",
    LocalExit.NO_GETPW: b"ZUnable to start qmail-getpw. (#4.3.0)\n",
    LocalExit.EXEC_HARD: b"DUnable to start qmail-local. (#5.3.0)\n",
}
_LETTERS: Final[Mapping[int, Letter]] = {
    0: Letter.DELIVERED,
    111: Letter.DEFERRED,
    71: Letter.DEFERRED,
    74: Letter.DEFERRED,
    75: Letter.DEFERRED,
}


def local_report(code: int, output: bytes) -> bytes:
    """Return the report for a qmail-local that ended with `code` (negative: by a signal).

    Source: spec/delivery.md 10, "mapping of the child's exit".
    """
    if code < 0:
        return CRASHED
    if code in _FIXED:
        return _FIXED[code]
    letter = _LETTERS.get(code, Letter.FAILED)
    output = output.partition(b"\0")[0]
    if len(output) > OUTPUT_BYTES_MAX:
        output = output[:_KEPT_BYTES] + _CUT_NOTICE
    return bytes((letter,)) + output


def program_exit(code: int) -> Exit:
    """Say what the exit code of a `|` line means (spec/delivery.md 5, Program lines)."""
    if code in REFUSALS:
        return Exit.PERMANENT
    return Exit(code) if code in (Exit.OK, Exit.STOP) else Exit.TEMPORARY
