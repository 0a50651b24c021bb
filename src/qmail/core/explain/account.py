"""Whose address it is: `core.addresses.owners` decides, here it is put into words."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final

from qmail.core.addresses.assign import ASSIGN, AssignError, assignments, key_shown, unpack_owner
from qmail.core.addresses.owners import CDB, Assigned, Owners
from qmail.core.addresses.users import Directory
from qmail.core.cdb import CdbError
from qmail.core.explain.explanation import Part, Step, printable, reason_of, sentence
from qmail.core.local.route import TRASH, local_route, wrong_with_recipient
from qmail.core.smtp.verification import by_owner
from qmail.mail import Letter
from qmail.protocol.exits import Exit
from qmail.protocol.local_door import Owner

ACCOUNT: Final = "account"
ACCOUNT_LIST: Final = "passwd"


class WatchedDirectory:
    """A list of accounts that notes what it is asked."""

    def __init__(self, directory: Directory) -> None:
        self._directory = directory
        self._asked: Owner | None = None
        self.absent: list[str] = []
        self.steps: list[Step] = []
        self.is_asked = False

    def account(self, name: bytes) -> Owner | None:
        """Look `name` up. Raises OSError: the list can't be read now."""
        self.is_asked = True
        try:
            found = self._directory.account(name)
        except OSError as trouble:
            text = f"{printable(name)}: the list of accounts does not answer: {trouble.strerror}"
            self.steps.append(Step(ACCOUNT, text, ACCOUNT_LIST))
            raise
        if found is None:
            self.absent.append(printable(name))
        self._asked = found
        if found is not None and found.uid == 0:
            self._say("root gets no mail")
        return found

    def folder_owner(self, path: bytes) -> int | None:
        """Return who owns a folder. Raises OSError: the file system does not answer now."""
        home = f"the home {printable(path)}"
        try:
            uid = self._directory.folder_owner(path)
        except OSError as trouble:
            self._say(f"{home} does not answer: {trouble.strerror}")
            raise
        if uid is None:
            self._say(f"{home} is not there")
        elif self._asked is not None and uid != self._asked.uid:
            self._say(f"{home} belongs to uid {uid}")
        return uid

    def _say(self, text: str) -> None:
        account = self._asked
        who = f"{printable(account.user)} (uid {account.uid}): " if account is not None else ""
        self.steps.append(Step(ACCOUNT, who + text, ACCOUNT_LIST))


@dataclass(frozen=True, slots=True)
class AccountSources:
    """Where the answer to whose address it is comes from."""

    directory: Directory
    make_owners: Callable[[Directory], Owners]
    """Returns what decides, for a list of accounts."""
    has_cdb: bool
    """Whether there is a users/cdb."""
    read_assign: Callable[[], Iterable[bytes]]
    """Returns the lines of users/assign. Raises: OSError."""


def explain_account(recipient: bytes, sources: AccountSources) -> Part:
    """Say who controls a local recipient.

    Facts: what is reported if that alone decides, else b""; then uid, gid and packed target.
    """
    wrong = wrong_with_recipient(recipient)
    if wrong is not None:
        text = sentence(wrong[1:])
        if wrong == TRASH:
            text = "the local part is empty, a trash address: it is taken and delivered nowhere"
        return Part((Step(ACCOUNT, text),), _verdict(wrong), (wrong,))
    local = recipient.rpartition(b"@")[0]
    watched = WatchedDirectory(sources.directory)
    owners = sources.make_owners(watched)
    steps = _assigned_steps(local, owners, sources) if sources.has_cdb else []
    answer = owners.find(local)
    route, report = local_route(answer, recipient), by_owner(recipient, answer)
    steps += [*_absent_steps(watched), *watched.steps]
    if isinstance(route, bytes):
        steps.append(Step(ACCOUNT, sentence(route[1:])))
        return Part(tuple(steps), _verdict(route), (route,))
    assert answer.owner is not None
    (uid, gid), target = route
    file = ACCOUNT_LIST if watched.is_asked else ""
    if file or not steps or not steps[-1].text.endswith(_shown_owner(answer.owner)):
        steps.append(Step(ACCOUNT, _shown_owner(answer.owner), file))
    return Part(tuple(steps), Exit.OK, (report or b"", b"%d" % uid, b"%d" % gid, target))


# --- users/cdb ----------------------------------------------------------------------------------


def _assigned_steps(local: bytes, owners: Owners, sources: AccountSources) -> list[Step]:
    """Say what users/cdb says, and which line of users/assign it has that from."""
    try:
        found = owners.assigned(local)
    except (OSError, CdbError) as trouble:
        return [Step(ACCOUNT, reason_of(trouble), CDB)]
    if found is None:
        return [Step(ACCOUNT, f"nothing is assigned for {printable(local)}", CDB)]
    text = f"{printable(key_shown(found.key))} -> {_shown_owner(found.owner)}"
    try:
        number = _line_of(local, found, sources.read_assign())
    except (OSError, AssignError):
        # Only users/cdb counts: users/assign may be gone, or under construction.
        return [Step(ACCOUNT, text, CDB)]
    if not number:
        text = f"{text}; {ASSIGN} says otherwise: run qmail-newu"
        return [Step(ACCOUNT, text, CDB)]
    return [Step(ACCOUNT, text, ASSIGN, number)]


def _line_of(local: bytes, found: Assigned, lines: Iterable[bytes]) -> int:
    """Return the line that gives this record, 0: none does. Raises: AssignError: a bad file."""
    for assignment in assignments(lines):
        key, data = assignment.record
        if key == found.key:
            # Of two lines for the same address the first one counts.
            rest = local[len(assignment.local) :] if assignment.is_wildcard else b""
            return assignment.number if unpack_owner(data, rest) == found.owner else 0
    return 0


# --- the list of accounts -----------------------------------------------------------------------


def _absent_steps(watched: WatchedDirectory) -> list[Step]:
    if not watched.absent:
        return []
    return [Step(ACCOUNT, f"no account {', '.join(watched.absent)}", ACCOUNT_LIST)]


def _shown_owner(owner: Owner) -> str:
    text = f"{printable(owner.user)} (uid {owner.uid}, home {printable(owner.home)})"
    return f'{text}, ext "{printable(owner.ext)}"' if owner.dash or owner.ext else text


def _verdict(report: bytes) -> Exit:
    """Return what a report of qmail-lspawn means."""
    letters = {Letter.DELIVERED: Exit.OK, Letter.FAILED: Exit.PERMANENT}
    return letters.get(Letter(report[0]), Exit.TEMPORARY)
