"""Reads log files back: records and their times, from both forms. For an index that got lost."""

import contextlib
import json
import os
from collections.abc import Iterator
from typing import Final

from qmail.edge.log.folder import CURRENT, old_files
from qmail.protocol.log_page import LINE_BYTES_MAX
from qmail.protocol.log_record import Record, record_of
from qmail.protocol.tai64n import LABEL_BYTES, from_iso, from_seconds, from_tai64n

_VALUES: Final = (str, int, bool)


def read_folder(path: str) -> Iterator[tuple[int, Record]]:
    """Yield time (nanoseconds since 1970) and record of every line, the oldest file first.

    A line that can't be understood is passed over; without a stamp a line has the time of its
    file's name. Raises: OSError: the folder can't be read.
    """
    for name in [*old_files(os.listdir(path)), CURRENT]:
        ended_ns = from_tai64n(name[:LABEL_BYTES].encode()) or 0
        with contextlib.suppress(FileNotFoundError), open(f"{path}/{name}", "rb") as file:
            while line := file.readline(LINE_BYTES_MAX * 2):
                found = read_line(line.rstrip(b"\n"), ended_ns)
                if found is not None:
                    yield found


def read_line(line: bytes, ended_ns: int = 0) -> tuple[int, Record] | None:
    """Return time and record of one line of a log file; None: it is no such line."""
    if line.startswith(b"{"):
        return _json(line)
    stamp, _, text = line.partition(b" ")
    for read in (from_tai64n, from_seconds, _from_iso):
        now_ns = read(stamp)
        if now_ns is not None:
            return now_ns, record_of(text)
    return (ended_ns, record_of(line)) if ended_ns and line else None


def _from_iso(stamp: bytes) -> int | None:
    return from_iso(stamp.decode("ascii", "replace"))


def _json(line: bytes) -> tuple[int, Record] | None:
    try:
        found = json.loads(line)
    except (ValueError, RecursionError):
        return None
    now_ns = from_iso(str(found.pop("time", "")))
    record = {key: value for key, value in found.items() if isinstance(value, _VALUES)}
    if now_ns is None or not isinstance(record.get("event"), str):
        return None
    record.setdefault("program", "any")
    return now_ns, record
