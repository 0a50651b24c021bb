"""qmail queue import FILE: the messages of an archive into the queue of a stopped system."""

import argparse
import contextlib
import os
import stat
import sys
from collections.abc import Iterator, Sequence
from functools import partial
from itertools import count
from typing import BinaryIO, Final

from qmail.core.clock import REAL_CLOCK
from qmail.core.dates import mail_date
from qmail.core.queue.layout import find_layout
from qmail.core.repair.archive import ArchiveError, Parcel, Reader, wrong_contents
from qmail.core.repair.census import take_census
from qmail.core.repair.intake import ImportedAlreadyError, Intake
from qmail.core.repair.lost import LostFolder
from qmail.core.repair.moves import Moves, marked
from qmail.edge.machine.accounts import MissingAccountError, home_folder
from qmail.edge.machine.home_maker import HomeError
from qmail.edge.tools.progress import Progress
from qmail.protocol.exits import Exit
from qmail.utilities.queue_stop import RunningError, stopped
from qmail.utilities.queue_tree import accounts_here, make_own_folders, open_queue

REFUSED: Final = 1
"""Exit code where the archive is not imported: damaged, or imported already."""
STANDARD: Final = "-"
MEGABYTE: Final = 1 << 20
HELP: Final = """\
Put all messages of an archive that 'qmail queue export' made into the queue, under new
numbers; the number of folders may be another. The system must be stopped.
FILE may be - for descriptor 0.

All of the archive is read and compared with its sums before the queue is changed; a damaged
one changes nothing. Cut off at any point, it can be run again: no message is there twice.
"""


def main(name: str, argv: Sequence[str]) -> int:
    """Import, or with --dry-run list, the archive.

    Returns: 0; 1 damaged or imported already, nothing changed; 100 wrong usage; 111 it could not
    be done.
    """
    options = _parse(name, argv)
    home = os.path.abspath(options.home)
    try:
        with _source(options.file) as stream:
            count = _list(stream) if options.dry_run else import_archive(home, stream)
    except (ArchiveError, ImportedAlreadyError) as why:
        print(f"qmail queue import: {why}; nothing was changed", file=sys.stderr)
        return REFUSED
    except (RunningError, MissingAccountError, HomeError, ValueError) as why:
        return _fatal(str(why))
    except PermissionError as trouble:
        return _fatal(f"{trouble.filename or home}: {trouble.strerror}: run this as root")
    except OSError as trouble:
        return _fatal(f"{trouble.filename or home}: {trouble.strerror or trouble}")
    print(f"{count} messages {'in the archive, which is whole' if options.dry_run else 'imported'}")
    return Exit.OK


def _fatal(why: str) -> int:
    print(f"qmail queue import: fatal: {why}", file=sys.stderr)
    return Exit.TEMPORARY


def _parse(name: str, argv: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog=f"qmail queue {name}",
        description=HELP,
        epilog="exit codes: 0 done; 1 the archive is damaged or was imported already, nothing was"
        " changed; 100 wrong usage; 111 it could not be done",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("file", metavar="FILE", help="the archive; - is descriptor 0")
    parser.add_argument("--dry-run", action="store_true", help="check the archive and list it")
    parser.add_argument(
        "--home", default=home_folder(), metavar="DIR", help="the home (default: %(default)s)"
    )
    return parser.parse_args(argv)


@contextlib.contextmanager
def _source(path: str) -> Iterator[BinaryIO]:
    if path == STANDARD:
        yield sys.stdin.buffer
        return
    with open(path, "rb") as stream:
        yield stream


def import_archive(home: str, stream: BinaryIO) -> int:
    """Put the messages of an archive into the queue of a stopped system; return how many.

    Raises: ArchiveError, ImportedAlreadyError: nothing was changed. RunningError, OSError,
    HomeError, MissingAccountError, ValueError: the queue is not in order.
    """
    accounts = accounts_here(home)
    with stopped(home):
        make_own_folders(home, accounts)
        with open_queue(home, accounts) as fs:
            if marked(fs) is not None:
                raise ValueError("the queue is half repaired: run 'qmail queue check --repair'")
            layout = find_layout(fs)
            moves = Moves(fs, layout, LostFolder(fs, REAL_CLOCK))
            moves.take_back()
            taken = set(take_census(fs, layout).numbers())
            with Progress() as progress:
                tell = partial(_show, progress, stream, count(1))
                return Intake(fs, layout, moves, taken).run(Reader(stream), tell)


def _show(progress: Progress, stream: BinaryIO, counter: Iterator[int], _parcel: Parcel) -> None:
    """Show how much of an archive was read; how many messages, where nobody knows its size."""
    done = next(counter)
    try:
        found = os.fstat(stream.fileno())
        if stat.S_ISREG(found.st_mode):
            progress.show(stream.tell() // MEGABYTE, found.st_size // MEGABYTE, "MB")
            return
    except OSError:
        # No file behind it.
        pass
    progress.show(done, what="messages")


def _list(stream: BinaryIO) -> int:
    """Check an archive, and print a line for each of its messages. Raises: ArchiveError."""
    reader = Reader(stream)
    count = 0
    for parcel in reader.parcels():
        count += 1
        print(_line(parcel, _envelopes(reader, parcel)))
    return count


def _envelopes(reader: Reader, parcel: Parcel) -> dict[str, bytes]:
    found = {}
    for kind, each in parcel.files.items():
        if kind == "mess":
            for _part in reader.parts(kind, each):
                continue
            continue
        found[kind] = b"".join(reader.parts(kind, each))
        wrong = wrong_contents(kind, found[kind])
        if wrong:
            raise ArchiveError(f"{kind} of message {parcel.number}: {wrong}")
    return found


def _line(parcel: Parcel, envelopes: dict[str, bytes]) -> str:
    """Return date, number, size, sender and how many recipients are not done."""
    envelope = "todo" if "todo" in envelopes else "info"
    records = b"".join(envelopes.get(kind, b"") for kind in ("todo", "info", "local", "remote"))
    sender = next(each[1:] for each in records.split(b"\0") if each[:1] == b"F")
    left = sum(each[:1] == b"T" for each in records.split(b"\0"))
    date = mail_date(int(parcel.files[envelope].mtime)).decode().removesuffix("-0000")
    shown = "".join(chr(byte) if 32 <= byte <= 126 else "_" for byte in sender)
    return f"{date}GMT  #{parcel.number}  {parcel.files['mess'].size}  <{shown}>  to {left}"
