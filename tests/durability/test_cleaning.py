"""What a cut leaves of a message that was never accepted is gone after 36 hours, and not before."""

import contextlib
from collections.abc import Iterator

from tests.durability.test_repair_power_cut import LAYOUT, choices, new_disk
from tests.sim.power import Power, PowerCut
from tests.sim.simfs import SimFs

from qmail.core.queue.clean import clean, clean_pid
from qmail.core.queue.layout import OSSIFIED_S
from qmail.core.queue.read import DiskQueue
from qmail.core.queue.spares import Spares
from qmail.core.queue.write import QueueWriter, write_all

PACKED = b"Fs@a\0Tone@a\0\0"


def enqueue(disk: SimFs) -> None:
    writer = QueueWriter(disk, disk.clock, LAYOUT, Spares(disk, disk.clock, LAYOUT))
    for index in range(2):
        draft = writer.begin(0, index, b"by uid 0")
        write_all(writer, draft, [b"text ", b"of it\n"], lambda: PACKED)
        if not index:
            # Finished at once: the second one is written over its spare.
            clean(disk, LAYOUT, b"done/%d" % draft.number)
            disk.sync()


def cut_disks() -> Iterator[SimFs]:
    whole = new_disk()
    enqueue(whole)
    for cut_at in range(whole.power.count + 1):
        disk = new_disk(Power(cut_at))
        with contextlib.suppress(PowerCut):
            enqueue(disk)
        for choice in choices(disk, cut_at):
            yield disk.after_power_cut(choice)


def start(disk: SimFs) -> set[str]:
    """Do what qmail-queue and qmail-send do at their start; return what is of accepted messages."""
    QueueWriter(disk, disk.clock, LAYOUT).recover()
    kept = set()
    for arrival in DiskQueue(disk, disk.clock, LAYOUT).scan():
        kept |= {LAYOUT.mess(arrival.message), LAYOUT.todo(arrival.message)}
    return kept


def sweep(disk: SimFs) -> None:
    """Do what qmail-send and qmail-clean do now and then."""
    queue = DiskQueue(disk, disk.clock, LAYOUT)
    for number in list(queue.sweep()):
        if number is not None:
            clean(disk, LAYOUT, b"foop/%d" % number)
    clean_pid(disk, disk.clock.now())


def test_queue_12_nothing_that_may_be_at_work_is_removed_before_36_hours() -> None:
    for disk in cut_disks():
        start(disk)
        before = disk.files()
        disk.clock.advance(OSSIFIED_S - 1)
        sweep(disk)
        assert disk.files() == before


def test_queue_12_after_36_hours_only_accepted_messages_are_left() -> None:
    left = set()
    for disk in cut_disks():
        kept = start(disk)
        left |= set(disk.files()) - kept
        disk.clock.advance(OSSIFIED_S + 1)
        sweep(disk)
        assert set(disk.files()) == kept
    # Pieces of every kind were seen on the way.
    assert {path.partition("/")[0] for path in left} >= {"mess", "intd", "pid"}


def test_queue_12_an_age_counts_from_the_newest_of_three_times() -> None:
    disk = new_disk()
    fd = disk.create(LAYOUT.mess(7))
    disk.close(fd)
    disk.set_mtime(LAYOUT.mess(7), 5.0)
    sweep(disk)
    assert LAYOUT.mess(7) in disk.files()
    disk.clock.advance(OSSIFIED_S + 1)
    sweep(disk)
    assert disk.files() == {}
