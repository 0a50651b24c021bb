"""A look at the whole queue, a folder of each kind at a time: memory is for one of them only."""

import contextlib
from collections.abc import Iterator
from typing import Final

from qmail.core.fs import Fs
from qmail.core.queue.layout import PARKED, Layout, is_number, parked
from qmail.core.queue.sweep import Files

Found = list[tuple[int, Files]]
MESSAGE: Final = ".mess"


def whole_queue(fs: Fs, layout: Layout) -> Iterator[Found]:
    """Yield, folder by folder, every message number with the files that it has.

    A file that lies in another folder than its number says is none of that message's.
    """
    todo = _buckets(_numbers(fs, "todo"), layout.split)
    bounce = _buckets(_numbers(fs, "bounce"), layout.split)
    aside = _buckets(_parked(fs), layout.split)
    for index in range(layout.split):
        kinds = [
            _own(fs, "mess", index, layout.split),
            todo[index],
            _own(fs, "info", index, layout.split),
            _own(fs, "local", index, layout.split),
            _own(fs, "remote", index, layout.split),
            bounce[index],
        ]
        numbers: set[int] = set().union(*kinds)
        kinds.append(aside[index])
        yield [(number, Files(*[number in kind for kind in kinds])) for number in sorted(numbers)]


def files_of(fs: Fs, layout: Layout, number: int) -> Files:
    """Return the files that one message has now."""
    paths = (
        layout.mess(number),
        layout.todo(number),
        layout.info(number),
        layout.channel("local", number),
        layout.channel("remote", number),
        layout.bounce(number),
        parked(number, "mess"),
    )
    return Files(*[fs.info(path) is not None for path in paths])


def _numbers(fs: Fs, folder: str) -> Iterator[int]:
    return (int(name) for name, _ in fs.names(folder) if is_number(name))


def _parked(fs: Fs) -> Iterator[int]:
    # A queue of an earlier version has no such folder.
    with contextlib.suppress(FileNotFoundError):
        for name, _ in fs.names(PARKED):
            number = name.removesuffix(MESSAGE)
            if name.endswith(MESSAGE) and is_number(number):
                yield int(number)


def _own(fs: Fs, kind: str, index: int, split: int) -> set[int]:
    numbers = _numbers(fs, f"{kind}/{index}")
    return {number for number in numbers if number % split == index}


def _buckets(numbers: Iterator[int], split: int) -> list[set[int]]:
    found: list[set[int]] = [set() for _ in range(split)]
    for number in numbers:
        found[number % split].add(number)
    return found
