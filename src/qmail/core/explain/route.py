"""Which way qmail-send sends an address: `core.addresses.routing` decides, here put into words."""

from collections.abc import Iterator
from typing import Final

from qmail.core.addresses.routing import Routes, route, routes_from, verp_sender
from qmail.core.explain.explanation import Part, Question, Step, printable
from qmail.core.explain.watching import Controls, Journal, WatchedMap, WatchedSet, tried, unreadable
from qmail.core.settings.controls import ControlError, ReadFile, load
from qmail.core.settings.programs import SendControls
from qmail.protocol.exits import Exit

ROUTE: Final = "route"


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
            nothing = (
                f"no entry for {tried(asked)}, no catch-all" if asked else "no virtual domains"
            )
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
