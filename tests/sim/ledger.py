"""What a simulated year owes to people: who was sent what, who has it, who was told of a failure.

Messages are known by a digest of their text without the Received line of qmail-queue: mails and
bounces alike. Recipients are written as their senders wrote them, without a virtual domain's
prepend.
"""

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from hashlib import blake2b

from tests.sim.survey import HalfMessageError, LossError, asked_for

NOBODY = b"#@[]"
PARAGRAPH = re.compile(rb"^<(.+)>:$", re.MULTILINE)
Digest = bytes
Owed = tuple[Digest, bytes]
"""One message, one recipient."""


def digest(text: bytes) -> Digest:
    """Return what tells a text from others, with or without its Received line."""
    head, _, rest = text.partition(b"\n")
    return blake2b(rest if head.startswith(b"Received: (qmail ") else text, digest_size=8).digest()


def plain(recipient: bytes) -> bytes:
    """Return a recipient without a virtual domain's prepend."""
    return recipient.removeprefix(b"virt-")


def told_of(paragraphs: bytes) -> set[bytes]:
    """Return whom the text of a bounce/N is about."""
    return {plain(name) for name in PARAGRAPH.findall(paragraphs)}


@dataclass(slots=True)
class Entry:
    """One message that was handed to qmail-queue."""

    sender: bytes
    recipients: tuple[bytes, ...]
    about: Digest | None = None
    """A bounce: which message it is about, and which recipients it names."""
    names: frozenset[bytes] = frozenset()
    is_accepted: bool = False


@dataclass(slots=True)
class Ledger:
    """Everything that is owed and what became of it."""

    entries: dict[Digest, Entry] = field(default_factory=dict)
    delivered: Counter[Owed] = field(default_factory=Counter)
    failed: set[Owed] = field(default_factory=set)
    """Recipients of whom bounce/N says something."""
    deleted: set[Owed] = field(default_factory=set)
    given_up: set[Digest] = field(default_factory=set)
    """What operators have asked to be deleted or bounced."""
    allowed: Counter[Owed] = field(default_factory=Counter)
    """How many copies too many a crash may have made."""

    # --- what happens ---------------------------------------------------------------------------

    def submitted(self, text: bytes, entry: Entry) -> Digest:
        """Note what is handed to qmail-queue."""
        found = digest(text)
        self.entries.setdefault(found, entry)
        return found

    def bounce_submitted(self, text: bytes, entry: Entry) -> Digest:
        """Note a bounce, and check that it may be."""
        parent = self.entries[entry.about or b""]
        sender = parent.sender.removesuffix(b"-@[]")
        assert sender != NOBODY, "a bounce for a double bounce"
        assert entry.sender == (NOBODY if not sender else b""), "a bounce to a bounce"
        wrong = {name for name in entry.names if (entry.about, name) not in self.failed}
        assert not wrong, f"{wrong} did not fail, and the sender is told so"
        assert entry.names <= set(map(plain, parent.recipients)), "a bounce about somebody else"
        return self.submitted(text, entry)

    def accepted(self, found: Digest) -> None:
        """Note that the submitter was told so."""
        self.entries[found].is_accepted = True

    def has(self, found: Digest, recipient: bytes) -> None:
        """Note a delivery. Raises: HalfMessageError: nobody sent that."""
        entry = self.entries.get(found)
        if entry is None:
            raise HalfMessageError("not a whole message")
        name = plain(recipient)
        assert name in entry.recipients, f"{recipient!r} was not meant"
        self.delivered[found, name] += 1
        copies, allowed = self.delivered[found, name], 1 + self.allowed[found, name]
        assert copies <= allowed, f"{copies} copies for {recipient!r}, {allowed} allowed"

    def may_repeat(self, owed: Iterable[Owed]) -> None:
        """Allow one more copy of these: a crash came before the disk knew of the last one."""
        for found, recipient in owed:
            self.allowed[found, plain(recipient)] += 1

    def is_over(self, found: Digest) -> bool:
        """Say whether nobody is left to be tried."""
        ends = (self.delivered, self.failed, self.deleted)
        names = self.entries[found].recipients
        return all(any((found, name) in end for end in ends) for name in names)

    # --- what it comes to -----------------------------------------------------------------------

    def check(self, files: dict[str, bytes]) -> None:
        """Everybody has it, or the sender was told, or the queue's `files` say who will be.

        Raises: LossError.
        """
        waiting = {(digest(text), plain(name)) for text, name in asked_for(files)}
        waiting |= set(_blamed(files))
        told = self._told()
        for found, entry in self.entries.items():
            if not entry.is_accepted:
                continue
            for name in entry.recipients:
                owed = (found, name)
                is_done = self.delivered[owed] or owed in told or owed in self.deleted
                is_dropped = entry.sender == NOBODY and owed in self.failed
                if not (is_done or is_dropped or owed in waiting):
                    raise LossError(f"{entry.sender!r} to {name!r} is lost: {owed in self.failed=}")

    def _told(self) -> set[Owed]:
        return {
            (entry.about, name)
            for entry in self.entries.values()
            if entry.is_accepted and entry.about
            for name in entry.names
        }


def _blamed(files: dict[str, bytes]) -> Iterator[Owed]:
    """Yield those whom bounce/N names: their sender will be told."""
    messages = {path.rpartition("/")[2]: path for path in files if path.startswith("mess/")}
    for path, text in files.items():
        if path.startswith("bounce/") and path[7:] in messages:
            parent = digest(files[messages[path[7:]]])
            yield from ((parent, name) for name in told_of(text))
