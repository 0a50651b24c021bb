"""Messages in parked/ as `qmail queue check` sees them: listed, and put back once mended.

core/queue/parking.py tells how they got there. Putting back renames the envelope first: what a cut
leaves is then what parking leaves, an entry in todo/ whose message is parked, and is finished in
the same way.
"""

import re
from typing import Final, NamedTuple

from qmail.core.fs import Fs
from qmail.core.queue.layout import PARKED, Layout, parked
from qmail.core.queue.records import read_record, wrong_with
from qmail.core.queue.seal import is_whole
from qmail.core.repair.census import Census, names_in, place

NAME: Final = re.compile(r"(0|[1-9]\d{0,19})\.(mess|todo)", re.ASCII)


class Parked(NamedTuple):
    """One parked message: what is wrong with it, "" where it can be put back."""

    number: int
    path: str
    """Where to look: the envelope, or the message where it has none."""
    wrong: str
    has_message: bool = True


def parked_numbers(fs: Fs) -> list[int]:
    """Return the numbers that have a file in parked/. Raises: OSError."""
    found = (NAME.fullmatch(name) for name, _ in names_in(fs, PARKED))
    return sorted({int(each[1]) for each in found if each})


def look_at_parked(fs: Fs, number: int, census: Census) -> Parked:
    """Say what is wrong with a parked message, that it can't be put back. Raises: OSError."""
    mess, todo = parked(number, "mess"), parked(number, "todo")
    if fs.info(mess) is None:
        return Parked(number, todo, "its message is gone", has_message=False)
    if fs.info(todo) is None:
        return Parked(number, mess, f"it has no envelope: make {todo}")
    records = read_record(fs, "todo", todo)
    wrong = wrong_with("todo", records)
    if wrong:
        return Parked(number, todo, f"its envelope makes no sense: {wrong}")
    if not is_whole(fs, mess, records):
        return Parked(number, todo, "size or sum of the message is another than the envelope says")
    if census.has(number):
        return Parked(number, todo, "its number is another message's now")
    return Parked(number, todo, "")


def put_back(fs: Fs, layout: Layout, number: int, census: Census) -> None:
    """Give a mended message its place in the queue again. Raises: OSError."""
    found = fs.info(parked(number, "mess"))
    assert found is not None
    for kind in ("todo", "mess"):
        path = place(layout, kind, number)
        fs.rename(parked(number, kind), path)
        census.where[kind][number] = path.split("/")[1] if kind == "mess" else ""
    census.inodes[number] = found.inode


def without_envelope(fs: Fs, census: Census) -> list[int]:
    """Return the messages whose parking was cut off: the entry is in todo/ still.

    Raises: OSError.
    """
    return [
        number
        for number in sorted(census.where["todo"])
        if number not in census.where["mess"]
        and fs.info(parked(number, "mess")) is not None
        and fs.info(parked(number, "todo")) is None
    ]


def follow(fs: Fs, number: int, census: Census) -> None:
    """Finish the parking of a message. Raises: OSError."""
    path = census.path("todo", number)
    assert path is not None
    fs.rename(path, parked(number, "todo"))
    census.forget("todo", number)
