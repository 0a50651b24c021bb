"""Measurements with a thousand users: one, all in turn, a list of ten thousand members."""

from typing import Final

from bench.crowd import LIST, SUFFIX, USERS, Crowd
from bench.load import Load, Sent, send
from bench.measure import Field, Work, sample_of
from bench.values import HOST, BenchError, Kind, Sample, Server, Variant, wait_until

ARRIVAL_SECONDS_MAX: Final = 180.0
POLL_S: Final = 0.5
"""A thousand folders are looked at, which costs the machine something; they know when it was."""


def measure_crowd(
    server: Server, variant: Variant, count: int, *, field: Field, crowd: Crowd
) -> Sample:
    """Take one measurement; `count` deliveries, a multiple of USERS where they get some in turn.

    Raises: BenchError: messages were refused, or did not arrive.
    """
    before = crowd.count()

    def work() -> Work:
        sent = _send(server, variant, count)
        return Work(sent[0].started, _arrived(crowd, before + count), sum(o.cpu_s for o in sent))

    return sample_of(server, field, count, work)


def _send(server: Server, variant: Variant, count: int) -> list[Sent]:
    if variant.kind is Kind.LIST:
        return [send(_load(server, variant, 1, LIST))]
    if variant.kind is Kind.ONE_USER:
        return [send(_load(server, variant, count, f"1{SUFFIX}"))]
    # Numbered anew each time: nobody gets a second message before everybody had one.
    return [send(_load(server, variant, USERS, SUFFIX)) for _ in range(count // USERS)]


def _load(server: Server, variant: Variant, count: int, local: str) -> Load:
    return Load(
        port=server.port,
        recipient=f"{local}@{HOST}",
        count=count,
        size_bytes=variant.size_bytes,
        is_kept=variant.is_kept,
        is_numbered=variant.kind is Kind.USERS,
    )


def _arrived(crowd: Crowd, wanted: int) -> float:
    """Wait until all of them have `wanted` messages. Returns when the last one came."""
    found = 0

    def is_done() -> bool:
        nonlocal found
        found = crowd.count()
        return found >= wanted

    if not wait_until(is_done, seconds_max=ARRIVAL_SECONDS_MAX, poll_s=POLL_S):
        raise BenchError(f"{found} messages are there where {wanted} were expected")
    return crowd.last_arrival()
