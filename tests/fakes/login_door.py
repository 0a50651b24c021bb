"""A qmail-pspawn in a thread of the test: takes logins at a home's door, runs their sessions."""

import contextlib
import socket
import threading
from collections.abc import Callable
from pathlib import Path

from tests.fakes.door import WAIT_S_MAX, FakeDoor

from qmail.protocol.login_door import (
    LOGIN_FRAME_MAX,
    Accepted,
    Answer,
    Begin,
    Begun,
    Call,
    Challenge,
    Ended,
    GiveUp,
    Mechanism,
    Offer,
    Proof,
    Refusal,
    Refused,
    Response,
    Start,
    unpack_call,
)
from qmail.protocol.netstring import FrameReader

SECRET = b"secret"
OFFER = (Mechanism.SCRAM_SHA_256, Mechanism.PLAIN, Mechanism.USER)


def echo(sock: socket.socket) -> int:
    """Hold a session: every line comes back; QUIT ends it, BIG is answered with a megabyte."""
    sock.settimeout(WAIT_S_MAX)
    sock.sendall(b"+OK \r\n")
    kept = b""
    while data := sock.recv(65536):
        kept += data
        while b"\n" in kept:
            line, _, kept = kept.partition(b"\n")
            sock.sendall(b"+OK you said %b\n" % line)
            if line == b"BIG\r":
                sock.sendall(b"x" * 1_000_000 + b"\r\n")
            if line == b"QUIT\r":
                return 0
    return 0


class LoginDoor(FakeDoor):
    """Lets in whoever has the secret; `hook` may answer a call in its own way first."""

    def __init__(self, home: Path) -> None:
        self.offer: tuple[Mechanism, ...] = OFFER
        self.proof = Proof.PROVED
        self.session: Callable[[socket.socket], int] = echo
        self.hook: Callable[[Call], list[Answer] | None] = lambda _call: None
        self.calls: list[Call] = []
        self.begun = 0
        self.connections = 0
        self._threads: list[threading.Thread] = []
        super().__init__(home, "login")

    def send(self, *answers: Answer) -> None:
        """Send frames."""
        caller = self._caller
        if caller is not None:
            with contextlib.suppress(OSError):
                caller.sendall(b"".join(answer.pack() for answer in answers))

    def _talk(self, caller: socket.socket) -> None:
        self.send(Offer(self.offer))
        with self._changed:
            self.connections += 1
            self._changed.notify_all()
        reader = FrameReader(LOGIN_FRAME_MAX)
        fds: list[int] = []
        while True:
            data, more, _, _ = socket.recv_fds(caller, 65536, 32)
            fds += more
            if not data:
                return
            for payload in reader.feed(data):
                call = unpack_call(payload)
                # Before the answer: who has heard it may look.
                with self._changed:
                    self.calls.append(call)
                    self._changed.notify_all()
                self._answer(call, fds)

    def _answer(self, call: Call, fds: list[int]) -> None:
        answers = self.hook(call)
        if answers is not None:
            if isinstance(call, Start):
                socket.socket(fileno=fds.pop(0)).close()
            self.send(*answers)
        elif isinstance(call, Start):
            self._start(call.tag, socket.socket(fileno=fds.pop(0)))
        elif isinstance(call, Begin):
            self.send(self._judge(call))
        elif isinstance(call, Response):
            is_right = call.data == SECRET
            answer = Accepted(call.tag, b"joe") if is_right else Refused(call.tag, Refusal.AUTH)
            self.send(answer)
        else:
            assert isinstance(call, GiveUp)

    def _judge(self, call: Begin) -> Answer:
        if call.mechanism is Mechanism.SCRAM_SHA_256:
            return Challenge(call.tag, b"and the secret?")
        right = call.secret == SECRET or call.login.endswith(b"\0" + SECRET)
        if right or self.proof is Proof.CLAIMED:
            name = call.login.split(b"\0")[1] if b"\0" in call.login else call.login
            return Accepted(call.tag, name, self.proof)
        return Refused(call.tag, Refusal.AUTH)

    def _start(self, tag: int, sock: socket.socket) -> None:
        self.send(Begun(tag))
        with self._changed:
            self.begun += 1
            self._changed.notify_all()

        def run() -> None:
            with sock:
                try:
                    code = self.session(sock)
                except OSError:
                    code = 1
            self.send(Ended(tag, code))

        thread = threading.Thread(target=run, daemon=True)
        self._threads.append(thread)
        thread.start()
