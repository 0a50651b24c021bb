"""qmail-send: decides where each message goes, when, and whether to bounce. Runs as qmails.

It listens at run/send for qmail-queue's notices and calls qmail-lspawn, qmail-rspawn, qmail-clean
and, for bounces, qmail-queue. The decisions are in core/send/; here are doors and signals.
Source: spec/queue.md 7.
"""

import contextlib
import fcntl
import os
import signal
import socket
import time
from collections.abc import Sequence
from typing import Final

from qmail.core.addresses.routing import routes_from
from qmail.core.bounce.rules import bounce_controls
from qmail.core.clock import REAL_CLOCK, booted
from qmail.core.fs import RealFs
from qmail.core.queue.engine import EngineError
from qmail.core.queue.layout import find_layout
from qmail.core.queue.read import DiskQueue
from qmail.core.send.dispatch import Dispatcher
from qmail.core.send.values import Policy
from qmail.core.settings.controls import ControlError, control_reader, load
from qmail.core.settings.host_limits import host_limits
from qmail.core.settings.programs import SendControls
from qmail.edge.doors.caller import CALL_AGAIN_S, Caller, Line
from qmail.edge.doors.station import Door, Listener, Station, inherited_door
from qmail.edge.log.lines import Log, complain, wants_records
from qmail.edge.machine.accounts import Accounts, MissingAccountError, accounts_of, home_folder
from qmail.mail import Channel
from qmail.programs.send_bounces import BounceDesk
from qmail.programs.send_control import ControlDesk
from qmail.protocol.doors import (
    NOTICE_ENVELOPE_MAX,
    REPORT_FRAME_MAX,
    LookAhead,
    Notice,
    Report,
    Slots,
)
from qmail.protocol.exits import Exit
from qmail.protocol.netstring import FrameError, pack

TRIGGER_EVERY_S: Final = 1.0
NOTICE_FRAME_MAX: Final = NOTICE_ENVELOPE_MAX + 256
HELLO: Final = b"H"


def policy_from(controls: SendControls) -> Policy:
    """Build what decides. Raises: ControlError: as `routes_from` and `bounce_controls`."""
    return Policy(
        routes=routes_from(controls),
        bounces=bounce_controls(controls),
        lifetime_s=controls.queuelifetime,
        limits={
            Channel.LOCAL: controls.concurrencylocal,
            Channel.REMOTE: controls.concurrencyremote,
        },
        hosts=host_limits(
            controls.concurrencyhost, controls.concurrencyhosts, controls.concurrencyremote
        ),
    )


class SendService:
    """Doors, timers and signals around one Dispatcher."""

    def __init__(self, home: str, accounts: Accounts, policy: Policy) -> None:
        fs = RealFs(f"{home}/queue")
        self._home = home
        self._engine = DiskQueue(fs, REAL_CLOCK, find_layout(fs), booted=booted())
        self._dispatcher = Dispatcher(self._engine, REAL_CLOCK, policy)
        self._dispatcher.ending.journal.is_detailed = wants_records()
        self._station = Station()
        self._log = Log(1)
        self._queue_uids = {accounts["qmailq"].uid}
        self._is_clean_ready = False
        self._trigger = -1
        self._trigger_pulled = 0.0
        spawners = {Channel.LOCAL: ("lspawn", {0}), Channel.REMOTE: ("rspawn", set[int]())}
        self._spawners = {
            channel: Caller(self._station, home, self._spawner_line(channel, name, uids, accounts))
            for channel, (name, uids) in spawners.items()
        }
        clean_line = Line(
            "clean",
            frozenset((accounts["qmailq"].uid, 0)),
            65536,
            self._on_cleaned,
            self._on_clean_change,
        )
        self._clean = Caller(self._station, home, clean_line)
        self._bounces = BounceDesk(
            self._station, home, accounts["qmailq"].uid, self._dispatcher.ending.bounced
        )
        self._inherited = inherited_door(home, "send")
        self._control_door = inherited_door(home, "control")
        self._mailq_door = inherited_door(home, "mailq")
        self._send_uid = accounts["qmails"].uid
        self._station.on_signal(signal.SIGTERM, self._dispatcher.exit_soon)
        self._station.on_signal(signal.SIGALRM, self._dispatcher.retry_all)
        self._station.on_signal(signal.SIGHUP, self._on_hup)

    def _spawner_line(
        self, channel: Channel, name: str, uids: set[int], accounts: Accounts
    ) -> Line:
        # The listening socket is root's until a spawner with an account of its own accepts.
        peers = uids | {accounts["qmailr"].uid, os.geteuid(), 0}

        def on_reports(payloads: list[bytes]) -> None:
            for payload in payloads:
                if payload[:1] == b"S":
                    self._dispatcher.connected(channel, Slots.unpack(payload).count)
                else:
                    self._dispatcher.reported(channel, Report.unpack(payload))

        def on_change(is_up: bool) -> None:
            if is_up:
                # It says first how much it takes at a time.
                return
            if not self._dispatcher.exiting:
                self._dispatcher.ending.journal.alert(
                    f"oh no! lost qmail-{name} connection! calling again..."
                )
            self._dispatcher.disconnected(channel)

        return Line(name, frozenset(peers), REPORT_FRAME_MAX, on_reports, on_change)

    # --- events ---------------------------------------------------------------------------------

    def _on_call(self, sock: socket.socket) -> None:
        door = Door(
            self._station,
            sock,
            NOTICE_FRAME_MAX,
            on_frames=self._on_notices,
            on_close=self._on_hang_up,
        )
        if door.peer_uid not in self._queue_uids:
            door.close()

    def _on_notices(self, _door: Door, payloads: list[bytes]) -> None:
        for payload in payloads:
            if payload == HELLO:
                # What was queued while nobody could tell us is in todo/.
                self._dispatcher.rescan()
                continue
            try:
                self._dispatcher.noticed(Notice.unpack(payload))
            except ValueError as wrong:
                raise FrameError(str(wrong)) from wrong

    def _on_hang_up(self, door: Door) -> None:
        """Whoever told us of messages is gone; the next one starts with a hello."""

    def _on_cleaned(self, payloads: list[bytes]) -> None:
        self._is_clean_ready = True
        for payload in payloads:
            if not self._dispatcher.ending.orders.answered(payload):
                raise FrameError("more answers than orders")

    def _on_clean_change(self, is_up: bool) -> None:
        if not is_up:
            if not self._dispatcher.exiting:
                self._dispatcher.ending.journal.alert(
                    "oh no! lost qmail-clean connection! calling again..."
                )
            self._dispatcher.ending.clean_lost()

    def _on_hup(self) -> None:
        try:
            controls = load(SendControls, control_reader(self._home))
            self._dispatcher.reread(policy_from(controls))
        except ControlError as wrong:
            self._keep_controls(f"control/{wrong.name}", wrong)
        except OSError as trouble:
            self._keep_controls("controls: unable to switch to home directory", trouble)

    def _keep_controls(self, what: str, why: Exception) -> None:
        """Say in the original's words that the old settings stay, and in ours why."""
        journal = self._dispatcher.ending.journal
        journal.alert(f"unable to reread {what}")
        journal.add(f"qmail-send: {why}: the old settings stay".encode(errors="replace"))

    # --- the trigger, for writers that do not know our door (spec/queue.md 6) --------------------

    def _open_trigger(self) -> None:
        path = f"{self._home}/queue/lock/trigger"
        with contextlib.suppress(OSError):
            # For writing as well, or a pipe without writers would always be readable.
            self._trigger = os.open(path, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
            self._station.watch(self._trigger, self._on_trigger)

    def _on_trigger(self) -> None:
        with contextlib.suppress(OSError):
            os.read(self._trigger, 4096)
        now = time.monotonic()
        if now - self._trigger_pulled >= TRIGGER_EVERY_S:
            self._trigger_pulled = now
            self._dispatcher.rescan()

    # --- the loop -------------------------------------------------------------------------------

    def run(self) -> int:
        """Serve until TERM and until what runs has ended."""
        self._wait_for_clean()
        if not self._dispatcher.exiting:
            self._dispatcher.start()
        self._open_trigger()
        self._finish_turn()
        Listener(self._station, self._inherited, self._on_call)
        control = ControlDesk(
            self._station, self._control_door, self._dispatcher.operator, self._send_uid
        )
        control.answer_users(self._mailq_door)
        while not (self._dispatcher.exiting and self._is_idle):
            self._call()
            self._dispatcher.pump()
            self._finish_turn()
            self._station.turn(0 if control.is_busy else self._wait_s())
            control.go_on()
            self._dispatcher.run_timers()
            self._dispatcher.settle_turn()
        self._finish_turn()
        self._log.line(b"status: exiting")
        self._log.end()
        return Exit.OK

    def _wait_for_clean(self) -> None:
        """Wait until qmail-clean is done with the orders of an earlier qmail-send.

        Files of a finished message that still go would take a new one of that number with them.
        """
        while not (self._is_clean_ready or self._dispatcher.exiting):
            self._clean.call()
            self._station.turn(CALL_AGAIN_S)

    @property
    def _is_idle(self) -> bool:
        return self._dispatcher.is_idle and not self._bounces.is_busy

    def _wait_s(self) -> float:
        callers = (*self._spawners.values(), self._clean)
        wait_s = self._dispatcher.wait_s()
        return wait_s if all(caller.is_up for caller in callers) else min(wait_s, CALL_AGAIN_S)

    def _call(self) -> None:
        for caller in (*self._spawners.values(), self._clean):
            if not caller.is_up:
                caller.call()

    def _finish_turn(self) -> None:
        self._dispatcher.settle_turn()
        outputs, ending = self._dispatcher.outputs, self._dispatcher.ending
        for note in self._engine.notes:
            ending.journal.add(note.encode(errors="replace"))
        self._engine.notes.clear()
        if outputs.hosts:
            self._spawners[Channel.REMOTE].send([LookAhead(each).pack() for each in outputs.hosts])
            outputs.hosts.clear()
        for channel, frames in outputs.jobs.items():
            if frames:
                self._spawners[channel].send(frames)
                frames.clear()
        if self._clean.is_up and ending.orders.new:
            self._clean.send([pack(order) for order in ending.orders.take_new()])
        for bounce in ending.bounces:
            self._bounces.submit(bounce)
        ending.bounces.clear()
        self._log.lines(ending.journal.lines)
        ending.journal.lines.clear()
        self._log.flush()


def lock_queue(home: str) -> int:
    """Take lock/sendmutex for as long as this process lives.

    Returns: the descriptor.
    Raises: OSError: no such file. BlockingIOError: another qmail-send runs.
    """
    fd = os.open(f"{home}/queue/lock/sendmutex", os.O_WRONLY | os.O_CLOEXEC)
    fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    return fd


def cannot_start(what: str, why: object = "") -> int:
    """Log what is wrong, in the original's form, say why, and return the exit code."""
    log = Log(1)
    log.line(f"alert: cannot start: {what}".encode(errors="replace"))
    log.flush()
    complain("qmail-send", f"fatal: cannot start: {what}" + (f": {why}" if str(why) else ""))
    return Exit.TEMPORARY


def main(argv: Sequence[str]) -> int:
    """Run until TERM. Returns: 0 after TERM, 111 when it can't start."""
    if argv:
        complain("qmail-send", "usage: qmail-send (it takes no arguments)")
        return Exit.PERMANENT
    home = home_folder()
    os.umask(0o077)
    signal.signal(signal.SIGPIPE, signal.SIG_IGN)
    try:
        accounts = accounts_of(home)
        policy = policy_from(load(SendControls, control_reader(home)))
    except ControlError as wrong:
        return cannot_start("unable to read controls", wrong)
    except (OSError, MissingAccountError) as trouble:
        return cannot_start("unable to switch to home directory", trouble)
    try:
        lock_queue(home)
    except BlockingIOError:
        return cannot_start("qmail-send is already running")
    except OSError as trouble:
        return cannot_start("unable to open mutex", trouble)
    try:
        return SendService(home, accounts, policy).run()
    except EngineError as trouble:
        return cannot_start(str(trouble))
    except (OSError, ValueError) as trouble:
        return cannot_start("unable to switch to queue directory", trouble)
