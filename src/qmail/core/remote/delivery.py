"""One remote delivery: which hosts, in which order, and what their refusals mean together.

Source: spec/smtp.md B.2 to B.5, spec/oddities.md 4. Where the original stays with the first host
that takes the connection, this goes on to the next one as long as nothing was said of the message.
"""

import contextlib
from collections.abc import Awaitable, Callable, Mapping, Sequence
from random import Random
from typing import Generic, Protocol, TypeVar

from qmail.core.remote.mx import Target
from qmail.core.remote.target_finder import Resolver, TargetFinder
from qmail.core.settings.controls import ControlError, ReadFile, load
from qmail.core.settings.programs import RemoteControls, Route
from qmail.mail import Letter, Result, deferred
from qmail.protocol.lookups import LocalAddresses
from qmail.protocol.remote_reports import NO_CONNECTION, Ending, Outcome

Message_contra = TypeVar("Message_contra", contravariant=True)
Sent = TypeVar("Sent")


def read_remote_controls(read_file: ReadFile) -> RemoteControls:
    """Read what qmail-rspawn reads.

    Raises: ControlError: one is not usable, or there is no name to say in EHLO. OSError: as read.
    """
    controls = load(RemoteControls, read_file)
    if controls.helohost is None:
        raise ControlError("me", 1, "there is no such file, and no control/helohost either")
    return controls


class Exchanger(Protocol[Message_contra]):
    """Who talks to servers."""

    def exchange(self, address: str, port: int, message: Message_contra) -> Awaitable[Outcome]:
        """Pass `message` on to the server at `address`."""
        ...


class Deliverer(Generic[Sent]):
    """Delivers messages by one set of routes."""

    def __init__(
        self,
        routes: Mapping[bytes, Route],
        resolver: Resolver,
        exchanger: Exchanger[Sent],
        *,
        local: Callable[[], LocalAddresses],
        random: Random,
    ) -> None:
        self._finder = TargetFinder(routes, resolver, local=local, random=random)
        self._exchanger = exchanger

    def fixed_target(self, host: bytes) -> Target | None:
        """Return where mail for `host` goes if a route to an address says so, without look-up."""
        return self._finder.fixed_target(host)

    async def look_up(self, host: bytes) -> None:
        """Look up where mail for `host` goes: the resolver remembers what it learns."""
        with contextlib.suppress(Exception):
            await self._finder.find(host)

    async def deliver(self, host: bytes, message: Sent) -> Outcome:
        """Pass `message` on to one of the servers that take mail for `host`."""
        found = await self._finder.find(host)
        if isinstance(found, Result):
            return Outcome((), found)
        outcomes: list[Outcome] = []
        for target in found:
            outcome = await self._exchanger.exchange(target.address, target.port, message)
            outcomes.append(outcome)
            if outcome.ending is Ending.FINAL:
                break
        return all_together(outcomes)


def all_together(outcomes: Sequence[Outcome]) -> Outcome:
    """Say what came of the message at the hosts that were tried, in this order.

    Only the last one can have taken or refused it. Where none listened, that is for good only if
    each one said so.
    """
    last = outcomes[-1]
    if last.ending is Ending.FINAL:
        return last
    spoken = [outcome for outcome in outcomes if outcome is not NO_CONNECTION]
    if not spoken:
        return Outcome((), NO_CONNECTION.result)
    last = spoken[-1]
    if all(outcome.result.letter is Letter.FAILED for outcome in outcomes):
        return Outcome(last.recipients, last.result)
    return Outcome(last.recipients, deferred(last.result.text))
