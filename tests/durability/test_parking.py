"""The power is cut at every operation while a message is parked, and while it is put back."""

import contextlib
from collections.abc import Callable, Iterator

from tests.durability.test_repair_power_cut import LAYOUT, choices, faults, new_disk, put, repair
from tests.sim.power import Power, PowerCut
from tests.sim.simfs import SimFs

from qmail.core.queue.clean import clean, clean_pid
from qmail.core.queue.layout import OSSIFIED_S
from qmail.core.queue.read import DiskQueue
from qmail.core.queue.write import QueueWriter
from qmail.core.repair.faults import Fault
from qmail.core.repair.moves import marked

BAD, GOOD = b"u0\0p1\0Fs@a\0Xone@a\0", b"u0\0p1\0Fs@a\0Tone@a\0"
TEXT = b"the message\n"


def queued(disk: SimFs, envelope: bytes) -> int:
    number = put(disk, "pid/1", TEXT)
    disk.rename("pid/1", LAYOUT.mess(number))
    put(disk, LAYOUT.todo(number), envelope)
    disk.sync()
    return number


def live(disk: SimFs) -> None:
    """Start qmail-queue and qmail-send, have qmail-clean do what they ask, and sync."""
    QueueWriter(disk, disk.clock, LAYOUT).recover()
    queue = DiskQueue(disk, disk.clock, LAYOUT)
    list(queue.scan())
    orders = [b"park/%d" % number for number in queue.unreadable()]
    orders += [b"foop/%d" % number for number in queue.sweep() if number is not None]
    for order in orders:
        clean(disk, LAYOUT, order)
    clean_pid(disk, disk.clock.now())
    disk.sync()


def cuts(envelope: bytes, work: Callable[[SimFs], None]) -> Iterator[tuple[SimFs, int]]:
    """Yield the disk after a cut at each operation of `work`, in each of some ways."""
    whole = new_disk()
    queued(whole, envelope)
    start = whole.power.count
    work(whole)
    assert whole.power.count > start + 2
    for cut_at in range(start, whole.power.count + 1):
        disk = new_disk(Power(cut_at))
        number = queued(disk, envelope)
        with contextlib.suppress(PowerCut):
            work(disk)
        for choice in choices(disk, cut_at):
            yield disk.after_power_cut(choice), number


def parked(number: int, envelope: bytes) -> dict[str, bytes]:
    return {f"parked/{number}.mess": TEXT, f"parked/{number}.todo": envelope}


def test_a_message_whose_parking_is_cut_off_is_parked_after_the_next_start() -> None:
    seen = set()
    for disk, number in cuts(BAD, live):
        seen |= {frozenset(path.split("/")[0] for path in disk.files())}
        live(disk)
        assert disk.files() == parked(number, BAD)
    # Nothing done, half done, done.
    assert seen == {
        frozenset({"mess", "todo"}),
        frozenset({"parked", "todo"}),
        frozenset({"parked"}),
    }


def test_nothing_sweeps_it_however_long_it_lies_there() -> None:
    for disk, number in cuts(BAD, live):
        for _ in range(3):
            disk.clock.advance(OSSIFIED_S + 1)
            live(disk)
        assert disk.files() == parked(number, BAD)


def mended(disk: SimFs) -> None:
    """Park a message, mend its envelope by hand, have it put back."""
    live(disk)
    ((path, _),) = [each for each in disk.files().items() if each[0].endswith(".todo")]
    disk.unlink(path)
    put(disk, path, GOOD)
    disk.sync()
    repair(disk)


def test_a_mended_message_is_put_back_whole_wherever_the_power_fails() -> None:
    ends = set()
    for disk, number in cuts(BAD, mended):
        files = disk.files()
        assert TEXT in files.values()
        if GOOD not in files.values():
            continue
        repair(disk)
        whole = {path: data for path, data in disk.files().items() if data in (TEXT, GOOD)}
        assert whole == {LAYOUT.mess(number): TEXT, LAYOUT.todo(number): GOOD}
        assert faults(disk) == []
        ends.add(
            frozenset(path.split("/")[0] for path, data in files.items() if data in whole.values())
        )
    assert ends == {
        frozenset({"parked"}),
        frozenset({"parked", "todo"}),
        frozenset({"mess", "todo"}),
    }


def test_a_start_between_the_steps_of_putting_back_parks_it_again() -> None:
    for disk, number in cuts(BAD, mended):
        if marked(disk) is not None:
            # qmail-start refuses; if somebody starts the programs by hand, nothing is lost either.
            live(disk)
            files = disk.files()
            assert files.get(f"parked/{number}.mess", files.get(LAYOUT.mess(number))) == TEXT
            repair(disk)
            assert disk.files()[LAYOUT.mess(number)] == TEXT


def test_a_check_names_what_is_parked_and_a_repair_leaves_it_until_it_is_mended() -> None:
    disk = new_disk()
    number = queued(disk, BAD)
    live(disk)
    assert faults(disk) == [Fault.PARKED]
    with contextlib.suppress(AssertionError):
        repair(disk)
    assert parked(number, BAD).items() <= disk.files().items()
