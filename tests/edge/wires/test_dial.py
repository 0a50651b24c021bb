"""Calling a host: rounds, addresses, and the question whose connection it is."""

import socket
import threading
from collections.abc import Iterator

import pytest
from tests.fakes.homes import free_port

from qmail.edge.wires import dial
from qmail.edge.wires.dial import (
    CallError,
    Ends,
    Source,
    addresses,
    call,
    ends_of,
    ident,
    variables,
)

ANYWHERE = Source("", 0)


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        sock.settimeout(60)
        yield sock


def test_the_next_address_is_tried_and_each_failure_told(listener: socket.socket) -> None:
    port = listener.getsockname()[1]
    closed = free_port()
    found = [(socket.AF_INET, "127.0.0.1", closed), (socket.AF_INET, "127.0.0.1", port)]
    said: list[str] = []
    with call(found, (2, 58), ANYWHERE, said.append) as sock:
        assert sock.getpeername() == ("127.0.0.1", port)
        assert sock.gettimeout() is None
    assert said == [f"unable to connect to 127.0.0.1 port {closed}: connection refused"]


def test_who_refuses_is_not_asked_again() -> None:
    found = [(socket.AF_INET, "127.0.0.1", free_port()), (socket.AF_INET, "127.0.0.2", free_port())]
    said: list[str] = []
    with pytest.raises(CallError, match=r"127\.0\.0\.2"):
        call(found, (2, 58), ANYWHERE, said.append)
    assert len(said) == 2
    with pytest.raises(CallError, match="no address"):
        call([], (2, 58), ANYWHERE, said.append)


def test_hosts_that_are_no_names() -> None:
    assert addresses("127.0.0.1", "25") == [(socket.AF_INET, "127.0.0.1", 25)]
    assert addresses("::1", "25") == [(socket.AF_INET6, "::1", 25)]
    for host in ("a" * 64 + ".ex", "a..ex"):
        with pytest.raises(CallError, match="unable to find "):
            addresses(host, "25")


def test_ipv4_in_the_clothes_of_ipv6_is_ipv4() -> None:
    class Mapped:
        def getsockname(self) -> tuple[str, int, int, int]:
            return "::ffff:10.0.0.1", 1, 0, 0

        def getpeername(self) -> tuple[str, int, int, int]:
            return "::ffff:10.0.0.2", 25, 0, 0

    ends = ends_of(Mapped())  # type: ignore[arg-type]
    assert ends == Ends(is_ipv6=False, local=("10.0.0.1", 1), remote=("10.0.0.2", 25))
    found = variables(ends, (None, "h.ex", None))
    assert (found["PROTO"], found["TCPREMOTEHOST"], found["TCPREMOTEINFO"]) == ("TCP", "h.ex", "")


@pytest.mark.parametrize(
    ("answer", "user"),
    [
        (b"25 , 1 : USERID : UNIX : joe\r\n", "joe"),
        (b"25 , 1 : ERROR : NO-USER\r\n", None),
        (b"x" * 5000, None),
        (b"", None),
    ],
)
def test_rfc1413_3_the_other_host_is_asked_by_ports(
    listener: socket.socket, monkeypatch: pytest.MonkeyPatch, answer: bytes, user: str | None
) -> None:
    monkeypatch.setattr(dial, "IDENT_PORT", listener.getsockname()[1])
    asked: list[bytes] = []

    def serve() -> None:
        sock, _ = listener.accept()
        with sock:
            asked.append(sock.recv(100))
            sock.sendall(answer)

    thread = threading.Thread(target=serve)
    thread.start()
    ends = Ends(is_ipv6=False, local=("127.0.0.1", 1), remote=("127.0.0.1", 25))
    assert ident(ends, 60) == user
    thread.join(60)
    assert asked == [b"25 , 1\r\n"]


def test_nobody_answers_the_question(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dial, "IDENT_PORT", free_port())
    ends = Ends(is_ipv6=False, local=("127.0.0.1", 1), remote=("127.0.0.1", 25))
    assert ident(ends, 60) is None
