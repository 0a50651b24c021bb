"""The power is cut at every operation of a repair and of an import; the next run finishes them."""

import contextlib
import io
from collections.abc import Callable, Iterator
from random import Random

import pytest
from tests.sim.power import NOTHING, Choice, Power, PowerCut, Torn
from tests.sim.simfs import SimFs

from qmail.core.queue.layout import SPLIT_FOLDERS, Layout
from qmail.core.queue.notes import entry
from qmail.core.queue.notes_file import PATH
from qmail.core.repair.archive import Reader, Writer, export
from qmail.core.repair.census import take_census
from qmail.core.repair.checkup import Checkup, Scope
from qmail.core.repair.faults import Fault
from qmail.core.repair.intake import ImportedAlreadyError, Intake
from qmail.core.repair.lost import LostFolder
from qmail.core.repair.moves import UNFINISHED, Mark, Moves, marked
from qmail.core.repair.notes import packed, read_notes

LAYOUT = Layout(3)
Whole = dict[bytes, bytes]
"""Text of each whole message, and the recipients that are not done."""
Work = Callable[[SimFs], None]


def new_disk(power: Power | None = None) -> SimFs:
    disk = SimFs(power)
    for name in ("pid", "intd", "todo", "bounce", "lock", "lost", "repair", "parked"):
        disk.make_folder(name)
    for name in SPLIT_FOLDERS:
        for index in range(LAYOUT.split):
            disk.make_folder(f"{name}/{index}")
    return disk


def put(disk: SimFs, path: str, data: bytes) -> int:
    fd = disk.create(path)
    disk.write(fd, data)
    number = disk.info_of(fd).inode
    disk.close(fd)
    return number


def add(disk: SimFs, name: int, text: bytes, inode_path: str) -> None:
    """Give the message file at `inode_path` the number `name`, right or wrong, and an envelope."""
    disk.rename(inode_path, LAYOUT.mess(name))
    if name % 2:
        put(disk, LAYOUT.todo(name), b"u0\0p1\0Fs@a\0Tone@%b\0" % text)
        return
    put(disk, LAYOUT.info(name), b"Fs@a\0")
    put(disk, LAYOUT.channel("local", name), b"Ddone@a\0Tone@%b\0" % text)
    put(disk, LAYOUT.channel("remote", name), b"Ttwo@%b\0" % text)


def remark(disk: SimFs, numbers: dict[int, int]) -> None:
    """Have operators say something of each number; what it is tells the index of its message."""
    fields = [b"1", b"H", b"5", b"0", b""]
    notes = [
        entry(b"N", b"1", b"%d" % number, b"0", b"%d" % index, b"")
        for number, index in numbers.items()
    ]
    put(disk, PATH, entry(b"O", *fields) + b"".join(notes))


def remarks(disk: SimFs) -> dict[bytes, bytes]:
    """Return the text of each message that something was said of, and what."""
    files = disk.files()
    said = [fields for letter, fields in read_notes(disk) if letter == b"N"]
    return {files[LAYOUT.mess(int(fields[1]))]: fields[3] for fields in said}


def damaged(disk: SimFs) -> Whole:
    """Make five messages: two with each other's numbers, a chain, a wrong folder, leftovers."""
    texts = [b"m%d" % index for index in range(5)]
    inodes = [put(disk, f"pid/{index}", text) for index, text in enumerate(texts)]
    a, b, c, d, e = inodes
    names = [b, a, d, 900, e]
    for index, name in enumerate(names):
        add(disk, name, texts[index], f"pid/{index}")
    # c is free for the message that is called d, and has something of an old one.
    put(disk, LAYOUT.bounce(c), b"<x@a>:\nof an old message\n\n")
    put(disk, LAYOUT.info(c), b"Fold@a\0")
    remark(disk, {name: index for index, name in enumerate(names)})
    wrong = f"mess/{(e + 1) % LAYOUT.split}/{e}"
    disk.rename(LAYOUT.mess(e), wrong)
    disk.sync()
    return {
        text: b"Tone@%b\0" % text if name % 2 else b"Tone@%b\0Ttwo@%b\0" % (text, text)
        for text, name in zip(texts, names, strict=True)
    }


def whole(disk: SimFs) -> Whole:
    """Return what qmail-send would deliver: our own reading of spec/queue.md 3."""
    files = disk.files()
    found: Whole = {}
    for path, text in files.items():
        if not path.startswith("mess/"):
            continue
        number = int(path.rsplit("/", 1)[1])
        records = files.get(LAYOUT.todo(number))
        if records is None:
            if LAYOUT.info(number) not in files:
                continue
            paths = [LAYOUT.channel(word, number) for word in ("local", "remote")]
            records = b"".join(files.get(each, b"") for each in paths)
        assert text not in found, f"{text!r} is there twice"
        found[text] = b"".join(each + b"\0" for each in records.split(b"\0") if each[:1] == b"T")
    return found


def repair(disk: SimFs) -> None:
    scope = Scope(layout=LAYOUT, mends=True, mark=Mark(disk))
    assert all(finding.done for finding in Checkup(disk, disk.clock, scope).run())


def faults(disk: SimFs) -> list[Fault]:
    scope = Scope(layout=LAYOUT, mends=False, mark=Mark(disk))
    return [finding.fault for finding in Checkup(disk, disk.clock, scope).run()]


def choices(disk: SimFs, seed: int) -> Iterator[Choice]:
    yield NOTHING
    random = Random(seed)
    for torn in Torn:
        yield Choice(random.randint(0, disk.waiting), torn)
    yield Choice(disk.waiting, seed=seed)


def cuts(make: Callable[[SimFs], Whole], work: Work) -> Iterator[tuple[SimFs, Whole]]:
    """Yield the disk after a cut at each operation of `work`, in each of some ways."""
    whole_run = new_disk()
    make(whole_run)
    start = whole_run.power.count
    work(whole_run)
    assert whole_run.power.count > start + 20
    for cut_at in range(start, whole_run.power.count + 1):
        disk = new_disk(Power(cut_at))
        owed = make(disk)
        with contextlib.suppress(PowerCut):
            work(disk)
        for choice in choices(disk, cut_at):
            yield disk.after_power_cut(choice), owed


def test_a_repair_that_is_cut_off_is_finished_by_the_next() -> None:
    for disk, owed in cuts(damaged, repair):
        repair(disk)
        assert faults(disk) == []
        assert whole(disk) == owed
        assert remarks(disk) == {b"m%d" % index: b"%d" % index for index in range(5)}
        for path, text in disk.files().items():
            if path.startswith("mess/") and text in owed:
                found = disk.info(path)
                assert found is not None
                assert found.inode == int(path.rsplit("/", 1)[1])


def test_messages_are_between_two_numbers_only_behind_the_mark() -> None:
    for disk, owed in cuts(damaged, repair):
        if marked(disk) is None:
            # One message lies in the wrong folder as long as nothing was mended.
            missing = owed.keys() - whole(disk).keys()
            assert len(missing) <= (b"m4" in missing)


def test_a_repair_survives_a_second_cut() -> None:
    for count, (disk, owed) in enumerate(cuts(damaged, repair)):
        if count % 7:
            continue
        again = Power(disk.power.count + 5 + count % 60)
        second = disk.after_power_cut(NOTHING, again)
        try:
            repair(second)
        except PowerCut:
            second = second.after_power_cut(Choice(second.waiting // 2, Torn.HALF))
            repair(second)
        assert whole(second) == owed
        assert remarks(second) == {b"m%d" % index: b"%d" % index for index in range(5)}


# --- imports --------------------------------------------------------------------------------------


def archive() -> tuple[bytes, Whole]:
    disk = new_disk()
    numbers: dict[int, int] = {}
    for index in range(3):
        number = put(disk, f"pid/{index}", b"new%d" % index)
        add(disk, number, b"new%d" % index, f"pid/{index}")
        numbers[number] = index
    remark(disk, numbers)
    stream = io.BytesIO()
    writer = Writer(disk, stream)
    assert list(export(disk, take_census(disk, LAYOUT), writer)) == []
    writer.notes(packed(read_notes(disk)))
    writer.end()
    return stream.getvalue(), whole(disk)


ARCHIVE, ARRIVING = archive()


def own(disk: SimFs) -> Whole:
    """Make a queue with one message of its own."""
    number = put(disk, "pid/own", b"own")
    add(disk, number, b"own", "pid/own")
    remark(disk, {number: 7})
    disk.sync()
    return whole(disk)


def import_(disk: SimFs) -> None:
    moves = Moves(disk, LAYOUT, LostFolder(disk, disk.clock))
    moves.take_back()
    taken = set(take_census(disk, LAYOUT).numbers())
    Intake(disk, LAYOUT, moves, taken).run(Reader(io.BytesIO(ARCHIVE)), lambda _parcel: None)


def test_an_import_that_is_cut_off_brings_all_or_nothing_and_nothing_twice() -> None:
    outcomes = set()
    for disk, owed in cuts(own, import_):
        if marked(disk) is None:
            outcomes.add(len(whole(disk)) - len(owed))
            assert whole(disk) in (owed, owed | ARRIVING)
        repair(disk)
        assert whole(disk) in (owed, owed | ARRIVING)
        with contextlib.suppress(ImportedAlreadyError):
            import_(disk)
        assert whole(disk) == owed | ARRIVING
        assert remarks(disk) == {b"own": b"7", b"new0": b"0", b"new1": b"1", b"new2": b"2"}
        assert faults(disk) == []
    assert outcomes == {0, len(ARRIVING)}


def test_what_an_import_said_is_done_stays_done() -> None:
    disk = new_disk()
    owed = own(disk)
    import_(disk)
    after = disk.after_power_cut(NOTHING)
    assert whole(after) == owed | ARRIVING
    assert after.info(UNFINISHED) is None


@pytest.mark.parametrize("write", [True, False])
def test_an_import_onto_a_bad_disk_changes_nothing(write: bool) -> None:
    disk = new_disk()
    owed = own(disk)
    disk.fail_next(write=write)
    with pytest.raises(OSError, match=r"."):
        import_(disk)
    assert whole(disk) == owed
    disk.heal()
    repair(disk)
    import_(disk)
    assert whole(disk) == owed | ARRIVING
