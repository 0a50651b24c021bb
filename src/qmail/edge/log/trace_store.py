"""The trace index: what happened to each message, in SQLite. One writes it: qmail-log.

`events` has every record by id, in order; `names` has by what a message is found. The file is
bounded: by age, and by size, where the oldest tenth goes first. Room that is free is used again.
"""

import contextlib
import json
import os
import sqlite3
from collections.abc import Iterable
from typing import Final

from qmail.protocol.trace_link import Entry, names_of

FILE: Final = "trace.db"
VERSION: Final = 1
DAY_US: Final = 86_400_000_000
MB: Final = 1_000_000
SCHEMA: Final = """
CREATE TABLE events(
    n INTEGER PRIMARY KEY, at INTEGER NOT NULL, id TEXT NOT NULL, record TEXT NOT NULL
);
CREATE INDEX events_id ON events(id);
CREATE TABLE names(
    name TEXT NOT NULL, id TEXT NOT NULL, at INTEGER NOT NULL, PRIMARY KEY(name, id)
) WITHOUT ROWID;
"""
DAMAGE: Final = (sqlite3.DatabaseError, UnicodeDecodeError)
"""What a damaged file raises: the second where a complaint quotes bytes of it."""
_BUSY_S: Final = 5.0
_ENCODE: Final = json.JSONEncoder(separators=(",", ":")).encode


class TraceStore:
    """The writer's side."""

    def __init__(self, path: str, *, days: int, mb: int) -> None:
        """Open the index, made when missing.

        Raises: sqlite3.Error: it can't be used, or is damaged.
        """
        self._days = days
        self._bytes_max = mb * MB
        self.is_new = not os.path.exists(path)
        self._base = sqlite3.connect(path, timeout=_BUSY_S, check_same_thread=False)
        try:
            self._prepare()
        except DAMAGE as damage:
            self._base.close()
            raise sqlite3.DatabaseError(str(damage)) from damage

    def _prepare(self) -> None:
        base = self._base
        base.execute("PRAGMA journal_mode=WAL")
        base.execute("PRAGMA synchronous=NORMAL")
        (version,) = base.execute("PRAGMA user_version").fetchone()
        if version == 0:
            base.executescript(f"BEGIN;{SCHEMA}PRAGMA user_version={VERSION};COMMIT;")
        elif version != VERSION:
            raise sqlite3.DatabaseError(f"made by another version ({version})")
        base.execute("SELECT count(*) FROM (SELECT 1 FROM events, names LIMIT 1)").fetchone()

    def add(self, entries: Iterable[Entry]) -> None:
        """Add records, in one transaction. Raises: sqlite3.Error: none of them is there."""
        events = []
        names = {}
        for at_us, trace_id, record in entries:
            kept = {key: value for key, value in record.items() if key != "id"}
            events.append((at_us, trace_id, _ENCODE(kept)))
            for name in names_of(record):
                names[name, trace_id] = at_us
        rows = [(name, trace_id, at_us) for (name, trace_id), at_us in names.items()]
        with self._base:
            self._base.executemany("INSERT INTO events(at, id, record) VALUES(?, ?, ?)", events)
            self._base.executemany("INSERT OR IGNORE INTO names VALUES(?, ?, ?)", rows)

    def expire(self, now_us: int) -> None:
        """Remove what is too old, and the oldest tenth while there is too much."""
        self._remove_before(now_us - self._days * DAY_US)
        while self._used_bytes() > self._bytes_max:
            first, last = self._base.execute("SELECT min(n), max(n) FROM events").fetchone()
            if first is None or first == last:
                return
            cut = first + max(1, (last - first) // 10)
            found = self._base.execute("SELECT at FROM events WHERE n >= ? LIMIT 1", (cut,))
            (at_us,) = found.fetchone()
            self._remove_before(max(at_us, self._oldest_us() + 1))

    def _oldest_us(self) -> int:
        found = self._base.execute("SELECT at FROM events ORDER BY n LIMIT 1").fetchone()
        return int(found[0]) if found else 0

    def _remove_before(self, at_us: int) -> None:
        if not 0 < self._oldest_us() < at_us:
            return
        with self._base:
            self._base.execute("DELETE FROM events WHERE at < ?", (at_us,))
            self._base.execute("DELETE FROM names WHERE at < ?", (at_us,))

    def _used_bytes(self) -> int:
        (pages,) = self._base.execute("PRAGMA page_count").fetchone()
        (free,) = self._base.execute("PRAGMA freelist_count").fetchone()
        (size,) = self._base.execute("PRAGMA page_size").fetchone()
        return int(pages - free) * int(size)

    def close(self) -> None:
        """Close it; the last one who does puts everything into the one file."""
        self._base.close()


def set_aside(path: str) -> None:
    """Give a damaged index another name, in place of an earlier one. Raises: OSError."""
    for tail in ("-wal", "-shm"):
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path + tail)
    os.replace(path, f"{path}.bad")
