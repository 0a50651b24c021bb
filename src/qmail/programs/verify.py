"""qmail-verify: says whether mail for an address would be taken. Runs as qmailp.

qmail-smtpd asks it at run/verify before it accepts a recipient. It routes the address as qmail-send
does and looks its owner up as qmail-lspawn does, with the same code; where `.qmail` files in a home
decide, it asks qmail-lspawn at run/mailbox, whose qmail-local looks under the recipient's uid. It
opens no file of a user. Source: spec/oddities.md 2 (CVE-2020-3811, CVE-2020-3812).
"""

import gc
import os
import signal
import sys
import time
from collections.abc import Sequence
from typing import Final

from qmail.core.addresses.owners import Owners
from qmail.core.addresses.routing import Routes, routes_from
from qmail.core.settings.controls import ControlError, control_reader, load
from qmail.core.settings.local import LocalControls
from qmail.core.settings.programs import SendControls
from qmail.core.smtp.verification import by_owner, by_route
from qmail.edge.children.lookup import Lookup
from qmail.edge.children.offspring import ended_children
from qmail.edge.doors.admission import Admission
from qmail.edge.doors.caller import CALL_AGAIN_S, Caller, Line
from qmail.edge.doors.station import Door, Station, inherited_door
from qmail.edge.log.lines import complain
from qmail.edge.machine.accounts import Accounts, MissingAccountError, accounts_of, home_folder
from qmail.edge.machine.passwd import Machine
from qmail.mail import ADDRESS_BYTES_MAX
from qmail.protocol.doors import REPORT_FRAME_MAX, Report
from qmail.protocol.exits import Exit
from qmail.protocol.local_door import Answer
from qmail.protocol.verify_door import QUESTION_FRAME_MAX, Question

NAME: Final = "qmail-verify"
QUESTIONS_MAX: Final = 10000
"""So many questions are under way at a time; to more the answer is that there is no telling."""
MAILBOX_S_MAX: Final = 5.0
"""So long qmail-lspawn is waited for, as while it is started again; who asks us waits less long."""
TICK_S: Final = 1.0
NO_TELLING: Final = b"ZNo telling now whether there is such a mailbox. (#4.3.0)\n"

Asker = tuple[Door, int]
"""Who asked, and the tag of the question."""
Forwarded = tuple[Asker, bytes, float]
"""Who asked, the routed address, and until when the answer is waited for."""


class Verify:
    """The service: questions in, reports out."""

    def __init__(self, home: str, accounts: Accounts, routes: Routes) -> None:
        self._home = home
        self._accounts = accounts
        self._routes = routes
        self._station = Station()
        account = accounts["qmailp"]
        controls = load(LocalControls, control_reader(home))
        self._find = Owners(home, Machine(), accounts.sole, controls.break_).find
        self._lookup = Lookup(
            self._station, (account.uid, account.gid), self._find, self._on_answer
        )
        self._mailboxes = Caller(
            self._station,
            home,
            Line(
                "mailbox",
                frozenset({0, account.uid}),
                REPORT_FRAME_MAX,
                self._on_reports,
                self._on_mailbox_change,
            ),
        )
        self._askers_of: dict[bytes, list[tuple[Asker, bytes]]] = {}
        """By the local part whose owner is looked up: who asked, and the routed address."""
        self._forwarded: dict[int, Forwarded] = {}
        """By the tag of our question to qmail-lspawn; the oldest first."""
        self._count = 0
        self._last_tag = 0
        self._to_mailboxes: list[bytes] = []
        self._talked_to: set[Door] = set()
        self._is_ending = False
        Admission(self._station, NAME).listen(
            inherited_door(home, "verify"),
            QUESTION_FRAME_MAX,
            {0, accounts["qmaild"].uid},
            self._on_questions,
        )
        self._station.on_signal(signal.SIGCHLD, self._reap)
        self._station.on_signal(signal.SIGHUP, self._read_again)
        self._station.on_signal(signal.SIGTERM, self._on_term)
        self._station.on_signal(signal.SIGINT, self._on_term)

    def run(self) -> int:
        """Serve until TERM."""
        next_tick = 0.0
        while not self._is_ending:
            if not self._mailboxes.is_up:
                self._mailboxes.call()
            self._station.turn(self._wait_s())
            now = time.monotonic()
            if now >= next_tick:
                next_tick = now + TICK_S
                self._lookup.tick(now)
                self._give_up(now)
            self._flush()
        self._lookup.close()
        return Exit.OK

    def _wait_s(self) -> float | None:
        if not self._mailboxes.is_up:
            return CALL_AGAIN_S
        return TICK_S if self._lookup.is_waiting or self._forwarded else None

    def _flush(self) -> None:
        self._lookup.flush()
        if self._to_mailboxes:
            self._mailboxes.send(self._to_mailboxes)
            self._to_mailboxes.clear()
        for door in self._talked_to:
            door.flush()
        self._talked_to.clear()

    # --- events ---------------------------------------------------------------------------------

    def _on_term(self) -> None:
        self._is_ending = True

    def _read_again(self) -> None:
        """Read the control files again; with a bad one, go on with the old routes."""
        try:
            self._routes = routes_from(load(SendControls, control_reader(self._home)))
        except (ControlError, OSError) as trouble:
            complain(NAME, f"{trouble}: going on with the old settings")

    def _on_questions(self, door: Door, payloads: list[bytes]) -> None:
        for payload in payloads:
            question = Question.unpack(payload)
            self._count += 1
            asker = (door, question.tag)
            # A longer address would not pass the next door, and it would be asked there again.
            if self._count > QUESTIONS_MAX or len(question.recipient) > ADDRESS_BYTES_MAX:
                self._answer(asker, NO_TELLING)
                continue
            address, report = by_route(question.recipient, self._routes)
            if report is None:
                self._look_up(asker, address)
            else:
                self._answer(asker, report)

    def _look_up(self, asker: Asker, address: bytes) -> None:
        local = address.rpartition(b"@")[0]
        self._askers_of.setdefault(local, []).append((asker, address))
        if self._accounts.separate:
            self._lookup.ask(local)
        else:
            self._on_answer(local, self._find(local))

    def _on_answer(self, local: bytes, answer: Answer | None) -> None:
        for asker, address in self._askers_of.pop(local, []):
            report = by_owner(address, answer)
            if report is None:
                self._forward(asker, address)
            else:
                self._answer(asker, report)

    def _forward(self, asker: Asker, address: bytes) -> None:
        self._last_tag += 1
        until = time.monotonic() + MAILBOX_S_MAX
        self._forwarded[self._last_tag] = (asker, address, until)
        if self._mailboxes.is_up:
            self._to_mailboxes.append(Question(self._last_tag, address).pack())

    def _give_up(self, now: float) -> None:
        for tag, (asker, _address, until) in list(self._forwarded.items()):
            if now <= until:
                return
            del self._forwarded[tag]
            self._answer(asker, NO_TELLING)

    def _on_reports(self, payloads: list[bytes]) -> None:
        for payload in payloads:
            report = Report.unpack(payload)
            forwarded = self._forwarded.pop(report.delivery, None)
            if forwarded is not None:
                self._answer(forwarded[0], report.text)

    def _on_mailbox_change(self, is_up: bool) -> None:
        """Ask a new qmail-lspawn what the one before it did not answer."""
        self._to_mailboxes.clear()
        if is_up:
            self._to_mailboxes += [
                Question(tag, address).pack() for tag, (_, address, _) in self._forwarded.items()
            ]

    def _answer(self, asker: Asker, report: bytes) -> None:
        self._count -= 1
        door, tag = asker
        if door.is_open:
            door.send(Report(tag, report).pack())
            self._talked_to.add(door)

    def _reap(self) -> None:
        for pid, trouble in ended_children():
            self._lookup.reaped(pid)
            if trouble:
                complain(NAME, f"warning: helper for addresses {pid} ended by {trouble}")


def main(argv: Sequence[str]) -> int:
    """Serve until TERM. Returns: 0 after TERM, 111 when it can't start."""
    if argv:
        print(f"{NAME}: usage: {NAME} (no arguments)", file=sys.stderr)
        return Exit.PERMANENT
    home = home_folder()
    try:
        accounts = accounts_of(home)
        routes = routes_from(load(SendControls, control_reader(home)))
        service = Verify(home, accounts, routes)
    except (ControlError, MissingAccountError, OSError) as trouble:
        complain(NAME, f"fatal: {trouble}")
        return Exit.TEMPORARY
    if os.geteuid() == 0:
        complain(NAME, "fatal: not as root: qmail-start runs this under qmailp")
        return Exit.TEMPORARY
    # The helper is a copy of this process: what is here now stays shared with it.
    gc.collect()
    gc.freeze()
    return service.run()
