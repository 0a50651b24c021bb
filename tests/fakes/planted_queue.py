"""A queue of many messages made fast, and each kind of fault that `qmail queue check` knows.

A message's text tells who must get it, so that a test can say what became of each.
"""

import os
import shutil
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from qmail.core.queue.seal import Seal
from qmail.core.repair.faults import Fault

BIRTH: Final = 1_790_000_000
SPLIT: Final = 23


@dataclass(slots=True)
class Message:
    """One message of the queue: `index` is in its text, whatever becomes of its number."""

    index: int
    number: int
    queued: bool
    """In todo (S4); else preprocessed (S5)."""
    recipients: tuple[bytes, ...]
    done: tuple[bytes, ...] = ()

    @property
    def text(self) -> bytes:
        return b"Received: (qmail 1 invoked by uid 0); 1 Jan 2026 00:00:00 -0000\n" + self.body

    @property
    def body(self) -> bytes:
        return b"Subject: index %d\n\nbody of %d\n" % (self.index, self.index)


@dataclass(slots=True)
class Planted:
    """One queue on disk. `owner`: uid and gid of all files, where we are root."""

    queue: Path
    owner: tuple[int, int] | None
    host: bytes = b"me.ex"
    messages: dict[int, Message] = field(default_factory=dict)
    """By index; those that were spoiled are taken out by whoever spoils them."""

    def path(self, kind: str, number: int) -> Path:
        split = kind in ("mess", "info", "local", "remote")
        return self.queue / kind / (f"{number % SPLIT}/{number}" if split else str(number))

    def write(self, path: Path, data: bytes, mode: int = 0o644) -> Path:
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
        os.write(fd, data)
        os.fchmod(fd, mode)
        if self.owner is not None:
            os.fchown(fd, *self.owner)
        os.close(fd)
        return path

    def new_number(self, data: bytes) -> int:
        """Put a message file in its place and return its number."""
        path = self.write(self.queue / "pid/new", data)
        number = path.stat().st_ino
        path.rename(self.path("mess", number))
        return number

    def add(self, index: int) -> Message:
        """Add a message: every third one is in todo, others have one or two recipients."""
        to = (b"u%d@%b" % (index % 7, self.host), b"v%d@%b" % (index % 5, self.host))
        message = Message(index, 0, index % 3 == 0, to[: 1 + index % 2])
        message.number = self.new_number(message.text)
        if message.queued:
            self.write_todo(message)
        else:
            self.write_info(message)
        self.messages[index] = message
        return message

    def write_todo(self, message: Message) -> None:
        packed = b"Fs@me.ex\0" + b"".join(b"T%b\0" % one for one in message.recipients) + b"\0"
        record = Seal(7, len(message.text), zlib.crc32(message.text)).record(packed)
        path = self.path("todo", message.number)
        self.write(path, b"u0\0%b\0%b" % (record, packed[:-1]))
        os.utime(path, (BIRTH, BIRTH + message.index))

    def write_info(self, message: Message) -> None:
        info = self.write(self.path("info", message.number), b"Fs@me.ex\0", 0o600)
        os.utime(info, (BIRTH, BIRTH + message.index))
        data = b"".join(b"T%b\0" % one for one in message.recipients)
        self.write(self.path("local", message.number), data, 0o600)


Spoil = Callable[[Planted, Message], None]


def _lose(planted: Planted, message: Message) -> None:
    del planted.messages[message.index]


def missing_folder(planted: Planted, message: Message) -> None:
    folder = planted.path("remote", message.number).parent
    if folder.is_dir() and not any(folder.iterdir()):
        folder.rmdir()


def not_a_folder(planted: Planted, message: Message) -> None:
    del message
    folder = planted.queue / "intd"
    if not folder.is_symlink():
        folder.rmdir()
        folder.symlink_to(planted.queue / "nowhere")


def folder_owner(planted: Planted, message: Message) -> None:
    (planted.queue / f"mess/{message.number % SPLIT}").chmod(0o777)


def file_owner(planted: Planted, message: Message) -> None:
    planted.path("mess", message.number).chmod(0o600)


def second_name(planted: Planted, message: Message) -> None:
    os.link(planted.path("mess", message.number), planted.queue / f"pid/1.2.{message.number}")


def special_file(planted: Planted, message: Message) -> None:
    path = planted.path("remote", message.number)
    if path.parent.is_dir():
        path.symlink_to("/etc/passwd")


def unknown_name(planted: Planted, message: Message) -> None:
    planted.write(planted.queue / f"mess/{message.number % SPLIT}/0{message.number}.bak", b"x")


def lock_file(planted: Planted, message: Message) -> None:
    name = ("trigger", "tcpto", "sendmutex")[message.index % 3]
    path = planted.queue / "lock" / name
    if path.exists():
        path.unlink()
    if name == "trigger":
        planted.write(path, b"no pipe")
    elif name == "tcpto":
        planted.write(path, b"short")


def split(planted: Planted, message: Message) -> None:
    del message
    (planted.queue.parent / "control/split").write_text("31\n")
    (planted.queue.parent / "control/split").chmod(0o644)


def wrong_folder(planted: Planted, message: Message) -> None:
    kind = "mess" if message.queued else ("info", "local")[message.index % 2]
    path = planted.path(kind, message.number)
    path.rename(path.parent.parent / str((message.number + 1) % SPLIT) / path.name)


def duplicate(planted: Planted, message: Message) -> None:
    other = planted.path("mess", message.number).parent.parent / str((message.number + 1) % SPLIT)
    planted.write(other / str(message.number), b"another one")


def wrong_number(planted: Planted, message: Message) -> None:
    """Copy the message file, as a restore does: the same name and another inode."""
    path = planted.path("mess", message.number)
    copy = planted.write(planted.queue / "pid/copy", path.read_bytes())
    copy.rename(path)


def torn(planted: Planted, message: Message) -> None:
    fault = planted.path("mess", message.number)
    if message.queued:
        planted.write(fault, message.text + b"more")
        _lose(planted, message)


def bad_envelope(planted: Planted, message: Message) -> None:
    if message.queued:
        planted.write(planted.path("todo", message.number), b"u0\0p7\0Fs\0Tone")
        _lose(planted, message)


def bad_sender(planted: Planted, message: Message) -> None:
    if not message.queued:
        planted.write(planted.path("info", message.number), b"", 0o600)
        _lose(planted, message)


def bad_recipients(planted: Planted, message: Message) -> None:
    if not message.queued:
        planted.write(planted.path("local", message.number), b"Tone@a\0Xtwo@a\0", 0o600)
        _lose(planted, message)


def bad_bounce(planted: Planted, message: Message) -> None:
    if not message.queued:
        data = b"<nobody@me.ex>:\nno such one\n\n\0\0\0"
        planted.write(planted.path("bounce", message.number), data, 0o600)


def empty_message(planted: Planted, message: Message) -> None:
    planted.write(planted.path("mess", message.number), b"")
    _lose(planted, message)


def no_sender(planted: Planted, message: Message) -> None:
    if not message.queued:
        planted.path("info", message.number).unlink()
        _lose(planted, message)


def leftover(planted: Planted, message: Message) -> None:
    planted.path("mess", message.number).unlink()
    _lose(planted, message)


def parked(planted: Planted, message: Message) -> None:
    """Park a message whose envelope has been mended by now."""
    if message.queued:
        folder = planted.queue / "parked"
        planted.path("mess", message.number).rename(folder / f"{message.number}.mess")
        planted.path("todo", message.number).rename(folder / f"{message.number}.todo")


def stale_spare(planted: Planted, message: Message) -> None:
    planted.write(planted.queue / f"pid/spare.{message.number}.todo", b"")


def unfinished_repair(planted: Planted, message: Message) -> None:
    del message
    folder = planted.queue / "repair"
    folder.mkdir(exist_ok=True)
    planted.write(folder / "unfinished", b"check --repair\n")


def unfinished_import(planted: Planted, message: Message) -> None:
    folder = planted.queue / "repair"
    folder.mkdir(exist_ok=True)
    planted.write(folder / f"new.1.{message.number}.mess", b"half")


SPOILERS: Final[dict[Fault, Spoil]] = {
    Fault.MISSING_FOLDER: missing_folder,
    Fault.NOT_A_FOLDER: not_a_folder,
    Fault.FOLDER_OWNER: folder_owner,
    Fault.FILE_OWNER: file_owner,
    Fault.SECOND_NAME: second_name,
    Fault.SPECIAL_FILE: special_file,
    Fault.UNKNOWN_NAME: unknown_name,
    Fault.LOCK_FILE: lock_file,
    Fault.SPLIT: split,
    Fault.UNFINISHED_REPAIR: unfinished_repair,
    Fault.UNFINISHED_IMPORT: unfinished_import,
    Fault.WRONG_FOLDER: wrong_folder,
    Fault.DUPLICATE: duplicate,
    Fault.WRONG_NUMBER: wrong_number,
    Fault.TORN: torn,
    Fault.BAD_ENVELOPE: bad_envelope,
    Fault.BAD_SENDER: bad_sender,
    Fault.BAD_RECIPIENTS: bad_recipients,
    Fault.BAD_BOUNCE: bad_bounce,
    Fault.EMPTY_MESSAGE: empty_message,
    Fault.NO_SENDER: no_sender,
    Fault.LEFTOVER: leftover,
    Fault.STALE_SPARE: stale_spare,
    Fault.PARKED: parked,
}
"""How to plant each fault. Not here: what is old (the clock decides) and what can't be read."""


def whole_messages(queue: Path) -> dict[int, tuple[bytes, bytes]]:
    """Return index -> text and open recipients of every whole message, by our own reading.

    Each is where its number says, and its number is its inode.
    """
    count = sum(1 for each in (queue / "mess").iterdir())
    found = {}
    for path in queue.glob("mess/*/*"):
        number = int(path.name)
        assert path.stat().st_ino == number, path
        assert path.parent.name == str(number % count), path
        text = path.read_bytes()
        todo = queue / f"todo/{number}"
        local = queue / f"local/{number % count}/{number}"
        info = queue / f"info/{number % count}/{number}"
        if todo.exists():
            records = todo.read_bytes()
        elif info.exists():
            records = info.read_bytes() + local.read_bytes()
        else:
            continue
        index = int(text.rsplit(b" ", 1)[1])
        assert index not in found, f"message {index} is there twice"
        open_ones = b"".join(r + b"\0" for r in records.split(b"\0") if r[:1] == b"T")
        found[index] = (text, open_ones)
    return found


def wanted_messages(planted: Planted) -> dict[int, tuple[bytes, bytes]]:
    """Return what `whole_messages` must find."""
    return {
        index: (each.text, b"".join(b"T%b\0" % one for one in each.recipients))
        for index, each in planted.messages.items()
    }


def copy_queue(source: Path, target: Path) -> None:
    """Copy a queue as `cp -a` does: every inode is another."""
    shutil.copytree(source, target, symlinks=True, ignore=_no_special_files)
    os.mkfifo(target / "lock/trigger", 0o622)


def _no_special_files(folder: str, names: list[str]) -> set[str]:
    del names
    return {"trigger"} if folder.endswith("/lock") else set()
