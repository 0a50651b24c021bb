"""qmail queue export FILE: all messages of a stopped system as one archive with checksums."""

import argparse
import contextlib
import os
import sys
from collections.abc import Iterator, Sequence
from functools import partial
from typing import BinaryIO, Final

from qmail.core.queue.layout import PARKED, find_layout
from qmail.core.repair.archive import ArchiveError, Writer, export
from qmail.core.repair.census import take_census
from qmail.core.repair.moves import marked
from qmail.core.repair.notes import packed, read_notes
from qmail.core.repair.parked import parked_numbers
from qmail.edge.machine.accounts import MissingAccountError, home_folder
from qmail.edge.tools.progress import Progress
from qmail.protocol.exits import Exit
from qmail.protocol.ustar import TarError
from qmail.utilities.queue_stop import RunningError, stopped
from qmail.utilities.queue_tree import accounts_here, open_queue

LEFT_OUT: Final = 1
"""Exit code where some messages are not in the archive."""
STANDARD: Final = "-"
HELP: Final = """\
Write all messages of the queue into one archive: messages, senders, recipients and which of
them are done, times, failure reports, with SHA-256 sums. The system must be stopped.
FILE must not exist; - is descriptor 1. 'qmail queue import' reads it, on this machine or
another one.

The queue is not changed: where the archive was imported, do not start this system again
before its queue was moved away, or all of it is delivered twice.
"""


class QueueStateError(Exception):
    """The queue can't be copied as it is."""


def main(name: str, argv: Sequence[str]) -> int:
    """Write the archive.

    Returns: 0; 1 where damaged messages were left out; 100 wrong usage; 111 it could not be done.
    """
    options = _parse(name, argv)
    home = os.path.abspath(options.home)
    try:
        with stopped(home), _target(options.file) as stream:
            count, left_out = _export(home, stream)
    except FileExistsError:
        return _fatal(f"{options.file} is there already: nothing was written")
    except PermissionError as trouble:
        return _fatal(f"{trouble.filename or home}: {trouble.strerror}: run this as root")
    except OSError as trouble:
        return _fatal(f"{trouble.filename or home}: {trouble.strerror or trouble}")
    except (RunningError, MissingAccountError, QueueStateError, ArchiveError, TarError) as why:
        return _fatal(str(why))
    except ValueError as wrong:
        return _fatal(str(wrong))
    for number, reason in left_out:
        print(f"qmail queue export: message {number} is left out: {reason}", file=sys.stderr)
    print(f"{count} messages exported, {len(left_out)} left out", file=sys.stderr)
    return LEFT_OUT if left_out else Exit.OK


def _fatal(why: str) -> int:
    print(f"qmail queue export: fatal: {why}", file=sys.stderr)
    return Exit.TEMPORARY


def _parse(name: str, argv: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog=f"qmail queue {name}",
        description=HELP,
        epilog="exit codes: 0 done; 1 done, and damaged messages were left out; 100 wrong usage;"
        " 111 it could not be done",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("file", metavar="FILE", help="the archive to make; - is descriptor 1")
    parser.add_argument(
        "--home", default=home_folder(), metavar="DIR", help="the home (default: %(default)s)"
    )
    return parser.parse_args(argv)


@contextlib.contextmanager
def _target(path: str) -> Iterator[BinaryIO]:
    """Open the archive. It has its name only when all of it is on disk. Raises: OSError."""
    if path == STANDARD:
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
        return
    if os.path.lexists(path):
        raise FileExistsError(17, "File exists", path)
    draft = f"{path}.part"
    fd = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        with open(fd, "wb") as stream:
            yield stream
            stream.flush()
            os.fsync(fd)
        os.rename(draft, path)
        _sync_folder(os.path.dirname(os.path.abspath(path)))
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(draft)
        raise


def _sync_folder(path: str) -> None:
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def _export(home: str, stream: BinaryIO) -> tuple[int, list[tuple[int, str]]]:
    with open_queue(home, accounts_here(home)) as fs:
        if marked(fs) is not None:
            raise QueueStateError("the queue is half repaired: run 'qmail queue check --repair'")
        writer = Writer(fs, stream)
        with Progress() as progress:
            tell = partial(progress.show, what="messages")
            left_out = list(export(fs, take_census(fs, find_layout(fs)), writer, tell))
        left_out += [(number, f"it is in queue/{PARKED}") for number in parked_numbers(fs)]
        writer.notes(packed(read_notes(fs)))
        writer.end()
    return writer.count, left_out
