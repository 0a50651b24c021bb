"""Who controls a local address on this machine: one object for all who ask.

qmail-lspawn delivers by it, qmail-verify answers by it and `qmail explain` shows it, so they never
differ. First users/cdb, then the rules of qmail-getpw. Source: spec/delivery.md 2.
"""

import os
from dataclasses import dataclass
from typing import Final

from qmail.core.addresses.assign import WILDCHARS_KEY, simple_key, unpack_owner, wildcard_key
from qmail.core.addresses.users import BREAK, Directory, answer_for, sole_owner
from qmail.core.cdb import Cdb, CdbError, CdbFile, prefix_hashes
from qmail.protocol.local_door import Answer, Owner
from qmail.protocol.local_exits import LocalExit

CDB: Final = "users/cdb"


@dataclass(frozen=True, slots=True)
class Assigned:
    """What users/cdb says of an address, and by which of its keys."""

    key: bytes
    owner: Owner


class Owners:
    """Looks local parts up. May be asked by several threads at a time.

    users/cdb stays open and is asked every time: a new one counts from the next look-up on.
    """

    def __init__(
        self,
        home: str,
        directory: Directory,
        sole_account: tuple[int, int] | None = None,
        break_: bytes = BREAK,
    ) -> None:
        """Take the home of the suite; `sole_account`: uid and gid where one runs everything."""
        self._alias_home = os.fsencode(f"{home}/alias")
        self._directory = directory
        self._sole_account = sole_account
        self._break = break_
        self._cdb = CdbFile(f"{home}/{CDB}")

    def find(self, local: bytes) -> Answer:
        """Return who controls the local part, or why there is no saying."""
        try:
            assigned = self.assigned(local)
        except (OSError, CdbError):
            return Answer(local, LocalExit.BAD_CDB)
        if self._sole_account is not None:
            return Answer(local, 0, self._under_one_account(local, assigned))
        if assigned is None:
            return self._by_rules(local)
        if assigned.owner.uid == 0:
            return Answer(local, LocalExit.ROOT)
        return Answer(local, 0, assigned.owner)

    def assigned(self, local: bytes) -> Assigned | None:
        """Return what users/cdb says of the local part; None: nothing, or there is no such file.

        Raises: OSError: it can't be read. CdbError: it is damaged, or has a record that is wrong.
        """
        cdb = self._cdb.now()
        return None if cdb is None else look_up(local, cdb)

    def _by_rules(self, local: bytes) -> Answer:
        alias_home = self._alias_home if os.path.isdir(self._alias_home) else b""
        return answer_for(local, self._directory, alias_home, self._break)

    def _under_one_account(self, local: bytes, assigned: Assigned | None) -> Owner:
        """Return the owner where all mail has to be delivered under the same account.

        An assignment counts if it names this account; the others belong to a host that has them.
        """
        assert self._sole_account is not None
        uid, gid = self._sole_account
        if assigned is None or assigned.owner.uid != uid:
            return sole_owner(local, uid, gid, self._alias_home)
        owner = assigned.owner
        return Owner(owner.user, uid, gid, owner.home, owner.dash, owner.ext)


def look_up(local: bytes, cdb: Cdb) -> Assigned | None:
    """Return what `cdb` says of the local part: the simple assignment, else the longest wildcard.

    Raises: OSError, CdbError: as `Owners.assigned`.
    """
    wildchars = cdb.get(WILDCHARS_KEY)
    if wildchars is None:
        raise CdbError(cdb.path, "no record of the last bytes of wildcards: run qmail-newu")
    key = simple_key(local)
    data = cdb.get(key)
    if data is not None:
        return _assigned(key, data, b"", cdb)
    key = wildcard_key(local)
    hashes = prefix_hashes(key)
    for end in range(len(key), 0, -1):
        if end > 1 and key[end - 1] not in wildchars:
            continue
        data = cdb.get(key[:end], hashes[end])
        if data is not None:
            return _assigned(key[:end], data, local[end - 1 :], cdb)
    return None


def _assigned(key: bytes, data: bytes, rest: bytes, cdb: Cdb) -> Assigned:
    try:
        return Assigned(key, unpack_owner(data, rest))
    except ValueError as wrong:
        raise CdbError(cdb.path, f"a wrong record: {wrong}: run qmail-newu") from None
