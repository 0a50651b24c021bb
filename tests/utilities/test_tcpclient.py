"""tcpclient: its connection, its environment, its exit codes (spec/companion.md 4.1, 4.4)."""

import contextlib
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.fakes.homes import free_port
from tests.programs.injection import Injection

from qmail.core.tools.dial_options import read_dial
from qmail.edge.wires.dial import user_in
from qmail.protocol.options import OptionError


@pytest.fixture
def world(tmp_path: Path) -> Injection:
    found = Injection(tmp_path)
    found.environ |= {
        "PATH": f"{found.home}/bin:/usr/bin:/bin",
        "TCPREMOTEHOST": "stale",
        "TCPREMOTEINFO": "stale",
    }
    return found


@contextlib.contextmanager
def listening(host: str = "127.0.0.1") -> Iterator[tuple[socket.socket, int]]:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        with socket.create_server((host, 0), family=family) as listener:
            listener.settimeout(30)
            yield listener, listener.getsockname()[1]
    except OSError as trouble:
        pytest.skip(f"nobody can listen at {host}: {trouble}")


def environ_of(out: bytes) -> dict[str, str]:
    return dict(line.split("=", 1) for line in out.decode().splitlines() if "=" in line)


def test_the_program_reads_6_and_writes_7(world: Injection) -> None:
    with listening() as (listener, port):
        # The kernel takes the call, and keeps what comes, before anybody accepts it.
        ended = world.run(
            ["tcpclient", "-RHl0", "127.0.0.1", str(port), "sh", "-c", "echo hello >&7; env; pwd"]
        )
        sock, peer = listener.accept()
        with sock:
            assert sock.recv(100) == b"hello\n"
    assert ended.code == 0
    environ = environ_of(ended.out)
    assert {name: value for name, value in environ.items() if name.startswith("TCP")} == {
        "TCPLOCALIP": "127.0.0.1",
        "TCPLOCALPORT": str(peer[1]),
        "TCPLOCALHOST": "0",
        "TCPREMOTEIP": "127.0.0.1",
        "TCPREMOTEPORT": str(port),
    }
    assert environ["PROTO"] == "TCP"


def test_the_programs_exit_code_is_ours(world: Injection) -> None:
    with listening() as (_, port):
        assert world.run(["tcpclient", "-RHl0", "0", str(port), "sh", "-c", "exit 7"]).code == 7


def test_ipv6_has_a_protocol_of_its_own(world: Injection) -> None:
    with listening("::1") as (_, port):
        ended = world.run(["tcpclient", "-RHl0", "::1", str(port), "env"])
    environ = environ_of(ended.out)
    assert (environ["PROTO"], environ["TCPREMOTEIP"]) == ("TCP6", "::1")


def test_names_are_looked_up_unless_told_otherwise(world: Injection) -> None:
    with listening() as (_, port):
        ended = world.run(["tcpclient", "-D", "127.0.0.1", str(port), "env"])
    assert environ_of(ended.out).get("TCPREMOTEHOST") != "stale"
    assert "TCPREMOTEINFO" not in environ_of(ended.out)


def test_the_local_address_and_port_can_be_set(world: Injection) -> None:
    mine = str(free_port())
    with listening() as (_, port):
        options = ["-RHl0", "-v", "-i", "127.0.0.9", "-p", mine]
        ended = world.run(["tcpclient", *options, "127.0.0.1", str(port), "env"])
    environ = environ_of(ended.out)
    assert (environ["TCPLOCALIP"], environ["TCPLOCALPORT"]) == ("127.0.0.9", mine)
    assert ended.err.decode() == f"tcpclient: connected to 127.0.0.1 port {port}\n"


def test_a_refused_connection_ends_with_111(world: Injection) -> None:
    port = str(free_port())
    ended = world.run(["tcpclient", "-RHl0", "127.0.0.1", port, "echo", "wrong"])
    why = f"tcpclient: fatal: unable to connect to 127.0.0.1 port {port}: connection refused\n"
    assert (ended.code, ended.out, ended.err.decode()) == (111, b"", why)
    assert world.run(["tcpclient", "-qRHl0", "127.0.0.1", port, "true"]).err == b""


def test_a_silent_host_is_given_up(world: Injection) -> None:
    with listening() as (listener, port):
        listener.listen(0)
        with contextlib.ExitStack() as stack:
            # What the queue of the listener holds is full after these.
            for _ in range(4):
                sock = stack.enter_context(socket.socket())
                sock.setblocking(False)
                sock.connect_ex(("127.0.0.1", port))
            ended = world.run(["tcpclient", "-RHl0", "-T1", "127.0.0.1", str(port), "true"])
    assert (ended.code, ended.err.endswith(b": timed out\n")) == (111, True)


@pytest.mark.parametrize("where", [("a..ex", "25"), ("127.0.0.1", "no-such-service")])
def test_no_such_host_or_service_ends_with_111(world: Injection, where: tuple[str, str]) -> None:
    ended = world.run(["tcpclient", "-RHl0", *where, "true"])
    assert ended.code == 111
    assert ended.err.startswith(b"tcpclient: fatal: unable to find ")


def test_a_program_that_is_not_there_is_told(world: Injection) -> None:
    with listening() as (_, port):
        ended = world.run(["tcpclient", "-RHl0", "127.0.0.1", str(port), "/nonexistent/program"])
    assert (ended.code, ended.err[-60:]) == (
        111,
        b"unable to run /nonexistent/program: no such file or directory\n"[-60:],
    )


@pytest.mark.parametrize(
    "words",
    [[], ["h", "25"], ["-z", "h", "25", "p"], ["-p", "x", "h", "1", "p"], ["-p"],
     ["-T", "1+", "h", "1", "p"], ["-p70000", "h", "1", "p"], ["-t", "-1", "h", "1", "p"]],
)  # fmt: skip
def test_wrong_usage_ends_with_100(world: Injection, words: list[str]) -> None:
    ended = world.run(["tcpclient", *words])
    assert ended.code == 100
    assert b"usage: tcpclient " in ended.err


def test_the_limits_of_time_are_those_of_the_original() -> None:
    dial = read_dial(["h", "25", "p", "-x"])
    assert dial is not None
    assert (dial.first_s, dial.second_s, dial.ident_s, dial.program) == (2, 58, 26, ("p", "-x"))
    dial = read_dial(["-T5+7", "-rhdQ", "-t", "3", "h", "25", "p"])
    assert dial is not None
    assert (dial.first_s, dial.second_s, dial.ident_s, dial.asks_ident) == (5, 7, 3, True)
    dial = read_dial(["-T5", "h", "25", "p"])
    assert dial is not None
    assert (dial.first_s, dial.second_s) == (5, 0)
    with pytest.raises(OptionError, match="not '1234567'"):
        read_dial(["-T1234567", "h", "25", "p"])


@pytest.mark.parametrize(
    ("answer", "user"),
    [
        (b"1 , 25 : USERID : UNIX :joe\r\n", "joe"),
        (b"1, 25 : userid : OTHER : joe:x", "joe:x"),
        (b"1 , 25 : ERROR : NO-USER\r\n", None),
        (b"1 , 25 : USERID : UNIX : \x1b[2J\r\n", None),
        (b"1 , 25 : USERID : UNIX : two words\r\n", None),
        (b"", None),
    ],
)
def test_rfc1413_6_what_an_ident_answer_says(answer: bytes, user: str | None) -> None:
    assert user_in(answer) == user
