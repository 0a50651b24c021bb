"""How a message leaves by SMTP: `core.remote.target_finder` decides, here put into words."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Final

from qmail.core.explain.explanation import Part, Question, Step, printable, sentence
from qmail.core.explain.watching import Controls, Journal, WatchedMap, tried, unreadable
from qmail.core.remote.delivery import read_remote_controls
from qmail.core.remote.mx import SMTP_PORT, Target, is_this_machine
from qmail.core.remote.target_finder import Resolver, TargetFinder
from qmail.core.settings.controls import ControlError, ReadFile
from qmail.core.settings.programs import RemoteControls, Route
from qmail.mail import Letter, Result
from qmail.protocol.exits import Exit
from qmail.protocol.lookups import Answer, Finding, LocalAddresses, MxRecord
from qmail.protocol.smtp_client import is_sendable

REMOTE: Final = "remote"
FINDINGS: Final = {
    Finding.FOUND: "",
    Finding.NOTHING: "has none",
    Finding.TEMPORARY: "no usable answer",
}


@dataclass(slots=True)
class WatchedResolver:
    """Name servers, with a note of everything that they are asked."""

    resolver: Resolver
    exchangers: list[tuple[bytes, Answer[MxRecord]]] = field(default_factory=list)
    hosts: dict[str, Answer[str]] = field(default_factory=dict)

    async def mx(self, domain: bytes) -> Answer[MxRecord]:
        """Return the mail exchangers of `domain`."""
        answer = await self.resolver.mx(domain)
        self.exchangers.append((domain, answer))
        return answer

    async def addresses(self, hosts: Sequence[str]) -> list[Answer[str]]:
        """Return the addresses of each host."""
        answers = await self.resolver.addresses(hosts)
        self.hosts.update(zip(hosts, answers, strict=True))
        return answers


async def explain_remote(
    question: Question,
    read_file: ReadFile,
    resolver: Resolver,
    *,
    local: LocalAddresses,
    random: Random,
) -> Part:
    """Say which hosts are tried, in which order."""
    journal = Journal()
    try:
        controls = read_remote_controls(read_file)
    except (ControlError, OSError) as trouble:
        return unreadable(REMOTE, trouble, "qmail-rspawn")
    if not (is_sendable(question.address) and is_sendable(question.sender)):
        step = Step(REMOTE, "an address that can't be written in SMTP (#5.1.3)")
        return Part((step,), Exit.PERMANENT)
    watched = WatchedResolver(resolver)
    routes = WatchedMap("smtproutes", controls.smtproutes, journal)
    finder = TargetFinder(routes, watched, local=lambda: local, random=random)
    found = await finder.find(question.address.rpartition(b"@")[2])
    sources = Controls(RemoteControls, read_file)
    key = journal.hit("smtproutes")
    route = None if key is None else controls.smtproutes[key]
    steps = [_route_step(journal, route, sources), *_mx_steps(watched)]
    steps += _host_steps(watched, local, SMTP_PORT if route is None else route.port)
    if isinstance(found, Result):
        verdict = Exit.PERMANENT if found.letter is Letter.FAILED else Exit.TEMPORARY
        return Part((*steps, Step(REMOTE, sentence(found.text))), verdict)
    steps.append(Step(REMOTE, f"tried in this order: {_shown_targets(found)}"))
    helo = printable(controls.helohost or b"")
    steps.append(Step(REMOTE, f"says EHLO {helo}", *sources.place("helohost")))
    return Part(tuple(steps))


def _route_step(journal: Journal, route: Route | None, sources: Controls) -> Step:
    if route is None:
        keys = tried(journal.of("smtproutes"))
        text = f"no entry for {keys}, no catch-all: by MX" if keys else "no routes: by MX"
        return Step(REMOTE, text, "control/smtproutes")
    key = journal.hit("smtproutes") or b""
    relay = f"to {printable(route.relay)} port {route.port}, whatever the MX says"
    if not route.relay:
        relay = f"by MX, at port {route.port}"
    name = printable(key) or "the catch-all"
    return Step(REMOTE, f"{name} -> {relay}", *sources.entry("smtproutes", key))


def _mx_steps(watched: WatchedResolver) -> list[Step]:
    steps = []
    for domain, answer in watched.exchangers:
        name = printable(domain)
        if answer.finding is Finding.NOTHING:
            text = f"{name} has no MX: the host itself, with preference 0"
            steps.append(Step(REMOTE, text, "DNS"))
        elif answer.finding is Finding.TEMPORARY:
            steps.append(Step(REMOTE, f"MX of {name}: no usable answer", "DNS"))
        else:
            steps.append(Step(REMOTE, f"MX of {name}: {_shown_records(answer.values)}", "DNS"))
    return steps


def _shown_records(records: Sequence[MxRecord]) -> str:
    ordered = sorted(records, key=lambda record: record.preference)
    texts = [f"{record.preference} {record.host or '. (null MX)'}" for record in ordered]
    by_lot = len({record.preference for record in records}) < len(records)
    lot = "; equal ones are tried in an order by lot" if by_lot else ""
    return printable(", ".join(texts).encode(errors="replace")) + lot


def _host_steps(watched: WatchedResolver, local: LocalAddresses, port: int) -> list[Step]:
    steps = []
    for host, answer in watched.hosts.items():
        text = ", ".join(answer.values) or FINDINGS[answer.finding]
        # A route to a relay, or another port, may well mean this machine.
        is_mx = bool(watched.exchangers) and port == SMTP_PORT
        if is_mx and any(is_this_machine(address, local) for address in answer.values):
            text += ": this machine, so only hosts with a lower preference are tried"
        steps.append(Step(REMOTE, f"{printable(host.encode(errors='replace'))}: {text}", "DNS"))
    return steps


def _shown_targets(targets: Sequence[Target]) -> str:
    return ", ".join(
        f"{target.address}" + (f" port {target.port}" if target.port != SMTP_PORT else "")
        for target in targets
    )
