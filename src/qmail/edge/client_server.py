"""What the resident servers share: listening, ids, the end of a turn."""

import asyncio
import os
import socket
import time
from collections.abc import Callable
from typing import Final

from qmail.edge.log.lines import Log, wants_records
from qmail.protocol.trace_id import TraceIds

BACKLOG: Final = 1024


class ClientServer:
    """One process with all its clients in one event loop; what they may do its kinds know."""

    def __init__(self, log: Log) -> None:
        loop = asyncio.get_running_loop()
        self.now = loop.time
        self.call_later: Callable[..., object] = loop.call_later
        self.is_detailed = wants_records()
        self._ids = TraceIds(int.from_bytes(os.urandom(4)))
        self._log = log
        self._servers: list[asyncio.Server] = []
        self._flushes: list[Callable[[], None]] = [log.flush]
        self._has_work = False

    async def _accept_at(self, sock: socket.socket, make: Callable[[], asyncio.Protocol]) -> None:
        """Begin to accept clients at one socket; `make` makes what talks with each."""
        # Accepted sockets inherit it; with Nagle a pipelining client waits 40 ms at a time.
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        loop = asyncio.get_running_loop()
        self._servers.append(await loop.create_server(make, sock=sock, backlog=BACKLOG))

    def _accept_no_more(self) -> None:
        for server in self._servers:
            server.close()

    def new_id(self) -> bytes:
        """Return a new id, for a connection or a message."""
        return self._ids.make(time.time())

    # --- the end of a turn ----------------------------------------------------------------------

    def at_end_of_turn(self, flush: Callable[[], None]) -> None:
        """Call `flush` at the end of every turn in which something was to be written."""
        self._flushes.insert(0, flush)

    def has_work(self) -> None:
        """See that this turn ends with the flushes."""
        if not self._has_work:
            self._has_work = True
            asyncio.get_running_loop().call_soon(self._end_turn)

    def _end_turn(self) -> None:
        self._has_work = False
        for flush in self._flushes:
            flush()

    def log_line(self, text: bytes) -> None:
        """Write one line to the log at the end of this turn."""
        self._log.line(text)
        self.has_work()

    def _end(self) -> None:
        """Write what there still is to write; nothing follows."""
        self._end_turn()
        self._log.end()
