"""Who controls a local address on this machine: one object for all who ask.

qmail-lspawn delivers by it and qmail-verify answers by it, so the two never differ.
Source: spec/delivery.md 2.
"""

import os

from qmail.core.users import Directory, answer_for, sole_owner
from qmail.protocol.local_door import Answer


class Owners:
    """Looks local parts up. May be asked by several threads at a time."""

    def __init__(
        self, home: str, directory: Directory, sole_account: tuple[int, int] | None = None
    ) -> None:
        """Take the home of the suite; `sole_account`: uid and gid where one runs everything."""
        self._alias_home = os.fsencode(f"{home}/alias")
        self._directory = directory
        self._sole_account = sole_account

    def find(self, local: bytes) -> Answer:
        """Return who controls the local part, or why there is no saying."""
        if self._sole_account is not None:
            uid, gid = self._sole_account
            return Answer(local, 0, sole_owner(local, uid, gid, self._alias_home))
        alias_home = self._alias_home if os.path.isdir(self._alias_home) else b""
        return answer_for(local, self._directory, alias_home)
