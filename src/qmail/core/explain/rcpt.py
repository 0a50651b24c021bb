"""What qmail-smtpd says to RCPT: `core.smtp.policy` decides, here it is put into words."""

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from qmail.core.cdb import CdbError, CdbFile
from qmail.core.explain.explanation import Part, Question, Step, printable, reason_of
from qmail.core.explain.watching import Controls, Journal, WatchedSet, tried, unreadable
from qmail.core.settings.controls import (
    ControlError,
    ReadFile,
    entries,
    load,
    parse_domain,
    split_lines,
)
from qmail.core.settings.programs import SmtpdControls, Verify
from qmail.core.smtp.policy import SmtpPolicy, has_more_hosts
from qmail.core.smtp.relay import MORE_HOSTS, OwnAddresses, RelayClients
from qmail.protocol.exits import Exit
from qmail.protocol.path import parse_rcpt, quote
from qmail.protocol.reply import RECIPIENT_OK, Reply
from qmail.protocol.smtp_server import RcptTo
from qmail.protocol.verify_door import Verdict

SMTP: Final = "smtp in"
VERDICTS: Final = (Verdict.KNOWN, Verdict.UNKNOWN, Verdict.UNSURE)
MORE_CDB: Final = f"control/{MORE_HOSTS}.cdb"


@dataclass(frozen=True, slots=True)
class RcptSources:
    """What qmail-smtpd knows when it answers."""

    read_file: ReadFile
    own_addresses: OwnAddresses
    more_hosts: CdbFile
    """control/morercpthosts.cdb, there or not."""


def explain_rcpt(question: Question, client: str, sources: RcptSources) -> Part:
    """Say what qmail-smtpd answers to RCPT; `client`: the IP address that asks, "" for a stranger.

    The answer itself depends on whether there is such a mailbox: `answered` adds it.
    Facts: the recipient as it is queued, then the reply for each of VERDICTS.
    """
    journal = Journal()
    try:
        controls = load(SmtpdControls, sources.read_file)
        watched = WatchedSet.of("rcpthosts", controls.rcpthosts, journal)
        counting = sources.more_hosts if has_more_hosts(sources.read_file) else None
        policy = SmtpPolicy(
            dataclasses.replace(controls, rcpthosts=watched), {}, sources.own_addresses, counting
        )
        files = Controls(SmtpdControls, sources.read_file)
        suffix = b"" if client and policy.clients.may_relay(client) else None
        reply, queued = _judge(question.address, policy, suffix)
        steps = [*_client_steps(client, files, may_relay=suffix is not None)]
        steps += _rcpthosts_steps(journal, files)
        if counting is not None and journal.asked and journal.hit("rcpthosts") is None:
            steps += _more_steps(journal, counting, sources.read_file)
    except (ControlError, OSError) as trouble:
        return unreadable(SMTP, trouble, "qmail-smtpd")
    replies = [reply] * len(VERDICTS)
    if reply.code == RECIPIENT_OK.code and policy.verifies:
        replies = [policy.verified(verdict, suffix) for verdict in VERDICTS]
        steps.append(_verify_step(controls.verifyrcpt, files))
    return Part(tuple(steps), Exit.OK, (queued, *(one.line for one in replies)))


def _judge(address: bytes, policy: SmtpPolicy, suffix: bytes | None) -> tuple[Reply, bytes]:
    """Return the answer to a command with this address, and what is queued."""
    parsed = parse_rcpt(b"TO:<" + quote(address) + b">")
    if isinstance(parsed, Reply):
        return parsed, address
    return policy.judge(RcptTo(parsed), suffix)


def _verify_step(word: Verify, sources: Controls) -> Step:
    file, line = sources.place("verifyrcpt")
    default = "" if line else " (the default)"
    text = f"unknown recipients are refused; if there is no telling: {word}{default}"
    return Step(SMTP, text, file, line)


def answered(part: Part, question: Question, verdict: Verdict | None) -> Part:
    """Add the answer to RCPT, now that it is known whether there is a mailbox; None: not known."""
    if len(part.facts) != 1 + len(VERDICTS):
        # The control files are no use: it has been said.
        return part
    queued, *replies = part.facts
    line = replies[VERDICTS.index(verdict or Verdict.KNOWN)]
    text = f"RCPT is answered {printable(line)}"
    if queued != question.address:
        text += f", and queued for {printable(queued)}"
    if verdict is None and len(set(replies)) > 1:
        text += ", if there is such a mailbox"
    outcome = {b"2": Exit.OK, b"5": Exit.PERMANENT}.get(line[:1], Exit.TEMPORARY)
    return Part((*part.steps, Step(SMTP, text)), outcome, (queued,))


def _client_steps(client: str, sources: Controls, *, may_relay: bool) -> Iterator[Step]:
    if may_relay:
        where = sources.place("relayclients", lambda nets: RelayClients(nets).may_relay(client))
        yield Step(SMTP, f"{client} may send to any domain", *where)
    elif client:
        where = sources.place("relayclients")[0], 0
        yield Step(SMTP, f"{client} is not in it: it may send to our domains only", *where)


def _rcpthosts_steps(journal: Journal, sources: Controls) -> Iterator[Step]:
    asked = journal.of("rcpthosts")
    if not asked:
        return
    key = journal.hit("rcpthosts")
    if key is not None:
        yield Step(SMTP, f"{printable(key)} is accepted", *sources.entry("rcpthosts", key))
    elif sources.is_there("rcpthosts"):
        yield Step(SMTP, f"no entry for {tried(asked)}", "control/rcpthosts")
    else:
        yield Step(SMTP, "not there: mail is taken for no domain", "control/rcpthosts")


# --- control/morercpthosts.cdb ------------------------------------------------------------------


def _more_steps(journal: Journal, more_hosts: CdbFile, read_file: ReadFile) -> Iterator[Step]:
    """Say what the cdb has of the keys that rcpthosts does not have."""
    try:
        cdb = more_hosts.now()
        if cdb is None:
            return
        keys = [one.key.lower() for one in journal.asked]
        found = next((key for key in keys if key and cdb.get(key) is not None), None)
    except (OSError, CdbError) as trouble:
        yield Step(SMTP, reason_of(trouble), MORE_CDB)
        return
    if found is None:
        yield Step(SMTP, "no entry either", MORE_CDB)
        return
    number = _more_line(found, read_file)
    if number:
        yield Step(SMTP, f"{printable(found)} is accepted", f"control/{MORE_HOSTS}", number)
        return
    text = f"{printable(found)} is accepted; {MORE_HOSTS} says otherwise: run qmail-newmrh"
    yield Step(SMTP, text, MORE_CDB)


def _more_line(domain: bytes, read_file: ReadFile) -> int:
    """Return the line that the cdb has a domain from, 0: none."""
    try:
        for line in entries(split_lines(read_file(MORE_HOSTS) or b"")):
            if parse_domain(MORE_HOSTS, line) == domain:
                return line.number
    except (ControlError, OSError):
        # Only the cdb counts.
        return 0
    return 0
