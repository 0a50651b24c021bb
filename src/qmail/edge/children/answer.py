"""One question to a child that first becomes another account: it sees what that account may see.

The answer is bounded in bytes and in time; a child that is late is killed.
"""

import os
import signal
import socket
import time
from collections.abc import Callable
from typing import Final

from qmail.edge.children.offspring import Who, fork_child
from qmail.protocol.netstring import FrameError, pack, unpack_fields

READ_BYTES: Final = 65536
NAME: Final = "qmail"
FRAME_BYTES_MAX: Final = 16
"""What a netstring adds to its payload, at most."""


class NoAnswerError(Exception):
    """The child said nothing whole; the text says what happened."""


def ask_child(who: Who, work: Callable[[], bytes], *, bytes_max: int, wait_s: float) -> bytes:
    """Return what `work` returns when it runs in a child under the account `who`, never root.

    Raises: NoAnswerError: it took too long, said too much, or ended without an answer.
    """

    def main(sock: socket.socket) -> int:
        sock.sendall(pack(work()))
        return 0

    try:
        pid, sock = fork_child(NAME, who, main)
    except OSError as trouble:
        raise NoAnswerError(f"no process for it: {trouble.strerror}") from trouble
    try:
        with sock:
            framed = _read_all(sock, bytes_max + FRAME_BYTES_MAX, time.monotonic() + wait_s)
    except TimeoutError:
        raise NoAnswerError(f"no answer within {wait_s:g} seconds") from None
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
    try:
        (answer,) = unpack_fields(framed, 1)
    except FrameError:
        raise NoAnswerError("it ended without a whole answer") from None
    return answer


def _read_all(sock: socket.socket, bytes_max: int, deadline: float) -> bytes:
    """Read to the end, or to the first byte too many. Raises: TimeoutError: too late."""
    read = bytearray()
    while len(read) <= bytes_max:
        wait_s = deadline - time.monotonic()
        if wait_s <= 0:
            raise TimeoutError
        sock.settimeout(wait_s)
        try:
            data = sock.recv(READ_BYTES)
        except ConnectionError:
            break
        if not data:
            return bytes(read)
        read += data
    return b""
