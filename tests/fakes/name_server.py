"""A name server for tests, on a port of 127.0.0.1 of its own."""

import contextlib
import errno
import socket
import struct
import threading
from collections.abc import Mapping, Sequence
from types import TracebackType

import dns.flags
import dns.message
import dns.rcode
import dns.rdatatype
import dns.rrset

from qmail.protocol.dns_message import UDP_BYTES_MAX

Zone = Mapping[tuple[str, str], Sequence[str] | dns.rcode.Rcode | None]

SOA = ". 60 IN SOA . . 1 1 1 1 60"


def record(line: str) -> dns.rrset.RRset:
    name, ttl, kind, of, data = line.split(" ", 4)
    return dns.rrset.from_text(name, int(ttl), kind, of, data)


def _on_one_port() -> tuple[socket.socket, socket.socket]:
    """Return a listener for TCP and a socket for UDP, on a port that was free for both."""
    while True:
        listener = socket.create_server(("127.0.0.1", 0))
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        try:
            sock.bind(listener.getsockname()[:2])
        except OSError as taken:
            listener.close()
            sock.close()
            if taken.errno != errno.EADDRINUSE:
                raise
        else:
            return listener, sock


class NameServer:
    """Answers from `zone`: (name, type) to records; a name that is not there does not exist.

    The records may be a response code instead, or None for no answer at all.
    """

    def __init__(self, zone: Zone) -> None:
        self._zone = zone
        self.asked: list[tuple[str, str]] = []
        self.ports: set[int] = set()
        self.lost = 0
        """So many queries are not heard."""
        self.forgeries: list[bytes] = []
        """What comes before each answer, after its number."""

    def __enter__(self) -> "NameServer":
        self._listener, self._sock = _on_one_port()
        self.server = self._listener.getsockname()[:2]
        self.where = f"{self.server[0]}:{self.server[1]}"
        threading.Thread(target=self._serve, daemon=True).start()
        threading.Thread(target=self._serve_tcp, daemon=True).start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for sock in (self._sock, self._listener):
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
            sock.close()

    def _serve_tcp(self) -> None:
        while True:
            try:
                caller, _ = self._listener.accept()
            except OSError:
                return
            with caller, caller.makefile("rwb") as stream:
                (length,) = struct.unpack(">H", stream.read(2))
                query = dns.message.from_wire(stream.read(length))
                name = query.question[0].name.to_text().lower()
                self.asked.append((name, "TCP"))
                response = self._response(query, (name, "MX"))
                assert response is not None
                data = response.to_wire(max_size=65535)
                stream.write(struct.pack(">H", len(data)) + data)

    def _serve(self) -> None:
        while True:
            try:
                data, caller = self._sock.recvfrom(4096)
            except OSError:
                return
            if not data:
                return
            query = dns.message.from_wire(data)
            question = query.question[0]
            self.ports.add(caller[1])
            key = question.name.to_text().lower(), dns.rdatatype.to_text(question.rdtype)
            self.asked.append(key)
            if self.lost:
                self.lost -= 1
                continue
            response = self._response(query, key)
            if response is None:
                continue
            data = response.to_wire(max_size=65535)
            if len(data) > UDP_BYTES_MAX:
                response = dns.message.make_response(query)
                response.flags |= dns.flags.TC
                data = response.to_wire(max_size=65535)
            # The last one may still be at work when the test is over.
            with contextlib.suppress(OSError):
                for forged in self.forgeries:
                    self._sock.sendto(data[:2] + forged, caller)
                self._sock.sendto(data, caller)

    def _response(
        self, query: dns.message.Message, key: tuple[str, str]
    ) -> dns.message.Message | None:
        response = dns.message.make_response(query)
        response.flags |= dns.flags.RA
        records = self._zone.get(key, ())
        if records is None:
            return None
        if isinstance(records, dns.rcode.Rcode):
            response.set_rcode(records)
        elif records:
            response.answer += [record(line) for line in records]
        else:
            if not any(name == key[0] for name, _ in self._zone):
                response.set_rcode(dns.rcode.NXDOMAIN)
            response.authority.append(record(SOA))
        return response
