"""cdb files: read, written, damaged, and shared with other people's tools (control-files.md 6)."""

import contextlib
import errno
import fcntl
import io
import os
import shutil
import struct
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from qmail.core import cdb as module
from qmail.core.cdb import Cdb, CdbError, CdbFile, cdb_hash, prefix_hashes, write_cdb

Records = list[tuple[bytes, bytes]]
RECORDS: Records = [(b"one", b"Hello"), (b"two", b"Goodbye"), (b"", b"-+"), (b"one", b"again")]
ON_DISK = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
records = st.lists(st.tuples(st.binary(max_size=12), st.binary(max_size=40)), max_size=40)


def written(folder: Path, what: Records, name: str = "cdb") -> Path:
    write_cdb(str(folder / name), str(folder / f"{name}.tmp"), what)
    return folder / name


def raw_of(what: Records) -> bytes:
    """The bytes of such a file, without a disk."""
    file = io.BytesIO()
    module._write(file, "cdb", what)
    return file.getvalue()


def all_of(path: Path) -> Records:
    with Cdb(str(path)) as cdb:
        return list(cdb.items())


@pytest.mark.parametrize(
    ("key", "hashed"),
    [
        (b"", 0x00001505),
        (b"!", 0x0002B584),
        (b"!joe-", 0x05E43CA9),
        (b"!joe\0", 0x05E43C84),
        (b"example.org", 0xE8B7C339),
    ],
)
def test_control_files_6_the_check_values_of_the_hash(key: bytes, hashed: int) -> None:
    assert cdb_hash(key) == hashed


@given(key=st.binary(max_size=60))
def test_the_hashes_of_all_prefixes_are_those_of_each(key: bytes) -> None:
    assert prefix_hashes(key) == [cdb_hash(key[:end]) for end in range(len(key) + 1)]


def test_control_files_6_of_equal_keys_the_first_wins(tmp_path: Path) -> None:
    with Cdb(str(written(tmp_path, RECORDS))) as cdb:
        assert cdb.get(b"one") == b"Hello"
        assert cdb.get(b"") == b"-+"
        assert cdb.get(b"three") is None
        assert list(cdb.items()) == RECORDS


def test_control_files_6_layout_of_one_record(tmp_path: Path) -> None:
    raw = written(tmp_path, [(b"!joe-", b"data")]).read_bytes()
    table = 2048 + 8 + 9
    header = [(table, 0)] * 0xA9 + [(table, 2)] + [(table + 16, 0)] * (255 - 0xA9)
    assert raw[:2048] == b"".join(struct.pack("<II", *pair) for pair in header)
    assert raw[2048:table] == struct.pack("<II", 5, 4) + b"!joe-data"
    slots = [(0, 0), (0, 0)]
    slots[(0x05E43CA9 >> 8) % 2] = (0x05E43CA9, 2048)
    assert raw[table:] == b"".join(struct.pack("<II", *pair) for pair in slots)


def test_a_file_without_records_answers_nothing(tmp_path: Path) -> None:
    path = written(tmp_path, [])
    assert path.stat().st_size == 2048
    with Cdb(str(path)) as cdb:
        assert cdb.get(b"") is None
        assert list(cdb.items()) == []


def test_many_keys_of_one_table_are_all_found(tmp_path: Path) -> None:
    keys = [key for number in range(20000) if cdb_hash(key := b"%d" % number) % 256 == 7]
    with Cdb(str(written(tmp_path, [(key, key * 2) for key in keys]))) as cdb:
        assert len(keys) > 32
        assert all(cdb.get(key) == key * 2 for key in keys)
        assert cdb.get(b"none") is None


@ON_DISK
@given(what=records, others=st.lists(st.binary(max_size=12), max_size=10))
def test_what_is_written_is_what_is_read(
    tmp_path: Path, what: Records, others: list[bytes]
) -> None:
    first: dict[bytes, bytes] = {}
    for key, data in what:
        first.setdefault(key, data)
    (tmp_path / "cdb").write_bytes(raw_of(what))
    with Cdb(str(tmp_path / "cdb")) as cdb:
        assert list(cdb.items()) == what
        for key in (*first, *others):
            assert cdb.get(key) == first.get(key)
            assert cdb.get(key, cdb_hash(key)) == first.get(key)


# --- damaged files ------------------------------------------------------------------------------


@settings(ON_DISK, max_examples=200)
@given(
    what=records,
    at=st.integers(min_value=0),
    patch=st.one_of(st.binary(min_size=1, max_size=8), st.just(b"\xff\xff\xff\xff")),
    cut=st.one_of(st.none(), st.integers(min_value=0)),
)
def test_fuzz_a_damaged_file_is_an_error_or_an_answer_and_always_ends(
    tmp_path: Path, what: Records, at: int, patch: bytes, cut: int | None
) -> None:
    path = tmp_path / "cdb"
    raw = bytearray(raw_of([*what, (b"joe", b"data")]))
    at %= len(raw)
    raw[at : at + len(patch)] = patch
    path.write_bytes(raw if cut is None else raw[: cut % len(raw)])
    with contextlib.suppress(CdbError), Cdb(str(path)) as cdb:
        for key in (b"joe", b"", *(key for key, _ in what)):
            found = cdb.get(key)
            assert found is None or found in raw
        assert sum(len(key) + len(data) for key, data in cdb.items()) <= len(raw)


@settings(ON_DISK, max_examples=100)
@given(raw=st.binary(max_size=600), header=st.binary(min_size=8, max_size=8))
def test_fuzz_any_bytes_are_an_error_or_an_answer(
    tmp_path: Path, raw: bytes, header: bytes
) -> None:
    path = tmp_path / "cdb"
    path.write_bytes(header * 256 + raw)
    with contextlib.suppress(CdbError), Cdb(str(path)) as cdb:
        found = cdb.get(b"joe")
        assert found is None or found in raw
        assert sum(len(key) + len(data) for key, data in cdb.items()) <= len(raw)


def damaged(tmp_path: Path, offset: int, *numbers: int) -> Cdb:
    path = written(tmp_path, [(b"joe", b"data")])
    raw = bytearray(path.read_bytes())
    struct.pack_into(f"<{len(numbers)}I", raw, offset, *numbers)
    path.write_bytes(raw)
    return Cdb(str(path))


TABLE = cdb_hash(b"joe") % 256 * 8


@pytest.mark.parametrize(
    ("offset", "numbers", "what"),
    [
        (TABLE, (0, 2), "table"),
        (TABLE, (2048 + 15, 3), "table"),
        (TABLE, (0xFFFFFFFF, 0xFFFFFFFF), "table"),
        (2048, (0xFFFFFFFF, 4), "record at 2048"),
        (2048, (3, 0xFFFFFFFF), "record at 2048"),
        (2048, (3, 50), "record at 2048"),
    ],
)
def test_an_offset_or_length_outside_the_file_is_named(
    tmp_path: Path, offset: int, numbers: tuple[int, ...], what: str
) -> None:
    with damaged(tmp_path, offset, *numbers) as cdb, pytest.raises(CdbError) as wrong:
        cdb.get(b"joe")
    assert what in str(wrong.value)
    assert str(tmp_path / "cdb") in str(wrong.value)


def test_a_record_inside_the_header_is_damage(tmp_path: Path) -> None:
    hashed = cdb_hash(b"joe")
    with (
        damaged(tmp_path, 2048 + 15, hashed, 8, hashed, 8) as cdb,
        pytest.raises(CdbError, match="header"),
    ):
        cdb.get(b"joe")


def test_a_table_without_a_free_slot_ends_the_search_after_one_round(tmp_path: Path) -> None:
    with damaged(tmp_path, 2048 + 15, 1, 2048, 2, 2048) as cdb:
        assert cdb.get(b"joe") is None


def test_data_longer_than_the_limit_is_damage(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = written(tmp_path, [(b"joe", b"x" * 11)])
    monkeypatch.setattr(module, "DATA_BYTES_MAX", 10)
    with Cdb(str(path)) as cdb, pytest.raises(CdbError, match="11 bytes"):
        cdb.get(b"joe")
    with Cdb(str(path)) as cdb, pytest.raises(CdbError, match="11 bytes"):
        list(cdb.items())


def test_a_file_cut_short_while_it_is_open_is_an_error(tmp_path: Path) -> None:
    path = written(tmp_path, RECORDS)
    with Cdb(str(path)) as cdb:
        os.truncate(path, 2060)
        with pytest.raises(CdbError, match="are not there"):
            cdb.get(b"one")


@pytest.mark.parametrize("size", [0, 1, 2047])
def test_a_file_without_a_whole_header_is_not_opened(tmp_path: Path, size: int) -> None:
    (tmp_path / "cdb").write_bytes(bytes(size))
    with pytest.raises(CdbError, match="too short"):
        Cdb(str(tmp_path / "cdb"))


def test_what_is_no_file_is_not_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path, tmp_path / "pipe"):
        with pytest.raises(CdbError, match="not a file"):
            Cdb(str(path))


def test_no_descriptor_is_left_open(tmp_path: Path) -> None:
    path = written(tmp_path, RECORDS)
    before = set(os.listdir("/proc/self/fd"))
    cdb = Cdb(str(path))
    cdb.close()
    cdb.close()
    Cdb(str(path)).get(b"one")
    with pytest.raises(CdbError):
        Cdb(str(tmp_path))
    # What earlier tests left to the collector may go meanwhile.
    assert set(os.listdir("/proc/self/fd")) <= before


# --- a file that changes ------------------------------------------------------------------------


def test_a_new_file_is_seen_at_once_and_the_same_one_is_not_opened_again(tmp_path: Path) -> None:
    file = CdbFile(str(tmp_path / "cdb"))
    assert file.now() is None
    written(tmp_path, [(b"a", b"1")])
    first = file.now()
    assert first is not None
    assert first.get(b"a") == b"1"
    assert file.now() is first
    for number in range(20):
        # Same size, same time, and an inode that could be used again.
        written(tmp_path, [(b"a", b"%d" % (number % 10))])
        os.utime(tmp_path / "cdb", ns=(10**18, 10**18))
        found = file.now()
        assert found is not None
        assert found.get(b"a") == b"%d" % (number % 10)
    assert first.get(b"a") == b"1"
    (tmp_path / "cdb").unlink()
    assert file.now() is None


def test_a_file_that_is_written_over_in_place_is_seen_even_with_the_same_times(
    tmp_path: Path,
) -> None:
    file = CdbFile(str(written(tmp_path, [(b"a", b"1"), (b"b", b"2")])))
    cdb = file.now()
    assert cdb is not None
    other = written(tmp_path, [(b"c", b"1"), (b"d", b"2")], "other").read_bytes()
    fd = os.open(tmp_path / "cdb", os.O_WRONLY)
    os.pwrite(fd, other, 0)
    os.close(fd)
    assert (cdb.get(b"a"), cdb.get(b"d")) == (None, b"2")


def test_a_broken_file_is_an_error_until_it_is_mended(tmp_path: Path) -> None:
    file = CdbFile(str(written(tmp_path, RECORDS)))
    file.now()
    (tmp_path / "cdb").write_bytes(b"")
    for _ in range(2):
        with pytest.raises(CdbError):
            file.now()
    written(tmp_path, RECORDS)
    cdb = file.now()
    assert cdb is not None
    assert cdb.get(b"two") == b"Goodbye"


# --- writing ------------------------------------------------------------------------------------


@pytest.fixture
def steps(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The calls that make a file durable, in their order."""
    done: list[str] = []
    real_fsync, real_rename = os.fsync, os.rename

    def fsync(fd: int) -> None:
        real_fsync(fd)
        done.append(f"fsync {os.path.basename(os.readlink(f'/proc/self/fd/{fd}'))}")

    def rename(old: str, new: str) -> None:
        real_rename(old, new)
        done.append(f"rename {os.path.basename(new)}")

    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(os, "rename", rename)
    return done


def test_control_files_6_temporary_name_fsync_rename_fsync_of_the_folder(
    tmp_path: Path, steps: list[str]
) -> None:
    written(tmp_path, RECORDS)
    assert steps == ["fsync cdb.tmp", "rename cdb", f"fsync {tmp_path.name}"]
    assert os.listdir(tmp_path) == ["cdb"]


def test_the_mode_is_the_one_asked_for_whatever_the_umask(tmp_path: Path) -> None:
    before = os.umask(0o077)
    try:
        assert written(tmp_path, []).stat().st_mode & 0o7777 == 0o644
    finally:
        os.umask(before)


def failing() -> Iterator[tuple[bytes, bytes]]:
    yield b"new", b"new"
    raise RuntimeError("bad input")


def test_a_failure_leaves_the_old_file_and_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = written(tmp_path, RECORDS)
    with pytest.raises(RuntimeError):
        write_cdb(str(path), str(tmp_path / "tmp"), failing())

    def no_space(_fd: int) -> None:
        raise OSError(errno.ENOSPC, "full")

    monkeypatch.setattr(os, "fsync", no_space)
    with pytest.raises(OSError, match="full"):
        write_cdb(str(path), str(tmp_path / "tmp"), [])
    assert os.listdir(tmp_path) == ["cdb"]
    assert all_of(path) == RECORDS


def test_what_a_killed_writer_left_is_no_obstacle(tmp_path: Path) -> None:
    (tmp_path / "cdb.tmp").write_bytes(b"x" * 10000)
    assert all_of(written(tmp_path, RECORDS)) == RECORDS


def test_two_writers_at_a_time_do_not_mix(tmp_path: Path) -> None:
    fd = os.open(tmp_path / "cdb.tmp", os.O_WRONLY | os.O_CREAT)
    fcntl.flock(fd, fcntl.LOCK_EX)
    with pytest.raises(OSError, match="another program is writing it now") as busy:
        written(tmp_path, RECORDS)
    assert busy.value.errno == errno.EBUSY
    assert os.listdir(tmp_path) == ["cdb.tmp"]
    os.close(fd)
    assert all_of(written(tmp_path, RECORDS)) == RECORDS


def test_a_link_in_place_of_the_temporary_file_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "precious").write_bytes(b"keep")
    (tmp_path / "cdb.tmp").symlink_to(tmp_path / "precious")
    with pytest.raises(OSError):
        written(tmp_path, RECORDS)
    assert (tmp_path / "precious").read_bytes() == b"keep"


def test_control_files_6_larger_than_4_gib_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "FILE_BYTES_MAX", 2048 + 8 + 2 + 16)
    assert all_of(written(tmp_path, [(b"a", b"b")])) == [(b"a", b"b")]
    for larger in ([(b"a", b"bc")], [(b"a", b"b" * 30)]):
        with pytest.raises(CdbError, match="4 GiB"):
            written(tmp_path, larger)
    assert all_of(tmp_path / "cdb") == [(b"a", b"b")]


# --- others' tools: freecdb's cdbmake, cdbdump, cdbget; tinycdb's cdb ---------------------------


def tool(name: str) -> str:
    found = shutil.which(name)
    if found is None:
        pytest.skip(f"{name} is not installed: not compared (scripts/tools.sh as root installs it)")
    return found


def run(*command: str, given: bytes = b"") -> bytes:
    done = subprocess.run(command, input=given, capture_output=True, timeout=30, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def as_lines(what: Records) -> bytes:
    lines = [b"+%d,%d:%b->%b\n" % (len(key), len(data), key, data) for key, data in what]
    return b"".join(lines) + b"\n"


SHARED: Records = [
    *RECORDS,
    *((b"key%d" % number, b"\0data\n" * (number % 7)) for number in range(1000)),
    (b"!joe\0", b"joe\x001001\x00100\x00/home/joe\0\0"),
]


def test_others_cdbdump_and_cdbget_read_ours(tmp_path: Path) -> None:
    dump, get = tool("cdbdump"), tool("cdbget")
    raw = written(tmp_path, SHARED).read_bytes()
    assert run(dump, given=raw) == as_lines(SHARED)
    with (tmp_path / "cdb").open("rb") as file:
        done = subprocess.run([get, "key999"], stdin=file, capture_output=True, check=False)
    assert (done.returncode, done.stdout) == (0, b"\0data\n" * (999 % 7))


def test_others_cdbmake_writes_what_we_write_byte_for_byte(tmp_path: Path) -> None:
    run(tool("cdbmake"), str(tmp_path / "theirs"), str(tmp_path / "t"), given=as_lines(SHARED))
    assert all_of(tmp_path / "theirs") == SHARED
    assert (tmp_path / "theirs").read_bytes() == written(tmp_path, SHARED).read_bytes()


def test_others_tinycdb_reads_ours(tmp_path: Path) -> None:
    tiny = tool("cdb")
    path = str(written(tmp_path, SHARED))
    assert run(tiny, "-d", path) == as_lines(SHARED)
    assert run(tiny, "-q", path, "two") == b"Goodbye"


def test_others_tinycdb_writes_what_we_read(tmp_path: Path) -> None:
    run(tool("cdb"), "-c", str(tmp_path / "theirs"), given=as_lines(SHARED))
    assert all_of(tmp_path / "theirs") == SHARED
    with Cdb(str(tmp_path / "theirs")) as cdb:
        assert cdb.get(b"one") == b"Hello"
        assert all(cdb.get(key) is not None for key, _ in SHARED)
        assert cdb.get(b"key1000") is None
