"""TLS in front of a conversation, in a process of its own."""

import os
import socket
import ssl
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from tests.fakes.certificates import client_context, write_pem
from tests.fakes.door import WAIT_S_MAX

CODE = """\
import os, sys
from qmail.edge.tls.session import server_context
from qmail.edge.tls.relay import put_tls_in_front
put_tls_in_front(server_context(sys.argv[1]), "test")
"""
ECHO = CODE + "os.execvp('cat', ['cat'])"
LONG = b"0123456789abcdef" * 65536 * 4


@contextmanager
def served(tmp_path: Path, code: str) -> Iterator[tuple[socket.socket, subprocess.Popen[bytes]]]:
    """Run a program that speaks TLS on a TCP connection."""
    pem = write_pem(tmp_path)
    # Read before anything else is given up, so another account need not be able to.
    with socket.create_server(("127.0.0.1", 0)) as listener:
        ours = socket.create_connection(listener.getsockname(), timeout=WAIT_S_MAX)
        theirs, _ = listener.accept()
    with theirs:
        process = subprocess.Popen(
            [sys.executable, "-c", code, str(pem)],
            stdin=theirs.fileno(), stdout=theirs.fileno(), stderr=subprocess.PIPE,
        )  # fmt: skip
    with ours, process:
        try:
            yield ours, process
        finally:
            ours.close()
            if process.poll() is None:
                process.kill()


def secured(sock: socket.socket, tmp_path: Path) -> ssl.SSLSocket:
    context = client_context(tmp_path / "servercert.pem")
    return context.wrap_socket(sock, server_hostname="me.ex")


def everything(sock: socket.socket) -> bytes:
    found = b""
    while data := sock.recv(65536):
        found += data
    return found


def exactly(sock: socket.socket, size: int) -> bytes:
    found = b""
    while len(found) < size:
        data = sock.recv(65536)
        assert data, f"the end after {len(found)} of {size} bytes"
        found += data
    return found


def test_both_directions_and_both_ends(tmp_path: Path) -> None:
    with served(tmp_path, ECHO) as (raw, process), secured(raw, tmp_path) as sock:
        for part in (b"a", b"x" * 100_000, b"\0"):
            sock.sendall(part)
            assert exactly(sock, len(part)) == part
        # The farewell of the client ends `cat`, whose end ends the connection, in that order.
        sock.sendall(b"last words")
        assert exactly(sock, 10) == b"last words"
        with suppress(ssl.SSLError):
            sock.unwrap()
        assert process.wait(WAIT_S_MAX) == 0


def test_what_a_program_says_before_it_ends_arrives(tmp_path: Path) -> None:
    code = CODE + f"os.write(1, b''); sys.stdout.buffer.write(b'0123456789abcdef' * {65536 * 4})"
    with served(tmp_path, code) as (raw, _), secured(raw, tmp_path) as sock:
        sock.sendall(b"never read")
        assert everything(sock) == LONG


def test_a_client_that_hangs_up_ends_the_conversation(tmp_path: Path) -> None:
    with served(tmp_path, ECHO) as (raw, process):
        secured(raw, tmp_path).close()
        assert process.wait(WAIT_S_MAX) == 0


@pytest.mark.parametrize("said", [b"USER joe\r\nPASS x\r\n", b"", b"\x16\x03\x01\xff\xff" * 9000])
def test_what_is_no_tls_never_reaches_the_conversation(tmp_path: Path, said: bytes) -> None:
    with served(tmp_path, CODE + "os.write(2, os.read(0, 100))") as (sock, process):
        with suppress(OSError):
            sock.sendall(said)
            sock.shutdown(socket.SHUT_WR)
            everything(sock)
        _, errors = process.communicate(timeout=WAIT_S_MAX)
    assert b"USER" not in errors
    assert errors.count(b"\n") == (said != b"")


@pytest.mark.root
def test_the_relay_is_not_root(tmp_path: Path) -> None:
    code = CODE + "os.execvp('sleep', ['sleep', '60'])"
    with served(tmp_path, code) as (raw, process), secured(raw, tmp_path):
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        (pid,) = children
        status = Path(f"/proc/{pid}/status").read_text()
        assert "0" not in status.partition("Uid:")[2].splitlines()[0].split()
        assert os.getuid() == 0
        process.kill()
