"""Where this installation is: the home, and the suite's other commands."""

from __future__ import annotations

import os
import sys


def home_folder() -> str:
    """Return the home: QMAIL_HOME, else /var/qmail."""
    return os.environ.get("QMAIL_HOME") or "/var/qmail"


def command_path(name: str) -> str | None:
    """Return the path of the suite's command `name`, or None where there is none.

    It is looked for beside the running program, then in the home, then along PATH. A name for the
    running program itself, as newaliases may be one for sendmail, is passed over.
    """
    folders = [f"{home_folder()}/bin", *os.get_exec_path()]
    if "/" in sys.argv[0]:
        folders.insert(0, os.path.dirname(sys.argv[0]))
    for folder in folders:
        path = os.path.abspath(f"{folder}/{name}")
        if folder and os.access(path, os.X_OK) and os.path.isfile(path) and not _is_us(path):
            return path
    return None


def _is_us(path: str) -> bool:
    try:
        return os.path.samefile(path, sys.argv[0])
    except OSError:
        # Started in a way that leaves no file to compare with.
        return False
