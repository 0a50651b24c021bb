"""The decisions by domain: what qmail-smtpd says to RCPT, which way qmail-send sends an address.

`core.smtp_policy` and `core.routing` decide; here their decisions are put into words.
"""

import dataclasses
from collections.abc import Iterator
from typing import Final

from qmail.core.controls import ControlError, ReadFile, load
from qmail.core.explanation import Part, Question, Step, printable
from qmail.core.relay import OwnAddresses, RelayClients
from qmail.core.routing import Routes, route, routes_from, verp_sender
from qmail.core.settings import SendControls, SmtpdControls, Verify
from qmail.core.smtp_policy import SmtpPolicy
from qmail.core.watching import Controls, Journal, WatchedMap, WatchedSet, unreadable
from qmail.protocol.exits import Exit
from qmail.protocol.reply import RECIPIENT_OK
from qmail.protocol.smtp_server import RcptTo
from qmail.protocol.verify_door import Verdict

SMTP: Final = "smtp in"
ROUTE: Final = "route"
VERDICTS: Final = (Verdict.KNOWN, Verdict.UNKNOWN, Verdict.UNSURE)


# --- what qmail-smtpd says to RCPT --------------------------------------------------------------


def explain_rcpt(
    question: Question, client: str, read_file: ReadFile, own_addresses: OwnAddresses
) -> Part:
    """Say what qmail-smtpd answers to RCPT; `client`: the IP address that asks, "" for a stranger.

    The answer itself depends on whether there is such a mailbox: `answered` adds it.
    Facts: the recipient as it is queued, then the reply for each of VERDICTS.
    """
    journal = Journal()
    try:
        controls = load(SmtpdControls, read_file)
        watched = WatchedSet.of("rcpthosts", controls.rcpthosts, journal)
        policy = SmtpPolicy(dataclasses.replace(controls, rcpthosts=watched), {}, own_addresses)
        sources = Controls(SmtpdControls, read_file)
        suffix = b"" if client and policy.clients.may_relay(client) else None
        reply, queued = policy.judge(RcptTo(question.address), suffix)
        steps = [*_client_steps(client, sources, may_relay=suffix is not None)]
        steps += _rcpthosts_steps(journal, sources)
    except (ControlError, OSError) as trouble:
        return unreadable(SMTP, trouble, "qmail-smtpd")
    replies = [reply] * len(VERDICTS)
    if reply.code == RECIPIENT_OK.code and policy.verifies:
        replies = [policy.verified(verdict, suffix) for verdict in VERDICTS]
        steps.append(_verify_step(controls.verifyrcpt, sources))
    return Part(tuple(steps), Exit.OK, (queued, *(one.line for one in replies)))


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
        tried = ", ".join(dict.fromkeys(printable(one.key.lower()) for one in asked))
        yield Step(SMTP, f"no entry for {tried}", "control/rcpthosts")
    else:
        yield Step(SMTP, "not there: mail is taken for no domain", "control/rcpthosts")


# --- which way qmail-send sends it --------------------------------------------------------------


def explain_route(question: Question, read_file: ReadFile) -> Part:
    """Say which channel an address takes. Facts: the channel, the address, its own sender."""
    journal = Journal()
    try:
        routes = routes_from(load(SendControls, read_file))
        watched = Routes(
            WatchedSet.of("locals", routes.locals, journal),
            WatchedMap("virtualdomains", routes.virtualdomains, journal),
            WatchedSet.of("percenthack", routes.percenthack, journal),
            routes.envnoathost,
        )
        channel, routed = route(question.address, watched)
        teller = _RouteTeller(Controls(SendControls, read_file), journal, routes)
        steps = [*teller.domain_steps(question.address), *teller.channel_steps(routed)]
    except (ControlError, OSError) as trouble:
        return unreadable(ROUTE, trouble, "qmail-send")
    sender = verp_sender(question.sender, routed)
    if sender != question.sender:
        text = f"{printable(sender)}: VERP, so that a bounce names the recipient"
        steps.append(Step("sender", text))
    return Part(tuple(steps), Exit.OK, (channel.word.encode(), routed, sender))


class _RouteTeller:
    def __init__(self, sources: Controls, journal: Journal, routes: Routes) -> None:
        self._sources = sources
        self._journal = journal
        self._routes = routes

    def domain_steps(self, address: bytes) -> Iterator[Step]:
        """Say where the domain comes from."""
        if b"@" not in address:
            text = f"no @ in the address: @{printable(self._routes.envnoathost)} is added"
            yield Step(ROUTE, text, *self._sources.place("envnoathost"))
        asked = self._journal.of("percenthack")
        for number, one in enumerate(asked):
            if one.found:
                # What is asked for next is the domain that this entry made of the address.
                following = asked[number + 1 : number + 2]
                what = "but there is no % in the local part"
                if following:
                    what = f"what follows the last % is the domain: {printable(following[0].key)}"
                where = self._sources.entry("percenthack", one.key)
                yield Step(ROUTE, f"{printable(one.key)} is listed: {what}", *where)

    def channel_steps(self, routed: bytes) -> Iterator[Step]:
        """Say which entry makes it local or virtual, or that none does."""
        (local,) = self._journal.of("locals")
        domain = printable(local.key)
        if local.found:
            where = self._sources.entry("locals", local.key)
            yield Step(ROUTE, f"{domain} is local: {printable(routed)}", *where)
            return
        yield Step(ROUTE, f"{domain} is not local", self._sources.place("locals")[0])
        yield self._virtual_step(routed)

    def _virtual_step(self, routed: bytes) -> Step:
        asked = self._journal.of("virtualdomains")
        key = self._journal.hit("virtualdomains")
        if key is None:
            tried = ", ".join(printable(one.key) for one in asked[:-1])
            nothing = f"no entry for {tried}, no catch-all" if asked else "no virtual domains"
            return Step(ROUTE, f"{nothing}: remote, {printable(routed)}", "control/virtualdomains")
        prepend = self._routes.virtualdomains[key]
        text = f'{_kind_of_key(key)} -> prepend "{printable(prepend)}": {printable(routed)}, local'
        if not prepend:
            text = f"{_kind_of_key(key)} -> an exception, nothing to prepend: remote"
        return Step(ROUTE, text, *self._sources.entry("virtualdomains", key))


def _kind_of_key(key: bytes) -> str:
    if not key:
        return "the catch-all"
    if b"@" in key:
        return f"the address {printable(key)}"
    return f"the wildcard {printable(key)}" if key.startswith(b".") else printable(key)
