"""A maildir as a POP3 session sees it, while others change it: spec/smtp.md E.3, oddities.md 9."""

import errno
import os
import stat
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from random import Random

import pytest
from tests.sim.power import Choice, Power, PowerCut
from tests.sim.simclock import SimClock
from tests.sim.simfs import SimFs

from qmail.core.fs import FileInfo, RealFs
from qmail.core.local.maildir import Folder, NameMaker, prepare, publish
from qmail.core.pop3.listing import base_of
from qmail.core.pop3.maildrop import Maildrop, open_maildrop, uids_of

NOW = 1_700_000_000.5


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for folder in ("tmp", "new", "cur"):
        (tmp_path / folder).mkdir()
    return tmp_path


def put(root: Path, path: str, when: float = NOW - 100) -> None:
    (root / path).write_bytes(path.encode() + b"\n")
    os.utime(root / path, (when, when))


def fill(root: Path) -> None:
    put(root, "new/1.m", NOW - 40)
    put(root, "cur/2.m:2,S", NOW - 30)
    put(root, "new/3.m,S=9", NOW - 20)
    put(root, "cur/4.m,S=14,W=15:2,RS", NOW - 10)


def opened(root: Path) -> Maildrop:
    return Maildrop(RealFs(str(root)), lambda: NOW, "t")


def text(maildrop: Maildrop, number: int) -> bytes:
    return b"".join(maildrop.parts(number))


def names(root: Path) -> list[str]:
    return sorted(
        f"{folder}/{path.name}" for folder in ("new", "cur") for path in (root / folder).iterdir()
    )


def test_e3_ids_are_names_up_to_the_colon_and_stay(root: Path) -> None:
    fill(root)
    first = opened(root)
    assert first.uids == [b"1.m", b"2.m", b"3.m,S=9", b"4.m,S=14,W=15"]
    assert first.end(()) == 0
    assert names(root) == ["cur/1.m:2,", "cur/2.m:2,S", "cur/3.m,S=9:2,", "cur/4.m,S=14,W=15:2,RS"]
    (root / "cur/1.m:2,").rename(root / "cur/1.m:2,FRS")
    second = opened(root)
    assert second.uids == first.uids
    assert list(second.sizes) == list(first.sizes)
    assert text(second, 1) == b"new/1.m\n"


def test_e3_quit_removes_what_is_marked_and_moves_the_rest(root: Path) -> None:
    fill(root)
    maildrop = opened(root)
    put(root, "new/5.late")
    assert maildrop.end({1, 4}) == 0
    assert names(root) == ["cur/2.m:2,S", "cur/3.m,S=9:2,", "new/5.late"]


def test_a_name_in_new_that_has_flags_keeps_them(root: Path) -> None:
    put(root, "new/1.m:2,F")
    assert opened(root).end(()) == 0
    assert names(root) == ["cur/1.m:2,F"]


def test_e3_without_quit_nothing_changes(root: Path) -> None:
    fill(root)
    before = names(root)
    text(opened(root), 1)
    assert names(root) == before


# --- others change it meanwhile -----------------------------------------------------------------


@pytest.mark.parametrize("now", ["cur/1.m:2,S", "cur/1.m:2,", "cur/1.m:2,FRSTabc", "new/1.m:2,"])
def test_a_message_whose_flags_changed_is_found_again(root: Path, now: str) -> None:
    fill(root)
    maildrop = opened(root)
    (root / "new/1.m").rename(root / now)
    assert text(maildrop, 1) == b"new/1.m\n"
    (root / now).rename(root / "cur/1.m:2,DS")
    assert maildrop.end({1}) == 0
    assert "cur/1.m:2,DS" not in names(root)
    assert len(names(root)) == 3


def test_a_message_that_is_gone_is_an_error_and_no_other_message(root: Path) -> None:
    fill(root)
    maildrop = opened(root)
    (root / "cur/2.m:2,S").unlink()
    put(root, "cur/2.mm:2,S")
    put(root, "cur/2.:2,S")
    for _ in range(2):
        with pytest.raises(FileNotFoundError):
            text(maildrop, 2)
    # As good as removed.
    assert maildrop.end({2}) == 0
    assert {"cur/2.mm:2,S", "cur/2.:2,S"} <= set(names(root))


def test_a_search_that_found_nothing_is_not_repeated_in_a_quiet_maildir(root: Path) -> None:
    class CountingFs(RealFs):
        listings = 0

        def names(self, folder):  # type: ignore[no-untyped-def]
            self.listings += 1
            return super().names(folder)

    fill(root)
    fs = CountingFs(str(root))
    maildrop = Maildrop(fs, lambda: NOW, "t")
    for name in ("cur/2.m:2,S", "cur/4.m,S=14,W=15:2,RS"):
        (root / name).unlink()
    for folder in ("new", "cur"):
        os.utime(root / folder, (NOW - 60, NOW - 60))
    fs.listings = 0
    for number in (2, 4, 2):
        with pytest.raises(FileNotFoundError):
            text(maildrop, number)
    assert fs.listings == 2
    # Until something happens there.
    put(root, "cur/2.m:2,")
    assert text(maildrop, 2) == b"cur/2.m:2,\n"


def test_a_file_that_can_be_missed_while_its_folder_is_read_is_looked_for_again(
    root: Path,
) -> None:
    class ShiftingFs(RealFs):
        """While it is read the file has left the part that comes, for one that came."""

        misses = 1

        def names(self, folder):  # type: ignore[no-untyped-def]
            for name, inode in list(super().names(folder)):
                if self.misses and name.startswith("1.m"):
                    self.misses -= 1
                    (root / "cur" / name).rename(root / "cur/1.m:2,RS")
                    continue
                yield name, inode

    put(root, "cur/1.m:2,S")
    maildrop = opened(root)
    maildrop._fs = ShiftingFs(str(root))
    (root / "cur/1.m:2,S").rename(root / "cur/1.m:2,FS")
    assert text(maildrop, 1) == b"cur/1.m:2,S\n"


def test_what_can_t_be_removed_is_counted(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(root)
    maildrop = opened(root)

    def unlink(path: str) -> None:
        if path != "new/1.m":
            raise OSError(errno.EROFS, "read-only")
        os.unlink(root / path)

    monkeypatch.setattr(maildrop._fs, "unlink", unlink)
    assert maildrop.end({1, 2, 4}) == 2
    assert names(root) == ["cur/2.m:2,S", "cur/3.m,S=9:2,", "cur/4.m,S=14,W=15:2,RS"]


def test_a_maildir_that_vanishes_is_trouble_and_no_success(root: Path) -> None:
    fill(root)
    maildrop = opened(root)
    (root / "cur").rename(root / "away")
    with pytest.raises(FileNotFoundError):
        text(maildrop, 2)
    assert maildrop.end({1, 2}) == 1


def test_two_sessions_at_once_do_no_harm(root: Path) -> None:
    fill(root)
    first, second = opened(root), opened(root)
    assert first.end({1, 2}) == 0
    assert text(second, 3) == b"new/3.m,S=9\n"
    with pytest.raises(FileNotFoundError):
        text(second, 1)
    assert second.end({2, 4}) == 0
    assert names(root) == ["cur/3.m,S=9:2,"]


def acts(root: Path, random: Random) -> list[Callable[[], object]]:
    """What others do to a maildir: flags, moves, expunges, deliveries."""

    def some() -> Path | None:
        files = [root / name for name in names(root)]
        return random.choice(files) if files else None

    def flag() -> None:
        if path := some():
            base = path.name.partition(":")[0]
            path.rename(root / "cur" / f"{base}:2,{random.choice(['', 'S', 'RS', 'FRS'])}")

    def expunge() -> None:
        if path := some():
            path.unlink()

    def deliver() -> None:
        put(root, f"new/{random.randrange(1 << 40)}.new")

    return [flag, flag, expunge, deliver]


@pytest.mark.parametrize("seed", range(20))
def test_whatever_others_do_a_number_is_its_message_or_gone(root: Path, seed: int) -> None:
    random = Random(seed)
    for number in range(12):
        where = f"new/{number}.m" if number % 2 else f"cur/{number}.m:2,S"
        put(root, where, NOW - 100 + number)
    sessions = [opened(root), opened(root)]
    expected = [b"".join(sessions[0].parts(number)) for number in range(1, 13)]
    others = acts(root, random)
    for _ in range(60):
        random.choice(others)()
        number = random.randrange(12)
        bases = [name[4:].partition(":")[0] for name in names(root)]
        try:
            assert text(random.choice(sessions), number + 1) == expected[number]
            assert f"{number}.m" in bases
        except FileNotFoundError:
            assert f"{number}.m" not in bases
    kept = {name[4:].partition(":")[0] for name in names(root)} - {"0.m", "5.m", "7.m"}
    assert sessions[0].end({1, 6}) == 0
    assert sessions[1].end({6, 8}) == 0
    assert {name[4:].partition(":")[0] for name in names(root)} == kept


# --- ids ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("names_", "uids"),
    [
        ([], []),
        (["1.a"], [b"1.a"]),
        (["1.a", "2%41"], [b"1.a", b"2%41"]),
        (["a b", "%"], [b"a%20b", b"%"]),
        (["a b%"], [b"a%20b%25"]),
        (["a\nb", "c"], [b"a%0Ab", b"c"]),
        (["\udcff\udcc3", "ä"], [b"%FF%C3", b"%C3%A4"]),
        (["x" * 200], [b"x" * 200]),
    ],
)
def test_rfc1939_7_ids_are_of_printable_characters(names_: list[str], uids: list[bytes]) -> None:
    assert uids_of(names_) == uids


def test_our_own_deliveries_have_ids_of_70_characters_at_most(root: Path) -> None:
    maker = NameMaker("mail.a-long-name.example.org", pid=4194304, random=b"\1\2\3\4\5\6")
    folder = Folder(RealFs(str(root)), 0xFD01)
    publish(prepare(folder, maker.next(int(NOW * 1e9)), b"x\n"))
    os.utime(next((root / "new").iterdir()), (NOW - 5, NOW - 5))
    (uid,) = opened(root).uids
    assert uid.startswith(b"1700000000.M500000P4194304Vfd01I")
    assert len(uid) <= 70


# --- the real thing -----------------------------------------------------------------------------


def test_e3_tmp_is_tidied(root: Path) -> None:
    put(root, "tmp/old", 1)
    put(root, "tmp/young")
    fs = RealFs(str(root))
    touched = (root / "tmp/old").stat().st_ctime
    Maildrop(fs, lambda: touched + 129601, "t")
    assert list((root / "tmp").iterdir()) == []


def test_open_maildrop_takes_a_folder(root: Path) -> None:
    fill(root)
    maildrop = open_maildrop(str(root))
    assert list(maildrop.sizes) == [9, 13, 13, 24]
    with pytest.raises(FileNotFoundError):
        open_maildrop(str(root / "none"))
    with pytest.raises(NotADirectoryError):
        open_maildrop(str(root / "new/1.m"))
    with pytest.raises(FileNotFoundError):
        open_maildrop(str(root / "cur"))


# --- power cuts ---------------------------------------------------------------------------------


class TimedSimFs(SimFs):
    """The simulated disk, whose folders have no times of their own."""

    def info(self, path):  # type: ignore[no-untyped-def]
        if path in ("new", "cur"):
            return FileInfo(1, 0, NOW - 500, NOW - 500, 0, stat.S_IFDIR)
        return super().info(path)


def simulated(power: Power) -> TimedSimFs:
    fs = TimedSimFs(power, SimClock(NOW - 100))
    for folder in ("tmp", "new", "cur"):
        fs.make_folder(folder)
    for path in ("new/1.m", "cur/2.m:2,S", "new/3.m", "cur/4.m:2,RS"):
        fd = fs.create(path)
        fs.write(fd, path.encode())
        fs.close(fd)
    fs.sync()
    return fs


@pytest.mark.parametrize("names_kept", range(6))
def test_a_power_cut_while_quit_is_at_work_takes_no_message_that_was_kept(names_kept: int) -> None:
    fs = simulated(Power())
    before = fs.power.count
    Maildrop(fs, lambda: NOW, "t").end({1, 2})
    operations = fs.power.count - before
    assert operations == 3
    for cut_after in range(operations + 1):
        power = Power()
        disk = simulated(power)
        maildrop = Maildrop(disk, lambda: NOW, "t")
        power.cut_at = power.count + cut_after
        with suppress(PowerCut):
            maildrop.end({1, 2})
        found = disk.after_power_cut(Choice(names=names_kept)).files()
        kept = {base_of(path[4:]): text for path, text in found.items()}
        assert kept["3.m"] == b"new/3.m"
        assert kept["4.m"] == b"cur/4.m:2,RS"
        assert kept.keys() <= {"1.m", "2.m", "3.m", "4.m"}
