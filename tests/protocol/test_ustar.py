"""Headers of tar archives: read by tar(1), and nothing but plain files is read."""

import io
import tarfile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qmail.protocol.ustar import BLOCK, END, SIZE_MAX, Entry, TarError, header, parse

NAMES = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=100)


@given(name=NAMES, size=st.integers(0, SIZE_MAX), mtime=st.integers(0, SIZE_MAX))
def test_what_is_written_is_read(name: str, size: int, mtime: int) -> None:
    entry = Entry(name, size, mtime)
    assert parse(header(entry)) == entry


def test_other_programs_read_it() -> None:
    entry = Entry("7/mess", 5, 1_790_000_000)
    archive = header(entry) + b"hello" + bytes(entry.padding) + END
    with tarfile.open(fileobj=io.BytesIO(archive)) as found:
        (member,) = found.getmembers()
        file = found.extractfile(member)
        assert file is not None
        assert (member.name, member.mtime, file.read()) == ("7/mess", 1_790_000_000, b"hello")


def test_an_empty_block_is_the_end() -> None:
    assert parse(bytes(BLOCK)) is None


@pytest.mark.parametrize("size", [-1, SIZE_MAX + 1])
def test_what_does_not_fit_is_not_written(size: int) -> None:
    with pytest.raises(TarError):
        header(Entry("mess", size, 0))


@pytest.mark.parametrize(
    "kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.DIRTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE]
)
def test_only_plain_files_are_read(kind: bytes) -> None:
    member = tarfile.TarInfo("1/mess")
    member.type = kind
    with pytest.raises(TarError):
        parse(member.tobuf(tarfile.USTAR_FORMAT)[:BLOCK])


@given(block=st.binary(min_size=BLOCK, max_size=BLOCK))
def test_any_block_is_refused_or_understood(block: bytes) -> None:
    try:
        parse(block)
    except TarError:
        return


@given(at=st.integers(0, BLOCK - 1), byte=st.integers(0, 255))
def test_a_changed_byte_is_noticed(at: int, byte: int) -> None:
    block = bytearray(header(Entry("1/mess", 5, 0)))
    if block[at] == byte:
        return
    block[at] = byte
    try:
        found = parse(bytes(block))
    except TarError:
        return
    # Only what pads the sum itself can be another byte.
    assert (148 <= at < 156, found) == (True, Entry("1/mess", 5, 0))


@pytest.mark.parametrize("length", [0, 1, BLOCK - 1])
def test_a_short_block_is_a_cut_archive(length: int) -> None:
    with pytest.raises(TarError, match="cut"):
        parse(bytes(length))
