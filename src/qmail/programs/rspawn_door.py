"""The door between qmail-send and qmail-rspawn: jobs in, reports out."""

import asyncio
from collections.abc import Callable
from typing import Final, cast

from qmail.edge.log.lines import complain
from qmail.mail import Result, deferred
from qmail.programs.rspawn_engines import OnReport
from qmail.protocol.doors import JOB_FRAME_MAX, Job, LookAhead, Report, Slots
from qmail.protocol.netstring import FrameError, FrameReader

JOBS_MAX: Final = 10000
"""With so many jobs under way no more are read."""
SLOT_IN_USE: Final = deferred(b"Internal error: that delivery is under way. (#4.3.5)\n")

Take = Callable[[Job, OnReport], Result | None]
"""Starts on a job, or says at once why not."""


class SendDoor(asyncio.Protocol):
    """One connection with qmail-send; the reports of one loop turn leave in one write."""

    def __init__(self, take: Take, look_ahead: Callable[[bytes], None], slots: int) -> None:
        self._slots = slots
        self._take = take
        self._look_ahead = look_ahead
        self._reader = FrameReader(JOB_FRAME_MAX)
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._under_way: set[int] = set()
        self._quiet = asyncio.Event()
        self._out: list[bytes] = []
        self._is_paused = False
        self._must_wait = False

    @property
    def is_needed(self) -> bool:
        """True while somebody listens here, or deliveries are under way."""
        return self._transport is not None or bool(self._under_way)

    async def drain(self, seconds_max: float) -> None:
        """Read no more jobs, wait for those under way, and write the last reports."""
        self._must_wait = True
        self._throttle()
        if self._under_way:
            self._quiet.clear()
            try:
                await asyncio.wait_for(self._quiet.wait(), seconds_max)
            except TimeoutError:
                complain("qmail-rspawn", f"warning: {len(self._under_way)} deliveries cut short")
        self._flush()
        if self._transport is not None:
            self._transport.close()

    # --- called by the event loop ---------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Say how much can be done at once, and start to listen."""
        # The transports of uvloop are not in asyncio's class tree.
        self._transport = cast("asyncio.Transport", transport)
        self._transport.write(Slots(self._slots).pack())

    def data_received(self, data: bytes) -> None:
        """Start the deliveries that are ordered."""
        try:
            for payload in self._reader.feed(data):
                if payload[:1] == b"L":
                    self._look_ahead(LookAhead.unpack(payload).host)
                else:
                    self._start(Job.unpack(payload))
        except FrameError as wrong:
            complain("qmail-rspawn", f"alert: qmail-send broke the rules of the door: {wrong}")
            if self._transport is not None:
                self._transport.abort()
        if len(self._under_way) >= JOBS_MAX:
            self._throttle()

    def connection_lost(self, exc: Exception | None) -> None:
        """Let deliveries under way end; nobody hears of them."""
        del exc
        self._transport = None

    def pause_writing(self) -> None:
        """qmail-send does not read its reports: read no more jobs."""
        self._must_wait = True
        self._throttle()

    def resume_writing(self) -> None:
        """Go on."""
        self._must_wait = False
        self._throttle()

    # --- parts of the above ---------------------------------------------------------------------

    def _start(self, job: Job) -> None:
        delivery = job.delivery
        if delivery in self._under_way:
            self._report(delivery, SLOT_IN_USE.pack())
            return
        self._under_way.add(delivery)
        refused = self._take(job, self._finish)
        if refused is not None:
            self._finish(delivery, refused.pack())

    def _finish(self, delivery: int, report: bytes) -> None:
        self._under_way.discard(delivery)
        self._report(delivery, report)
        if self._is_paused:
            self._throttle()
            if not self._under_way:
                self._quiet.set()

    def _report(self, delivery: int, report: bytes) -> None:
        if not self._out:
            self._loop.call_soon(self._flush)
        self._out.append(Report(delivery, report).pack())

    def _flush(self) -> None:
        if self._out and self._transport is not None:
            self._transport.write(b"".join(self._out))
        self._out.clear()

    def _throttle(self) -> None:
        must_pause = self._must_wait or len(self._under_way) >= JOBS_MAX
        if must_pause == self._is_paused:
            return
        self._is_paused = must_pause
        if self._transport is not None:
            if must_pause:
                self._transport.pause_reading()
            else:
                self._transport.resume_reading()
