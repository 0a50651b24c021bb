"""Which files the queue has, under every number, wherever they lie (for check, repair, export)."""

import contextlib
from collections.abc import Container, Iterator
from dataclasses import dataclass, field
from typing import Final

from qmail.core.fs import Fs
from qmail.core.queue.layout import SPLIT_FOLDERS, Layout, is_number

ENVELOPES: Final = ("intd", "todo", "info", "local", "remote", "bounce")
KINDS: Final = ("mess", *ENVELOPES)
NUMBER_DIGITS_MAX: Final = 20
"""Digits of the largest inode number there can be."""


def is_queue_number(name: str) -> bool:
    """Tell whether `name` can be the number of a message."""
    return is_number(name) and len(name) <= NUMBER_DIGITS_MAX


def place(layout: Layout, kind: str, number: int) -> str:
    """Return the path that a file of `kind` has."""
    below = f"{number % layout.split}/{number}" if kind in SPLIT_FOLDERS else str(number)
    return f"{kind}/{below}"


@dataclass(slots=True)
class Census:
    """Where each file is. `where[kind][number]` is its folder; "" for kinds without folders."""

    where: dict[str, dict[int, str]] = field(default_factory=lambda: {kind: {} for kind in KINDS})
    inodes: dict[int, int] = field(default_factory=dict)
    """Number to inode of each message."""
    twice: list[tuple[str, int, str]] = field(default_factory=list)
    """Kind, number and folder of each further file of that kind and number."""

    def path(self, kind: str, number: int) -> str | None:
        """Return the path of a file, None where there is none."""
        folder = self.where[kind].get(number)
        return None if folder is None else path_in(kind, folder, number)

    def numbers(self) -> list[int]:
        """Return all numbers, in order."""
        return sorted(set[int]().union(*self.where.values()))

    def has(self, number: int) -> dict[str, str]:
        """Return kind -> path of the files of one number."""
        paths = ((kind, self.path(kind, number)) for kind in KINDS)
        return {kind: path for kind, path in paths if path is not None}

    def forget(self, kind: str, number: int) -> None:
        """Note that this file is gone from its place."""
        self.where[kind].pop(number, None)


def path_in(kind: str, folder: str, number: int) -> str:
    """Return the path of a file of `kind` in one of its folders, "" for the kind's own."""
    return f"{kind}/{folder}/{number}" if folder else f"{kind}/{number}"


def take_census(fs: Fs, layout: Layout, ignored: Container[str] = frozenset()) -> Census:
    """Look into every folder; paths in `ignored` do not count. Raises: OSError."""
    census = Census()
    for kind in KINDS:
        for folder in folders_of(fs, kind):
            for name, inode in names_in(fs, f"{kind}/{folder}" if folder else kind):
                if is_queue_number(name) and path_in(kind, folder, int(name)) not in ignored:
                    _count(census, kind, (int(name), folder, inode), layout)
    return census


def names_in(fs: Fs, folder: str) -> Iterator[tuple[str, int]]:
    """Yield the entries of a folder, none where there is no such folder. Raises: OSError."""
    with contextlib.suppress(FileNotFoundError, NotADirectoryError):
        yield from fs.names(folder)


def folders_of(fs: Fs, kind: str) -> Iterator[str]:
    """Yield the numbered folders of a kind; "" for one that has its files itself."""
    if kind not in SPLIT_FOLDERS:
        yield ""
        return
    yield from sorted((name for name, _ in names_in(fs, kind) if is_queue_number(name)), key=int)


def _count(census: Census, kind: str, found: tuple[int, str, int], layout: Layout) -> None:
    """Note one file. Of two of one number the better is counted, the other is `twice`."""
    number, folder, inode = found
    before = census.where[kind].get(number)
    if before is not None:
        own = str(number % layout.split)
        is_named = kind == "mess" and inode == number
        was_named = kind == "mess" and census.inodes[number] == number
        is_better = (is_named, folder == own) > (was_named, before == own)
        census.twice.append((kind, number, before if is_better else folder))
        if not is_better:
            return
    census.where[kind][number] = folder
    if kind == "mess":
        census.inodes[number] = inode
