"""The queue on disk as qmail-send sees it: the one writer of info, local, remote and bounce."""

import contextlib
import math
from collections.abc import Callable, Collection, Container, Iterable, Iterator, Mapping
from typing import Final, TypeVar

from qmail.core.clock import Clock
from qmail.core.fs import Fs
from qmail.core.queue.bad_entries import BadEntries
from qmail.core.queue.engine import Act, Arrival, Claim, DamagedError, EngineError, Ticket
from qmail.core.queue.layout import (
    ENVELOPE_BYTES_MAX,
    OSSIFIED_S,
    Layout,
    numbered,
    parked,
)
from qmail.core.queue.recipients import PackedRecipients
from qmail.core.queue.scan import files_of, whole_queue
from qmail.core.queue.schedule import Due, Schedule
from qmail.core.queue.seal import is_whole, qp_of, trace_id_of
from qmail.core.queue.spares import SPENT
from qmail.core.queue.sweep import Action, Files, action_for
from qmail.core.queue.view import DiskOperators
from qmail.mail import Channel
from qmail.protocol.trace_id import HEAD_BYTES, id_of_message

EVERY_FILE: Final = Files(mess=True, todo=True, info=True, local=True, remote=True, bounce=True)
MARKED_MAX: Final = 2
"""With marks in more files than this, one sync of everything is cheaper."""
SENDMUTEX: Final = "lock/sendmutex"
UNPACKED_MAX: Final = 100
"""More recipients than these stay packed."""

Value = TypeVar("Value")


class DiskQueue:
    """The QueueEngine over HOME/queue. `notes` gathers lines for the log.

    `booted`: when the machine was started, in seconds since 1970.
    """

    def __init__(self, fs: Fs, clock: Clock, layout: Layout, *, booted: float = math.inf) -> None:
        self._fs = fs
        self._clock = clock
        self._layout = layout
        self._schedules = {Channel.LOCAL: Schedule(), Channel.REMOTE: Schedule()}
        self.operators = DiskOperators(fs, clock, layout, self._schedules)
        self.notes: list[str] = []
        self._bad = BadEntries(fs, clock, layout, booted)
        self._half_kept: set[int] = set()
        self._doubtful: set[int] = set()
        """Messages that were in todo when a sync failed: the disk may lack them."""
        self._marked: set[str] = set()
        self._has_more = True
        self._synced_with_marks: set[str] = set()
        self._told: set[int] = set()
        """Messages whose bounce/N is known to end with a whole paragraph."""

    # --- start and sweep ------------------------------------------------------------------------

    def scan(self) -> Iterator[Arrival]:
        """Recover after a start: schedule what is preprocessed, then yield what is not."""
        self.operators.load()
        waiting: list[int] = []
        found: dict[Channel, list[Due]] = {channel: [] for channel in Channel}
        for folder in whole_queue(self._fs, self._layout):
            for number, files in folder:
                action = action_for(files)
                if action is Action.DELIVER:
                    self._note_due(number, files, found)
                elif action is Action.REMOVE_LEFTOVERS:
                    self._remove_leftovers(number, files)
                elif action is Action.QUARANTINE:
                    self.notes.append(f"alert: message {number} has recipients and no sender: left")
                elif action is Action.PARK:
                    self._bad.add(number)
                elif action is Action.PREPROCESS:
                    if not self._bad.is_last_witness(number, files):
                        self._remove_leftovers(number, files, said=False)
                    waiting.append(number)
        for channel, dues in found.items():
            self._schedules[channel].fill(dues, self._clock.now())
        yield from self._read_oldest_first(waiting)

    def _note_due(self, number: int, files: Files, found: Mapping[Channel, list[Due]]) -> None:
        for channel, present in ((Channel.LOCAL, files.local), (Channel.REMOTE, files.remote)):
            if present:
                info = self._fs.info(self._layout.channel(channel.word, number))
                found[channel].append((info.mtime if info else 0.0, number))
        if not files.local and not files.remote:
            # Everybody is done; only the end is left. A ticket without recipients brings it.
            found[Channel.LOCAL].append((0.0, number))

    def _remove_leftovers(self, number: int, files: Files, *, said: bool = True) -> None:
        if said and (files.info or files.local or files.remote or files.bounce):
            self.notes.append(f"warning: message {number} is gone; removed what was left of it")
        for word, present in (("local", files.local), ("remote", files.remote)):
            if present:
                self._unlink(self._layout.channel(word, number))
        if files.bounce:
            self._unlink(self._layout.bounce(number))
        if files.info:
            self._unlink(self._layout.info(number))

    def sweep(self) -> Iterator[int | None]:
        """Yield the numbers of messages that were begun long ago and never accepted.

        None: a good moment to do something else.
        """
        oldest = self._clock.now() - OSSIFIED_S
        for folder in whole_queue(self._fs, self._layout):
            for number, files in folder:
                if action_for(files) is Action.SWEEP_IF_OLD and self._is_abandoned(number, oldest):
                    yield number
            yield None

    def _is_abandoned(self, number: int, oldest: float) -> bool:
        found = self._fs.info(self._layout.mess(number))
        if found is None or found.newest >= oldest:
            return False
        # The look at the folders may be of a while ago.
        return action_for(files_of(self._fs, self._layout, number)) is Action.SWEEP_IF_OLD

    # --- the clock ------------------------------------------------------------------------------

    def since_last_run(self) -> float | None:
        """Return seconds since `note_run` was last called; the mtime of the lock says when."""
        try:
            found = self._fs.info(SENDMUTEX)
        except OSError:
            return None
        return None if found is None else self._clock.now() - found.mtime

    def note_run(self) -> None:
        """Write down that qmail-send runs now."""
        with contextlib.suppress(OSError):
            if self._fs.info(SENDMUTEX) is not None:
                self._fs.set_mtime(SENDMUTEX, self._clock.now())

    def shift(self, seconds: float) -> None:
        """Move the whole schedule: the clock was set by so much."""
        for schedule in self._schedules.values():
            schedule.shift(seconds)

    # --- what is not yet preprocessed -----------------------------------------------------------

    def arrivals(self, known: Container[int] = ()) -> Iterator[Arrival]:
        """Yield every message but those `known` that is queued and not preprocessed."""
        waiting = [number for number in numbered(self._fs, "todo") if number not in known]
        return self._read_oldest_first(waiting)

    def _read_oldest_first(self, numbers: Iterable[int]) -> Iterator[Arrival]:
        aged: list[Due] = []
        for number in numbers:
            info = self._fs.info(self._layout.todo(number))
            if info is not None:
                aged.append((info.mtime, number))
        aged.sort(reverse=True)
        while aged:
            found = self.arrival(aged.pop()[1])
            if found is not None:
                yield found

    def arrival(self, message: int) -> Arrival | None:
        """Read todo/N; None when it or its message is gone, or when it can't be understood."""
        path = self._layout.todo(message)
        if message in self._half_kept:
            self.start_over(message)
            if message in self._half_kept:
                return None
        try:
            mess = self._fs.info(self._layout.mess(message))
            todo = self._fs.info(path)
            if mess is None or todo is None:
                return None
            records = self._fs.read(path, ENVELOPE_BYTES_MAX)
        except OSError as trouble:
            self.notes += [f"warning: unable to open {path}", f"qmail-send: {path}: {trouble}"]
            self.notes += self._bad.failed(message, trouble)
            return None
        self._bad.read(message)
        if records.startswith(SPENT):
            # The envelope of a finished message, whose old name came back with the power.
            return None
        try:
            found = _parse_todo(message, mess.size, int(todo.mtime), records)
            if is_whole(self._fs, self._layout.mess(message), records):
                return found
            trouble_text = f"warning: {path} is torn: it was never accepted, or the disk is bad"
        except ValueError:
            trouble_text = f"warning: unknown record type in {path}"
        except OSError:
            where = self._layout.mess(message)
            self.notes += self._bad.told_once(message, f"warning: trouble reading {where}")
            return None
        self.notes += self._bad.told_once(message, trouble_text)
        self.notes += self._bad.make_no_sense(message)
        return None

    def unreadable(self) -> list[int]:
        """Return what was found since the last call with an envelope that makes no sense."""
        return self._bad.take()

    def is_parked(self, message: int) -> bool:
        """Tell whether the message is in parked/."""
        try:
            return self._fs.info(parked(message, "mess")) is not None
        except OSError:
            return False

    def keep(self, arrival: Arrival, records: Mapping[Channel, bytes]) -> None:
        """Write info, local and remote for a message that is in todo."""
        number, layout = arrival.message, self._layout
        now = self._clock.now()
        try:
            if self._fs.info(layout.mess(number)) is None:
                # Found in todo, then taken back by qmail-queue because its sync failed.
                raise EngineError(f"unable to stat {layout.mess(number)}")
            if number in self._doubtful:
                # Without its todo entry nobody could tell any more that it is torn.
                self._doubtful.discard(number)
                if self.arrival(number) is None:
                    raise EngineError(f"unable to keep {layout.mess(number)}")
            for channel in Channel:
                path = layout.channel(channel.word, number)
                self._unlink(path)
                if channel in records:
                    self._create(path, records[channel], now)
            self._unlink(layout.bounce(number))
            self._unlink(layout.info(number))
            self._create(layout.info(number), b"F" + arrival.sender + b"\0", arrival.birth)
        except OSError as trouble:
            raise EngineError(f"unable to create {layout.info(number)}", trouble) from trouble

    def start_over(self, message: int) -> None:
        """Remove what `keep` wrote, for a message that is in todo.

        Nothing of it may stay: delivered at its next try the message would leave it behind, under a
        number that comes back. What can't be removed is tried again before the message arrives.
        """
        self._half_kept.add(message)
        try:
            # Without its todo entry these files would be all that is known of it.
            if self._fs.info(self._layout.todo(message)) is not None:
                self._remove_leftovers(message, EVERY_FILE, said=False)
        except OSError as trouble:
            self.notes.append(f"warning: unable to remove info of {message}: {trouble.strerror}")
        else:
            self._half_kept.discard(message)

    def _create(self, path: str, data: bytes, mtime: float) -> None:
        self._has_more = True
        fd = self._fs.create(path, 0o600)
        try:
            self._fs.write(fd, data)
        finally:
            self._fs.close(fd)
        self._fs.set_mtime(path, mtime)

    # --- passes ---------------------------------------------------------------------------------

    def wait(self, channel: Channel) -> float | None:
        """Return seconds until something is due there, None when nothing is scheduled."""
        due = self._schedules[channel].next_due()
        return None if due is None else max(0.0, due - self._clock.now())

    def due(self, channel: Channel) -> Ticket | None:
        """Take one ticket of this channel whose time has come."""
        number = self._schedules[channel].take_due(self._clock.now())
        return None if number is None else Ticket(number, channel)

    def claim(self, ticket: Ticket) -> Claim:
        """Start a pass: read the sender and the records of the channel."""
        info_path = self._layout.info(ticket.message)
        path = self._layout.channel(ticket.channel.word, ticket.message)
        try:
            info = self._fs.info(info_path)
            sender = self._fs.read(info_path, ENVELOPE_BYTES_MAX)
            records = self._fs.read(path, ENVELOPE_BYTES_MAX) if self._fs.info(path) else b""
        except OSError as trouble:
            raise EngineError(f"trouble opening {path}; will try again later", trouble) from trouble
        if info is None or sender[:1] != b"F" or sender[-1:] != b"\0":
            raise DamagedError(f"unknown record type in {info_path}!")
        if records and records[-1] != 0:
            raise DamagedError(f"unknown record type in {path}!")
        age_s = int(self._clock.now()) - int(info.mtime)
        records, count = self.operators.notes.mask(ticket.message, ticket.channel, records)
        return Claim(sender[1:-1], max(0, age_s), records, count)

    def trace_id(self, message: int) -> bytes:
        """Return the id that the first lines of the message tell."""
        try:
            head = next(self._fs.parts(self._layout.mess(message)), b"")
        except OSError:
            return b""
        return id_of_message(head[:HEAD_BYTES])

    def body(self, message: int) -> bytes:
        """Return the path of the message below queue/mess."""
        return self._layout.body(message).encode()

    def settle(self, ticket: Ticket, offset: int) -> None:
        """Overwrite the T at `offset` by D."""
        path = self._layout.channel(ticket.channel.word, ticket.message)
        trouble = f"trouble marking {path}; message will be delivered twice!"
        self._try(lambda: self._fs.overwrite(path, offset, b"D"), trouble)
        self._marked.add(path)

    def blame(self, message: int, paragraph: bytes) -> None:
        """Append to bounce/N."""
        path = self._layout.bounce(message)
        self._has_more = True

        def append() -> None:
            fd = self._fs.open_append(path, 0o600)
            try:
                is_begun = message in self._told or not self._fs.info_of(fd).size
                self._fs.write(fd, paragraph if is_begun else self._close_torn(path) + paragraph)
                self._told.add(message)
            except OSError:
                # Perhaps half of it was written.
                self._told.discard(message)
                raise
            finally:
                self._fs.close(fd)

        self._try(append, f"trouble writing to {path}")

    def _close_torn(self, path: str) -> bytes:
        """Return what ends the paragraph that a power cut or a full disk left half, if one did."""
        last = b""
        for part in self._fs.parts(path):
            last = (last + part)[-2:]
        if last == b"\n\n":
            return b""
        return b"\n" if last.endswith(b"\n") else b"\n\n"

    def renew(self, ticket: Ticket, delay_s: float) -> None:
        """Schedule again; the mtime of the channel file keeps the time over restarts."""
        self._has_more = True
        due = self._clock.now() + delay_s
        self._schedules[ticket.channel].add(due, ticket.message)
        path = self._layout.channel(ticket.channel.word, ticket.message)
        try:
            self._fs.set_mtime(path, due)
        except FileNotFoundError:
            return
        except OSError:
            self.notes.append(f"warning: unable to utime {path}; message will be retried too soon")

    def close(self, ticket: Ticket) -> bool:
        """Unlink the channel file; tell whether the other one is gone as well."""
        path = self._layout.channel(ticket.channel.word, ticket.message)
        other = self._layout.channel(Channel(1 - ticket.channel).word, ticket.message)
        self._remove(path)
        return (
            self._try(lambda: self._fs.info(other), f"unable to stat {other}; will try again later")
            is None
        )

    # --- the end --------------------------------------------------------------------------------

    def reports(self, message: int) -> bytes | None:
        """Return the path below queue/ of what `blame` gathered, None when nobody failed.

        After a power cut bounce/N can be there and empty: then nobody was marked as told of.
        """
        path = self._layout.bounce(message)
        found = self._try(
            lambda: self._fs.info(path), f"unable to stat {path}; will try again later"
        )
        return path.encode() if found is not None and found.size else None

    def forget(self, message: int) -> None:
        """Unlink bounce/N, then info/N."""
        self.operators.notes.forget(message)
        self._told.discard(message)
        self._remove(self._layout.bounce(message))
        self._remove(self._layout.info(message))

    def commit(self) -> None:
        """Put everything since the last commit on disk.

        A few files with more marks are synced alone, while a long list goes out: what others wrote
        to this disk meanwhile need not go with them. All else takes one sync; so do the first marks
        in a file, since before it the disk may still have the todo entry, which names everybody.
        """
        marked, self._marked = self._marked, set()
        has_more, self._has_more = self._has_more or self.operators.take_changes(), False
        try:
            if has_more or len(marked) > MARKED_MAX or not marked <= self._synced_with_marks:
                self._fs.sync()
                self._synced_with_marks = marked
            else:
                for path in marked:
                    self._sync_marks(path)
        except OSError as trouble:
            self._synced_with_marks = set()
            with contextlib.suppress(OSError):
                self._doubtful = set(numbered(self._fs, "todo"))
            raise EngineError("trouble fsyncing queue", trouble) from trouble

    def _sync_marks(self, path: str) -> None:
        fd = self._fs.reuse(path)
        try:
            self._fs.fsync(fd)
        finally:
            self._fs.close(fd)

    def act(self, act: Act) -> None:
        """Make everything due now."""
        assert act is Act.RETRY_NOW
        for schedule in self._schedules.values():
            schedule.all_due_now(self._clock.now())

    def _unlink(self, path: str) -> None:
        self._has_more = True
        try:
            self._fs.unlink(path)
        except FileNotFoundError:
            return

    def _remove(self, path: str) -> None:
        self._try(lambda: self._unlink(path), f"unable to unlink {path}; will try again later")

    def _try(self, work: Callable[[], Value], trouble: str) -> Value:
        try:
            return work()
        except OSError as error:
            raise EngineError(trouble, error) from error


def _parse_todo(number: int, size: int, birth: int, records: bytes) -> Arrival:
    """Parse todo/N. Raises: ValueError: not a complete envelope (spec/queue.md 2)."""
    if not records.endswith(b"\0"):
        raise ValueError("cut")
    uid, qp, sender, rest = records.split(b"\0", 3)
    if uid[:1] != b"u" or qp[:1] != b"p" or sender[:1] != b"F":
        raise ValueError("unknown record")
    start = len(records) - len(rest)
    # Each record but the first follows a NUL.
    if rest and (rest[:1] != b"T" or rest.count(b"\0") != rest.count(b"\0T") + 1):
        raise ValueError("unknown record")
    recipients: Collection[bytes] = PackedRecipients(records, start)
    if len(recipients) <= UNPACKED_MAX:
        recipients = tuple(recipients)
    return Arrival(
        number, size, int(uid[1:]), qp_of(qp), birth, sender[1:], recipients, trace_id_of(qp)
    )
