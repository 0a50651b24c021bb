"""The local recipient as root: an unprivileged account made for the run, removed afterwards."""

import os
import pwd
import subprocess
from typing import Final

from bench.load import need
from bench.values import BenchError, Mailbox

ACCOUNT: Final = "qmbench"
TOOL_SECONDS_MAX: Final = 30.0


def make_account(folder: str) -> Mailbox:
    """Make the account with a home in `folder`, and its maildir.

    Raises: BenchError: there is one already that is in use, or it can't be made.
    """
    try:
        known = pwd.getpwnam(ACCOUNT)
    except KeyError:
        pass
    else:
        if os.path.exists(known.pw_dir):
            raise BenchError(f"account {ACCOUNT} is there: is another run of this under way?")
        remove_account()
    home = f"{folder}/{ACCOUNT}"
    _run("useradd", "--system", "--user-group", "--no-create-home", "--home-dir", home, ACCOUNT)
    account = pwd.getpwnam(ACCOUNT)
    for path in (home, *(f"{home}/Maildir{name}" for name in ("", "/tmp", "/new", "/cur"))):
        os.mkdir(path, 0o700)
        os.chown(path, account.pw_uid, account.pw_gid)
    return Mailbox(local_part=ACCOUNT, new=f"{home}/Maildir/new")


def remove_account() -> None:
    """Remove the account. Raises: BenchError: it can't be."""
    _run("userdel", ACCOUNT)


def _run(tool: str, *arguments: str) -> None:
    done = subprocess.run(
        [need(tool), *arguments],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=TOOL_SECONDS_MAX,
        check=False,
    )
    if done.returncode != 0:
        raise BenchError(f"{tool}: {done.stderr.decode('utf-8', 'replace').strip()[-300:]}")


def count_in(folder: str) -> int:
    """Count the messages in a folder."""
    with os.scandir(folder) as entries:
        return sum(1 for _ in entries)
