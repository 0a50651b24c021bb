"""The queue on disk as operators see it: core/operator_engine.py over HOME/queue."""

from collections.abc import Mapping

from qmail.core.clock import Clock
from qmail.core.fs import Fs
from qmail.core.operator_engine import About, Waiting
from qmail.core.queue_layout import ENVELOPE_BYTES_MAX, Layout
from qmail.core.schedule import Schedule
from qmail.mail import Channel


class DiskOperators:
    """The OperatorEngine of one DiskQueue, whose schedules it looks at."""

    def __init__(
        self, fs: Fs, clock: Clock, layout: Layout, schedules: Mapping[Channel, Schedule]
    ) -> None:
        self._fs = fs
        self._clock = clock
        self._layout = layout
        self._schedules = schedules

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
