"""qmail trace WHAT: all that happened to a message, from the index that qmail-log keeps."""

import argparse
import json
import os
import re
import sys
import time
from collections.abc import Sequence
from typing import Final

from qmail.core.settings.controls import ControlError, control_reader, load
from qmail.core.settings.programs import LogControls
from qmail.core.trace_text import lines_of, shown
from qmail.edge.log.trace_reader import NoIndexError, TraceReader
from qmail.edge.log.trace_store import FILE
from qmail.edge.machine.accounts import MissingAccountError, accounts_of, become, home_folder
from qmail.protocol.exits import Exit
from qmail.protocol.tai64n import from_iso, iso

NOTHING_FOUND: Final = 1
ADDRESS_COUNT: Final = 5
"""So many messages of an address are shown, if nothing else is asked for."""
LAST_MAX: Final = 10_000
_AGO: Final = re.compile(r"(\d{1,6})(s|min|m|h|d|w)")
_UNIT_S: Final = {"s": 1, "m": 60, "min": 60, "h": 3600, "d": 86400, "w": 604800}


def since_us(text: str) -> int:
    """Return microseconds since 1970 of `2h`, `3d` (that long ago) or a date, UTC if unsaid.

    Raises: argparse.ArgumentTypeError: neither.
    """
    ago = _AGO.fullmatch(text)
    if ago is not None:
        return (int(time.time()) - int(ago[1]) * _UNIT_S[ago[2]]) * 1_000_000
    for form in (text, f"{text}Z", f"{text}T00:00:00Z"):
        found_ns = from_iso(form)
        if found_ns is not None:
            return found_ns // 1000
    raise argparse.ArgumentTypeError(f"{text!r} is neither like 30min, 2h, 7d nor a date")


def _count(text: str) -> int:
    if text.isascii() and text.isdigit() and 0 < int(text[:9]) <= LAST_MAX:
        return int(text[:9])
    raise argparse.ArgumentTypeError(f"{text!r} is not a number from 1 to {LAST_MAX}")


def main(argv: Sequence[str]) -> int:
    """Show it. Returns: 0, 1 nothing found, 111 no index, or it can't be read."""
    parser = argparse.ArgumentParser(
        prog="qmail trace",
        description="Show all that happened to a message, in order; also to one that was refused.",
        epilog="exit codes: 0 found; 1 nothing found; 100 wrong usage; 111 there is no index",
    )
    what = "id, queue number, qp, Message-ID, or an address (* in it is any text)"
    parser.add_argument("what", metavar="WHAT", help=what)
    parser.add_argument("--last", type=_count, metavar="N", help="the newest N messages")
    parser.add_argument(
        "--since", type=since_us, default=0, metavar="TIME", help="2h, 3d, or 2026-11-25T16:00:00"
    )
    parser.add_argument("--json", action="store_true", help="one event a line, as in the log")
    options = parser.parse_args(argv)
    home = os.path.abspath(home_folder())
    try:
        _become_reader(home)
        reader = TraceReader(_index_of(home))
        return _show(reader, options)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return Exit.OK
    except (NoIndexError, MissingAccountError, ControlError) as trouble:
        print(f"qmail trace: fatal: {trouble}", file=sys.stderr)
    except OSError as trouble:
        where = trouble.filename or home
        print(f"qmail trace: fatal: {where}: {trouble.strerror}", file=sys.stderr)
    return Exit.TEMPORARY


def _become_reader(home: str) -> None:
    """As root, give that up: the index is written by an account that is not trusted so far."""
    account = accounts_of(home)["qmails"]
    if os.geteuid() == 0 and account.uid:
        become(account.uid, account.gid)


def _index_of(home: str) -> str:
    path = f"{home}/log/{FILE}"
    try:
        os.stat(path)
    except FileNotFoundError:
        is_traced = load(LogControls, control_reader(home)).log.is_traced
        do = "restart qmail-start" if is_traced else "put 'trace on' into control/log, and restart"
        raise NoIndexError(f"there is no {path}: {do}") from None
    except PermissionError:
        raise NoIndexError(f"{path}: only root, qmails and group qmail may read it") from None
    return path


def _show(reader: TraceReader, options: argparse.Namespace) -> int:
    what: str = options.what
    count = options.last or (ADDRESS_COUNT if "@" in what else 1)
    found, total = reader.find(what, since_us=options.since, count=count)
    if not found:
        print(f"qmail trace: nothing found of {shown(what)}", file=sys.stderr)
        return NOTHING_FOUND
    for at, trace_id in enumerate(reversed(found)):
        if options.json:
            _print_json(reader, trace_id)
            continue
        if at:
            print()
        story = reader.story(trace_id)
        if story:
            for line in lines_of(trace_id, story, reader.others(trace_id, story)):
                print(line)
    sys.stdout.flush()
    if total > len(found):
        more = f"{total - len(found)} older of {shown(what)}"
        print(f"qmail trace: {more}: --last {total} shows all", file=sys.stderr)
    return Exit.OK


def _print_json(reader: TraceReader, trace_id: str) -> None:
    for entry in reader.story(trace_id):
        record = {"time": iso(entry.at_us * 1000), **entry.record}
        record.setdefault("id", trace_id)
        print(json.dumps(record, separators=(",", ":")))
