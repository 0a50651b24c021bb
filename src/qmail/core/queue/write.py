"""New messages into the queue, states S1 to S4, by group commit (spec/queue.md 3 and 4).

The original syncs the files and not the folders, so that a power cut just after exit 0 can lose
an accepted message. Here all messages that wait are made durable together: one sync puts bytes and
names on disk, and then all of them are accepted. What a power cut leaves of a commit in its middle
shows by its seal (core/queue/seal.py) and is set aside at start.

A new file has no name before it has the one in mess or todo: its number is known by then, and an
envelope is whole as soon as it can be seen. Where there are files of a finished message, the next
one is written into them (core/queue/spares.py).
"""

import contextlib
import math
import re
import zlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Final

from qmail.core.clock import Clock
from qmail.core.dates import mail_date
from qmail.core.fs import Fs
from qmail.core.queue.layout import (
    ENVELOPE_BYTES_MAX,
    Layout,
    numbered,
    numbered_split,
    parked,
)
from qmail.core.queue.parking import could_be_torn
from qmail.core.queue.seal import Seal, is_whole
from qmail.core.queue.spares import Spare, Spares, spare_envelope
from qmail.mail import ADDRESS_BYTES_MAX, BadEnvelopeError, Envelope
from qmail.protocol.exits import QueueExit
from qmail.protocol.trace_id import received_id

FOREIGN_TRIES: Final = 64
_WELL_FORMED: Final = re.compile(
    rb"F[^\0]{0,%d}+\0(?:T[^\0]{0,%d}+\0)*+\0" % (ADDRESS_BYTES_MAX, ADDRESS_BYTES_MAX)
)


class QueueError(Exception):
    """A message that does not get into the queue; `code` is what qmail-queue exits with."""

    def __init__(self, code: QueueExit, reason: str) -> None:
        super().__init__(reason)
        self.code = code


class DraftState(Enum):
    """Whether a new message can still be taken back."""

    OPEN = auto()
    ENDED = auto()


@dataclass(slots=True)
class Draft:
    """One message on its way in. `owner` is whatever the caller needs to answer."""

    number: int
    mess_fd: int
    old_size: int
    uid: int
    qp: int
    birth: int
    size: int = 0
    crc: int = 0
    unwritten: bytes = b""
    syncs_failed: int = 0
    """How many syncs had failed when it was begun."""
    owner: object = None
    trace_id: bytes = b""
    message_id: bytes = b""
    envelope: bytes = b""
    envelope_path: str = ""
    state: DraftState = DraftState.OPEN
    code: QueueExit = QueueExit.QUEUED
    trouble: str = ""
    """Where a commit failed: with which exit code, and why."""


@dataclass(slots=True)
class Round:
    """What one commit brought: accepted messages, and those that failed."""

    accepted: list[Draft] = field(default_factory=list)
    failed: list[Draft] = field(default_factory=list)


class QueueWriter:
    """The only writer of pid, mess, intd and todo."""

    def __init__(self, fs: Fs, clock: Clock, layout: Layout, spares: Spares | None = None) -> None:
        self._fs = fs
        self._clock = clock
        self._layout = layout
        self._written: list[Draft] = []
        self._spares = spares
        self._syncs_failed = 0

    @property
    def has_work(self) -> bool:
        """True while a message waits for a commit."""
        return bool(self._written)

    def recover(self, booted: float = math.inf) -> list[int]:
        """Make the folders safe for new numbers; call before the first message.

        `booted`: when the machine was started, in seconds since 1970.

        A number comes back as soon as its file is gone, so nothing of an old message may be left
        under a number that can come back. Returns: the numbers of what was removed: envelopes
        without a message, left where the power failed while a finished message was removed.
        """
        mess = numbered_split(self._fs, "mess", self._layout.split)
        self._set_torn_aside(booted)
        removed = []
        for folder in ("intd", "todo"):
            for number in numbered(self._fs, folder):
                # Looked at again, because a writer without the service may be at work.
                if number in mess or self._fs.info(self._layout.mess(number)) is not None:
                    continue
                if folder == "todo" and self._fs.info(parked(number, "mess")) is not None:
                    # On its way to its message: qmail-send has qmail-clean finish that.
                    continue
                with contextlib.suppress(FileNotFoundError):
                    self._fs.unlink(f"{folder}/{number}")
                    removed.append(number)
        return removed

    def _set_torn_aside(self, booted: float) -> None:
        """Make S3 of what a power cut left half in todo: it was never accepted.

        The sweep removes it after 36 hours. Other entries that make no sense, or can't be read,
        are left to qmail-send, which has them parked.
        """
        for number in numbered(self._fs, "todo"):
            path = self._layout.todo(number)
            with contextlib.suppress(OSError):
                found = self._fs.info(path)
                records = self._fs.read(path, ENVELOPE_BYTES_MAX)
                if (
                    not is_whole(self._fs, self._layout.mess(number), records)
                    and found is not None
                    and could_be_torn(records, found.mtime, booted)
                ):
                    self._fs.rename(path, self._layout.intd(number))

    def begin(
        self, uid: int, qp: int, who: bytes, *, trace_id: bytes = b"", is_told: bool = False
    ) -> Draft:
        """Start a message: S1 to S2. `who` is what the Received line says of the caller.

        `is_told`: another Received line tells the id already.
        Raises: QueueError.
        """
        birth = int(self._clock.now())
        tail = b"" if is_told else received_id(trace_id)
        received = b"Received: (qmail %d invoked %b); %b%b\n" % (qp, who, mail_date(birth), tail)
        file = self._open_spare() or self._open_new()
        draft = Draft(file.number, file.fd, file.size, uid, qp, birth)
        draft.syncs_failed = self._syncs_failed
        draft.envelope_path = file.envelope
        draft.unwritten = received
        draft.trace_id = trace_id
        return draft

    def _open_spare(self) -> Spare | None:
        """Take a spare, where there is one, and have it at mess/N. Raises: QueueError."""
        try:
            spare = self._spares.take() if self._spares else None
        except OSError as trouble:
            raise QueueError(QueueExit.NO_PID, f"pid: {trouble}") from trouble
        if spare is None or spare.path == (mess := self._layout.mess(spare.number)):
            return spare
        try:
            self._fs.rename(spare.path, mess)
        except OSError as trouble:
            self._forget(spare.fd, spare.path)
            raise QueueError(QueueExit.NO_MESS, f"mess: {trouble}") from trouble
        return spare

    def _open_new(self) -> Spare:
        """Make mess/N, whose number is that of its inode. Raises: QueueError."""
        code = QueueExit.NO_PID
        opened: list[int] = []
        try:
            while len(opened) < FOREIGN_TRIES:
                code = QueueExit.NO_PID
                fd = self._fs.create_unnamed("pid")
                opened.append(fd)
                number = self._fs.info_of(fd).inode
                self._forget_spare(number)
                code = QueueExit.NO_MESS
                path = self._layout.mess(number)
                try:
                    self._fs.name(fd, path)
                except FileExistsError:
                    # A message restored from elsewhere has the number. This file stays open until
                    # another inode is found, or the same one would come again.
                    continue
                opened.pop()
                return Spare(number, fd, 0, path, "")
        except OSError as trouble:
            raise QueueError(code, f"new message: {trouble}") from trouble
        finally:
            for fd in opened:
                self._fs.close(fd)
        raise QueueError(code, "every free inode number is a message restored from elsewhere")

    def _forget_spare(self, number: int) -> None:
        """Remove the mark of a spare that had this number and was swept. Raises: OSError."""
        if self._spares:
            self._spares.forget(number)
        with contextlib.suppress(FileNotFoundError):
            self._fs.unlink(spare_envelope(number))

    def write(self, draft: Draft, data: bytes) -> None:
        """Add bytes to the message.

        Raises: QueueError: the draft is removed.
        """
        # The Received line waits for the first part: one call less.
        data, draft.unwritten = draft.unwritten + data, b""
        try:
            self._fs.write(draft.mess_fd, data)
        except OSError as trouble:
            self.give_up(draft)
            raise QueueError(QueueExit.WRITE_ERROR, f"mess: {trouble}") from trouble
        draft.size += len(data)
        draft.crc = zlib.crc32(data, draft.crc)

    def finish(self, draft: Draft, packed: bytes) -> None:
        """Write the envelope: S2 to S3. The message then waits for a commit.

        Raises: QueueError: the draft is removed.
        """
        if draft.syncs_failed != self._syncs_failed:
            # The sync that failed may have dropped what was written of this one by then.
            self.give_up(draft)
            raise QueueError(QueueExit.WRITE_ERROR, "a sync failed while it came in")
        try:
            check_envelope(packed)
        except BadEnvelopeError as wrong:
            self.give_up(draft)
            code = QueueExit.ADDRESS_TOO_LONG if wrong.too_long else QueueExit.BAD_ENVELOPE
            raise QueueError(code, str(wrong)) from wrong
        if draft.unwritten:
            self.write(draft, b"")
        record = self.qp_record(draft, packed)
        records = b"u%d\0%b\0%b" % (draft.uid, record, packed[:-1])
        try:
            if draft.size < draft.old_size:
                self._fs.truncate(draft.mess_fd, draft.size)
        except OSError as trouble:
            self.give_up(draft)
            raise QueueError(QueueExit.WRITE_ERROR, f"mess: {trouble}") from trouble
        self._write_envelope(draft, records)
        self._fs.close(draft.mess_fd)
        draft.mess_fd = -1
        draft.envelope = packed
        self._written.append(draft)

    def qp_record(self, draft: Draft, packed: bytes) -> bytes:
        """Return the second record of todo/N: it tells a whole message from a torn one."""
        return Seal(draft.qp, draft.size, draft.crc, draft.trace_id).record(packed)

    def _write_envelope(self, draft: Draft, records: bytes) -> None:
        """Make todo/N; it is whole when it gets that name.

        Raises: QueueError: the draft is removed.
        """
        code = QueueExit.NO_INTD
        try:
            fd = self._open_envelope(draft)
            try:
                code = QueueExit.WRITE_ERROR
                self._fs.write(fd, records)
                if draft.envelope_path and self._fs.info_of(fd).size > len(records):
                    self._fs.truncate(fd, len(records))
                code = QueueExit.NO_TODO
                self._name_envelope(draft, fd)
            finally:
                self._fs.close(fd)
        except OSError as trouble:
            self.give_up(draft)
            raise QueueError(code, f"envelope: {trouble}") from trouble

    def _open_envelope(self, draft: Draft) -> int:
        if draft.envelope_path:
            # One that lay there for long may have been removed while the message came in.
            try:
                return self._fs.reuse(draft.envelope_path)
            except FileNotFoundError:
                draft.envelope_path = ""
        return self._fs.create_unnamed("pid")

    def _name_envelope(self, draft: Draft, fd: int) -> None:
        todo = self._layout.todo(draft.number)
        if draft.envelope_path:
            self._fs.rename(draft.envelope_path, todo)
        else:
            try:
                self._fs.name(fd, todo)
            except FileExistsError:
                # The number is ours (mess/N is), so this is a leftover of an older message.
                self._fs.unlink(todo)
                self._fs.name(fd, todo)
        if self._spares:
            self._spares.named(draft.number)

    def commit(self) -> Round:
        """Do one sync for all messages that wait, and what it makes possible.

        A failed sync is final for its files: they are removed and their senders told, because a
        second sync may claim success for bytes that were dropped.
        """
        written, self._written = self._written, []
        if self._spares:
            self._spares.look()
        try:
            self._fs.sync()
        except OSError as trouble:
            self._syncs_failed += 1
            if self._spares:
                self._spares.sync_failed()
            for draft in written:
                draft.code, draft.trouble = QueueExit.WRITE_ERROR, f"sync: {trouble}"
                self.give_up(draft)
            return Round(failed=written)
        if self._spares:
            self._spares.synced()
        for draft in written:
            draft.state = DraftState.ENDED
        return Round(accepted=written)

    def give_up(self, draft: Draft) -> None:
        """Take back everything of a draft that is not accepted."""
        if draft.state is DraftState.ENDED:
            return
        layout, number = self._layout, draft.number
        draft.state = DraftState.ENDED
        # The envelope first: a message without envelope is S2, which recovery knows.
        envelope = [draft.envelope_path] if draft.envelope_path else []
        self._forget(draft.mess_fd, layout.todo(number), *envelope, layout.mess(number))
        draft.mess_fd = -1
        if self._spares:
            self._spares.named(number)

    def _forget(self, fd: int, *paths: str) -> None:
        if fd >= 0:
            self._fs.close(fd)
        for path in paths:
            try:
                self._fs.unlink(path)
            except FileNotFoundError:
                continue
            except OSError:
                # What can't be removed now is swept after 36 hours.
                return


def write_all(
    writer: QueueWriter, draft: Draft, parts: Iterable[bytes], envelope: Callable[[], bytes]
) -> None:
    """Put one message in and wait for its commits: for a lone writer without the service.

    `envelope` is called after the last part: submitters write it last.

    Raises: QueueError.
    """
    for part in parts:
        writer.write(draft, part)
    writer.finish(draft, envelope())
    while writer.has_work:
        outcome = writer.commit()
        if outcome.failed:
            raise QueueError(outcome.failed[0].code, outcome.failed[0].trouble)


def check_envelope(packed: bytes) -> None:
    """Check an envelope as `Envelope.unpack` does, without an object for each recipient.

    Raises: BadEnvelopeError: it is none; unpacking it tells why.
    """
    if not _WELL_FORMED.fullmatch(packed):
        Envelope.unpack(packed)
