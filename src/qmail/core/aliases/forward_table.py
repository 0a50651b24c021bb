"""What fastforward does with a recipient, found out without doing it.

`plan_forward` looks a recipient up in a table and returns everything that would be done: for the
program, which then does it, and for who only wants to know. Source: spec/companion.md 2.1.
"""

from __future__ import annotations

from qmail.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Final

    Find = Callable[[bytes], bytes | None]
    """Returns the data of a key of the table, None where there is none."""
    ReadList = Callable[[bytes], bytes]
    """Returns the contents of a list file. Raises: ForwardError."""

ADDRESS_BYTES: Final = 900
"""An address of so many bytes, with its mark, is left out; so is an empty one."""
LIST_BYTES_MAX: Final = 256 * 1024 * 1024
"""Longest list file, text or stored: some ten million addresses."""
WORK_ITEMS_MAX: Final = 10_000_000
DOUBLE_BOUNCE: Final = b"#@[]"

OWNER: Final = "owner"
ALIAS: Final = "alias"
UNKNOWN: Final = "unknown"
PROGRAM: Final = "program"
LIST: Final = "list"
RECIPIENT: Final = "recipient"
"""What a step is about."""


class ForwardError(Exception):
    """A table or list that can't be used now: the delivery is tried again later."""


class Step(Record):
    """One thing found out. `key`: the record that says so, b"" where it is the rule alone."""

    kind: str
    text: bytes
    key: bytes


class Forward(Record):
    """What is to be done with a message: programs in order, then one submission."""

    is_known: bool
    sender: bytes
    programs: tuple[bytes, ...]
    """Each with its first byte: | for the message as it is, ! for the message with its lines."""
    recipients: tuple[bytes, ...]
    steps: tuple[Step, ...]


def plan_forward(address: bytes, sender: bytes, find: Find, read_list: ReadList) -> Forward:
    """Find out what is done for `address` and the envelope sender of the message.

    Raises: ForwardError: a list can't be read, or it never ends.
    """
    walk = _Walk(find, read_list)
    if sender not in (b"", DOUBLE_BOUNCE):
        sender = walk.owner_of(address, sender)
    is_known = walk.start(address)
    walk.work()
    # Collected as a stack: what was found last is sent to first.
    recipients = tuple(reversed(walk.recipients))
    return Forward(is_known, sender, tuple(walk.programs), recipients, tuple(walk.steps))


def wildcard_keys(mark: bytes, address: bytes) -> tuple[bytes, ...]:
    """Return the keys to try for an address: itself, then its host, then its user."""
    at = address.rfind(b"@")
    names = (address,) if at < 0 else (address, address[at:], address[: at + 1])
    return tuple(mark + name.lower() for name in names)


class _Walk:
    def __init__(self, find: Find, read_list: ReadList) -> None:
        self._find = find
        self._read_list = read_list
        self._work: list[tuple[bytes, bytes]] = []
        self._seen: set[bytes] = set()
        self.programs: list[bytes] = []
        self.recipients: list[bytes] = []
        self.steps: list[Step] = []

    def owner_of(self, address: bytes, sender: bytes) -> bytes:
        """Return who gets the bounces of this address."""
        for key in wildcard_keys(b"?", address):
            owner = self._find(key)
            if owner is not None:
                self.steps.append(Step(OWNER, owner, key))
                return owner
        return sender

    def start(self, address: bytes) -> bool:
        """Look the recipient of the message up, wildcards and all; say whether it is known."""
        for key in wildcard_keys(b":", address):
            commands = self._find(key)
            if commands is not None:
                self.steps.append(Step(ALIAS, address, key))
                self._expand(commands, key)
                return True
        self.steps.append(Step(UNKNOWN, address, b""))
        return False

    def work(self) -> None:
        """Take what is to be looked at, the last first, each only once."""
        while self._work:
            item, key = self._work.pop()
            if item in self._seen:
                continue
            self._seen.add(item)
            if item.startswith(b"&"):
                self._recipient(item[1:], key)
            else:
                self._list(item, key)

    def _recipient(self, address: bytes, key: bytes) -> None:
        name = address.lower()
        # A list with an owner gets a delivery of its own, so that bounces go to that owner.
        if self._find(b"?" + name) is None:
            commands = self._find(b":" + name)
            if commands is not None:
                if b":" + name not in self._seen:
                    self.steps.append(Step(ALIAS, address, b":" + name))
                    self._expand(commands, b":" + name)
                return
        self.steps.append(Step(RECIPIENT, address, key))
        self.recipients.append(address)

    def _expand(self, commands: bytes, key: bytes) -> None:
        """Take the commands of a target; no list runs its programs twice by naming itself."""
        self._seen.add(key)
        for entry in stored_entries(commands):
            if entry[:1] in (b"|", b"!"):
                self.steps.append(Step(PROGRAM, entry, key))
                self.programs.append(entry)
            else:
                self._take(entry, key)

    def _list(self, path: bytes, key: bytes) -> None:
        self.steps.append(Step(LIST, path, key))
        data = self._read_list(path)
        if data and not data.endswith(b"\0"):
            name = path.decode("utf-8", "replace")
            raise ForwardError(f"{name} is no list that newinclude or setmaillist has made")
        for entry in stored_entries(data):
            self._take(entry, path)

    def _take(self, entry: bytes, key: bytes) -> None:
        is_recipient = entry.startswith(b"&") and 1 < len(entry) < ADDRESS_BYTES
        if is_recipient or entry[:1] in (b".", b"/"):
            if len(self._seen) + len(self._work) >= WORK_ITEMS_MAX:
                raise ForwardError(f"more than {WORK_ITEMS_MAX} entries")
            self._work.append((entry, key))


def stored_entries(data: bytes) -> Iterator[bytes]:
    """Yield what NULs end; what comes after the last one is no entry."""
    yield from data.split(b"\0")[:-1]
