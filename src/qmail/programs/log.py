"""qmail-log: writes the log as control/log says. Runs as qmaill.

qmail-start starts it where control/log asks for it; all other programs then write to one pipe that
does not block them, and qmail-log reads it. Without QMAIL_LOG_PIPE it reads descriptor 0, as a
logger on the command line of qmail-start.
"""

import os
import signal
import sys
import time
from collections.abc import Callable, Sequence
from sqlite3 import Error as TraceError
from typing import TYPE_CHECKING, Final

from qmail.core.settings.controls import ControlError, control_reader, load
from qmail.core.settings.log import Destination, LogFormat, LogSettings, Target
from qmail.core.settings.programs import LogControls
from qmail.edge.doors.station import Station
from qmail.edge.log.datagrams import (
    JOURNAL,
    SYSLOG,
    Datagrams,
    journal_datagram,
    syslog_datagram,
)
from qmail.edge.log.folder import FolderInUseError, LogFolder
from qmail.edge.log.lines import complain
from qmail.edge.machine.accounts import home_folder
from qmail.protocol.exits import Exit
from qmail.protocol.log_page import LineCutter, Page
from qmail.protocol.log_record import json_line
from qmail.protocol.tai64n import iso

if TYPE_CHECKING:
    from qmail.edge.log.trace_writer import TraceWriter

NAME: Final = "qmail-log"
USAGE: Final = "usage: qmail-log (no arguments; control/log says what it writes)"
PIPE: Final = "QMAIL_LOG_PIPE"
READ_BYTES: Final = 65536
PAUSE_S: Final = 1.0
END_S_MAX: Final = 5.0
"""After TERM it reads on to the end of the log, but no longer than this."""
FORMS: Final[dict[LogFormat, Callable[[Page], bytes]]] = {
    LogFormat.CLASSIC: Page.classic,
    LogFormat.JSON: Page.json,
    LogFormat.BOTH: Page.both,
}


class Stream:
    """A destination of bytes, and what it has not taken yet."""

    def __init__(self, name: str, form: LogFormat, write: Callable[[bytes], int]) -> None:
        self._name = name
        self._form = FORMS[form]
        self._write = write
        self._waiting = b""
        self._is_in_trouble = False

    @property
    def is_stuck(self) -> bool:
        """True while something waits."""
        return bool(self._waiting)

    def take(self, page: Page) -> None:
        """Add a page."""
        self._waiting += self._form(page)

    def push(self) -> None:
        """Write what waits; what can't be written now stays."""
        try:
            while self._waiting:
                self._waiting = self._waiting[self._write(self._waiting) :]
        except BrokenPipeError:
            # Whoever read it is gone and will not come back.
            self._waiting = b""
        except OSError as trouble:
            if not self._is_in_trouble:
                complain(NAME, f"warning: {self._name}: {trouble.strerror}: waiting for better")
            self._is_in_trouble = True
        else:
            self._is_in_trouble = False


class Mailer:
    """A destination of datagrams: what nobody takes is lost, and counted."""

    def __init__(self, target: Target, settings: LogSettings, datagrams: Datagrams) -> None:
        self._is_journal = target is Target.JOURNAL
        self._format = settings.format
        self._datagrams = datagrams
        self._said = 0

    def take(self, page: Page) -> None:
        """Send a page, line by line."""
        make = self._for_journal if self._is_journal else self._for_syslog
        self._datagrams.send(make(page))
        lost = self._datagrams.lost
        if lost >= self._said * 2 + 1:
            self._said = lost
            where = "journal" if self._is_journal else "syslog"
            complain(NAME, f"warning: {lost} lines lost on their way to the {where}")

    def _for_journal(self, page: Page) -> list[bytes]:
        is_plain = self._format is LogFormat.CLASSIC
        records = [None] * len(page.texts) if is_plain else page.records
        return [
            journal_datagram(text or str((record or {})["event"]).encode(), record)
            for text, record in zip(page.texts, records, strict=True)
            if text or record
        ]

    def _for_syslog(self, page: Page) -> list[bytes]:
        texts = []
        if self._format is not LogFormat.JSON:
            texts += [text for text in page.texts if text]
        if self._format is not LogFormat.CLASSIC:
            texts += [json_line(record, iso(page.now_ns)) for record in page.records]
        return [syslog_datagram(text, page.now_ns / 1e9) for text in texts]


class Logger:
    """Reads the pipe, writes the destinations, until the log ends."""

    def __init__(self, home: str, settings: LogSettings, source: int) -> None:
        """Open all destinations. Raises: OSError, FolderInUseError."""
        self._settings = settings
        self._source = source
        self._cutter = LineCutter()
        self._streams: list[Stream] = []
        self._mailers: list[Mailer] = []
        self._folders: list[LogFolder] = []
        self._sources: list[str] = []
        for destination in settings.destinations:
            self._open(home, destination)
        self._trace = self._open_trace(home) if settings.is_traced else None
        self._station = Station()
        self._is_reading = True
        self._is_done = False
        self._end_at: float | None = None
        self._station.watch(source, self._on_lines)
        self._station.on_signal(signal.SIGTERM, self._on_term)
        self._station.on_signal(signal.SIGALRM, self._on_alarm)

    def _open(self, home: str, destination: Destination) -> None:
        form = self._settings.format
        if destination.target is Target.DESCRIPTOR:
            self._streams.append(Stream("descriptor 1", form, lambda data: os.write(1, data)))
        elif destination.target is Target.FILE:
            path = os.path.join(f"{home}/log", destination.folder)
            if form is LogFormat.BOTH:
                self._open_folder(path, LogFormat.CLASSIC, destination)
                self._open_folder(f"{path}/json", LogFormat.JSON, destination)
            else:
                self._open_folder(path, form, destination)
        else:
            path = JOURNAL if destination.target is Target.JOURNAL else SYSLOG
            self._mailers.append(Mailer(destination.target, self._settings, Datagrams(path)))

    def _open_folder(self, path: str, form: LogFormat, destination: Destination) -> None:
        folder = LogFolder(path, time.time_ns, size_max=destination.size, keep_max=destination.keep)
        self._folders.append(folder)
        if form is LogFormat.JSON or self._settings.format is LogFormat.CLASSIC:
            # One of them tells all that the index holds.
            self._sources = self._sources or [path]
        self._streams.append(Stream(path, form, folder.write))

    def _open_trace(self, home: str) -> "TraceWriter":
        from qmail.edge.log.trace_writer import TracePlan, TraceWriter  # noqa: PLC0415 - if wanted

        days, mb = self._settings.trace_days, self._settings.trace_mb
        return TraceWriter(TracePlan(f"{home}/log", days, mb, self._sources))

    # --- events ---------------------------------------------------------------------------------

    def _on_lines(self) -> None:
        data = os.read(self._source, READ_BYTES)
        self._is_done = not data
        self._take(self._cutter.feed(data) if data else self._cutter.end())

    def _take(self, lines: list[bytes]) -> None:
        if not lines:
            return
        page = Page(lines, time.time_ns(), self._settings.stamp)
        for stream in self._streams:
            stream.take(page)
        for mailer in self._mailers:
            mailer.take(page)
        if self._trace is not None:
            self._trace.take(page)

    def _on_term(self) -> None:
        self._end_at = time.monotonic() + END_S_MAX

    def _on_alarm(self) -> None:
        for folder in self._folders:
            try:
                folder.rotate()
            except OSError as trouble:
                complain(NAME, f"warning: unable to begin a new file: {trouble.strerror}")

    # --- the loop -------------------------------------------------------------------------------

    def run(self) -> int:
        """Serve until the log ends."""
        while not self._is_done and not self._is_late:
            self._station.turn(self._wait_s())
            self._push()
        self._push()
        while any(stream.is_stuck for stream in self._streams) and not self._is_late:
            self._end_at = self._end_at or time.monotonic() + END_S_MAX
            self._station.turn(PAUSE_S)
            self._push()
        self._take(self._cutter.end())
        self._push()
        if self._trace is not None:
            self._trace.end()
        for folder in self._folders:
            try:
                folder.close()
            except OSError as trouble:
                complain(NAME, f"warning: the last lines may be lost: {trouble.strerror}")
        return Exit.OK

    @property
    def _is_late(self) -> bool:
        return self._end_at is not None and time.monotonic() >= self._end_at

    def _wait_s(self) -> float | None:
        if not self._is_reading:
            return PAUSE_S
        return None if self._end_at is None else max(0.0, self._end_at - time.monotonic())

    def _push(self) -> None:
        """Write what waits, and read on only where nothing does: the pipe is the bound."""
        for stream in self._streams:
            stream.push()
        is_reading = not self._is_done and not any(stream.is_stuck for stream in self._streams)
        if is_reading != self._is_reading:
            self._is_reading = is_reading
            if is_reading:
                self._station.watch(self._source, self._on_lines)
            else:
                # Not merely unwanted: the other side's end would be reported all the same.
                self._station.forget(self._source)


def main(argv: Sequence[str]) -> int:
    """Write the log until its end. Returns: 0, 100 for wrong usage, 111 if it can't start."""
    if argv:
        print(f"{NAME}: {USAGE}", file=sys.stderr)
        return Exit.PERMANENT
    home = os.path.abspath(home_folder())
    os.umask(0o027)
    try:
        settings = load(LogControls, control_reader(home)).log
        source = int(os.environ.pop(PIPE, "0"))
        return Logger(home, settings, source).run()
    except (ControlError, FolderInUseError) as trouble:
        complain(NAME, f"fatal: {trouble}")
    except TraceError as trouble:
        complain(NAME, f"fatal: {home}/log/trace.db: {trouble}: is there a folder log of qmaill?")
    except OSError as trouble:
        complain(NAME, f"fatal: {trouble.filename or 'log'}: {trouble.strerror}")
    return Exit.TEMPORARY
