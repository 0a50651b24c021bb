"""What the parts of the benchmark hand to each other."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Final, Protocol

HOST: Final = "bench.example"
RELAY_DOMAIN: Final = "relay.example"
SESSIONS: Final = 20
POLL_S: Final = 0.005
BY_DNS: Final = 0
"""In place of the sink's port: mail for elsewhere is sent to whom the name server names."""


class BenchError(Exception):
    """Something did not work; the text says what."""


class Kind(Enum):
    """The kinds of work."""

    LOCAL = "local"
    RELAY = "relay"
    ACCEPT = "accept"
    ONE_USER = "one of 1,000 users"
    USERS = "1,000 users in turn"
    LIST = "one message to a list of 10,000"


@dataclass(frozen=True, slots=True)
class Variant:
    """One kind of work with one size, and with connections kept or not."""

    kind: Kind
    size_bytes: int
    is_kept: bool

    @property
    def title(self) -> str:
        """The variant in words, for the tables."""
        if self.kind is Kind.LIST:
            return f"{self.kind.value}, {self.size_bytes // 1024} KB"
        connection = "kept" if self.is_kept else "one a message"
        return f"{self.kind.value}, {self.size_bytes // 1024} KB, {connection}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One measurement. CPU and flushes run until the server is quiet again."""

    count: int
    seconds: float
    cpu_s: float
    load_cpu_s: float
    other_cpu_s: float
    """What the machine did besides: kernel threads, this program, strangers."""
    wall_s: float
    flushes: int | None

    @property
    def rate(self) -> float:
        """Messages a second."""
        return self.count / self.seconds

    @property
    def cpu_ms(self) -> float:
        """CPU ms of the server for each message."""
        return 1000 * self.cpu_s / self.count

    @property
    def load_cpu_ms(self) -> float:
        """CPU ms of smtp-source and smtp-sink for each message."""
        return 1000 * self.load_cpu_s / self.count

    @property
    def flushes_each(self) -> float | None:
        """Flushes of the device for each message."""
        return None if self.flushes is None else self.flushes / self.count


@dataclass(frozen=True, slots=True, kw_only=True)
class Mailbox:
    """The local recipient: address, and the folder where messages appear."""

    local_part: str
    new: str

    @property
    def address(self) -> str:
        """The recipient's address."""
        return f"{self.local_part}@{HOST}"


class Server(Protocol):
    """A running mail system."""

    name: str
    port: int

    @property
    def pid(self) -> int:
        """The process above all of its processes."""
        ...

    def start(self) -> None:
        """Start it and wait for its greeting. Raises: BenchError."""
        ...

    def stop(self) -> None:
        """End it, whatever state it is in."""
        ...

    def sendmail(self) -> tuple[list[str], dict[str, str]]:
        """Return the sendmail command, and what its environment needs besides."""
        ...


def wait_until(is_done: Callable[[], bool], *, seconds_max: float, poll_s: float = POLL_S) -> bool:
    """Ask again and again for at most `seconds_max`. Returns the last answer."""
    end = time.monotonic() + seconds_max
    while not is_done():
        if time.monotonic() > end:
            return False
        time.sleep(poll_s)
    return True
