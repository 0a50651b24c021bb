"""Whose address it is: `core.users` decides, here its questions and answers are put into words."""

from collections.abc import Callable
from typing import Final

from qmail.core.explanation import Part, Step, printable, sentence
from qmail.core.local_route import TRASH, local_route, wrong_with_recipient
from qmail.core.users import Directory
from qmail.mail import Letter
from qmail.protocol.exits import Exit
from qmail.protocol.local_door import Answer, Owner

ACCOUNT: Final = "account"
ACCOUNT_LIST: Final = "passwd"

Find = Callable[[bytes, Directory], Answer]
"""Looks a local part up in an account list."""


class WatchedDirectory:
    """A list of accounts that notes what it is asked."""

    def __init__(self, directory: Directory) -> None:
        self._directory = directory
        self._asked: Owner | None = None
        self.absent: list[str] = []
        self.steps: list[Step] = []

    def account(self, name: bytes) -> Owner | None:
        """Look `name` up. Raises OSError: the list can't be read now."""
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


def explain_account(recipient: bytes, directory: Directory, find: Find) -> Part:
    """Say who controls a local recipient. Facts: uid, gid, packed target; or what is reported."""
    wrong = wrong_with_recipient(recipient)
    if wrong is not None:
        text = sentence(wrong[1:])
        if wrong == TRASH:
            text = "the local part is empty, a trash address: it is taken and delivered nowhere"
        return Part((Step(ACCOUNT, text),), _verdict(wrong), (wrong,))
    watched = WatchedDirectory(directory)
    answer = find(recipient.rpartition(b"@")[0], watched)
    route = local_route(answer, recipient)
    steps = [*_absent_steps(watched), *watched.steps]
    if isinstance(route, bytes):
        steps.append(Step(ACCOUNT, sentence(route[1:])))
        return Part(tuple(steps), _verdict(route), (route,))
    assert answer.owner is not None
    (uid, gid), target = route
    steps.append(Step(ACCOUNT, _shown_owner(answer.owner), ACCOUNT_LIST))
    return Part(tuple(steps), Exit.OK, (b"%d" % uid, b"%d" % gid, target))


def _absent_steps(watched: WatchedDirectory) -> list[Step]:
    if not watched.absent:
        return []
    return [Step(ACCOUNT, f"no account {', '.join(watched.absent)}", ACCOUNT_LIST)]


def _shown_owner(owner: Owner) -> str:
    text = f"{printable(owner.user)} (uid {owner.uid}, home {printable(owner.home)})"
    return f'{text}, ext "{printable(owner.ext)}"' if owner.dash else text


def _verdict(report: bytes) -> Exit:
    """Return what a report of qmail-lspawn means."""
    letters = {Letter.DELIVERED: Exit.OK, Letter.FAILED: Exit.PERMANENT}
    return letters.get(Letter(report[0]), Exit.TEMPORARY)
