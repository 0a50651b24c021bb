"""A thread of qmail-log that keeps the trace index: the log itself never waits for it.

What it has no time for is left out and counted. An index that is damaged is set aside and made anew
from the files of the log.
"""

import os
import queue
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Final

from qmail.edge.log.lines import complain
from qmail.edge.log.reading import read_folder
from qmail.edge.log.trace_store import DAMAGE, FILE, TraceStore, set_aside
from qmail.protocol.log_page import Page
from qmail.protocol.log_record import Record
from qmail.protocol.trace_link import Entry, Linker

NAME: Final = "qmail-log"
PAGES_MAX: Final = 256
"""Pages that may wait: about 16 MB of lines."""
BATCH_PAGES: Final = 64
REBUILD_BATCH: Final = 2000
EXPIRE_EVERY_S: Final = 60.0
END_S_MAX: Final = 5.0


@dataclass(frozen=True, slots=True)
class TracePlan:
    """Where the index is, how large it may get, and from which folders it can be made anew."""

    folder: str
    days: int
    mb: int
    sources: Sequence[str]

    @property
    def path(self) -> str:
        """The file."""
        return f"{self.folder}/{FILE}"


class TraceWriter:
    """Takes pages; a thread writes them."""

    def __init__(self, plan: TracePlan) -> None:
        """Open the index. Raises: OSError, sqlite3.Error: not even a new one can be made."""
        self._plan = plan
        self._pages: queue.Queue[Page | None] = queue.Queue(PAGES_MAX)
        self._linker = Linker()
        self._lost = 0
        self._expire_at = 0.0
        self._rebuilt_ns = 0
        """Older pages are in the index already: they were read from the files."""
        self._store = self._open()
        if self._store.is_new and plan.sources:
            self._rebuilt_ns = time.time_ns()
        self._thread = threading.Thread(target=self._run, name="trace", daemon=True)
        self._thread.start()

    def take(self, page: Page) -> None:
        """Add a page, or leave it out where too many wait."""
        try:
            self._pages.put_nowait(page)
        except queue.Full:
            self._lost += len(page.texts)

    def end(self) -> None:
        """Write what waits, for a few seconds at most."""
        deadline = time.monotonic() + END_S_MAX
        try:
            self._pages.put(None, timeout=END_S_MAX)
        except queue.Full:
            return
        self._thread.join(max(0.0, deadline - time.monotonic()))

    # --- in the thread --------------------------------------------------------------------------

    def _open(self) -> TraceStore:
        plan = self._plan
        try:
            return TraceStore(plan.path, days=plan.days, mb=plan.mb)
        except sqlite3.DatabaseError as damage:
            if not os.path.exists(plan.path):
                raise
            complain(NAME, f"warning: {plan.path}: {damage}: set aside as {FILE}.bad, made anew")
            set_aside(plan.path)
            return TraceStore(plan.path, days=plan.days, mb=plan.mb)

    def _run(self) -> None:
        if self._rebuilt_ns:
            self._rebuild()
        while (pages := self._next()) is not None:
            self._write(pages)
            self._tell_lost()
            if time.monotonic() >= self._expire_at:
                self._expire_at = time.monotonic() + EXPIRE_EVERY_S
                self._try(lambda: self._store.expire(time.time_ns() // 1000))
        self._store.close()

    def _next(self) -> list[Page] | None:
        """Wait for pages; take all that are there. None: the end."""
        pages = []
        page = self._pages.get()
        while page is not None:
            pages.append(page)
            if len(pages) >= BATCH_PAGES:
                return pages
            try:
                page = self._pages.get_nowait()
            except queue.Empty:
                return pages
        if pages:
            # The end comes once more after these.
            self._pages.put(None)
            return pages
        return None

    def _write(self, pages: list[Page]) -> None:
        new = [page for page in pages if page.now_ns >= self._rebuilt_ns]
        entries = [entry for page in new for entry in self._entries(page.now_ns, page.records)]
        if entries:
            self._try(lambda: self._store.add(entries))

    def _entries(self, now_ns: int, records: Sequence[Record]) -> Iterator[Entry]:
        for record in records:
            entry = self._linker.entry(now_ns // 1000, record)
            if entry is not None:
                yield entry

    def _try(self, work: Callable[[], None]) -> None:
        try:
            work()
        except (sqlite3.OperationalError, OSError) as trouble:
            # A full disk, most likely: these records are left out.
            complain(
                NAME, f"warning: {self._plan.path}: {trouble}: some lines are not in the index"
            )
        except DAMAGE as damage:
            self._start_over(damage)

    def _start_over(self, damage: Exception) -> None:
        complain(NAME, f"warning: {self._plan.path}: {damage}: set aside as {FILE}.bad, made anew")
        try:
            self._store.close()
            set_aside(self._plan.path)
            self._store = self._open()
        except (OSError, sqlite3.Error) as trouble:
            complain(NAME, f"warning: {self._plan.path}: {trouble}: no index from now on")
        else:
            if self._plan.sources:
                self._rebuilt_ns = time.time_ns()
            self._rebuild()

    def _rebuild(self) -> None:
        """Read the files of the log up to now; later pages come by themselves."""
        until_ns = self._rebuilt_ns
        linker = Linker()
        for folder in self._plan.sources:
            try:
                lines = read_folder(folder)
                entries = (
                    linker.entry(now_ns // 1000, record)
                    for now_ns, record in lines
                    if now_ns < until_ns
                )
                found = (entry for entry in entries if entry is not None)
                while batch := list(islice(found, REBUILD_BATCH)):
                    self._store.add(batch)
            except (OSError, sqlite3.Error) as trouble:
                complain(NAME, f"warning: {folder}: {trouble}: not all of it is in the index")
        self._linker = linker

    def _tell_lost(self) -> None:
        lost, self._lost = self._lost, 0
        if lost:
            complain(NAME, f"warning: no time for {lost} lines: they are not in the trace index")
