"""qmail-lspawn: local deliveries, each under its recipient's uid. Runs as root.

The only resident program besides qmail-start that is root, so it does little: frames in from
qmail-send at run/lspawn, the address asked of a helper under qmailp, the message opened and handed
to a resident qmail-local of the recipient, the report passed back. It reads no file of a user.
At run/mailbox qmail-verify asks whether an address has a mailbox: this goes the same way, without
a message. Source: spec/delivery.md 2 and 10.
"""

import gc
import os
import re
import resource
import signal
import socket
import stat
import sys
import time
from collections.abc import Sequence
from typing import Final

from qmail.core.addresses.owners import Owners
from qmail.core.local.delivery import Delivery, deliver_one
from qmail.core.local.home_files import HomeFiles, StoppedError
from qmail.core.local.mbox import LOCK_S_MAX
from qmail.core.local.message_source import FileSource
from qmail.core.local.plan import enter_home
from qmail.core.local.quick_delivery import QuickDelivery
from qmail.core.local.route import BAD_ADDRESS, Route, local_route, wrong_with_recipient
from qmail.core.settings.controls import ControlError, control_reader, load
from qmail.core.settings.local import LocalControls
from qmail.edge.children.local_hands import LocalHands
from qmail.edge.children.lookup import Lookup
from qmail.edge.children.offspring import ended_children
from qmail.edge.children.residents import Residents
from qmail.edge.children.tasks import TaskServer
from qmail.edge.doors.admission import Admission
from qmail.edge.doors.station import Door, Station, inherited_door
from qmail.edge.log.lines import complain
from qmail.edge.machine.accounts import Accounts, MissingAccountError, accounts_of, home_folder
from qmail.edge.machine.descriptors import descriptor_limit, local_slots, raise_descriptor_limit
from qmail.edge.machine.passwd import Machine
from qmail.protocol.doors import JOB_FRAME_MAX, Job, Report, Slots
from qmail.protocol.exits import Exit
from qmail.protocol.local_door import Answer, Look, Target, Task, pack_task
from qmail.protocol.options import asks_for_help
from qmail.protocol.verify_door import QUESTION_FRAME_MAX, Question

NAME: Final = "qmail-lspawn"
JOBS_MAX: Final = 5000
LOOKS_MAX: Final = 2000
"""So many questions of qmail-verify are under way at a time."""
LOOK_S_MAX: Final = 10.0
"""A question without an answer after this time gets the answer that there is no telling."""
ANSWERS_MAX: Final = 1000
"""So many recipients' owners are remembered: no more than can be served while an answer lives."""
ANSWER_LIVES_S: Final = 1.0
"""A change of accounts or homes is seen after this time at the latest."""
LAST_DELIVERIES_S_MAX: Final = 30.0
TICK_S: Final = 1.0
GARBAGE_THRESHOLD: Final = 20000
BODY_BYTES_MAX: Final = 100
_BODY: Final = re.compile(rb"[0-9]+(?:/[0-9]+)*")

TOO_MANY: Final = b"ZToo many deliveries at a time. (#4.3.5)\n"
BAD_BODY: Final = b"DInternal error: that is not the name of a message. (#5.3.5)\n"
CANNOT_READ: Final = b"ZUnable to open the message. (#4.3.0)\n"
SUSPICIOUS: Final = b"ZThe message file is not what it should be. (#4.3.5)\n"
NO_TELLING: Final = b"ZNo telling now whether there is such a mailbox. (#4.3.0)\n"

NO_BODY: Final = b""
"""The body of a job that is a question: no message is opened, nothing delivered."""


class LocalWork:
    """What runs in the children, under other accounts: made before any of them is forked."""

    def __init__(
        self, home: str, accounts: Accounts, default_delivery: bytes, limits: tuple[int, int]
    ) -> None:
        self._home = home
        self._limits = limits
        self._default_delivery = default_delivery
        controls = load(LocalControls, control_reader(home))
        self._patrn = controls.patrn
        self.find = Owners(home, Machine(), accounts.sole, controls.break_).find
        """Looks a local part up: the helper's work."""

    def reside(self, sock: socket.socket) -> int:
        """Deliver until the channel closes: the life of a resident qmail-local."""
        quick = QuickDelivery(self._default_delivery, self._patrn)
        code = TaskServer(sock, quick, self.deliver).run()
        quick.tidy(time.time())
        return code

    def deliver(self, task: Task) -> int:
        """Make one delivery that needs a process of its own; descriptors as for qmail-local."""
        # Some programs walk through all descriptors that they might have.
        resource.setrlimit(resource.RLIMIT_NOFILE, self._limits)
        hands = LocalHands(self._home, os.environ, LOCK_S_MAX)
        target = Target.unpack(task.target)
        try:
            folder = enter_home(target.home, patrn=self._patrn)
        except StoppedError as stopped:
            hands.say(stopped.text)
            return stopped.code
        delivery = Delivery(
            target=target,
            sender=task.sender,
            files=HomeFiles(folder, self._patrn),
            source=FileSource(0),
            default_delivery=self._default_delivery,
            now_s=int(time.time()),
            inherited=os.environb,
        )
        return deliver_one(delivery, hands)


class MessageStore:
    """The folder queue/mess: opens messages for reading, and nothing else."""

    def __init__(self, home: str, owner_uid: int) -> None:
        flags = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
        self._folder = os.open(f"{home}/queue/mess", flags)
        self._owner_uid = owner_uid

    def open(self, body: bytes) -> int | bytes:
        """Return a descriptor of the message, or the report that says why not."""
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        try:
            fd = os.open(body, flags, dir_fd=self._folder)
        except OSError:
            return CANNOT_READ
        found = os.fstat(fd)
        if not stat.S_ISREG(found.st_mode) or found.st_uid != self._owner_uid:
            os.close(fd)
            return SUSPICIOUS
        return fd


class Lspawn:
    """The service: jobs in, reports out."""

    def __init__(self, home: str, accounts: Accounts, work: LocalWork) -> None:
        self._accounts = accounts
        self._work = work
        self._station = Station()
        self._store = MessageStore(home, accounts["qmailq"].uid)
        helper = accounts["qmailp"]
        self._lookup = Lookup(self._station, (helper.uid, helper.gid), work.find, self._on_answer)
        self._residents = Residents(self._station, work.reside, self._open, self._report)
        self._tickets: dict[int, tuple[Door, int]] = {}
        self._looks: dict[int, float] = {}
        self._last_serial = 0
        self._routes: dict[bytes, tuple[float, Route]] = {}
        self._asking: dict[bytes, list[tuple[int, Job]]] = {}
        self._talked_to: set[Door] = set()
        self._end_at: float | None = None
        admission = Admission(self._station, NAME)
        senders, askers = {accounts["qmails"].uid}, {accounts["qmailp"].uid}
        admission.listen(
            inherited_door(home, "lspawn"), JOB_FRAME_MAX, senders, self._on_jobs, greet=self._offer
        )
        admission.listen(
            inherited_door(home, "mailbox"), QUESTION_FRAME_MAX, askers, self._on_questions
        )
        self._station.on_signal(signal.SIGCHLD, self._reap)
        self._station.on_signal(signal.SIGTERM, self._on_term)
        self._station.on_signal(signal.SIGINT, self._on_term)

    def run(self) -> int:
        """Serve until TERM, then let what is running finish."""
        next_tick = 0.0
        while self._end_at is None or (self._has_jobs and time.monotonic() < self._end_at):
            self._station.turn(self._wait_s())
            now = time.monotonic()
            if now >= next_tick:
                next_tick = now + TICK_S
                self._lookup.tick(now)
                self._residents.tick(now)
                self._give_up_looks(now)
            # What a tick gave up is reported in the same turn: the next may be long in coming.
            self._lookup.flush()
            self._residents.flush()
            for door in self._talked_to:
                door.flush()
            self._talked_to.clear()
        self._residents.close()
        self._lookup.close()
        return Exit.OK

    @property
    def _has_jobs(self) -> bool:
        return len(self._tickets) > len(self._looks)

    def _wait_s(self) -> float | None:
        # Asleep without a limit only when nobody is to be ended and nothing is due.
        is_idle = self._residents.is_empty and not self._looks
        if self._end_at is None and is_idle and not self._lookup.is_waiting:
            return None
        return TICK_S

    def _on_term(self) -> None:
        if self._end_at is None:
            self._end_at = time.monotonic() + LAST_DELIVERIES_S_MAX

    @staticmethod
    def _offer() -> bytes:
        return Slots(min(JOBS_MAX, local_slots(descriptor_limit()))).pack()

    def _on_jobs(self, door: Door, payloads: list[bytes]) -> None:
        if self._end_at is not None:
            # Without an answer it is tried again; a deferral would wait.
            return
        now = time.monotonic()
        for payload in payloads:
            job = Job.unpack(payload)
            serial = self._last_serial = self._last_serial + 1
            self._tickets[serial] = (door, job.delivery)
            wrong = self._wrong_with(job)
            if wrong is None:
                self._begin(serial, job, now)
            else:
                self._report(serial, wrong)

    def _on_questions(self, door: Door, payloads: list[bytes]) -> None:
        if self._end_at is not None:
            # qmail-verify asks the next one.
            return
        now = time.monotonic()
        for payload in payloads:
            question = Question.unpack(payload)
            serial = self._last_serial = self._last_serial + 1
            self._tickets[serial] = (door, question.tag)
            if len(self._looks) < LOOKS_MAX:
                self._looks[serial] = now
                self._begin(serial, Job(question.tag, NO_BODY, b"", question.recipient), now)
            else:
                self._report(serial, NO_TELLING)

    def _begin(self, serial: int, job: Job, now: float) -> None:
        kept = self._routes.get(job.recipient)
        if kept is not None and kept[0] > now:
            self._send_on(serial, job, kept[1])
            return
        wrong = wrong_with_recipient(job.recipient)
        if wrong is None:
            self._ask(serial, job)
        else:
            self._report(serial, wrong)

    def _give_up_looks(self, now: float) -> None:
        for serial, asked_at in list(self._looks.items()):
            if now <= asked_at + LOOK_S_MAX:
                return
            self._report(serial, NO_TELLING)

    def _wrong_with(self, job: Job) -> bytes | None:
        """Return the report for a job that is not even tried. Source: spec/delivery.md 10."""
        if len(self._tickets) - len(self._looks) > JOBS_MAX:
            return TOO_MANY
        if len(job.body) > BODY_BYTES_MAX or not _BODY.fullmatch(job.body):
            return BAD_BODY
        if b"\0" in job.sender:
            return BAD_ADDRESS
        return None

    def _ask(self, serial: int, job: Job) -> None:
        local = job.recipient.rpartition(b"@")[0]
        if not self._accounts.separate:
            self._asking.setdefault(local, []).append((serial, job))
            self._on_answer(local, self._work.find(local))
            return
        asking = self._asking.get(local)
        if asking is not None:
            asking.append((serial, job))
            return
        self._asking[local] = [(serial, job)]
        self._lookup.ask(local)

    def _on_answer(self, local: bytes, answer: Answer | None) -> None:
        if len(self._routes) >= ANSWERS_MAX:
            self._routes.clear()
        until = time.monotonic() + ANSWER_LIVES_S
        for serial, job in self._asking.pop(local, []):
            route = local_route(answer, job.recipient)
            self._routes[job.recipient] = (until, route)
            self._send_on(serial, job, route)

    def _send_on(self, serial: int, job: Job, route: Route) -> None:
        if isinstance(route, bytes):
            self._report(serial, route)
            return
        who, target = route
        if job.body:
            self._residents.give(who, (serial, pack_task(serial, job.sender, target), job.body))
        elif serial in self._looks and not self._residents.look(
            who, serial, Look(serial, target).pack()
        ):
            self._report(serial, NO_TELLING)

    def _open(self, serial: int, body: bytes) -> int | None:
        """Open the message of a job that leaves now; None: the job is over already."""
        if not self._tickets[serial][0].is_open:
            # The caller is gone; the next one will ask again.
            del self._tickets[serial]
            return None
        opened = self._store.open(body)
        if isinstance(opened, int):
            return opened
        self._report(serial, opened)
        return None

    def _report(self, serial: int, text: bytes) -> None:
        # A question that was given up may be answered all the same.
        door, delivery = self._tickets.pop(serial, (None, 0))
        self._looks.pop(serial, None)
        if door is not None and door.is_open:
            door.send(Report(delivery, text).pack())
            self._talked_to.add(door)

    def _reap(self) -> None:
        for pid, trouble in ended_children():
            who = "helper for addresses" if self._lookup.reaped(pid) else "qmail-local"
            self._residents.reaped(pid)
            if trouble:
                complain(NAME, f"warning: {who} {pid} ended by {trouble}")


def main(argv: Sequence[str]) -> int:
    """Serve until TERM. The argument: the lines that an empty `.qmail` file stands for."""
    if len(argv) != 1 or asks_for_help(argv):
        print(f"{NAME}: usage: {NAME} defaultdelivery", file=sys.stderr)
        return Exit.PERMANENT
    home = home_folder()
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    raise_descriptor_limit()
    try:
        accounts = accounts_of(home)
        work = LocalWork(home, accounts, os.fsencode(argv[0]), limits)
        service = Lspawn(home, accounts, work)
    except (ControlError, MissingAccountError, OSError) as trouble:
        complain(NAME, f"fatal: {trouble}")
        return Exit.TEMPORARY
    # The children are copies of this process: what is here now stays shared with them.
    gc.collect()
    gc.freeze()
    gc.set_threshold(GARBAGE_THRESHOLD)
    return service.run()
