"""The parts of `qmail explain`, each run by a child under the account whose decision it tells."""

import asyncio
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from random import SystemRandom
from typing import Final

from qmail.core.addresses.assign import ASSIGN, lines_of
from qmail.core.addresses.owners import CDB, Owners
from qmail.core.addresses.users import Directory
from qmail.core.explain.account import AccountSources, explain_account
from qmail.core.explain.dotqmail import LocalQuestion, explain_delivery
from qmail.core.explain.explanation import PART_BYTES_MAX, Part, Question, Step, printable
from qmail.core.explain.rcpt import RcptSources, explain_rcpt
from qmail.core.explain.remote import explain_remote
from qmail.core.explain.route import explain_route
from qmail.core.explain.watching import unreadable
from qmail.core.settings.controls import ControlError, control_reader, load
from qmail.core.settings.local import LocalControls
from qmail.core.smtp.relay import more_hosts_of
from qmail.edge.children.answer import NoAnswerError, ask_child
from qmail.edge.dns.resolver import DnsResolver
from qmail.edge.machine.accounts import Accounts
from qmail.edge.machine.local_addresses import read_local_addresses
from qmail.protocol.exits import Exit
from qmail.protocol.netstring import FrameError

WAIT_S: Final = 20.0
REMOTE_WAIT_S: Final = 60.0
"""Name servers get longer: each look-up is tried again for a quarter of a minute."""

Who = tuple[int, int]
Work = Callable[[], Part]


@dataclass(frozen=True, slots=True)
class Observer:
    """Asks the parts of one home; `is_root`: each under its own account."""

    home: str
    accounts: Accounts
    is_root: bool
    directory: Directory
    """The list of accounts."""
    wait_s: float = WAIT_S
    remote_wait_s: float = REMOTE_WAIT_S

    @property
    def is_stranger(self) -> bool:
        """True where what is seen is not what the programs see."""
        sole = self.accounts.sole
        return not self.is_root and (sole is None or sole[0] != os.getuid())

    def rcpt(self, question: Question, client: str) -> Part:
        """Ask what qmail-smtpd says."""
        sources = RcptSources(
            control_reader(self.home),
            lambda: read_local_addresses().addresses,
            more_hosts_of(self.home),
        )
        return self._ask("smtp in", "qmaild", partial(explain_rcpt, question, client, sources))

    def route(self, question: Question) -> Part:
        """Ask what qmail-send does with the address."""
        read_file = control_reader(self.home)
        return self._ask("route", "qmails", lambda: explain_route(question, read_file))

    def account(self, recipient: bytes) -> Part:
        """Ask who controls a local address."""
        return self._ask("account", "qmailp", partial(self._account, recipient))

    def _account(self, recipient: bytes) -> Part:
        try:
            controls = load(LocalControls, control_reader(self.home))
        except (ControlError, OSError) as trouble:
            return unreadable("account", trouble, "qmail-lspawn")
        return explain_account(recipient, self._sources(controls.break_))

    def _sources(self, break_: bytes) -> AccountSources:
        return AccountSources(
            self.directory,
            lambda directory: Owners(self.home, directory, self.accounts.sole, break_),
            os.path.lexists(f"{self.home}/{CDB}"),
            self._read_assign,
        )

    def _read_assign(self) -> Iterator[bytes]:
        with open(f"{self.home}/{ASSIGN}", "rb") as file:
            yield from lines_of(file)

    def delivery(self, question: LocalQuestion, who: Who) -> Part:
        """Ask what a delivery would do, as the recipient."""
        work = partial(self._delivery, question)
        return _ask_as(".qmail", self._own(who), work, self.wait_s)

    def _delivery(self, question: LocalQuestion) -> Part:
        read_file = control_reader(self.home)
        try:
            controls = load(LocalControls, read_file)
        except (ControlError, OSError) as trouble:
            return unreadable(".qmail", trouble, "qmail-lspawn")
        return explain_delivery(replace(question, patrn=controls.patrn), read_file)

    def remote(self, question: Question) -> Part:
        """Ask where a remote address is sent."""
        read_file = control_reader(self.home)

        def work() -> Part:
            local = read_local_addresses()
            random = SystemRandom()
            return asyncio.run(
                explain_remote(question, read_file, DnsResolver(), local=local, random=random)
            )

        chosen = self.accounts["qmailr"]
        who = self._own((chosen.uid, chosen.gid))
        return _ask_as("remote", who, work, self.remote_wait_s)

    def _ask(self, part: str, account: str, work: Work) -> Part:
        chosen = self.accounts[account]
        return _ask_as(part, self._own((chosen.uid, chosen.gid)), work, self.wait_s)

    def _own(self, who: Who) -> Who:
        return who if self.is_root else (os.getuid(), os.getgid())


def _ask_as(part: str, who: Who, work: Work, wait_s: float) -> Part:
    """Have a part made by a child; whatever goes wrong there is a step of its own."""

    def packed() -> bytes:
        try:
            return work().pack()
        except Exception as trouble:
            return _no_answer(part, f"unexpected trouble: {trouble!r}").pack()

    try:
        return Part.unpack(ask_child(who, packed, bytes_max=PART_BYTES_MAX, wait_s=wait_s))
    except NoAnswerError as trouble:
        return _no_answer(part, str(trouble))
    except FrameError as trouble:
        return _no_answer(part, f"an answer that makes no sense: {trouble}")


def _no_answer(part: str, what: str) -> Part:
    return Part((Step(part, printable(what.encode(errors="replace"))),), Exit.TEMPORARY)
