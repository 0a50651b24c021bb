"""A QMTP server in a thread of the test, as spec/smtp.md C describes it."""

import contextlib
import socket
import threading
from dataclasses import dataclass, field

from qmail.protocol.netstring import FrameReader, iter_fields

PACKAGE_BYTES_MAX = 8 * 1024 * 1024


@dataclass
class FakeQmtpServer:
    """Listens at 127.0.0.1; `answers` are used up one by one, then `Kok` comes.

    b"" hangs up instead, None leaves the package unanswered.
    """

    answers: list[bytes | None] = field(default_factory=list)
    waits_for: int = 0
    """So many packages are taken before the first is answered."""
    taken: list[tuple[bytes, bytes, list[bytes]]] = field(default_factory=list)
    """Message (with its first byte), sender, recipients."""
    connections: int = 0

    def __enter__(self) -> "FakeQmtpServer":
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_trouble: object) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(20)

    def _serve(self) -> None:
        while True:
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            with contextlib.suppress(OSError), sock:
                self._talk(sock)

    def _talk(self, sock: socket.socket) -> None:
        reader = FrameReader(PACKAGE_BYTES_MAX)
        fields: list[bytes] = []
        held = b""
        while data := sock.recv(65536):
            fields += reader.feed(data)
            while len(fields) >= 3:
                message, sender, packed = fields[:3]
                del fields[:3]
                recipients = list(iter_fields(packed))
                self.taken.append((message, sender, recipients))
                for _ in recipients:
                    answer = self.answers.pop(0) if self.answers else b"3:Kok,"
                    if answer == b"":
                        return
                    held += answer or b""
            if len(self.taken) >= self.waits_for:
                sock.sendall(held)
                held = b""
