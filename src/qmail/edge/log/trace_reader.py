"""The reader's side of the trace index: it never writes, and reads while qmail-log does."""

import json
import re
import sqlite3
from collections.abc import Sequence
from typing import Any, Final
from urllib.parse import quote

from qmail.edge.log.trace_store import DAMAGE, VERSION
from qmail.protocol.trace_link import Entry, name_of

BUSY_S: Final = 5.0
FOUND_MAX: Final = 10_000
EVENTS_MAX: Final = 100_000
BY_ID: Final = """
SELECT id, max(at) FROM events WHERE id = ? AND at >= ? GROUP BY id ORDER BY 2 DESC LIMIT ?
"""
BY_NAME: Final = "SELECT id, at FROM names WHERE name = ? AND at >= ? ORDER BY at DESC LIMIT ?"
BY_PATTERN: Final = """
SELECT id, at FROM names WHERE name GLOB ? AND at >= ? ORDER BY at DESC LIMIT ?
"""
EVENTS: Final = "SELECT at, record FROM events WHERE id = ? ORDER BY n LIMIT ?"
FORWARD_US: Final = 2_000_000
_FORWARDED: Final = re.compile(r"(?:^|/)did_\d+\+\d+\+\d+/qp_(\d{1,19})/")
_ID: Final = re.compile(r"[0-9a-z]{10,20}")


class NoIndexError(Exception):
    """The index can't be read; the text says why and what to do."""


class TraceReader:
    """One look into the index."""

    def __init__(self, path: str) -> None:
        """Open it. Raises: NoIndexError."""
        self._path = path
        self._base = self._open()

    def _open(self) -> sqlite3.Connection:
        # Where qmail-log does not run, nothing shares the file: then it can be read as it is.
        why = ""
        for mode in ("mode=ro", "mode=ro&immutable=1"):
            address = f"file:{quote(self._path)}?{mode}"
            try:
                base = sqlite3.connect(address, uri=True, timeout=BUSY_S)
                base.text_factory = _text
                (version,) = base.execute("PRAGMA user_version").fetchone()
            except sqlite3.OperationalError as trouble:
                why = str(trouble)
                continue
            except DAMAGE as damage:
                raise NoIndexError(_damaged(self._path, damage)) from None
            if version != VERSION:
                raise NoIndexError(f"{self._path} was made by another version: restart qmail-start")
            return base
        raise NoIndexError(f"{self._path}: {why}")

    def find(self, what: str, *, since_us: int = 0, count: int = 1) -> tuple[list[str], int]:
        """Find messages by id, number, qp, Message-ID or address; `*` in an address is any text.

        Returns: ids, the newest first, `count` at most, and how many there are.
        Raises: NoIndexError: damaged.
        """
        for names in self._ways(what):
            found = self._ids(names, since_us)
            if found:
                return found[:count], len(found)
        return [], 0

    def _ways(self, what: str) -> list[list[str]]:
        """List names to look for, in groups; the first group with a message counts."""
        if what.isascii() and what.isdigit() and len(what) < 20:
            return [[name_of("msg", what)], [name_of("qp", what)]]
        if _ID.fullmatch(what):
            return [["=" + what, name_of("session", what)], [name_of("message_id", what)]]
        address = what.removeprefix("<").removesuffix(">")
        return [
            [name_of("message_id", what)],
            [name_of("sender", address), name_of("recipient", address)],
        ]

    def _ids(self, names: list[str], since_us: int) -> list[str]:
        latest: dict[str, int] = {}
        for name in names:
            for trace_id, at_us in self._rows(name, since_us):
                latest[trace_id] = max(at_us, latest.get(trace_id, 0))
        return sorted(latest, key=lambda one: (latest[one], one), reverse=True)

    def _rows(self, name: str, since_us: int) -> list[tuple[str, int]]:
        if name.startswith("="):
            query, name = BY_ID, name[1:]
        elif "*" in name:
            # Only the star means something.
            query, name = BY_PATTERN, re.sub(r"[\[?]", lambda found: f"[{found[0]}]", name)
        else:
            query = BY_NAME
        rows = self._all(query, (name, since_us, FOUND_MAX))
        if not all(isinstance(row[0], str) and _is_time(row[1]) for row in rows):
            raise NoIndexError(_damaged(self._path, "a row makes no sense"))
        return rows

    def story(self, trace_id: str) -> list[Entry]:
        """Return what happened to one message, in order: its connection first, then itself.

        Raises: NoIndexError: damaged.
        """
        own = self._events(trace_id)
        sessions = {str(entry.record["session"]) for entry in own if "session" in entry.record}
        for session in sorted(sessions - {trace_id}):
            own += [
                entry
                for entry in self._events(session)
                if entry.record["event"] in ("connect", "close")
            ]
        return sorted(own, key=lambda entry: entry.at_us)

    def _events(self, trace_id: str) -> list[Entry]:
        found = self._all(EVENTS, (trace_id, EVENTS_MAX))
        return [self._entry(trace_id, at_us, record) for at_us, record in found]

    def _entry(self, trace_id: str, at_us: Any, text: Any) -> Entry:
        """Check one row: the file may hold anything."""
        try:
            record = json.loads(text)
        except (ValueError, TypeError, RecursionError) as wrong:
            raise NoIndexError(_damaged(self._path, wrong)) from None
        if not isinstance(record, dict) or not _is_time(at_us):
            raise NoIndexError(_damaged(self._path, "a row makes no sense"))
        plain = {name: value for name, value in record.items() if isinstance(value, (str, int))}
        return Entry(at_us, trace_id, {"event": "?", **plain})

    def others(self, trace_id: str, story: Sequence[Entry]) -> list[str]:
        """Return the ids of messages that came of this one: forwarded, or bounces about it."""
        found = []
        for entry in story:
            for qp in _FORWARDED.findall(str(entry.record.get("reply", ""))):
                # A qp comes back: what was queued just before this report is meant.
                rows = self._rows(name_of("qp", qp), story[0].at_us)
                ids = [one for one, at_us in rows if at_us <= entry.at_us + FORWARD_US]
                found += ids[:1]
        found += self._ids([name_of("parent", trace_id)], 0)
        return [one for one in dict.fromkeys(found) if one != trace_id]

    def _all(self, query: str, values: tuple[object, ...]) -> list[Any]:
        try:
            return self._base.execute(query, values).fetchall()
        except DAMAGE as damage:
            raise NoIndexError(_damaged(self._path, damage)) from None

    def close(self) -> None:
        """Close it."""
        self._base.close()


def _text(raw: bytes) -> str:
    return raw.decode(errors="replace")


def _is_time(value: object) -> bool:
    return isinstance(value, int) and 0 <= value < 1 << 53


def _damaged(path: str, damage: object) -> str:
    return f"{path}: {damage}: restart qmail-start, and it is made anew from the files of the log"
