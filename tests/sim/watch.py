"""Invariants of qmail-send that hold at every moment of a simulated year.

Nothing here asks the code under test what is right: limits, schedule and lifetime are computed from
the control files and the spec (spec/delivery.md 12 and 14, spec/queue.md 7).
"""

from collections import Counter, deque
from dataclasses import dataclass, field
from math import isqrt

from tests.sim.ledger import plain
from tests.sim.network import LOCAL_S_MAX, REMOTE_S_MAX

from qmail.core.queue.schedule import SYSTEM_FAILURE_S
from qmail.core.send.values import Policy
from qmail.mail import Channel

SKIP = {Channel.LOCAL: 10, Channel.REMOTE: 20}
LONGEST_S = {Channel.LOCAL: LOCAL_S_MAX, Channel.REMOTE: REMOTE_S_MAX}
PAUSE_S = 60
Pass = tuple[int, Channel]
"""Message number, channel."""


def domain_of(recipient: bytes) -> bytes:
    """Return what a destination is known by."""
    return recipient.rpartition(b"@")[2].lower()


@dataclass(slots=True)
class Domain:
    """What runs at one domain in one run of qmail-send."""

    running: int = 0
    starts: deque[float] = field(default_factory=deque)
    closed_until: float = 0.0
    stepped_at: int = 0


@dataclass(frozen=True, slots=True)
class Started:
    """One delivery under way."""

    message: int
    channel: Channel
    recipient: bytes


@dataclass(frozen=True, slots=True)
class Newcomer:
    """A message that nobody was started for yet: since when, and how many were ahead of it."""

    since: float
    ahead: int


@dataclass(slots=True)
class Figures:
    """What a year went through."""

    starts: int = 0
    retries: int = 0
    deaths: int = 0
    most_running: int = 0
    longest_wait_s: float = 0.0
    checked_waits: int = 0


class Watch:
    """Looks on. One for all runs of qmail-send; `new_run` begins each."""

    def __init__(self, policy: Policy) -> None:
        self.figures = Figures()
        self.lifetimes: list[tuple[float, int]] = [(0.0, policy.lifetime_s)]
        self.excused_until = 0.0
        """Trouble with the disk: waits and times are those of trouble for a while."""
        self.operated: set[int] = set()
        """Messages that an operator has acted on: due at once, or later."""
        self._policy = policy
        self._running: dict[int, Started] = {}
        self._used: Counter[Channel] = Counter()
        self._domains: dict[bytes, Domain] = {}
        self._began: dict[Pass, float] = {}
        self._due: dict[Pass, float] = {}
        self._was_due: dict[Pass, float] = {}
        """When the last pass was to begin; one that an operator asked for comes in between."""
        self._rejected: set[tuple[int, bytes]] = set()
        self._newcomers: dict[Pass, Newcomer] = {}
        self._last = 0

    def new_run(self, policy: Policy) -> None:
        """qmail-send starts."""
        self._policy = policy
        for known in (self._running, self._used, self._domains, self._due, self._newcomers):
            known.clear()
        self._last = 0

    def reread(self, policy: Policy, now: float) -> None:
        """HUP."""
        self._policy = policy
        self.lifetimes.append((now, policy.lifetime_s))
        self._newcomers.clear()
        for domain in self._domains.values():
            domain.starts.clear()

    def all_due(self) -> None:
        """ALRM."""
        self._due.clear()

    # --- deliveries -----------------------------------------------------------------------------

    def arrived(self, number: int, now: float, *, is_known: bool = False) -> None:
        """A message is taken apart; `is_known`: not for the first time."""
        for channel in Channel:
            self._began[number, channel] = now
            self._due.pop((number, channel), None)
            self._newcomers.pop((number, channel), None)
        if not is_known:
            self.operated.discard(number)
        self._rejected = {key for key in self._rejected if key[0] != number}

    def expect(self, number: int, channel: Channel, newcomer: Newcomer) -> None:
        """Somebody of this message is to be started before long."""
        self._newcomers[number, channel] = newcomer

    def started(self, delivery: int, begun: Started, now: float) -> None:
        """A delivery starts."""
        limit = self._policy.limits[begun.channel]
        assert self._used[begun.channel] < limit, f"more than {limit} on {begun.channel}"
        assert delivery > self._last, "a delivery number came back"
        self._last = delivery
        self._used[begun.channel] += 1
        self._running[delivery] = begun
        self.figures.starts += 1
        self.figures.most_running = max(self.figures.most_running, self._used.total())
        if begun.channel is Channel.REMOTE:
            self._started_at(domain_of(begun.recipient), now)
        self._first_start(begun, limit, now)

    def _started_at(self, name: bytes, now: float) -> None:
        domain = self._domains.setdefault(name, Domain())
        limit = self._policy.hosts.of(name)
        is_free = not limit.at_once or domain.running < limit.at_once
        assert is_free, f"more than {limit.at_once} at once to {name!r}"
        early_s = domain.closed_until - now
        assert early_s < 1e-3, f"{name!r} wanted to be left alone for {early_s} s more"
        domain.running += 1
        if limit.per_minute:
            while domain.starts and domain.starts[0] <= now - 60 + 1e-3:
                domain.starts.popleft()
            assert len(domain.starts) < limit.per_minute, f"too many a minute to {name!r}"
            domain.starts.append(now)

    def _first_start(self, begun: Started, limit: int, now: float) -> None:
        newcomer = self._newcomers.pop((begun.message, begun.channel), None)
        if newcomer is None or now < self.excused_until:
            return
        if begun.channel is Channel.REMOTE and not begun.recipient.partition(b"@")[2].startswith(
            b"quiet"
        ):
            return
        waited = now - newcomer.since
        # Whoever was ahead has one turn each before it, and slots are held so long at most.
        most = (newcomer.ahead / limit + 2) * LONGEST_S[begun.channel]
        assert waited <= most, f"message {begun.message} waited {waited} s, {most} s at most"
        self.figures.checked_waits += 1
        self.figures.longest_wait_s = max(self.figures.longest_wait_s, waited)

    def ended(self, delivery: int, text: bytes, now: float) -> None:
        """A delivery ends. Empty: its spawner is gone."""
        begun = self._running.pop(delivery)
        self._used[begun.channel] -= 1
        if text[:1] == b"D":
            self._rejected.add((begun.message, plain(begun.recipient)))
        if begun.channel is Channel.REMOTE:
            self._ended_at(self._domains[domain_of(begun.recipient)], delivery, text, now)

    def _ended_at(self, domain: Domain, delivery: int, text: bytes, now: float) -> None:
        domain.running -= 1
        wants_less = text[:1] == b"Z" and (b"said: 421" in text or b" 4.7." in text)
        if wants_less and delivery > domain.stepped_at:
            domain.stepped_at = self._last
            domain.closed_until = max(domain.closed_until, now + PAUSE_S)

    def lost(self, channel: Channel, now: float) -> None:
        """A spawner is gone."""
        for delivery, begun in list(self._running.items()):
            if begun.channel is channel:
                self.ended(delivery, b"", now)

    # --- the schedule ---------------------------------------------------------------------------

    def pass_began(self, key: Pass, now: float, was_due: float = 0.0) -> None:
        """A message is opened again, which was due then."""
        self._was_due[key] = was_due
        due = self._due.pop(key, None)
        is_due = due is None or now >= due - 1e-3 or key[0] in self.operated
        assert is_due, f"message {key[0]} is tried {due} s too soon"
        self._began[key] = now

    def renewed(self, key: Pass, birth: int, delay_s: float, now: float) -> None:
        """A message is to wait: for how long is known from the start of its pass."""
        self._due[key] = now + delay_s
        self.figures.retries += 1
        is_trouble = now < self.excused_until or key[0] in self.operated
        if is_trouble and delay_s in (0, SYSTEM_FAILURE_S):
            return
        if key[0] in self.operated and abs(now + delay_s - self._was_due.get(key, 0.0)) < 1.01:
            return
        began = self._began[key]
        due = birth + (isqrt(max(0, int(began) - birth)) + SKIP[key[1]]) ** 2
        wrong_s = now + delay_s - max(due, now)
        assert abs(wrong_s) < 1.01, f"message {key[0]} is due {wrong_s} s beside its schedule"

    def blamed(self, number: int, birth: int, paragraph: bytes, now: float) -> None:
        """The sender will be told that somebody can't be reached."""
        name = plain(paragraph.partition(b">:\n")[0][1:])
        if b"queued too long" in paragraph:
            began = min(self._began.get((number, channel), now) for channel in Channel)
            lifetime = self._shortest_lifetime(began)
            assert now - birth > lifetime, f"message {number} dies {now - birth} s old"
            self.figures.deaths += 1
        else:
            is_right = (number, name) in self._rejected or number in self.operated
            assert is_right, f"{name!r} of message {number} was not rejected"

    def _shortest_lifetime(self, since: float) -> int:
        """Return the shortest that was valid at any time since then."""
        shortest = self.lifetimes[-1][1]
        for when, lifetime in reversed(self.lifetimes):
            shortest = min(shortest, lifetime)
            if when < since:
                break
        return shortest
