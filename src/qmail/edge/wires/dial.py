"""Calling a host by TCP, and what is known of the connection: blocking, for tcpclient.

Source: spec/companion.md 4.1 (variables) and 4.4; RFC 1413 (ident).
"""

import contextlib
import socket
import time
from collections.abc import Callable, Iterator
from typing import Final, NamedTuple

IDENT_PORT: Final = 113
IDENT_BYTES_MAX: Final = 1000
"""RFC 1413 4: longest answer."""

Found = tuple[socket.AddressFamily, str, int]


class Source(NamedTuple):
    """Where the connection starts."""

    ip: str
    """"" lets the kernel choose."""
    port: int


class CallError(Exception):
    """Nobody was reached; the text says why."""


def addresses(host: str, port: str) -> list[Found]:
    """Return the addresses of a host, each with the port.

    The resolver of the system is asked, with the limits of time that it is set to.
    Raises: CallError: no such host or service, or nobody to tell.
    """
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, proto=socket.IPPROTO_TCP)
    except (socket.gaierror, UnicodeError) as trouble:
        text = trouble.strerror if isinstance(trouble, socket.gaierror) else "not a host name"
        raise CallError(f"unable to find {host} port {port}: {text}") from None
    return list(dict.fromkeys((family, str(at[0]), int(at[1])) for family, _, _, _, at in found))


def call(
    found: list[Found], rounds_s: tuple[int, ...], source: Source, missed: Callable[[str], None]
) -> socket.socket:
    """Connect to one of the addresses: a round with each of `rounds_s` as the limit of a try.

    With one address the rounds are one. `missed` is told of each that is not reached.
    Raises: CallError: none is.
    """
    rounds_s = (sum(rounds_s),) if len(found) == 1 else rounds_s
    wrong = "no address"
    refused: set[Found] = set()
    for limit_s in rounds_s:
        for where in found:
            if where in refused or not limit_s:
                continue
            try:
                return _connected(where, limit_s, source)
            except OSError as trouble:
                text = "timed out" if isinstance(trouble, TimeoutError) else _reason(trouble)
                wrong = f"unable to connect to {where[1]} port {where[2]}: {text}"
                missed(wrong)
                if not isinstance(trouble, TimeoutError):
                    refused.add(where)
    raise CallError(wrong)


def _connected(where: Found, limit_s: int, source: Source) -> socket.socket:
    family, ip, port = where
    sock = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        if source.ip or source.port:
            any_ip = "::" if family == socket.AF_INET6 else "0.0.0.0"  # noqa: S104 - as a source
            sock.bind((source.ip or any_ip, source.port))
        sock.settimeout(limit_s)
        sock.connect((ip, port))
        sock.settimeout(None)
    except BaseException:
        sock.close()
        raise
    return sock


class Ends(NamedTuple):
    """Both ends of a connection."""

    is_ipv6: bool
    local: tuple[str, int]
    remote: tuple[str, int]


def ends_of(sock: socket.socket) -> Ends:
    """Return both ends; IPv4 that comes in IPv6's clothes is IPv4.

    Raises: OSError: the connection is gone.
    """
    local, remote = sock.getsockname()[:2], sock.getpeername()[:2]
    plain = local[0].removeprefix("::ffff:"), remote[0].removeprefix("::ffff:")
    return Ends(":" in plain[1], (plain[0], local[1]), (plain[1], remote[1]))


def variables(ends: Ends, names: tuple[str | None, str | None, str | None]) -> dict[str, str]:
    """Return what the program finds in its environment; "" is for those it must not find.

    `names`: of this host, of the other one, and of the other one's user.
    """
    local_host, remote_host, remote_info = names
    return {
        "PROTO": "TCP6" if ends.is_ipv6 else "TCP",
        "TCPLOCALIP": ends.local[0],
        "TCPLOCALPORT": str(ends.local[1]),
        "TCPLOCALHOST": local_host or "",
        "TCPREMOTEIP": ends.remote[0],
        "TCPREMOTEPORT": str(ends.remote[1]),
        "TCPREMOTEHOST": remote_host or "",
        "TCPREMOTEINFO": remote_info or "",
    }


def name_of(ip: str) -> str | None:
    """Return the name of an address; None: it has none, or nobody tells."""
    try:
        return socket.getnameinfo((ip, 0), socket.NI_NAMEREQD)[0]
    except (OSError, UnicodeError):
        return None


def ident(ends: Ends, limit_s: int) -> str | None:
    """Ask the other host which of its users this connection belongs to; None: it does not say.

    Source: RFC 1413 3 to 5.
    """
    deadline = time.monotonic() + limit_s
    family = socket.AF_INET6 if ends.is_ipv6 else socket.AF_INET
    with contextlib.suppress(OSError), socket.socket(family, socket.SOCK_STREAM) as sock:
        sock.settimeout(limit_s)
        sock.bind((ends.local[0], 0))
        sock.connect((ends.remote[0], IDENT_PORT))
        sock.sendall(b"%d , %d\r\n" % (ends.remote[1], ends.local[1]))
        return user_in(b"".join(_line(sock, deadline)))
    return None


def _line(sock: socket.socket, deadline: float) -> Iterator[bytes]:
    size = 0
    while size < IDENT_BYTES_MAX and (wait_s := deadline - time.monotonic()) > 0:
        sock.settimeout(wait_s)
        part = sock.recv(IDENT_BYTES_MAX - size)
        size += len(part)
        yield part
        if not part or b"\n" in part:
            return


def user_in(answer: bytes) -> str | None:
    """Return the user that an ident answer names; None: none."""
    fields = answer.partition(b"\n")[0].split(b":", 3)
    if len(fields) != 4 or fields[1].strip().upper() != b"USERID":
        return None
    user = fields[3].strip(b" \t\r\0")
    return user.decode("latin-1") if user and all(32 < byte < 127 for byte in user) else None


def _reason(trouble: OSError) -> str:
    return (trouble.strerror or str(trouble)).lower()
