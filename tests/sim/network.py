"""The other hosts of a simulated year, and the people here: who takes mail, how soon, and who not.

A server is an address with a mood that lasts for minutes or weeks: up, slow, refusing connections,
silent, busy (421), greylisting, dropping connections. A domain has one to three servers, and some
servers have many domains. What is decided by chance comes from the Random that is handed in.
"""

from dataclasses import dataclass, field
from enum import Enum, auto
from random import Random
from typing import NamedTuple

from qmail.protocol.tcpto import (
    NEW,
    OLD,
    REFUSALS_AT,
    REFUSED_UNIT_S,
    TCPTO6_BYTES,
    TCPTO_BYTES,
    TIMEOUT_UNIT_S,
    Table,
    new_key,
    old_key,
    seconds_alone,
)

CONNECT_S = 60
LOCAL_S_MAX = 5.0
REMOTE_S_MAX = 3 * CONNECT_S + 200.0
HOUR_S = 3600.0
DAY_S = 86400.0


class Mood(Enum):
    """How a server is for a while."""

    UP = auto()
    SLOW = auto()
    REFUSING = auto()
    SILENT = auto()
    BUSY = auto()
    GREY = auto()
    DROPPING = auto()


TROUBLES = tuple(mood for mood in Mood if mood is not Mood.UP)


class Attempt(NamedTuple):
    """One delivery: how long it takes, the report at its end, whether the message was taken."""

    took_s: float
    text: bytes

    @property
    def is_taken(self) -> bool:
        """True when whoever is asked has the message at the end."""
        return self.text.startswith(b"K")


NO_CONNECTION = b"ZSorry, I wasn't able to establish an SMTP connection. (#4.4.1)\n"


@dataclass(eq=False, slots=True)
class Server:
    """One address. `up_s`, `down_s`: how long it is well and unwell, on average; 0: never unwell.

    `sessions_max`: with more connections at once it says 421.
    """

    address: str
    up_s: float
    down_s: float
    sessions_max: int
    mood: Mood = Mood.UP
    until: float = 0.0
    sessions: int = 0

    def mood_at(self, now: float, random: Random) -> Mood:
        """Return how it is now; moods that have passed are followed by others."""
        if not self.down_s:
            return Mood.UP
        if not self.until:
            self.until = now + random.expovariate(1 / self.up_s)
        while self.until <= now:
            is_up = self.mood is not Mood.UP
            self.mood = Mood.UP if is_up else random.choice(TROUBLES)
            self.until += random.expovariate(1 / (self.up_s if is_up else self.down_s))
        return self.mood


@dataclass(slots=True)
class Addresses:
    """Whom qmail-rspawn leaves alone: the real tables, in memory."""

    timeouts: Table = field(default_factory=lambda: Table(bytes(TCPTO_BYTES), OLD))
    refusals: Table = field(default_factory=lambda: Table(bytes(TCPTO6_BYTES - REFUSALS_AT), NEW))

    def is_left_alone(self, address: str, now: int) -> bool:
        """Say whether no connection is to be tried."""
        key = old_key(address)
        assert key is not None
        silent_s, refused_s = seconds_alone(0, TIMEOUT_UNIT_S), seconds_alone(0, REFUSED_UNIT_S)
        return self.timeouts.is_left_alone(key, now, silent_s) or self.refusals.is_left_alone(
            new_key(address), now, refused_s
        )

    def note(self, address: str, now: int, mood: Mood) -> None:
        """Learn from one connection."""
        key = old_key(address)
        assert key is not None
        if mood is Mood.SILENT:
            self.timeouts.failed(key, now)
        elif mood is Mood.REFUSING:
            self.refusals.failed(new_key(address), now)
        else:
            self.timeouts.answered(key)
            self.refusals.answered(new_key(address))

    def forget(self) -> None:
        """qmail-tcpok: forget every address."""
        self.timeouts.clear()
        self.refusals.clear()


class Network:
    """All hosts that mail goes to."""

    def __init__(self, random: Random, domains: int) -> None:
        self._random = random
        self.addresses = Addresses()
        self._domains: dict[bytes, list[Server]] = {}
        self.connections = 0
        shared = [self._server(index, sessions_max=40) for index in range(3)]
        for index in range(domains):
            servers = [self._server(10 * index + number) for number in range(random.choice((1, 2)))]
            if random.random() < 0.3:
                servers = [random.choice(shared)]
            self._domains[b"host%d.example" % index] = servers
        for index in range(10):
            quiet = Server(f"192.0.2.{index}", 1.0, 0.0, 1000)
            self._domains[b"quiet%d.example" % index] = [quiet]
        for name in (b"dead.example", b"limited.example", b"rated.example", b"virt.example"):
            self._domains[name] = [self._server(len(self._domains), sessions_max=3)]
        self._domains[b"dead.example"][0].up_s = 1.0
        self._domains[b"dead.example"][0].down_s = 400 * DAY_S

    def _server(self, number: int, sessions_max: int = 0) -> Server:
        random = self._random
        up_s = random.choice((HOUR_S, DAY_S, 7 * DAY_S, 30 * DAY_S))
        down_s = random.choice((0.0, 600.0, HOUR_S, 6 * HOUR_S, min(2 * up_s, 10 * DAY_S)))
        address = f"10.{len(self._domains) // 250}.{number // 250 % 250}.{number % 250}"
        return Server(address, up_s, down_s, sessions_max or random.choice((2, 5, 20, 100)))

    @property
    def names(self) -> list[bytes]:
        """The domains, the most popular first."""
        return list(self._domains)

    def attempt(self, recipient: bytes, now: float) -> tuple[Attempt, Server | None]:
        """Try to deliver to one recipient. Returns: how it goes, and where a session is open."""
        servers = self._domains[recipient.rpartition(b"@")[2].lower()]
        took_s = 0.0
        for server in servers:
            if self.addresses.is_left_alone(server.address, int(now)):
                continue
            self.connections += 1
            mood = server.mood_at(now, self._random)
            self.addresses.note(server.address, int(now + took_s), mood)
            if mood is Mood.SILENT:
                took_s += CONNECT_S
            elif mood is Mood.REFUSING:
                took_s += 0.05
            else:
                attempt = self._session(server, mood, recipient, now)
                server.sessions += 1
                return Attempt(took_s + attempt.took_s, attempt.text), server
        return Attempt(took_s + 0.01, NO_CONNECTION), None

    def _session(self, server: Server, mood: Mood, recipient: bytes, now: float) -> Attempt:
        random, name = self._random, server.address.encode()
        took_s = random.uniform(5, 200) if mood is Mood.SLOW else random.uniform(0.05, 3)
        refused = b"Connected to %b but greeting failed.\nRemote host said: %b\n"
        rejected = b"%b does not like recipient.\nRemote host said: %b\nGiving up on %b.\n"
        if mood is Mood.BUSY or server.sessions >= server.sessions_max:
            return Attempt(0.2, b"Z" + refused % (name, b"421 4.3.2 too busy"))
        if mood is Mood.DROPPING:
            text = b"ZConnected to %b but connection died. Possible duplicate! (#4.4.2)\n" % name
            return Attempt(took_s, text)
        if mood is Mood.GREY and random.random() < 0.7:
            return Attempt(took_s, b"Z" + rejected % (name, b"450 4.7.1 come back later", name))
        if recipient.startswith(b"no"):
            return Attempt(took_s, b"D" + rejected % (name, b"550 5.1.1 no such user", name))
        if is_full(recipient, now):
            return Attempt(took_s, b"Z" + rejected % (name, b"452 4.2.2 mailbox full", name))
        accepted = b"K%b accepted message.\nRemote host said: 250 2.0.0 ok\n" % name
        return Attempt(took_s, accepted)


def is_full(recipient: bytes, now: float) -> bool:
    """Say whether this mailbox has no room: some are emptied now and then, others never."""
    if recipient.startswith(b"full"):
        return True
    return recipient.startswith(b"heavy") and int(now / (2 * DAY_S)) % 2 == 0


def at_home(recipient: bytes, now: float, random: Random) -> Attempt:
    """Deliver to somebody here."""
    local = recipient.removeprefix(b"virt-")
    if local.startswith(b"no"):
        return Attempt(0.01, b"DSorry, no mailbox here by that name. (#5.1.1)\n")
    if is_full(local, now):
        return Attempt(0.02, b"ZUser over quota. (#4.2.2)\n")
    if local.startswith(b"slow"):
        took_s = random.uniform(0.5, LOCAL_S_MAX)
        is_unlucky = random.random() < 0.1
        return Attempt(took_s, b"Za program failed\n" if is_unlucky else b"Kdid_0+0+1/\n")
    return Attempt(random.uniform(0.002, 0.03), b"Kdid_1+0+0/\n")
