"""Orders of disk calls that lose mail or show half of it: kept to prove that the checks can see.

Each is the smallest change to ours that makes it wrong, and each has been somebody's real design.
"""

from collections.abc import Iterator

from tests.sim.simworld import Deliverer, Machine, QueueProgram

from qmail.core.dates import mail_date
from qmail.core.local.maildir import finish_alone, prepare, publish
from qmail.core.queue.write import Draft, DraftState, QueueWriter, Round
from qmail.protocol.doors import Job


class OriginalWriter(QueueWriter):
    """The original's qmail-queue: every file is synced, no folder ever is (spec/queue.md 4)."""

    def begin(
        self, uid: int, qp: int, who: bytes, *, trace_id: bytes = b"", is_told: bool = False
    ) -> Draft:
        """Steps 5 to 8: make pid/X, link it to mess/N, remove pid/X."""
        del trace_id, is_told
        birth = int(self._clock.now())
        path = f"pid/{birth}.{qp}"
        fd = self._fs.create(path)
        number = self._fs.info_of(fd).inode
        self._fs.link(path, self._layout.mess(number))
        self._fs.unlink(path)
        draft = Draft(number, fd, 0, uid, qp, birth)
        self.write(draft, b"Received: (qmail %d invoked %b); %b\n" % (qp, who, mail_date(birth)))
        return draft

    def finish(self, draft: Draft, packed: bytes) -> None:
        """Steps 9 to 16: sync the message, write and sync the envelope, link it to todo/N."""
        self._fs.fsync(draft.mess_fd)
        self._fs.close(draft.mess_fd)
        draft.mess_fd = -1
        intd = self._layout.intd(draft.number)
        fd = self._fs.create(intd)
        self._fs.write(fd, b"u%d\0p%d\0" % (draft.uid, draft.qp) + packed[:-1])
        self._fs.fsync(fd)
        self._fs.close(fd)
        self.name_envelope(intd, self._layout.todo(draft.number))
        draft.envelope = packed
        self._written.append(draft)

    def name_envelope(self, intd: str, todo: str) -> None:
        """Step 16. The original leaves intd/N to qmail-clean."""
        self._fs.link(intd, todo)

    def commit(self) -> Round:
        """Step 17: exit 0, with nothing more on disk than before."""
        accepted, self._written = self._written, []
        for draft in accepted:
            draft.state = DraftState.ENDED
        return Round(accepted=accepted)


class SyncedOriginalWriter(OriginalWriter):
    """The original's order with what it lacks: the folders are synced before exit 0."""

    def name_envelope(self, intd: str, todo: str) -> None:
        """Leave no second name, as our qmail-clean expects."""
        self._fs.rename(intd, todo)

    def commit(self) -> Round:
        """Sync everything, then exit 0."""
        self._fs.sync()
        return super().commit()


class HastyWriter(QueueWriter):
    """Without a seal: todo/N has its name before the bytes of mess/N are on disk, unnoticed."""

    def qp_record(self, draft: Draft, packed: bytes) -> bytes:
        """Say nothing of the message."""
        return b"p%d" % draft.qp


class OriginalDeliverer(Deliverer):
    """The original's qmail-local: tmp/NAME is written and synced, linked to new/: done."""

    def deliver(self, mails: list[tuple[Job, bytes]]) -> Iterator[tuple[Job, OSError | None]]:
        """Deliver one after the other; no name is synced (spec/delivery.md 9)."""
        for job, text in mails:
            folder, name = self.new_place(job.recipient)
            disk = folder.fs
            fd = disk.create("tmp/" + name)
            disk.write(fd, text)
            disk.fsync(fd)
            disk.close(fd)
            disk.link("tmp/" + name, "new/" + name)
            disk.unlink("tmp/" + name)
            yield job, None


class HastyDeliverer(Deliverer):
    """One sync instead of two: new/NAME is there before its bytes are on disk."""

    def deliver(self, mails: list[tuple[Job, bytes]]) -> Iterator[tuple[Job, OSError | None]]:
        """Write, name, sync."""
        for job, text in mails:
            folder, name = self.new_place(job.recipient)
            publish(prepare(folder, name, text))
            folder.fs.sync()
            yield job, None


class HastyLonelyDeliverer(Deliverer):
    """The folder is synced, and the file is not: new/NAME is there before its bytes."""

    def deliver(self, mails: list[tuple[Job, bytes]]) -> Iterator[tuple[Job, OSError | None]]:
        """Write, name, sync the folder."""
        for job, text in mails:
            folder, name = self.new_place(job.recipient)
            finish_alone((prepare(folder, name, text),))
            yield job, None


def machine_with(
    *,
    writer: type[QueueWriter] = QueueWriter,
    deliverer: type[Deliverer] = Deliverer,
    fsync_keeps_names: bool = False,
) -> type[Machine]:
    """Return a machine one part of which is other than ours."""

    class OtherQueue(QueueProgram):
        writer_class = writer

    class OtherMachine(Machine):
        queue_class = OtherQueue
        deliverer_class = deliverer

    OtherMachine.fsync_keeps_names = fsync_keeps_names
    return OtherMachine
