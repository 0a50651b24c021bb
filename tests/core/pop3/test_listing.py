"""A maildir in the order of POP3, and the file that remembers it: spec/smtp.md E.3."""

import os
import stat
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.sim.simclock import SimClock
from tests.sim.simfs import SimFs

from qmail.core.fs import FileInfo, RealFs
from qmail.core.pop3 import cache as maildrop_cache
from qmail.core.pop3.cache import NAME, Cache, FolderTimes, Listing, load
from qmail.core.pop3.listing import FUTURE_S_MAX, base_of, list_messages

NOW = 1_700_000_000.5
MANY = 100
"""More messages than are listed without being remembered."""


class CountingFs(RealFs):
    """The real disk, with counts of what was looked at."""

    def __init__(self, root: str) -> None:
        super().__init__(root)
        self.looks: list[str] = []
        self.reads: list[str] = []
        self.listings: list[str] = []

    def info(self, path):  # type: ignore[no-untyped-def]
        if "/" in path:
            self.looks.append(path)
        return super().info(path)

    def parts(self, path):  # type: ignore[no-untyped-def]
        self.reads.append(path)
        return super().parts(path)

    def names(self, folder):  # type: ignore[no-untyped-def]
        self.listings.append(folder)
        return super().names(folder)

    def forget(self) -> None:
        for done in (self.looks, self.reads, self.listings):
            done.clear()


class TimedSimFs(SimFs):
    """The simulated disk, whose folders have no times of their own."""

    def info(self, path):  # type: ignore[no-untyped-def]
        if path in ("new", "cur"):
            return FileInfo(1, 0, NOW - 500, NOW - 500, 0, stat.S_IFDIR)
        return super().info(path)


@pytest.fixture
def fs(tmp_path: Path) -> CountingFs:
    for folder in ("tmp", "new", "cur"):
        (tmp_path / folder).mkdir()
    return CountingFs(str(tmp_path))


def put(root: Path, path: str, when: float = NOW - 100, text: bytes = b"x\n") -> None:
    (root / path).write_bytes(text)
    os.utime(root / path, (when, when))


def settle(root: Path, when: float = NOW - 1000) -> None:
    """Make it long ago that the folders were changed."""
    for folder in ("new", "cur"):
        os.utime(root / folder, (when, when))


def fill(root: Path, count: int = MANY) -> None:
    for number in range(count):
        where = f"cur/{number:03}.m:2,S" if number % 2 else f"new/{number:03}.m"
        put(root, where, NOW - 1000 + number, b"line\n" * number)
    settle(root)


def test_e3_messages_of_new_and_cur_by_mtime(fs: CountingFs, tmp_path: Path) -> None:
    put(tmp_path, "new/b", NOW - 3, b"one\n")
    put(tmp_path, "cur/a:2,S", NOW - 2.25)
    put(tmp_path, "new/c", NOW - 4)
    put(tmp_path, "new/d", NOW - 3)
    put(tmp_path, "cur/e,S=2,W=3:2,RS", NOW - 2.5)
    listing = list_messages(fs, NOW, "t")
    assert listing.paths == ["new/c", "new/b", "new/d", "cur/e,S=2,W=3:2,RS", "cur/a:2,S"]
    assert list(listing.sizes) == [3, 5, 3, 3, 3]
    assert "cur/e,S=2,W=3:2,RS" not in fs.reads


def test_names_with_a_dot_and_what_is_no_file_are_no_messages(
    fs: CountingFs, tmp_path: Path
) -> None:
    put(tmp_path, "new/.hidden")
    (tmp_path / "new/folder").mkdir()
    (tmp_path / "new/link").symlink_to("/etc/passwd")
    os.mkfifo(tmp_path / "cur/pipe:2,")
    assert list_messages(fs, NOW, "t").paths == []


def test_a_message_that_is_moved_meanwhile_is_one(fs: CountingFs, tmp_path: Path) -> None:
    put(tmp_path, "new/a")
    put(tmp_path, "cur/a:2,S")
    assert list_messages(fs, NOW, "t").paths == ["cur/a:2,S"]


@pytest.mark.parametrize(
    ("when", "is_listed"),
    [
        (int(NOW) - 0.001, True),
        (int(NOW), False),
        (NOW, False),
        (NOW + 5, False),
        (int(NOW) + FUTURE_S_MAX - 1, False),
        (int(NOW) + FUTURE_S_MAX, True),
    ],
)
def test_oddities_9_messages_of_this_second_are_for_the_next_login(
    fs: CountingFs, tmp_path: Path, when: float, is_listed: bool
) -> None:
    put(tmp_path, "new/a", when)
    assert list_messages(fs, NOW, "t").paths == (["new/a"] if is_listed else [])
    later = list_messages(fs, when + 1 if when < NOW + 60 else NOW, "t")
    assert later.paths == (["new/a"] if when < NOW + 60 or is_listed else [])


@pytest.mark.parametrize("missing", ["new", "cur"])
def test_what_has_no_new_and_cur_is_no_maildir(
    fs: CountingFs, tmp_path: Path, missing: str
) -> None:
    (tmp_path / missing).rmdir()
    with pytest.raises(FileNotFoundError):
        list_messages(fs, NOW, "t")


def test_the_base_is_what_stands_before_the_flags() -> None:
    assert base_of("1.a,S=3:2,RS") == "1.a,S=3"
    assert base_of("1.a:2,:x") == "1.a"
    assert base_of("1.a") == "1.a"
    assert base_of(":2,S") == ":2,S"


# --- the second visit ---------------------------------------------------------------------------


def test_on_the_second_visit_nothing_is_read(fs: CountingFs, tmp_path: Path) -> None:
    fill(tmp_path)
    first = list_messages(fs, NOW, "t")
    assert len(first.paths) == len(fs.looks) == MANY
    fs.forget()
    assert list_messages(fs, NOW + 60, "t") == first
    assert (fs.looks, fs.reads, fs.listings) == ([], [], [])
    assert [path.name for path in (tmp_path / "tmp").iterdir()] == []
    assert stat.S_IMODE((tmp_path / NAME).stat().st_mode) == 0o600


def test_after_flags_and_moves_only_names_are_read(fs: CountingFs, tmp_path: Path) -> None:
    fill(tmp_path)
    first = list_messages(fs, NOW, "t")
    (tmp_path / "cur/001.m:2,S").rename(tmp_path / "cur/001.m:2,RS")
    (tmp_path / "new/002.m").rename(tmp_path / "cur/002.m:2,")
    (tmp_path / "cur/003.m:2,S").unlink()
    put(tmp_path, "new/new", NOW - 1, b"1\n2\n")
    settle(tmp_path, NOW - 500)
    fs.forget()
    second = list_messages(fs, NOW + 60, "t")
    assert fs.looks == fs.reads == ["new/new"]
    assert sorted(fs.listings) == ["cur", "new"]
    expected = list(first.paths)
    expected[1:4] = ["cur/001.m:2,RS", "cur/002.m:2,"]
    assert second.paths == [*expected, "new/new"]
    assert list(second.sizes) == [*first.sizes[:3], *first.sizes[4:], 6]
    # And it is remembered for the third.
    fs.forget()
    assert list_messages(fs, NOW + 120, "t") == second
    assert fs.listings == []


def test_folders_that_were_changed_just_now_are_read_again(fs: CountingFs, tmp_path: Path) -> None:
    fill(tmp_path)
    settle(tmp_path, NOW - 1)
    list_messages(fs, NOW, "t")
    put(tmp_path, "new/late", NOW - 2)
    # Its delivery does not show in the time of its folder: the clock ticks slowly.
    settle(tmp_path, NOW - 1)
    fs.forget()
    assert "new/late" in list_messages(fs, NOW + 60, "t").paths
    assert fs.reads == ["new/late"]


def test_a_message_that_was_left_for_later_is_not_forgotten(fs: CountingFs, tmp_path: Path) -> None:
    fill(tmp_path)
    put(tmp_path, "new/soon", NOW + 10)
    settle(tmp_path)
    assert "new/soon" not in list_messages(fs, NOW, "t").paths
    assert "new/soon" in list_messages(fs, NOW + 60, "t").paths


def test_few_messages_are_not_remembered(fs: CountingFs, tmp_path: Path) -> None:
    fill(tmp_path, 10)
    list_messages(fs, NOW, "t")
    assert not (tmp_path / NAME).exists()


def test_a_long_message_is(fs: CountingFs, tmp_path: Path) -> None:
    put(tmp_path, "new/long", text=b"x" * 100_000)
    first = list_messages(fs, NOW, "t")
    fs.forget()
    assert list_messages(fs, NOW, "t") == first
    assert fs.reads == []


# --- a file that can't be used ------------------------------------------------------------------


@pytest.fixture
def remembered(fs: CountingFs, tmp_path: Path) -> Listing:
    fill(tmp_path)
    return list_messages(fs, NOW, "t")


def test_any_damaged_byte_makes_it_worthless(
    fs: CountingFs, tmp_path: Path, remembered: Listing
) -> None:
    data = (tmp_path / NAME).read_bytes()
    for at in [*range(90), len(data) // 2, len(data) - 1]:
        changed = bytearray(data)
        changed[at] ^= 1
        (tmp_path / NAME).write_bytes(changed)
        found = load(fs)
        # A change of case in the checksum is none.
        assert found is None or found.listing == remembered
    for length in (0, 10, 50, 100, len(data) - 1):
        (tmp_path / NAME).write_bytes(data[:length])
        assert load(fs) is None
        assert list_messages(fs, NOW, "t") == remembered


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.binary(max_size=300))
def test_whatever_is_in_the_file_breaks_nothing(
    fs: CountingFs, tmp_path: Path, data: bytes
) -> None:
    order = sys.byteorder.encode()
    for text in (data, b"qmail-pop3d sizes 1 %b " % order + data):
        (tmp_path / NAME).write_bytes(text)
        assert load(fs) is None


@pytest.mark.parametrize("kind", ["folder", "link", "pipe", "unreadable"])
def test_what_is_no_such_file_is_passed_over(
    fs: CountingFs, tmp_path: Path, remembered: Listing, kind: str
) -> None:
    (tmp_path / NAME).unlink()
    if kind == "folder":
        (tmp_path / NAME).mkdir()
    elif kind == "link":
        (tmp_path / NAME).symlink_to("nowhere")
    elif kind == "pipe":
        os.mkfifo(tmp_path / NAME)
    else:
        (tmp_path / NAME).touch(mode=0)
    assert list_messages(fs, NOW, "t") == remembered


def test_a_disk_that_is_full_costs_only_the_file() -> None:
    fs = TimedSimFs(clock=SimClock(NOW - 1000))
    for folder in ("tmp", "new", "cur"):
        fs.make_folder(folder)
    for number in range(MANY):
        fs.close(fs.create(f"new/{number:03}"))
    for fails_at in range(2):
        fs.fail_write = fs.writes + fails_at
        assert len(list_messages(fs, NOW, "t").paths) == MANY
        assert NAME not in fs.files()
        assert not [path for path in fs.files() if path.startswith("tmp/")]
    fs.heal()
    fs.close(fs.create("tmp/t"))
    assert len(list_messages(fs, NOW, "t").paths) == MANY
    assert NAME not in fs.files()


def test_names_of_any_bytes_are_remembered(fs: CountingFs, tmp_path: Path) -> None:
    odd = [os.fsdecode(name) for name in (b"a\nb", b"\xff\xfe", "ä".encode(), b"x y", b"%41")]
    for name in odd:
        put(tmp_path, f"new/{name}", text=b"x" * 40_000)
    settle(tmp_path)
    first = list_messages(fs, NOW, "t")
    assert sorted(first.paths) == sorted(f"new/{name}" for name in odd)
    found = load(fs)
    assert found == Cache(first, FolderTimes(NOW - 1000, NOW - 1000))


def test_a_mailbox_beyond_the_bound_is_not_remembered(
    fs: CountingFs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(maildrop_cache, "BYTES_MAX", 2000)
    fill(tmp_path)
    assert len(list_messages(fs, NOW, "t").paths) == MANY
    assert not (tmp_path / NAME).exists()
