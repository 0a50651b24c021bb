"""A thousand local users with a thousand uids, known to the servers of this run alone.

Both servers are started in a mount namespace of their own, where /etc/passwd has these accounts
besides: nothing is added to the machine, and nothing is left when the run is cut off. Postfix's
local(8) and our qmail-getpw look them up in the same file and deliver to the same maildirs.
"""

import os
from dataclasses import dataclass
from typing import Final

from bench.ground import Ground
from bench.load import need
from bench.mailbox import count_in
from bench.values import HOST

USERS: Final = 1000
FIRST_UID: Final = 400_000
LIST: Final = "list"
LIST_MEMBERS: Final = 10_000
SUFFIX: Final = "user"
"""smtp-source -N puts the number in front: 1user, 2user and so on."""
_APART: Final = 'mount -t overlay -o "lowerdir=$0:/etc" none /etc && exec "$@"'
"""The folder goes over /etc as a whole: a file would be uncovered when somebody replaces it."""


@dataclass(frozen=True, slots=True)
class Crowd:
    """The users; everything of theirs lies in `folder`."""

    folder: str

    @property
    def passwd(self) -> str:
        """The list of accounts that the servers see as /etc/passwd."""
        return f"{self.etc}/passwd"

    @property
    def etc(self) -> str:
        """What lies over /etc for the servers."""
        return f"{self.folder}/etc"

    @property
    def members(self) -> str:
        """The file with the members of the list, an address a line."""
        return f"{self.folder}/members"

    @property
    def new_folders(self) -> list[str]:
        """Where their messages appear."""
        return [f"{self.folder}/{number}{SUFFIX}/Maildir/new" for number in numbers()]

    def command(self, *command: str) -> list[str]:
        """Return `command` such that it, and what it starts, knows these users."""
        apart = (need("unshare"), "--mount", "--propagation", "private")
        return [*apart, "sh", "-c", _APART, self.etc, *command]

    def count(self) -> int:
        """Count the messages of all."""
        return sum(map(count_in, self.new_folders))

    def last_arrival(self) -> float:
        """Return when the last message came, by the wall clock."""
        return max(os.stat(folder).st_mtime for folder in self.new_folders)


def numbers() -> range:
    """Return what the users' names begin with."""
    return range(1, USERS + 1)


def make_crowd(ground: Ground) -> Crowd:
    """Make homes, maildirs, the list of accounts and the list of members. Needs root."""
    crowd = Crowd(ground.folder())
    os.mkdir(crowd.etc, 0o755)
    with open("/etc/passwd", encoding="utf-8") as file:
        lines = [file.read()]
    for number in numbers():
        uid, home = FIRST_UID + number, f"{crowd.folder}/{number}{SUFFIX}"
        lines.append(f"{number}{SUFFIX}:x:{uid}:{uid}::{home}:/bin/sh\n")
        _make_home(home, uid)
    _write(crowd.passwd, "".join(lines))
    _write(crowd.members, "".join(f"{address}\n" for address in list_members()))
    return crowd


def list_members() -> list[str]:
    """List the members: ten addresses of each user, in rounds, so that neighbours differ."""
    rounds = range(LIST_MEMBERS // USERS)
    return [f"{number}{SUFFIX}-{each}@{HOST}" for each in rounds for number in numbers()]


def _make_home(home: str, uid: int) -> None:
    for path in (home, *(f"{home}/Maildir{name}" for name in ("", "/tmp", "/new", "/cur"))):
        os.mkdir(path, 0o700)
        os.chown(path, uid, uid)
    _write(f"{home}/.qmail-default", "./Maildir/\n")
    os.chown(f"{home}/.qmail-default", uid, uid)


def _write(path: str, text: str) -> None:
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)
    os.chmod(path, 0o644)
