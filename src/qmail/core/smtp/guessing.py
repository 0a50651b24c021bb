"""Guessing addresses is slowed: how long the answer to an unknown recipient is held back.

A typing error costs nothing. A session counts its own unknown recipients; a client's address (with
IPv6 its network of 64 bits, which is one customer) is remembered across sessions, and forgotten
bit by bit. Known recipients are never slowed. Source: spec/oddities.md 2.
"""

from collections.abc import Callable
from typing import Final

from qmail.protocol.clients import client_key

FREE: Final = 3
"""So many unknown recipients are answered at once."""
DELAY_S_FIRST: Final = 0.5
DELAY_S_MAX: Final = 16.0
"""Each further answer takes twice as long as the one before, at most this."""
SESSION_MAX: Final = 20
"""The unknown recipient of this number ends its session."""
CLIENT_MAX: Final = 60
"""With more than so many of a client, the second one of a session ends it.

Not the first: a message with one unknown recipient has to come to its end some time.
"""
FORGET_S: Final = 60.0
"""A client's count goes down by one in this time."""
CLIENTS_MAX: Final = 10000
"""So many clients are remembered; then who was not heard of for the longest time is forgotten."""


def hold_s(in_session: int, of_client: int = 0) -> float | None:
    """Return for how long the answer to an unknown recipient is held back; None: the session ends.

    `in_session`, `of_client`: its number among those of the session, and of the client.
    """
    if in_session >= SESSION_MAX or (of_client > CLIENT_MAX and in_session > 1):
        return None
    count = max(in_session, of_client)
    if count <= FREE:
        return 0.0
    # Cut first: the power of a large number is a larger one.
    return min(DELAY_S_MAX, DELAY_S_FIRST * 2.0 ** min(count - FREE - 1, 10))


class Guesses:
    """The unknown recipients of all clients of a server."""

    def __init__(self, now: Callable[[], float]) -> None:
        """Take a monotonic clock."""
        self._now = now
        self._clients: dict[bytes, tuple[float, float]] = {}
        """How many, and at what time; who was heard of last stands last."""

    def hold(self, ip: str, in_session: int, *, is_trusted: bool) -> float | None:
        """Count one more unknown recipient of the client at `ip`, its session's `in_session`th.

        `is_trusted`: of a client that may relay only the session counts.
        Returns: as `hold_s`.
        """
        return hold_s(in_session, 0 if is_trusted else self._count(ip))

    def _count(self, ip: str) -> int:
        key = client_key(ip)
        if key is None:
            return 0
        now = self._now()
        count, then = self._clients.pop(key, (0.0, now))
        # It goes on counting above the bound, but not without end.
        count = min(max(0.0, count - (now - then) / FORGET_S) + 1, 2.0 * CLIENT_MAX)
        while len(self._clients) >= CLIENTS_MAX:
            del self._clients[next(iter(self._clients))]
        self._clients[key] = (count, now)
        return round(count)
