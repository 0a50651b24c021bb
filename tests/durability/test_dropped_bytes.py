"""A sync fails and nobody who waits for it lives to hear of it: what was never accepted stays so.

The names of such a message are on disk, its bytes are in memory alone, and no later sync writes
them: whole as long as the machine runs, torn after the power fails.
"""

from collections.abc import Iterator

import pytest
from tests.sim.power import NOTHING, Power, PowerCut
from tests.sim.simworld import LAYOUT, Disks
from tests.sim.survey import asked_for

from qmail.core.queue.engine import EngineError
from qmail.core.queue.read import DiskQueue
from qmail.core.queue.write import QueueWriter
from qmail.mail import Channel, Envelope

ENVELOPE = Envelope(b"anne@here", (b"bert@far",)).pack()
RECORDS = {Channel.REMOTE: b"Tbert@far\0"}
ACCEPTED = b"was accepted\n"
NEVER = b"never was\n"


def writer_of(disks: Disks) -> QueueWriter:
    return QueueWriter(disks.queue, disks.queue.clock, LAYOUT)


def reader_of(disks: Disks) -> DiskQueue:
    return DiskQueue(disks.queue, disks.queue.clock, LAYOUT)


def write(writer: QueueWriter, text: bytes) -> int:
    """Have a message wait for its commit; return its number."""
    draft = writer.begin(7, 1, b"from network")
    writer.write(draft, text)
    writer.finish(draft, ENVELOPE)
    return draft.number


@pytest.fixture
def disks() -> Iterator[Disks]:
    """One message was accepted; when the power has failed at the end that one alone is there."""
    disks = Disks.new(Power())
    writer = writer_of(disks)
    write(writer, ACCEPTED)
    assert writer.commit().accepted
    yield disks
    disks.queue.sync()
    found = disks.after_power_cut(NOTHING, NOTHING)
    (text,) = {text for text, _ in asked_for(found.queue.files())}
    assert text.endswith(ACCEPTED)


@pytest.fixture
def number(disks: Disks) -> int:
    """Another one waits, and qmail-queue is killed when the sync has failed."""
    writer, disk = writer_of(disks), disks.queue
    number = write(writer, NEVER)
    disk.fail_next(write=False)
    # The sync is done, the unlink of what was not accepted is not.
    disk.power.cut_at = disk.power.count + 1
    with pytest.raises(PowerCut):
        writer.commit()
    disk.power.restore()
    disk.drop_descriptors()
    assert disk.read(LAYOUT.mess(number), 1000).endswith(NEVER)
    assert disk.info(LAYOUT.todo(number)) is not None
    return number


def test_the_next_qmail_queue_sets_it_aside(disks: Disks, number: int) -> None:
    writer_of(disks).recover()
    assert disks.queue.info(LAYOUT.todo(number)) is None
    assert disks.queue.info(LAYOUT.intd(number)) is not None


def test_qmail_send_does_not_take_it(disks: Disks, number: int) -> None:
    reader = reader_of(disks)
    assert number not in {each.message for each in reader.scan()}
    assert number not in {each.message for each in reader.arrivals()}
    assert len(list(reader.arrivals())) == 1
    writer_of(disks).recover()


def test_one_that_qmail_send_took_before_its_own_sync_failed_is_not_kept(disks: Disks) -> None:
    reader, writer, disk = reader_of(disks), writer_of(disks), disks.queue
    number = write(writer, NEVER)
    # qmail-queue is killed before its sync.
    found = {each.message: each for each in reader.scan()}
    assert len(found) == 2
    disk.fail_next(write=False)
    with pytest.raises(EngineError):
        reader.commit()
    for message, arrival in found.items():
        if message == number:
            with pytest.raises(EngineError):
                reader.keep(arrival, RECORDS)
        else:
            reader.keep(arrival, RECORDS)
            reader.commit()
    writer_of(disks).recover()
