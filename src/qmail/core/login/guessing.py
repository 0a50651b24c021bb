"""Guessing of passwords is slowed: how long a login waits before its password is looked at.

The wait comes before the look, so that a client gains nothing by hanging up and calling again, nor
by calling many times at once: those of one address stand in line. Failures are counted by the
client's address (with IPv6 its network of 64 bits, which is one customer) and by the name that was
tried, whoever tried it, and are forgotten bit by bit. A name is never locked: who guesses it could
keep its owner out. An address that a name has logged in from before is not slowed for what others
do with that name.
"""

from collections.abc import Callable
from typing import Final, Generic, TypeVar

from qmail.protocol.clients import client_key

FREE: Final = 3
"""So many failures of a client cost nothing."""
FREE_OF_NAME: Final = 10
"""So many failures with one name cost nothing."""
DELAY_S_FIRST: Final = 0.5
DELAY_S_MAX: Final = 16.0
"""Each further failure of a client makes its next login wait twice as long, at most this."""
NAME_DELAY_S_MAX: Final = 4.0
"""The same for a name: whoever has forgotten nothing waits no longer than this."""
LINE_S_MAX: Final = 40.0
"""A login that would have to stand in line for longer is refused at once."""
FORGET_S: Final = 60.0
"""A count goes down by one in this time."""
COUNT_MAX: Final = 120.0
KEPT_MAX: Final = 10000
"""So many clients, names and pairs are remembered, those that were not seen longest go first."""
NAME_BYTES_MAX: Final = 256

_Key = TypeVar("_Key")


class _Counts(Generic[_Key]):
    """Failures by key, forgotten bit by bit; bounded."""

    def __init__(self) -> None:
        self._counts: dict[_Key, tuple[float, float]] = {}
        """How many, and at what time; who was seen last stands last."""

    def of(self, key: _Key, now: float) -> float:
        count, then = self._counts.get(key, (0.0, now))
        return max(0.0, count - (now - then) / FORGET_S)

    def add(self, key: _Key, now: float) -> None:
        count = min(self.of(key, now) + 1.0, COUNT_MAX)
        _put(self._counts, key, (count, now))


class LoginGuesses:
    """The failed logins of all clients of a server."""

    def __init__(self, now: Callable[[], float]) -> None:
        """Take a monotonic clock, in seconds."""
        self._now = now
        self._clients: _Counts[bytes] = _Counts()
        self._names: _Counts[bytes] = _Counts()
        self._next: dict[bytes, float] = {}
        """When the last one of a client's line is looked at."""
        self._known: dict[tuple[bytes, bytes], bool] = {}

    def hold(self, ip: str, name: bytes) -> float | None:
        """Return for how many seconds this login waits; None: refuse it, the line is too long."""
        now, key, name = self._now(), client_key(ip), name[:NAME_BYTES_MAX]
        name_s = 0.0
        if (key or b"", name) not in self._known:
            name_s = _delay_s(self._names.of(name, now) - FREE_OF_NAME, NAME_DELAY_S_MAX)
        if key is None:
            return name_s
        client_s = _delay_s(self._clients.of(key, now) - FREE, DELAY_S_MAX)
        if not client_s:
            return name_s
        at = max(now, self._next.get(key, 0.0)) + client_s
        if at - now > LINE_S_MAX:
            return None
        _put(self._next, key, at)
        return max(name_s, at - now)

    def failed(self, ip: str, name: bytes) -> None:
        """Count a failure."""
        now, key = self._now(), client_key(ip)
        self._names.add(name[:NAME_BYTES_MAX], now)
        if key is not None:
            self._clients.add(key, now)

    def succeeded(self, ip: str, name: bytes) -> None:
        """Remember that `name` logs in from there."""
        _put(self._known, (client_key(ip) or b"", name[:NAME_BYTES_MAX]), True)


def _delay_s(count: float, delay_s_max: float) -> float:
    """Return the wait after `count` failures more than are free, in seconds."""
    steps = round(count)
    if steps < 1:
        return 0.0
    # Cut first: the power of a large number is a larger one.
    return min(delay_s_max, DELAY_S_FIRST * 2.0 ** min(steps - 1, 10))


_Value = TypeVar("_Value")


def _put(kept: dict[_Key, _Value], key: _Key, value: _Value) -> None:
    """Put an entry last; without room the first one goes."""
    kept.pop(key, None)
    while len(kept) >= KEPT_MAX:
        del kept[next(iter(kept))]
    kept[key] = value
