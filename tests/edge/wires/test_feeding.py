"""What is fed to a program that reads all, some or nothing of it."""

import os
import threading
from collections.abc import Iterator

import pytest

from qmail.edge.wires.feeding import ALL, LATE, STOPPED, feed

BIG = [b"x" * 100_000] * 10


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    reader, writer = os.pipe()
    yield reader, writer
    for fd in (reader, writer):
        try:
            os.close(fd)
        except OSError:
            continue


def test_all_of_it_is_written_though_the_reader_is_slow(pipe: tuple[int, int]) -> None:
    reader, writer = pipe
    read: list[bytes] = []

    def slowly() -> None:
        while part := os.read(reader, 4096):
            read.append(part)

    thread = threading.Thread(target=slowly)
    thread.start()
    assert feed(writer, BIG, 60) == ALL
    os.close(writer)
    thread.join()
    assert b"".join(read) == b"".join(BIG)


def test_a_reader_that_closes_its_end_stops_it(pipe: tuple[int, int]) -> None:
    reader, writer = pipe
    os.close(reader)
    assert feed(writer, BIG, 60) == STOPPED


def test_a_reader_that_reads_nothing_is_not_waited_for_longer(pipe: tuple[int, int]) -> None:
    assert feed(pipe[1], BIG, 0.01) == LATE


def test_what_the_parts_raise_is_raised(pipe: tuple[int, int]) -> None:
    def parts() -> Iterator[bytes]:
        yield b"a"
        raise TimeoutError("of the source")

    with pytest.raises(TimeoutError, match="of the source"):
        feed(pipe[1], parts(), 60)
    assert os.read(pipe[0], 10) == b"a"
