"""A queue as one archive: what `qmail queue export` writes and `qmail queue import` reads.

It is a tar archive of plain files, in this order (N counts from 1):

| name              | holds                                                                |
|-------------------|----------------------------------------------------------------------|
| `qmail-queue`     | `{"format": 1}`                                                      |
| `N/files`         | the size, SHA-256 and time of each file of message N, and its number |
| `N/todo` ...      | the files themselves, `N/mess` last                                  |
| `notes`           | what operators have said of messages, by their numbers (if anything) |
| `end`             | how many messages, and the SHA-256 of all of this but the messages   |

Writing and reading need memory for one envelope, however long the queue is. `end` makes a cut
archive, and one whose messages were exchanged, differ from a whole one; its sum is the id of the
archive.
"""

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any, BinaryIO, Final, NamedTuple

from qmail.core.fs import Fs
from qmail.core.queue.records import BYTES_MAX, wrong_with
from qmail.core.repair.census import Census
from qmail.core.repair.judge import Judge
from qmail.protocol.ustar import BLOCK, END, SIZE_MAX, Entry, TarError, header, parse

FORMAT: Final = 1
TITLE: Final = "qmail-queue"
NOTES: Final = "notes"
LAST: Final = "end"
TEXT_BYTES_MAX: Final = 65536
"""Longest `qmail-queue`, `N/files` and `end`."""
NOTES_MAX: Final = 64 * 1024 * 1024
"""Longest `notes`."""
PART_BYTES: Final = 262144
QUEUED: Final = ("todo", "mess")
PREPROCESSED: Final = ("info", "local", "remote", "bounce", "mess")
TIME_MAX: Final = 2.0**40


class ArchiveError(ValueError):
    """The archive is damaged, cut, or none of ours."""


class FileSum(NamedTuple):
    """What the archive says of one file."""

    size: int
    sha256: str
    mtime: float


class Parcel(NamedTuple):
    """What the archive says of one message."""

    number: int
    """The one that it had where it comes from."""
    files: Mapping[str, FileSum]

    def pack(self) -> bytes:
        """Return the text of `N/files`."""
        files = {kind: each._asdict() for kind, each in self.files.items()}
        return json.dumps({"number": self.number, "files": files}).encode() + b"\n"

    @classmethod
    def unpack(cls, text: bytes) -> "Parcel":
        """Parse `N/files`. Raises: ArchiveError."""
        found = _object(text)
        try:
            files = {kind: _file_sum(each) for kind, each in found["files"].items()}
            parcel = cls(int(found["number"]), files)
        except (KeyError, TypeError, AttributeError, ValueError, OverflowError) as wrong:
            raise ArchiveError("a list of files is damaged") from wrong
        kinds = tuple(files)
        is_queued = kinds == QUEUED
        is_preprocessed = kinds == tuple(kind for kind in PREPROCESSED if kind in files)
        if not is_queued and not (is_preprocessed and {"info", "mess"} <= files.keys()):
            raise ArchiveError(f"no message has the files {', '.join(kinds) or 'none'}")
        return parcel


def _file_sum(found: Mapping[str, Any]) -> FileSum:
    size, digest, mtime = int(found["size"]), str(found["sha256"]), float(found["mtime"])
    if not 0 <= size <= SIZE_MAX or not 0 <= mtime < TIME_MAX:
        raise ValueError("out of range")
    return FileSum(size, digest, mtime)


def _object(text: bytes) -> dict[str, Any]:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError) as wrong:
        raise ArchiveError("a text in the archive is damaged") from wrong
    if not isinstance(found, dict):
        raise ArchiveError("a text in the archive is damaged")
    return found


# --- writing --------------------------------------------------------------------------------------


class Writer:
    """Writes messages to a stream, one after the other."""

    def __init__(self, fs: Fs, stream: BinaryIO) -> None:
        self._fs = fs
        self._stream = stream
        self._chain = hashlib.sha256()
        self.count = 0
        self._text(TITLE, json.dumps({"format": FORMAT}).encode() + b"\n")

    def add(self, number: int, paths: Mapping[str, str]) -> None:
        """Write one message; `paths` has its files by kind, mess last.

        Raises: OSError. ArchiveError: a file changed while it was read, so somebody is at work.
        """
        parcel = Parcel(number, {kind: self._look(path) for kind, path in paths.items()})
        self.count += 1
        self._text(f"{self.count}/files", parcel.pack())
        for kind, path in paths.items():
            found = parcel.files[kind]
            entry = Entry(f"{self.count}/{kind}", found.size, int(found.mtime))
            self._stream.write(header(entry))
            digest, size = hashlib.sha256(), 0
            for part in self._fs.parts(path):
                digest.update(part)
                size += len(part)
                self._stream.write(part)
            if (digest.hexdigest(), size) != (found.sha256, found.size):
                raise ArchiveError(f"{path} changed while it was read")
            self._stream.write(bytes(entry.padding))

    def _look(self, path: str) -> FileSum:
        digest, size = hashlib.sha256(), 0
        for part in self._fs.parts(path):
            digest.update(part)
            size += len(part)
        info = self._fs.info(path)
        return FileSum(size, digest.hexdigest(), max(0.0, info.mtime) if info else 0.0)

    def _text(self, name: str, text: bytes) -> None:
        self._chain.update(text)
        self._write_text(name, text)

    def _write_text(self, name: str, text: bytes) -> None:
        entry = Entry(name, len(text), 0)
        self._stream.write(header(entry) + text + bytes(entry.padding))

    def notes(self, entries: bytes) -> None:
        """Write what operators have said. Raises: OSError."""
        if entries:
            self._text(NOTES, entries)

    def end(self) -> str:
        """Write the end; return the id of the archive."""
        chain = self._chain.hexdigest()
        text = json.dumps({"messages": self.count, "sha256": chain}).encode() + b"\n"
        self._write_text(LAST, text)
        self._stream.write(END)
        return chain


def export(
    fs: Fs,
    census: Census,
    writer: Writer,
    tell: Callable[[int, int], None] = lambda _done, _total: None,
) -> Iterator[tuple[int, str]]:
    """Write every whole message; yield number and reason of each that is left out.

    `tell` is told how many of how many are done.
    Raises: OSError. ArchiveError: somebody is at work on the queue.
    """
    judge = Judge(fs, float("-inf"), frozenset())
    numbers = census.numbers()
    for count, number in enumerate(numbers):
        tell(count, len(numbers))
        files = census.has(number)
        kinds = QUEUED if "todo" in files else PREPROCESSED
        if "mess" not in files or not {"todo", "info"} & files.keys():
            # S1 to S3, and what check calls leftover: nothing that was accepted and is whole.
            if files.keys() - {"mess", "intd"}:
                yield number, "it is not whole"
            continue
        verdict = judge.look(number, files)
        if verdict is not None:
            yield number, f"{verdict.fault.word}: {verdict.why}"
            continue
        writer.add(number, {kind: files[kind] for kind in kinds if kind in files})


# --- reading --------------------------------------------------------------------------------------


class Reader:
    """Reads an archive from a stream, once, from its start to its end."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._chain = hashlib.sha256()
        self._count = 0
        self.notes = b""
        """What operators have said, when all of it was read."""
        found = _object(self._text(self._entry(TITLE)))
        if found.get("format") != FORMAT:
            raise ArchiveError(f"format {found.get('format')!r} is not known here; {FORMAT} is")

    def parcels(self) -> Iterator[Parcel]:
        """Yield each message; its files are to be read with `parts` before the next.

        Raises: ArchiveError: damaged. OSError.
        """
        while True:
            entry = self._next()
            if entry.name == NOTES:
                self.notes = self._text(entry, NOTES_MAX)
                entry = self._entry(LAST)
            if entry.name == LAST:
                self._check_end(entry)
                return
            self._count += 1
            self._expect(entry, f"{self._count}/files")
            yield Parcel.unpack(self._text(entry))

    def parts(self, kind: str, found: FileSum) -> Iterator[bytes]:
        """Yield one file of the message in parts. Raises: ArchiveError, OSError."""
        entry = self._entry(f"{self._count}/{kind}")
        if entry.size != found.size or entry.size > BYTES_MAX.get(kind, SIZE_MAX):
            raise ArchiveError(f"{entry.name} has another size than the archive says")
        digest = hashlib.sha256()
        left = entry.size
        while left:
            part = self._read(min(left, PART_BYTES))
            digest.update(part)
            left -= len(part)
            yield part
        self._read(entry.padding)
        if digest.hexdigest() != found.sha256:
            raise ArchiveError(f"the sum of {entry.name} is wrong")

    @property
    def id(self) -> str:
        """The id of the archive, when all of it was read."""
        return self._chain.hexdigest()

    def _check_end(self, entry: Entry) -> None:
        text = self._read_text(entry)
        found = _object(text)
        if found.get("sha256") != self.id or found.get("messages") != self._count:
            raise ArchiveError("messages are missing, or are those of another archive")
        if self._stream.read(len(END)) != END:
            raise ArchiveError("the archive is cut")

    def _entry(self, name: str) -> Entry:
        entry = self._next()
        self._expect(entry, name)
        return entry

    def _expect(self, entry: Entry, name: str) -> None:
        if entry.name != name:
            raise ArchiveError(f"{name} was expected and {entry.name} found")

    def _next(self) -> Entry:
        try:
            entry = parse(self._read(BLOCK))
        except TarError as wrong:
            raise ArchiveError(str(wrong)) from wrong
        if entry is None:
            raise ArchiveError("the archive is cut")
        return entry

    def _text(self, entry: Entry, bytes_max: int = TEXT_BYTES_MAX) -> bytes:
        text = self._read_text(entry, bytes_max)
        self._chain.update(text)
        return text

    def _read_text(self, entry: Entry, bytes_max: int = TEXT_BYTES_MAX) -> bytes:
        if entry.size > bytes_max:
            raise ArchiveError(f"{entry.name} is longer than {bytes_max} bytes")
        text = self._read(entry.size)
        self._read(entry.padding)
        return text

    def _read(self, size: int) -> bytes:
        data = self._stream.read(size)
        if len(data) != size:
            raise ArchiveError("the archive is cut")
        return data


def wrong_contents(kind: str, data: bytes) -> str:
    """Say what is wrong with an envelope file of an archive, "" where nothing is."""
    return wrong_with(kind, data) if kind in BYTES_MAX else ""
