"""The queue on disk as operators see it: core/queue/operator_engine.py over HOME/queue."""

import contextlib
from collections.abc import Iterable, Mapping

from qmail.core.clock import Clock
from qmail.core.fs import Fs
from qmail.core.queue.engine import EngineError
from qmail.core.queue.layout import ENVELOPE_BYTES_MAX, Layout
from qmail.core.queue.notes import Notes
from qmail.core.queue.notes_file import NotesFile
from qmail.core.queue.operator_engine import About, Waiting
from qmail.core.queue.schedule import Schedule
from qmail.mail import Channel
from qmail.protocol.trace_id import invoked_by


class DiskOperators:
    """The OperatorEngine of one DiskQueue, whose schedules it looks at."""

    def __init__(
        self, fs: Fs, clock: Clock, layout: Layout, schedules: Mapping[Channel, Schedule]
    ) -> None:
        self._fs = fs
        self._clock = clock
        self._layout = layout
        self._schedules = schedules
        self._notes_file = NotesFile(fs)
        self.notes = Notes(self._notes_file)

    def load(self) -> None:
        """Read the notes, after a start. Raises: EngineError: they can't be read."""
        self.notes.load(self.birth)
        # A disk that is full now must not keep qmail-send from starting.
        with contextlib.suppress(EngineError):
            self.notes.flush()

    def take_changes(self) -> bool:
        """Say whether notes were written since this was asked before: a commit has to sync them."""
        changed, self._notes_file.has_changed = self._notes_file.has_changed, False
        return changed

    def birth(self, message: int) -> int | None:
        """Return when a message was queued, None where there is none."""
        for path in (self._layout.info(message), self._layout.todo(message)):
            found = self._fs.info(path)
            if found is not None:
                return int(found.mtime)
        return None

    def is_there(self, message: int) -> bool:
        """Say whether there is such a message; where the disk gives no answer, there is."""
        try:
            return self.birth(message) is not None
        except OSError:
            return True

    def due_now(self, tickets: Iterable[tuple[int, Channel]]) -> None:
        """Have these due at once, whether or not they are scheduled."""
        numbers: dict[Channel, set[int]] = {channel: set() for channel in Channel}
        for number, channel in tickets:
            numbers[channel].add(number)
        for channel, chosen in numbers.items():
            if chosen:
                self._schedules[channel].move(chosen, self._clock.now())

    def waiting(self) -> list[Waiting]:
        """Return what is scheduled, in the order of the messages' numbers."""
        now = self._clock.now()
        found = [
            Waiting(number, channel, due - now)
            for channel, schedule in self._schedules.items()
            for due, number in schedule.entries()
        ]
        found.sort()
        return found

    def records(self, message: int, channel: Channel) -> bytes:
        """Return who is left and who is done; b"" where nobody is, or what is there is damaged."""
        path = self._layout.channel(channel.word, message)
        try:
            records = self._fs.read(path, ENVELOPE_BYTES_MAX)
        except OSError:
            return b""
        return records if records.endswith(b"\0") else b""

    def about(self, message: int) -> About | None:
        """Return sender, age and size."""
        path = self._layout.info(message)
        try:
            info = self._fs.info(path)
            mess = self._fs.info(self._layout.mess(message))
            sender = self._fs.read(path, ENVELOPE_BYTES_MAX)
        except OSError:
            return None
        if info is None or mess is None or sender[:1] != b"F" or sender[-1:] != b"\0":
            return None
        age_s = max(0, int(self._clock.now()) - int(info.mtime))
        return About(sender[1:-1], age_s, mess.size)

    def owner(self, message: int) -> int | None:
        """Return the uid in the first line, which qmail-queue wrote."""
        try:
            return invoked_by(next(self._fs.parts(self._layout.mess(message)), b""))
        except OSError:
            return None
