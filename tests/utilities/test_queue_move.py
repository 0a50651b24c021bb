"""qmail queue export and import: all messages or none, under new numbers, never twice."""

import io
import json
import os
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.fakes.homes import GID, IS_ROOT, UID, make_home, open_folder
from tests.fakes.planted_queue import SPOILERS, Planted, wanted_messages, whole_messages

from qmail.core.fs import RealFs
from qmail.core.queue.notes import Kind, Note, Notes
from qmail.core.queue.notes_file import PATH, NotesFile
from qmail.core.repair.archive import ArchiveError, Reader
from qmail.core.repair.faults import Fault
from qmail.utilities import queue_export, queue_import
from qmail.utilities.queue_check import check, repair
from qmail.utilities.queue_import import import_archive
from qmail.utilities.queue_stop import stopped

OWNER = (UID, GID) if IS_ROOT else None


def new_home(folder: Path, name: str, split: int = 23) -> Path:
    home = folder / name
    make_home(home)
    if split != 23:
        (home / "control/split").write_text(f"{split}\n")
        repair(str(home))
    return home


@pytest.fixture
def folder() -> Iterator[Path]:
    with open_folder() as found:
        yield found


def plant(home: Path, count: int) -> Planted:
    planted = Planted(home / "queue", OWNER)
    for index in range(count):
        planted.add(index)
    return planted


def export(home: Path, target: Path) -> bytes:
    assert queue_export.main("export", ["--home", str(home), str(target)]) == 0
    return target.read_bytes()


def test_all_messages_come_over_with_another_split(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    old, new = new_home(folder, "old"), new_home(folder, "new", 7)
    planted = plant(old, 30)
    export(old, folder / "archive")
    assert queue_import.main("import", ["--home", str(new), str(folder / "archive")]) == 0
    assert "30 messages imported" in capsys.readouterr().out
    assert whole_messages(new / "queue") == wanted_messages(planted)
    assert check(str(new)).findings == []
    assert whole_messages(old / "queue") == wanted_messages(planted)


def test_times_marks_and_reports_come_over(folder: Path) -> None:
    old, new = new_home(folder, "old"), new_home(folder, "new")
    planted = plant(old, 2)
    number = planted.messages[1].number
    local = planted.write(planted.path("local", number), b"Da@me.ex\0Tb@me.ex\0", 0o600)
    os.utime(local, (5, 1_800_000_000))
    planted.write(planted.path("bounce", number), b"<a@me.ex>:\nno\n\n", 0o600)
    born = planted.path("info", number).stat().st_mtime
    export(old, folder / "archive")
    with (folder / "archive").open("rb") as stream:
        assert import_archive(str(new), stream) == 2
    (found,) = (new / "queue/local").glob("*/*")
    assert (found.read_bytes(), found.stat().st_mtime) == (b"Da@me.ex\0Tb@me.ex\0", 1_800_000_000)
    (info,) = (new / "queue/info").glob("*/*")
    assert info.stat().st_mtime == born
    (bounce,) = (new / "queue/bounce").iterdir()
    assert bounce.read_bytes() == b"<a@me.ex>:\nno\n\n"
    (todo,) = (new / "queue/todo").iterdir()
    assert todo.stat().st_mtime == planted.path("todo", planted.messages[0].number).stat().st_mtime
    if IS_ROOT:
        assert {path.stat().st_uid for path in (new / "queue").rglob("*/*/*")} == {UID}


def held(home: Path) -> dict[int, tuple[int, ...]]:
    """Return which recipients of the message with each index are held."""
    notes = Notes(NotesFile(RealFs(f"{home}/queue")))
    births = {int(p.name): int(p.stat().st_mtime) for p in (home / "queue/info").glob("*/*")}
    notes.load(births.get)
    count = sum(1 for _ in (home / "queue/mess").iterdir())
    return {
        int((home / f"queue/mess/{number % count}/{number}").read_bytes().split(b" ")[-1]): (
            notes.of(number)[0].places[0]
        )
        for number in notes.numbers()
    }


def hold(planted: Planted, *indexes: int) -> None:
    notes = Notes(NotesFile(RealFs(str(planted.queue))))
    operation = notes.begin(Kind.HELD, 5)
    for index in indexes:
        message = planted.messages[index]
        birth = int(planted.path("info", message.number).stat().st_mtime)
        notes.put(message.number, Note(operation, birth, ((0, index), ())))
    notes.flush()
    planted.write(planted.queue / PATH, (planted.queue / PATH).read_bytes(), 0o600)


def test_what_is_held_stays_held(folder: Path) -> None:
    old, new = new_home(folder, "old"), new_home(folder, "new", 7)
    planted = plant(old, 6)
    hold(planted, 1, 4)
    SPOILERS[Fault.WRONG_NUMBER](planted, planted.messages[4])
    repair(str(old))
    assert held(old) == {1: (0, 1), 4: (0, 4)}
    data = export(old, folder / "archive")
    import_archive(str(new), io.BytesIO(data))
    assert check(str(new)).findings == []
    assert held(new) == {1: (0, 1), 4: (0, 4)}


def test_an_archive_is_imported_once(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    old, new = new_home(folder, "old"), new_home(folder, "new")
    planted = plant(old, 3)
    export(old, folder / "archive")
    arguments = ["--home", str(new), str(folder / "archive")]
    assert queue_import.main("import", arguments) == 0
    assert queue_import.main("import", arguments) == 1
    assert "imported already" in capsys.readouterr().err
    assert whole_messages(new / "queue") == wanted_messages(planted)


def test_two_archives_can_be_imported(folder: Path) -> None:
    one, two, new = (new_home(folder, name) for name in ("one", "two", "new"))
    planted, more = plant(one, 3), Planted(two / "queue", OWNER)
    for index in range(3, 6):
        more.add(index)
    for home in (one, two):
        data = export(home, folder / f"{home.name}.tar")
        import_archive(str(new), io.BytesIO(data))
    assert whole_messages(new / "queue") == wanted_messages(planted) | wanted_messages(more)


def test_a_dry_run_lists_and_changes_nothing(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    old, new = new_home(folder, "old"), new_home(folder, "new")
    planted = plant(old, 2)
    export(old, folder / "archive")
    capsys.readouterr()
    arguments = ["--dry-run", "--home", str(new), str(folder / "archive")]
    assert queue_import.main("import", arguments) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[-1] == "2 messages in the archive, which is whole"
    number, size = planted.messages[0].number, len(planted.messages[0].text)
    assert any(f"GMT  #{number}  {size}  <s@me.ex>  to 1" in line for line in lines)
    assert whole_messages(new / "queue") == {}


def test_the_archive_is_one_that_tar_reads(folder: Path) -> None:
    old = new_home(folder, "old")
    plant(old, 2)
    data = export(old, folder / "archive")
    with tarfile.open(fileobj=io.BytesIO(data)) as found:
        names = found.getnames()
        last = found.extractfile("end")
        assert last is not None
        assert json.loads(last.read())["messages"] == 2
    assert names[0] == "qmail-queue"
    assert {"1/files", "1/mess", "2/files", "2/mess"} < set(names)
    assert (folder / "archive").stat().st_mode & 0o777 == 0o600


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_a_damaged_archive_changes_nothing(data: st.DataObject) -> None:
    with open_folder() as folder:
        old, new = new_home(folder, "old"), new_home(folder, "new")
        plant(old, 3)
        archive = bytearray(export(old, folder / "archive"))
        before = {str(path) for path in (new / "queue").rglob("*")}
        at = data.draw(st.integers(0, len(archive) - 1))
        how = data.draw(st.sampled_from(["cut", "flip", "swap"]))
        if how == "cut":
            del archive[at:]
        elif how == "flip":
            archive[at] ^= 1 << data.draw(st.integers(0, 7))
        else:
            block = at // 512 * 512
            archive[block : block + 512] = archive[:512]
        try:
            import_archive(str(new), io.BytesIO(bytes(archive)))
        except ArchiveError:
            after = {str(path) for path in (new / "queue").rglob("*")}
            assert after - before <= {f"{new}/queue/lost", f"{new}/queue/repair"}
            return
        # What fills up a block, and a time that the sums hold as well, mean nothing.
        assert len(whole_messages(new / "queue")) == 3


@given(data=st.binary(max_size=3000))
def test_any_bytes_are_an_archive_or_refused(data: bytes) -> None:
    with pytest.raises(ArchiveError):
        list(Reader(io.BytesIO(data)).parcels())


def test_parked_messages_are_left_out_aloud(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    old = new_home(folder, "old")
    planted = plant(old, 6)
    SPOILERS[Fault.PARKED](planted, planted.messages[3])
    assert queue_export.main("export", ["--home", str(old), str(folder / "archive")]) == 1
    said = capsys.readouterr().err
    assert f"message {planted.messages[3].number} is left out: it is in queue/parked" in said
    assert "5 messages exported, 1 left out" in said


def test_damaged_messages_are_left_out_aloud(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    old, new = new_home(folder, "old"), new_home(folder, "new")
    planted = plant(old, 6)
    SPOILERS[Fault.TORN](planted, planted.messages[3])
    SPOILERS[Fault.NO_SENDER](planted, planted.messages[4])
    assert queue_export.main("export", ["--home", str(old), str(folder / "archive")]) == 1
    said = capsys.readouterr().err
    assert "is left out: torn" in said
    assert "4 messages exported, 2 left out" in said
    with (folder / "archive").open("rb") as stream:
        import_archive(str(new), stream)
    assert whole_messages(new / "queue") == wanted_messages(planted)


def test_numbers_of_restored_messages_are_not_given_out(folder: Path) -> None:
    old, new = new_home(folder, "old"), new_home(folder, "new")
    plant(old, 4)
    data = export(old, folder / "archive")
    taken = Planted(new / "queue", OWNER)
    # The inode that the next new file gets is the name of a message restored from elsewhere.
    (new / "queue/pid/x").write_bytes(b"")
    inode = (new / "queue/pid/x").stat().st_ino
    text = b"Received: \n\nbody of 99\n"
    taken.write(taken.path("mess", inode), text)
    taken.write(taken.path("info", inode), b"Fs@far.ex\0", 0o600)
    taken.write(taken.path("local", inode), b"Tu@me.ex\0", 0o600)
    (new / "queue/pid/x").unlink()
    import_archive(str(new), io.BytesIO(data))
    repair(str(new))
    assert sorted(whole_messages(new / "queue")) == [0, 1, 2, 3, 99]


def test_a_running_system_is_neither_exported_nor_imported(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    old = new_home(folder, "old")
    plant(old, 1)
    export(old, folder / "archive")
    with stopped(str(old)):
        assert queue_export.main("export", ["--home", str(old), str(folder / "more")]) == 111
        assert queue_import.main("import", ["--home", str(old), str(folder / "archive")]) == 111
    assert not (folder / "more").exists()
    assert capsys.readouterr().err.count("qmail-start runs") == 2


def test_a_file_that_is_there_is_not_overwritten(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    old = new_home(folder, "old")
    (folder / "archive").write_bytes(b"precious")
    assert queue_export.main("export", ["--home", str(old), str(folder / "archive")]) == 111
    assert (folder / "archive").read_bytes() == b"precious"
    assert "is there already" in capsys.readouterr().err


def test_a_half_repaired_queue_is_not_copied(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    old = new_home(folder, "old")
    plant(old, 1)
    data = export(old, folder / "archive")
    (old / "queue/repair").mkdir()
    (old / "queue/repair/unfinished").write_bytes(b"check --repair\n")
    assert queue_export.main("export", ["--home", str(old), str(folder / "more")]) == 111
    assert "half repaired" in capsys.readouterr().err
    assert not (folder / "more").exists()
    with pytest.raises(ValueError, match="half repaired"):
        import_archive(str(old), io.BytesIO(data))
