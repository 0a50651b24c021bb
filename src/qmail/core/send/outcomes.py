"""What follows from each delivery's report: the mark, the bounce's text, another try.

Source: spec/queue.md 7.5.
"""

from qmail.core.addresses.routing import without_prepend
from qmail.core.bounce.rules import TOO_LONG, paragraph
from qmail.core.queue.engine import EngineError
from qmail.core.send.keeping import Keeping
from qmail.core.send.lanes import Lanes
from qmail.core.send.passes import Passes
from qmail.core.send.run import Run
from qmail.core.send.values import Job, Stage
from qmail.mail import Channel, Letter, Result
from qmail.protocol import doors
from qmail.protocol.log_tail import packed_tail
from qmail.protocol.logtext import SAFE


def delivery_tail(job: Job, address: bytes) -> bytes:
    """Return the tail of the line that ends a delivery: it names none of this in its text."""
    message = job.message
    if not message.tail:
        return b""
    return message.tail + packed_tail(
        msg=b"%d" % message.number, channel=job.channel.word.encode(), recipient=address
    )


class Outcomes:
    """Takes the reports of the spawners."""

    def __init__(self, run: Run, lanes: Lanes, passes: Passes, keeping: Keeping) -> None:
        self._run = run
        self._lanes = lanes
        self._passes = passes
        self._keeping = keeping

    def lost(self, channel: Channel) -> None:
        """A spawner is gone: what was running there is tried again later."""
        for delivery in list(self._lanes[channel].running):
            self.reported(channel, doors.Report(delivery, b""))

    def reported(self, channel: Channel, report: doors.Report) -> None:
        """Take the end of a delivery. An empty report: its spawner is gone."""
        journal = self._run.journal
        result = Result.unpack(report.text)
        running = self._lanes.take(channel, report.delivery, result)
        if running is None:
            journal.warn("internal error: delivery report out of range")
            return
        job, offset, address, _ = running
        self._remember(job, offset, result)
        head = b"delivery %d: " % report.delivery
        tail = delivery_tail(job, address)
        if result is None:
            journal.add(head + b"report mangled, will defer" + tail)
            job.left += 1
        elif result.letter is Letter.DELIVERED:
            journal.add(head + b"success: " + result.text.translate(SAFE) + tail)
            self._settle(job, offset)
        elif result.letter is Letter.DEFERRED and not job.dying:
            journal.add(head + b"deferral: " + result.text.translate(SAFE) + tail)
            job.left += 1
        else:
            text = result.text
            if result.letter is Letter.DEFERRED:
                text = (text if text.endswith(b"\n") or not text else text + b"\n") + TOO_LONG
            journal.add(head + b"failure: " + text.translate(SAFE) + tail)
            self._blame(job, offset, address, text)
        self._lanes.log_status()
        self._passes.end_if_done(job)

    def _remember(self, job: Job, offset: int, result: Result | None) -> None:
        reasons, number = self._run.reasons, job.message.number
        if result is not None and result.letter is Letter.DEFERRED and not job.dying:
            reasons.note(number, job.channel, offset, result.text)
        else:
            reasons.drop(number, job.channel, offset)

    def _settle(self, job: Job, offset: int) -> None:
        is_last = job.position >= len(job.records) and not (job.outstanding or job.left)
        if job.message.stage is Stage.NEW or is_last:
            # Removing the envelope, or the file of this channel, says the same as a mark.
            return
        try:
            self._run.engine.settle(job.ticket, offset)
            self._run.turn.wrote()
        except EngineError as trouble:
            self._run.journal.warn(trouble)

    def _blame(self, job: Job, offset: int, address: bytes, text: bytes) -> None:
        """Write what the sender is to be told, and only when that is on disk mark the recipient."""
        message = job.message
        if message.stage is Stage.NEW:
            self._keep_and_blame(job, address, text)
            return
        job.outstanding += 1

        def written() -> None:
            job.outstanding -= 1
            self._settle(job, offset)
            self._passes.end_if_done(job)

        def lost() -> None:
            job.outstanding -= 1
            job.left += 1
            self._passes.end_if_done(job)

        try:
            self._tell(job, address, text)
        except EngineError as trouble:
            # Never a failure that nobody is told of: the recipient is tried again. Whoever reported
            # it ends the pass.
            self._run.journal.warn(trouble)
            job.outstanding -= 1
            job.left += 1
            return
        self._run.turn.commit_then(written, lost)

    def _tell(self, job: Job, address: bytes, text: bytes) -> None:
        told = paragraph(without_prepend(address, self._run.routes), text)
        self._run.engine.blame(job.message.number, told)

    def _keep_and_blame(self, job: Job, address: bytes, text: bytes) -> None:
        message = job.message
        job.outstanding += 1

        def kept() -> None:
            job.outstanding -= 1
            self._passes.end(job)

        # One that could not be written has nothing beside its todo entry, bounce/N least of all.
        if self._keeping.keep(message, kept):
            try:
                self._tell(job, address, text)
            except EngineError as trouble:
                self._run.journal.warn(trouble)
                job.left += 1
