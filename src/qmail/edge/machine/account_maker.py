"""Makes the groups and accounts of the suite with the system's own tools. Needs root."""

import grp
import os
import pwd
import subprocess
from collections.abc import Callable
from typing import Final

from qmail.edge.machine.accounts import ACCOUNT_GROUPS, GROUPS

TOOL_SECONDS_MAX: Final = 60
TOOL_PATH: Final = "/usr/sbin:/sbin:/usr/bin:/bin"


class AccountToolError(Exception):
    """groupadd or useradd is missing or refused; the text says what to do."""


def make_accounts(home: str, say: Callable[[str], None]) -> None:
    """Make the groups and accounts that are missing, and tell `say` of each.

    Raises: AccountToolError: it could not be done, or an account has the wrong group.
    """
    for group in GROUPS:
        if not _exists(grp.getgrnam, group):
            _run("groupadd", "--system", group)
            say(f"made group {group} (gid {grp.getgrnam(group).gr_gid})")
    for name, group in ACCOUNT_GROUPS.items():
        if not _exists(pwd.getpwnam, name):
            folder = f"{home}/alias" if name == "alias" else home
            _run(
                "useradd", "--system", "--no-create-home", "--no-user-group",
                "--gid", group, "--home-dir", folder, "--shell", _no_login_shell(), name,
            )  # fmt: skip
            say(f"made account {name} (uid {pwd.getpwnam(name).pw_uid}, group {group})")
        entry = pwd.getpwnam(name)
        if entry.pw_gid != grp.getgrnam(group).gr_gid:
            raise AccountToolError(
                f"account {name} has group {entry.pw_gid} instead of {group}:"
                f" run 'usermod --gid {group} {name}'"
            )
        if entry.pw_uid == 0:
            raise AccountToolError(f"account {name} is root by another name: remove it")


def _exists(look_up: Callable[[str], object], name: str) -> bool:
    try:
        look_up(name)
    except KeyError:
        return False
    return True


def _no_login_shell() -> str:
    for shell in ("/usr/sbin/nologin", "/sbin/nologin"):
        if os.access(shell, os.X_OK):
            return shell
    return "/bin/false"


def _run(tool: str, *arguments: str) -> None:
    try:
        done = subprocess.run(
            (tool, *arguments),
            env={"PATH": TOOL_PATH, "LC_ALL": "C"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=TOOL_SECONDS_MAX,
            check=False,
        )
    except FileNotFoundError:
        raise AccountToolError(
            f"{tool} is missing: run 'apt-get install passwd', or make the accounts by hand"
        ) from None
    except subprocess.TimeoutExpired:
        raise AccountToolError(f"{tool} did not end in {TOOL_SECONDS_MAX} seconds") from None
    if done.returncode != 0:
        reason = done.stderr.decode("utf-8", "replace").strip()[:300]
        raise AccountToolError(f"{tool} {arguments[-1]}: {reason or done.returncode}")
