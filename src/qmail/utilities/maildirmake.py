"""maildirmake: make a maildir (spec/programs.md 7)."""

import os
import sys
from collections.abc import Sequence

from qmail.protocol.exits import Exit
from qmail.protocol.options import asks_for_help

FOLDER_MODE = 0o700


def main(argv: Sequence[str]) -> int:
    """Run the command: one argument, the folder to make, which must not exist."""
    if len(argv) != 1 or asks_for_help(argv):
        print("maildirmake: usage: maildirmake name", file=sys.stderr)
        return Exit.PERMANENT
    os.umask(0o077)
    folder = argv[0]
    for path in (folder, *(f"{folder}/{part}" for part in ("tmp", "new", "cur"))):
        try:
            os.mkdir(path, FOLDER_MODE)
        except OSError as trouble:
            reason = (trouble.strerror or "unknown error").lower()
            print(f"maildirmake: fatal: unable to mkdir {path}: {reason}", file=sys.stderr)
            return Exit.TEMPORARY
    return Exit.OK
