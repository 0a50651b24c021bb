"""An SMTP server in a thread of the test: strict in what it reads, odd in what it answers."""

import contextlib
import socket
import threading
from dataclasses import dataclass, field
from types import TracebackType

from tests.fakes.door import WAIT_S_MAX


@dataclass
class Taken:
    """One message that the server took."""

    connection: int
    mail: bytes
    rcpts: list[bytes]
    data: bytes
    """As it came over the wire, without the final dot."""


@dataclass
class FakeServer:
    """Listens at 127.0.0.1, at a port of the kernel's choice.

    `replies` maps a verb (or b"." for the end of the data) to what is said in place of the usual;
    a list is used up one by one, then the usual comes. b"" hangs up, None says nothing.
    """

    greeting: bytes | None = b"220 fake ESMTP\r\n"
    extensions: tuple[bytes, ...] = (b"PIPELINING", b"SIZE 0", b"8BITMIME")
    reads_data: bool = True
    greets_with: int = 1
    """Nobody is greeted before so many connections have been made."""
    nobody: frozenset[bytes] = frozenset()
    """Recipients that are refused for good."""
    replies: dict[bytes, bytes | list[bytes] | None] = field(default_factory=dict)
    taken: list[Taken] = field(default_factory=list)
    commands: list[bytes] = field(default_factory=list)
    connections: int = 0
    has_hung_up: threading.Event = field(default_factory=threading.Event)
    """Set when a connection has ended."""
    has_data: threading.Event = field(default_factory=threading.Event)
    """Set when a message has come to its end, which is not answered yet."""
    is_silent: threading.Event = field(default_factory=threading.Event)
    """Set when it has said nothing where it should have."""
    _end: threading.Event = field(default_factory=threading.Event)
    _greets: threading.Event = field(default_factory=threading.Event)

    def __enter__(self) -> "FakeServer":
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._open: list[socket.socket] = []
        self._talks: list[threading.Thread] = []
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(WAIT_S_MAX)
        self.hang_up()
        self._greets.set()
        # Each takes in what its client said last: a test looks at it now.
        for talk in self._talks:
            talk.join(WAIT_S_MAX)

    def hang_up(self) -> None:
        """Close all connections, as a server does that is started again."""
        self._end.set()
        for sock in self._open:
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)

    def _accept(self) -> None:
        while True:
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self.connections += 1
            self._open.append(sock)
            if self.connections >= self.greets_with:
                self._greets.set()
            talk = _Talk(self, sock, self.connections)
            self._talks.append(threading.Thread(target=talk.run, daemon=True))
            self._talks[-1].start()


class _HungUpError(Exception):
    pass


class _Talk:
    def __init__(self, server: FakeServer, sock: socket.socket, number: int) -> None:
        self._server = server
        self._sock = sock
        self._number = number
        self._buffer = b""
        self._mail = b""
        self._rcpts: list[bytes] = []

    def run(self) -> None:
        with contextlib.suppress(_HungUpError, OSError):
            self._server._greets.wait(60)
            if self._server.greeting is None:
                self._server.is_silent.set()
            else:
                self._sock.sendall(self._server.greeting)
            while True:
                self._command(self._until(b"\r\n"))
        self._sock.close()
        self._server.has_hung_up.set()

    def _until(self, end: bytes) -> bytes:
        while end not in self._buffer:
            data = self._sock.recv(65536)
            if not data:
                raise _HungUpError
            self._buffer += data
        taken, _, self._buffer = self._buffer.partition(end)
        return taken

    def _command(self, line: bytes) -> None:
        self._server.commands.append(line)
        verb = line[:4].upper()
        usual = b"250 ok\r\n"
        if verb == b"EHLO":
            lines = [b"fake", *self._server.extensions]
            usual = (
                b"".join(b"250-%b\r\n" % each for each in lines[:-1]) + b"250 %b\r\n" % lines[-1]
            )
        elif verb == b"DATA":
            usual = b"354 go on\r\n" if self._rcpts else b"503 no recipients\r\n"
        elif verb == b"QUIT":
            usual = b"221 bye\r\n"
        elif verb == b"RCPT" and line[9:-1] in self._server.nobody:
            usual = b"550 5.1.1 nobody of this name\r\n"
        said = self._say(verb, usual)
        if verb == b"MAIL":
            self._mail, self._rcpts = line, []
        elif verb == b"RCPT" and said.startswith(b"2"):
            self._rcpts.append(line)
        elif verb == b"DATA" and said.startswith(b"354"):
            self._data()
        elif verb == b"QUIT":
            raise _HungUpError

    def _data(self) -> None:
        if not self._server.reads_data:
            self._server._end.wait(60)
            raise _HungUpError
        data = b""
        if not self._peek_dot():
            data = self._until(b"\r\n.\r\n") + b"\r\n"
        self._server.has_data.set()
        said = self._choose(b".", b"250 taken\r\n")
        if said.startswith(b"2"):
            # Before it is said: a test may look as soon as the client knows.
            self._server.taken.append(Taken(self._number, self._mail, self._rcpts, data))
        self._sock.sendall(said)

    def _peek_dot(self) -> bool:
        while len(self._buffer) < 3:
            data = self._sock.recv(65536)
            if not data:
                raise _HungUpError
            self._buffer += data
        if self._buffer.startswith(b".\r\n"):
            self._buffer = self._buffer[3:]
            return True
        return False

    def _say(self, verb: bytes, usual: bytes) -> bytes:
        said = self._choose(verb, usual)
        self._sock.sendall(said)
        return said

    def _choose(self, verb: bytes, usual: bytes) -> bytes:
        said = self._server.replies.get(verb, usual)
        if isinstance(said, list):
            said = said.pop(0) if said else usual
        if said is None:
            self._server.is_silent.set()
            return b""
        if not said:
            raise _HungUpError
        return said
