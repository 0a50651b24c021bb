"""Carries questions to the name servers and answers back: UDP, again when lost, TCP when long.

The sockets are few and change often: where an answer must come to, and the number it must bear, are
both drawn by lot (RFC 5452 9). An answer counts however late it comes, as long as anybody waits.
"""

import asyncio
import random
import socket
import struct
from collections.abc import Sequence
from typing import Final

from qmail.protocol.dns_message import (
    BadAnswerError,
    DnsAnswer,
    Rcode,
    answer_number,
    parse_answer,
    query,
)

WAITS_S: Final = (1.1, 1.1, 0.6, 0.8, 1.6, 3.2, 6.8)
"""How long after each asking the next one follows; after the last nobody waits any more.

The first ones leave a far server a second to answer, and little more: for most that are late the
question or the answer was lost, and where a message goes to thousands some are lost two or three
times. So few come that far that asking them quickly costs the servers nothing. What stays silent
then is down or overloaded: it is left alone for longer each time.
"""
LINES: Final = 32
"""So many sockets to each server at once."""
QUESTIONS_PER_LINE: Final = 500
DATAGRAMS_PER_TURN: Final = 64
DATAGRAM_BYTES_MAX: Final = 4096
TCP_S_MAX: Final = 10.0

Server = tuple[str, int]
_RANDOM: Final = random.SystemRandom()


class DnsClient:
    """Asks a fixed list of servers, the first one first."""

    def __init__(self, servers: Sequence[Server], waits_s: Sequence[float] = WAITS_S) -> None:
        self.servers = tuple(servers)
        self.waits_s = tuple(waits_s)
        self._lines: dict[tuple[Server, int], _Line] = {}

    async def ask(self, asked: bytes) -> DnsAnswer | None:
        """Return the answer to a question made by `question`; None: no server gave a usable one."""
        answer = await _Question(self, asked).answered
        if answer is not None and answer.is_truncated:
            async with asyncio.timeout(TCP_S_MAX):
                return _usable(await self._ask_by_tcp(asked))
        return answer

    def line(self, server: Server) -> "_Line":
        """Return one of the sockets to `server`, by lot.

        Raises: OSError: none can be made.
        """
        key = server, _RANDOM.randrange(LINES)
        line = self._lines.get(key)
        if line is None or line.is_used_up:
            if line is not None:
                line.retire()
            line = self._lines[key] = _Line(server)
        return line

    async def _ask_by_tcp(self, asked: bytes) -> DnsAnswer:
        number = _RANDOM.randrange(65536)
        message = query(number, asked)
        reader, writer = await asyncio.open_connection(*self.servers[0])
        try:
            writer.write(struct.pack(">H", len(message)) + message)
            (length,) = struct.unpack(">H", await reader.readexactly(2))
            data = await reader.readexactly(length)
        finally:
            writer.close()
        if answer_number(data) != number:
            raise BadAnswerError("another number")
        return parse_answer(data, asked)


class _Question:
    """One question, asked again and again until somebody answers."""

    __slots__ = ("_bad", "_client", "_loop", "_places", "_timer", "_tries", "answered", "asked")

    def __init__(self, client: DnsClient, asked: bytes) -> None:
        self.asked = asked
        self._client = client
        self._loop = asyncio.get_running_loop()
        self.answered: asyncio.Future[DnsAnswer | None] = self._loop.create_future()
        self._places: list[tuple[_Line, int]] = []
        self._timer: asyncio.TimerHandle | None = None
        self._tries = 0
        self._bad = 0
        self._try()

    def take(self, answer: DnsAnswer) -> None:
        """Take what a server says."""
        if answer.is_truncated or _usable(answer) is not None:
            self._settle(answer)
        else:
            self.turned_away()

    def turned_away(self) -> None:
        """Go on to the next server at once; give up when each has had its say."""
        self._bad += 1
        if self._timer is not None:
            self._timer.cancel()
        if self._bad < len(self._client.servers):
            self._try()
        else:
            self._settle(None)

    def _try(self) -> None:
        client = self._client
        if self._tries >= len(client.waits_s) or self.answered.cancelled():
            self._settle(None)
            return
        server = client.servers[self._tries % len(client.servers)]
        self._timer = self._loop.call_later(client.waits_s[self._tries], self._try)
        self._tries += 1
        try:
            line = client.line(server)
        except OSError:
            # No socket now: the next try may find one.
            return
        self._places.append((line, line.send(self)))

    def _settle(self, answer: DnsAnswer | None) -> None:
        if self._timer is not None:
            self._timer.cancel()
        for line, number in self._places:
            line.forget(number)
        self._places.clear()
        if not self.answered.done():
            self.answered.set_result(answer)


class _Line:
    """One UDP socket, connected to one server, and who waits for an answer on it."""

    def __init__(self, server: Server) -> None:
        family = socket.AF_INET6 if ":" in server[0] else socket.AF_INET
        self._sock = socket.socket(family, socket.SOCK_DGRAM)
        try:
            self._sock.setblocking(False)
            self._sock.connect(server)
        except OSError:
            self._sock.close()
            raise
        self._waiting: dict[int, _Question] = {}
        self._left = QUESTIONS_PER_LINE
        self._is_retired = False
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self._sock.fileno(), self._readable)

    @property
    def is_used_up(self) -> bool:
        """True when its port has been seen often enough."""
        return self._left <= 0

    def send(self, asker: _Question) -> int:
        """Send a question; return the number that its answer will bear."""
        number = _RANDOM.randrange(65536)
        while number in self._waiting:
            number = _RANDOM.randrange(65536)
        self._waiting[number] = asker
        self._left -= 1
        try:
            self._sock.send(query(number, asker.asked))
        except OSError:
            # As good as lost on the way: it is asked again.
            return number
        return number

    def forget(self, number: int) -> None:
        """Wait for this answer no more."""
        self._waiting.pop(number, None)
        self._close_if_done()

    def retire(self) -> None:
        """Take no more questions; close after the last answer."""
        self._is_retired = True
        self._close_if_done()

    def _close_if_done(self) -> None:
        if self._is_retired and not self._waiting and self._sock.fileno() >= 0:
            self._loop.remove_reader(self._sock.fileno())
            self._sock.close()

    def _readable(self) -> None:
        for _ in range(DATAGRAMS_PER_TURN):
            if self._sock.fileno() < 0:
                return
            try:
                data = self._sock.recv(DATAGRAM_BYTES_MAX)
            except BlockingIOError:
                return
            except OSError:
                # The server's machine says that nobody listens there.
                for asker in list(self._waiting.values()):
                    asker.turned_away()
                return
            asker_or_none = self._waiting.get(answer_number(data))
            if asker_or_none is not None:
                self._take(data, asker_or_none)

    @staticmethod
    def _take(data: bytes, asker: _Question) -> None:
        try:
            answer = parse_answer(data, asker.asked)
        except BadAnswerError:
            # Anybody may have sent this: the right answer may still come.
            return
        asker.take(answer)


def _usable(answer: DnsAnswer) -> DnsAnswer | None:
    return answer if answer.rcode in (Rcode.NO_ERROR, Rcode.NO_SUCH_NAME) else None
