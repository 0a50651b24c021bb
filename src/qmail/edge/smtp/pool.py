"""SMTP connections, kept and shared: a lane for each address and port, messages first in first out.

A message goes out on a connection that is free; else a new one is opened, up to `connections_max`
for one address (control/concurrencyhost; 0 is no limit); else it waits its turn. A connection that
is free stays open for IDLE_S_MAX seconds.
"""

import asyncio
from collections import deque
from dataclasses import dataclass
from typing import Final, Protocol

from qmail.edge.machine.descriptors import NO_ROOM, WANTED
from qmail.edge.smtp.back_off import BackOff
from qmail.edge.smtp.connect import CANNOT_READ, Connection, Message
from qmail.mail import Result, deferred
from qmail.protocol.remote_reports import NO_CONNECTION, NO_DESCRIPTOR, Ending, Outcome
from qmail.protocol.smtp_client import SmtpClient, State

CONNECTIONS_MAX: Final = 20
MESSAGES_MAX: Final = 1000
"""Messages on one connection, after which it is closed: servers balance their load so."""
IDLE_S_MAX: Final = 5.0
TICK_S: Final = 1.0
TOTAL_S_MAX: Final = 3600.0
"""Longest time for one message, all hosts and all waiting for a turn included."""
GOODBYES_S_MAX: Final = 2.0

TOOK_TOO_LONG: Final = Outcome(
    (), deferred(b"No server took the message in the time it had. (#4.4.7)\n")
)


class Delivery(Message, Protocol):
    """A message that wants to know what became of it."""

    def done(self, outcome: Outcome) -> None:
        """Take the outcome; called once, in every case."""
        ...


@dataclass(frozen=True, slots=True)
class Limits:
    """How long to wait, in seconds, and how much one connection carries."""

    connect_s_max: float
    wait_s_max: float
    idle_s_max: float = IDLE_S_MAX
    tick_s: float = TICK_S
    messages_max: int = MESSAGES_MAX
    connections_max: int = CONNECTIONS_MAX
    """At once to one address; 0 is no limit."""
    sockets_max: int = WANTED
    """With so many connections in all, one that nobody needs is closed before another is made."""


class Pool:
    """All lanes. `exchange` is what it is for; `back_off` knows which addresses are left alone."""

    def __init__(self, helohost: bytes, limits: Limits, back_off: BackOff | None = None) -> None:
        self.helohost = helohost
        self.limits = limits
        self.back_off = back_off
        self._lanes: dict[tuple[str, int], _Lane] = {}
        self._timer: asyncio.TimerHandle | None = None
        self.count = 0
        """Connections there are, those that are being made or closed included."""
        self._leaving: dict[Link, None] = {}

    def submit(self, address: str, port: int, delivery: Delivery) -> None:
        """Pass a message on to the server at `address`."""
        lane = self._lanes.get((address, port))
        if lane is None:
            lane = self._lanes[address, port] = _Lane(self, address, port)
            self._watch()
        lane.submit(delivery)

    def exchange(self, address: str, port: int, message: Message) -> "asyncio.Future[Outcome]":
        """Do as `submit` does, for coroutines."""
        awaited = _Awaited(message)
        self.submit(address, port, awaited)
        return awaited.future

    async def close(self) -> None:
        """Say QUIT on all idle connections, and wait a little for the answers."""
        if self._timer is not None:
            self._timer.cancel()
        leaving = [connection for lane in self._lanes.values() for connection in lane.close()]
        if leaving:
            closed = [connection.closed for connection in leaving]
            await asyncio.wait(closed, timeout=GOODBYES_S_MAX)

    # --- how many there are ---------------------------------------------------------------------

    def one_more(self) -> None:
        """Count a connection that is about to be made; see that there is room for it."""
        if self.count >= self.limits.sockets_max:
            self._close_one()
        self.count += 1

    def one_less(self, connection: "Link | None" = None) -> None:
        """Count a connection that is closed, or (None) could not be made."""
        self.count -= 1
        if connection is not None:
            self._leaving.pop(connection, None)

    def leaves(self, connection: "Link") -> None:
        """Note a connection that is still open, but of no use any more."""
        self._leaving[connection] = None

    def _close_one(self) -> None:
        """Close one that waits for the answer to QUIT, or the one that was idle the longest."""
        for connection in self._leaving:
            del self._leaving[connection]
            connection.hang_up()
            return
        idle = [connection for lane in self._lanes.values() for connection in lane.idle]
        if idle:
            connection = min(idle, key=lambda each: each.deadline)
            connection.quit()
            self._leaving.pop(connection, None)
            connection.hang_up()

    def _watch(self) -> None:
        if self._timer is None:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(self.limits.tick_s, self._tick)

    def _tick(self) -> None:
        self._timer = None
        now = asyncio.get_running_loop().time()
        for where, lane in list(self._lanes.items()):
            lane.tick(now)
            if lane.is_empty:
                del self._lanes[where]
        if self._lanes:
            self._watch()


Link = Connection[Delivery]


class _Awaited:
    """A delivery whose outcome is a future's."""

    def __init__(self, message: Message) -> None:
        self.sender = message.sender
        self.recipients = message.recipients
        self.deadline = message.deadline
        self.load = message.load
        self.future: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()

    def done(self, outcome: Outcome) -> None:
        if not self.future.done():
            self.future.set_result(outcome)


class _Lane:
    """The connections to one address and port, and the messages that wait for them."""

    def __init__(self, pool: Pool, address: str, port: int) -> None:
        self._pool = pool
        self._address = address
        self._port = port
        self._loop = asyncio.get_running_loop()
        self._waiting: deque[Delivery] = deque()
        self.idle: list[Link] = []
        """Those that wait for a message."""
        self._connections: set[Link] = set()
        self._opening: set[Link] = set()
        self._connecting = 0
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def is_empty(self) -> bool:
        """True when nothing would be lost with this lane."""
        return not (self._waiting or self._connections or self._connecting)

    def submit(self, delivery: Delivery) -> None:
        """Pass a message on as soon as a connection is free."""
        self._waiting.append(delivery)
        if self.idle:
            self._serve(self.idle.pop())
        else:
            self._grow()

    def tick(self, now: float) -> None:
        """End what took too long."""
        for connection in [each for each in self._connections if each.is_late(now)]:
            if connection.client.state is State.READY:
                connection.quit()
            else:
                connection.time_out()
        while self._waiting and self._waiting[0].deadline <= now:
            self._waiting.popleft().done(TOOK_TOO_LONG)

    def close(self) -> list[Link]:
        """Say QUIT where nothing is under way; return those connections."""
        leaving = list(self.idle)
        for connection in leaving:
            connection.quit()
        return leaving

    # --- what connections tell ------------------------------------------------------------------

    def is_open(self, connection: Link) -> None:
        """Count a connection that the server's machine has taken."""
        self._connecting -= 1
        connection.closed.add_done_callback(lambda _: self._pool.one_less(connection))
        self._connections.add(connection)
        self._opening.add(connection)

    def is_free(self, connection: Link) -> None:
        """Give the connection the next message, or keep it."""
        self._opening.discard(connection)
        if connection.client.transactions >= self._pool.limits.messages_max:
            connection.quit()
        else:
            self._serve(connection)

    def is_over(self, connection: Link, message: Delivery | None, outcome: Outcome) -> None:
        """Pass the outcome on, or try again where a kept connection had gone dead."""
        if message is None:
            self._turned_away(connection, outcome)
        elif outcome.ending is Ending.SAME_HOST:
            self._waiting.appendleft(message)
        else:
            message.done(outcome)
        if connection.client.state is State.READY:
            self.is_free(connection)

    def is_gone(self, connection: Link) -> None:
        """Forget the connection."""
        if not connection.closed.done():
            self._pool.leaves(connection)
        self._connections.discard(connection)
        if connection in self._opening:
            self._turned_away(connection, NO_CONNECTION)
        if connection in self.idle:
            self.idle.remove(connection)
        # One that never took a message is not replaced: this server may want no more of them.
        if self._waiting and connection.client.transactions:
            if self.idle:
                self._serve(self.idle.pop())
            else:
                self._grow()

    # --- parts of the above ---------------------------------------------------------------------

    def _serve(self, connection: Link) -> None:
        while self._waiting:
            delivery = self._waiting.popleft()
            body = delivery.load()
            if isinstance(body, Result):
                delivery.done(Outcome((), body))
                continue
            try:
                connection.begin(delivery, body)
            except OSError:
                body.close()
                delivery.done(Outcome((), CANNOT_READ))
                continue
            return
        connection.deadline = self._loop.time() + self._pool.limits.idle_s_max
        self.idle.append(connection)

    def _grow(self) -> None:
        wanted = len(self._waiting) - self._connecting - len(self._opening)
        most = self._pool.limits.connections_max
        if most:
            wanted = min(wanted, most - len(self._connections) - self._connecting)
        for _ in range(wanted):
            self._connecting += 1
            task = self._loop.create_task(self._connect())
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _connect(self) -> None:
        back_off, address = self._pool.back_off, self._address
        if back_off is not None and back_off.is_left_alone(address):
            self._not_connected(NO_CONNECTION)
            return
        client = SmtpClient(self._address.encode(), self._pool.helohost)
        connection: Link = Connection(self, client, self._pool.limits.wait_s_max)
        self._pool.one_more()
        try:
            async with asyncio.timeout(self._pool.limits.connect_s_max):
                await self._loop.create_connection(lambda: connection, address, self._port)
        except Exception as trouble:
            if connection.was_open:
                return
            self._pool.one_less()
            if back_off is not None:
                if isinstance(trouble, TimeoutError):
                    back_off.timed_out(address)
                elif isinstance(trouble, ConnectionRefusedError):
                    back_off.refused(address)
            is_ours = isinstance(trouble, OSError) and trouble.errno in NO_ROOM
            self._not_connected(NO_DESCRIPTOR if is_ours else NO_CONNECTION)
        else:
            if back_off is not None:
                back_off.answered(address)

    def _not_connected(self, outcome: Outcome) -> None:
        self._connecting -= 1
        self._all_turned_away(outcome)

    def _turned_away(self, connection: Link, outcome: Outcome) -> None:
        self._connections.discard(connection)
        self._opening.discard(connection)
        self._all_turned_away(outcome)

    def _all_turned_away(self, outcome: Outcome) -> None:
        """Give up on this server for now, unless another connection to it works or may work."""
        if self._connections or self._connecting:
            return
        waiting = list(self._waiting)
        self._waiting.clear()
        for delivery in waiting:
            delivery.done(outcome)
