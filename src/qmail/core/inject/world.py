"""Makes the outside of one injection: what is the same for all programs that inject.

The parts that belong to the edge, standard descriptors and the way to the queue, are handed in.
"""

from __future__ import annotations

import os
import time

from qmail.core.inject.run import Codes, World
from qmail.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from typing import Protocol

    from qmail.envelope import Envelope
    from qmail.mail import Result

    class Outcome(Protocol):
        """How a submission ended: `result` is None when the message is in the queue."""

        @property
        def result(self) -> Result | None:
            """Why it is not."""
            ...

    Submit = Callable[[str, Iterator[bytes], Envelope, Mapping[str, str]], Outcome]


class Edge(Record):
    """What a program has from the edge."""

    read: Callable[[int], bytes]
    show: Callable[[bytes], None]
    say: Callable[[str], None]
    submit: Submit
    """Takes home, message, envelope and environment."""


def make_world(
    name: str, home: str, environ: Mapping[bytes, bytes], edge: Edge, *, codes: Codes | None = None
) -> World:
    """Return the world of one injection: as which program it speaks, and in whose name."""
    return World(
        name,
        home,
        environ,
        edge.read,
        edge.show,
        edge.say,
        lambda parts, envelope: edge.submit(home, parts, envelope, os.environ).result,
        lambda: os.chdir(home),
        time.time,
        os.getpid(),
        os.urandom,
        codes or Codes(),
    )
