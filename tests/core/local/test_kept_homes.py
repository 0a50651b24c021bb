"""Kept homes: a `.qmail` file is read anew when it has changed, and a change is never missed."""

import contextlib
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qmail.core.local import kept_homes
from qmail.core.local.home_files import PATRN, DotqmailFile, HomeFiles, StoppedError
from qmail.core.local.kept_homes import FILES_MAX, HOMES_MAX, KeptHomes, Trust, is_on_a_disk
from qmail.core.local.plan import Plan, find_plan, open_home
from qmail.protocol.local_door import Target

LATER = Trust(now_ns=lambda: time.time_ns() + 10**10, is_certain=lambda _found: True)
"""Ten seconds later every file is settled: what a test does at once is kept at once."""
DEFAULT = b"./Maildir/"
EXTS = (b"", b"a", b"a-b", b"c")
NAMES = (".qmail", ".qmail-a", ".qmail-a-b", ".qmail-a-default", ".qmail-default")
COARSE_CLOCK = 5
"""CLOCK_REALTIME_COARSE of Linux: what file systems stamp files with."""
TEXTS = ("./one/\n", "./two/\n", "&x@y.z\n", "", "|true\n")
MODES = (0o600, 0o644, 0o602, 0o700, 0o000)
HOME_MODES = (0o700, 0o755, 0o1700, 0o702)


@pytest.fixture
def home(tmp_path: Path) -> Path:
    tmp_path.chmod(0o700)
    return tmp_path


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """What is read anew."""
    names: list[bytes] = []
    read = HomeFiles.read_with_stat

    def noted(files: HomeFiles, name: bytes) -> tuple[DotqmailFile, os.stat_result] | None:
        names.append(name)
        return read(files, name)

    monkeypatch.setattr(HomeFiles, "read_with_stat", noted)
    return names


def write(path: Path, text: str, mode: int = 0o600) -> None:
    path.write_text(text)
    path.chmod(mode)


def target(home: Path, ext: bytes) -> Target:
    return Target(b"joe", os.fsencode(home), b"joe", b"-" if ext else b"", ext, b"x")


Outcome = Plan | tuple[int, bytes]


def outcome(make: Callable[[], Plan]) -> Outcome:
    try:
        return make()
    except StoppedError as stopped:
        return int(stopped.code), stopped.text


def kept(homes: KeptHomes, home: Path, ext: bytes) -> Outcome:
    return outcome(lambda: find_plan(homes.enter(os.fsencode(home)), target(home, ext), DEFAULT))


def anew(home: Path, ext: bytes) -> Outcome:
    def make() -> Plan:
        fd = open_home(os.fsencode(home))
        try:
            return find_plan(HomeFiles(fd), target(home, ext), DEFAULT)
        finally:
            os.close(fd)

    return outcome(make)


def test_unchanged_file_is_read_once(home: Path, reads: list[bytes]) -> None:
    write(home / ".qmail-a", "./one/\n")
    homes = KeptHomes(PATRN, LATER)
    found = [kept(homes, home, b"a") for _ in range(3)]
    assert reads == [b".qmail-a"]
    assert found == [anew(home, b"a")] * 3


def test_file_that_changed_just_now_is_read_every_time(home: Path, reads: list[bytes]) -> None:
    write(home / ".qmail-a", "./one/\n")
    homes = KeptHomes(PATRN, Trust(is_certain=lambda _found: True))
    for _ in range(3):
        kept(homes, home, b"a")
    assert reads == [b".qmail-a"] * 3


def test_file_of_a_network_file_system_is_read_every_time(home: Path, reads: list[bytes]) -> None:
    write(home / ".qmail-a", "./one/\n")
    homes = KeptHomes(PATRN, Trust(now_ns=LATER.now_ns, is_certain=lambda _found: False))
    for _ in range(3):
        kept(homes, home, b"a")
    assert reads == [b".qmail-a"] * 3


def test_only_a_block_device_is_certain(home: Path) -> None:
    found = os.stat(home)
    assert is_on_a_disk(found) is (os.major(found.st_dev) != 0)
    assert not is_on_a_disk(os.stat("/proc/self/stat"))


def test_long_file_is_not_kept(home: Path, reads: list[bytes]) -> None:
    write(home / ".qmail-a", "&x@example.org\n" * 5000)
    homes = KeptHomes(PATRN, LATER)
    for _ in range(2):
        kept(homes, home, b"a")
    assert reads == [b".qmail-a"] * 2


def test_more_specific_file_that_appears_is_seen(home: Path) -> None:
    write(home / ".qmail-default", "./one/\n")
    homes = KeptHomes(PATRN, LATER)
    kept(homes, home, b"a")
    write(home / ".qmail-a", "./two/\n")
    assert kept(homes, home, b"a") == anew(home, b"a")


def test_home_that_is_replaced_is_seen(home: Path, tmp_path: Path) -> None:
    path = tmp_path / "joe"
    for text in ("./one/\n", "./two/\n"):
        other = tmp_path / text[2:5]
        other.mkdir(0o700)
        write(other / ".qmail-a", text)
    homes = KeptHomes(PATRN, LATER)
    for name in ("one", "two", "one"):
        path.unlink(missing_ok=True)
        path.symlink_to(tmp_path / name)
        assert kept(homes, path, b"a") == anew(path, b"a")
    path.unlink()
    assert kept(homes, path, b"a") == anew(path, b"a")
    assert home.exists()


@pytest.mark.parametrize("mode", HOME_MODES)
def test_mode_of_a_kept_home_counts_every_time(home: Path, mode: int) -> None:
    homes = KeptHomes(PATRN, LATER)
    kept(homes, home, b"")
    home.chmod(mode)
    assert kept(homes, home, b"") == anew(home, b"")


def test_memory_and_descriptors_are_bounded(home: Path) -> None:
    homes = KeptHomes(PATRN, LATER)
    before = set(os.listdir("/proc/self/fd"))
    for number in range(3 * HOMES_MAX):
        one = home / f"h{number}"
        one.mkdir(0o700)
        kept(homes, one, b"")
    assert len(set(os.listdir("/proc/self/fd")) - before) <= HOMES_MAX
    files = homes.enter(os.fsencode(home))
    assert isinstance(files, kept_homes.KeptFiles)
    for number in range(2 * FILES_MAX + 1):
        write(home / f".qmail-{number}", "./one/\n")
        files.read(b".qmail-%d" % number)
    assert 0 < len(files.known) <= FILES_MAX


def wait_for_the_clock() -> None:
    """Until the clock of file systems has moved: not even two edits have the same time."""
    before = time.clock_gettime_ns(COARSE_CLOCK)
    while time.clock_gettime_ns(COARSE_CLOCK) == before:
        pass


def edit(home: Path, random: Random) -> None:
    """Change something, as people and programs do, sometimes back to what it was."""
    path = home / random.choice(NAMES)
    aside = home / "aside"
    match random.choice(("write", "rename", "mode", "remove", "link", "hard", "home", "quiet")):
        case "write":
            write(path, random.choice(TEXTS), random.choice(MODES))
        case "rename":
            write(aside, random.choice(TEXTS), random.choice(MODES))
            aside.rename(path)
        case "mode":
            path.chmod(random.choice(MODES))
        case "remove":
            path.unlink()
        case "link":
            aside.symlink_to(random.choice([home / f"target{n}" for n in range(3)]))
            aside.rename(path)
        case "hard":
            os.link(home / "target0", aside)
            aside.rename(path)
        case "home":
            home.chmod(random.choice(HOME_MODES))
        case "quiet":
            found = path.stat()
            path.write_text({"./one/\n": "./two/\n"}.get(path.read_text(), "./one/\n"))
            os.utime(path, ns=(found.st_atime_ns, found.st_mtime_ns))


@contextlib.contextmanager
def furnished() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        for number, text in enumerate(TEXTS[:3]):
            write(home / f"target{number}", text)
        write(home / ".qmail-a", "./one/\n")
        write(home / ".qmail-default", "./two/\n")
        yield home
        home.chmod(0o700)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**32))
def test_no_change_between_two_deliveries_is_missed(seed: int) -> None:
    random = Random(seed)
    with furnished() as home:
        homes = KeptHomes(PATRN, LATER)
        for _ in range(10):
            with contextlib.suppress(OSError):
                edit(home, random)
            wait_for_the_clock()
            for ext in EXTS:
                assert kept(homes, home, ext) == anew(home, ext), ext
