"""A slow and lossy name server for the fan-out: `python -m bench.slow_dns SEED`, UDP port 53.

It knows h1.fan.example, h2.fan.example and so on: each has one mail exchanger with one address.
An answer about them takes 50 to 1,000 ms, and two of a hundred questions are lost. What becomes of
the nth asking of a question is drawn from the seed: each server that is measured meets the same.
"""

import asyncio
import random
import re
import socket
import struct
import sys
from collections import Counter
from collections.abc import Sequence
from typing import Final, cast

PORT: Final = 53
ZONE: Final = "fan.example"
DELAY_S: Final = (0.05, 1.0)
LOST_SHARE: Final = 0.02
TTL_S: Final = 300
NET: Final = "198.18.0.0/15"
"""Addresses for benchmarks (RFC 2544, C.2.2): no network routes them."""
READY: Final = b"ready\n"
SOCKET_BYTES: Final = 4 * 2**20
"""Room for a burst of questions: only those that are meant to be are lost."""
A: Final = 1
MX: Final = 15
NO_SUCH_NAME: Final = 3
_HEADER: Final = struct.Struct(">HHHHHH")
_ANSWER_BIT: Final = 0x8180
_NAME_ABOVE: Final = b"\xc0\x0c"
"""A pointer to the name in the question."""
_KNOWN: Final = re.compile(rf"(?:mx\.)?h([0-9]+)\.{re.escape(ZONE)}")


def host_name(number: int) -> str:
    """Return the name of a host."""
    return f"h{number}.{ZONE}"


def address_of(number: int) -> bytes:
    """Return the address of a host's mail exchanger."""
    return bytes((198, 18, number // 250 % 256, number % 250 + 1))


def fate(seed: int, question: bytes, nth: int) -> float | None:
    """Draw how long the nth asking takes, in seconds; None: it is lost."""
    lot = random.Random(f"{seed} {question.hex()} {nth}")
    return None if lot.random() < LOST_SHARE else lot.uniform(*DELAY_S)


def question_of(query: bytes) -> bytes | None:
    """Return the question section: one name, a type, a class. None: it is cut short."""
    end = _HEADER.size
    while end < len(query) and query[end]:
        end += query[end] + 1
    end += 5
    return query[_HEADER.size : end] if len(query) >= end else None


def name_in(question: bytes) -> str:
    """Return the name in a question, in lower case."""
    labels, at = [], 0
    while question[at]:
        labels.append(question[at + 1 : at + 1 + question[at]])
        at += question[at] + 1
    return b".".join(labels).decode("ascii", "replace").lower()


def answer(query: bytes, question: bytes) -> bytes:
    """Return what the zone says: an exchanger, an address, nothing there, or no such name."""
    known = _KNOWN.fullmatch(name_in(question))
    data = None
    if known is not None:
        is_exchanger = name_in(question).startswith("mx.")
        kind = int.from_bytes(question[-4:-2], "big")
        if kind == MX and not is_exchanger:
            data = struct.pack(">H", 10) + b"\2mx" + _NAME_ABOVE
        elif kind == A and is_exchanger:
            data = address_of(int(known[1]))
    flags = _ANSWER_BIT | (NO_SUCH_NAME if known is None else 0)
    head = _HEADER.pack(int.from_bytes(query[:2], "big"), flags, 1, int(data is not None), 0, 0)
    if data is None:
        return head + question
    record = question[-4:] + struct.pack(">IH", TTL_S, len(data)) + data
    return head + question + _NAME_ABOVE + record


class SlowDns(asyncio.DatagramProtocol):
    """The server. What it does not know it denies at once."""

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._asked: Counter[bytes] = Counter()
        self._transport: asyncio.DatagramTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the way back."""
        self._transport = cast("asyncio.DatagramTransport", transport)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        """Answer a question when its time has come."""
        question = question_of(data)
        if question is None or self._transport is None:
            return
        said = answer(data, question)
        if not name_in(question).endswith(f".{ZONE}"):
            self._transport.sendto(said, addr)
            return
        self._asked[question] += 1
        delay_s = fate(self._seed, question, self._asked[question])
        if delay_s is not None:
            loop = asyncio.get_running_loop()
            loop.call_later(delay_s, self._transport.sendto, said, addr)


async def serve(seed: int) -> None:
    """Serve until killed."""
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SOCKET_BYTES)
    sock.bind(("127.0.0.1", PORT))
    await asyncio.get_running_loop().create_datagram_endpoint(lambda: SlowDns(seed), sock=sock)
    sys.stdout.buffer.write(READY)
    sys.stdout.flush()
    await asyncio.Event().wait()


def main(argv: Sequence[str]) -> int:
    """Serve with the seed that is named."""
    asyncio.run(serve(int(argv[0])))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
