"""What runs on this machine, as /proc shows it: programs, accounts, listening sockets."""

import ipaddress
import os
import re
import socket
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

PROC_BYTES_MAX: Final = 1024 * 1024
NET_BYTES_MAX: Final = 64 * 1024 * 1024
_SOCKET: Final = re.compile(r"socket:\[(\d+)\]")
_OPEN_FILES: Final = "Max open files "
_LISTENING: Final = "0A"
ARGUMENTS_LOOKED_AT: Final = 4
"""The interpreter, its options and the script are among the first of a command line."""


@dataclass(frozen=True, slots=True)
class Process:
    """One process: its program (base name), and the accounts it has."""

    pid: int
    parent: int
    program: str
    arguments: tuple[str, ...]
    uids: frozenset[int]
    """Real, effective, saved and file system uid."""
    gids: frozenset[int]
    groups: frozenset[int]
    home: str
    """Its QMAIL_HOME; "" where it has none or may not be asked."""


@dataclass(frozen=True, slots=True)
class ListeningSocket:
    """A TCP socket that waits for connections."""

    host: str
    port: int
    inode: int


def processes(names: frozenset[str]) -> Iterator[Process]:
    """Yield every process that runs one of the programs `names`."""
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            found = _process(int(entry), names)
            if found is not None:
                yield found


def descriptor_limit_of(pid: int) -> int | None:
    """Return how many files a process may have open; None: it has ended, or there is no limit."""
    try:
        lines = _read(f"/proc/{pid}/limits").splitlines()
    except OSError:
        return None
    for line in lines:
        if line.startswith(_OPEN_FILES):
            soft = line.removeprefix(_OPEN_FILES).split()[0]
            return int(soft) if soft.isdigit() else None
    return None


def processes_of(home: str, names: frozenset[str]) -> list[Process]:
    """List the processes of the programs `names` that serve the home `home`."""
    found = list(processes(names))
    pids = {process.pid for process in found if _same_folder(process.home, home)}
    # A child that changed its account may hide its environment: its parent speaks for it.
    for process in sorted(found, key=lambda one: one.pid):
        if process.parent in pids:
            pids.add(process.pid)
    return [process for process in found if process.pid in pids]


def _same_folder(found: str, home: str) -> bool:
    return bool(found) and os.path.realpath(found) == os.path.realpath(home)


def _process(pid: int, names: frozenset[str]) -> Process | None:
    try:
        program, arguments = _program(_read(f"/proc/{pid}/cmdline"), names)
        if not program:
            return None
        status = dict(
            line.split(":", 1) for line in _read(f"/proc/{pid}/status").splitlines() if ":" in line
        )
    except OSError:
        # It ended meanwhile.
        return None
    return Process(
        pid,
        int(status["PPid"]),
        program,
        arguments,
        _numbers(status["Uid"]),
        _numbers(status["Gid"]),
        _numbers(status["Groups"]),
        _home(pid),
    )


def _program(cmdline: str, names: frozenset[str]) -> tuple[str, tuple[str, ...]]:
    # `python -IS /somewhere/qmail-send`, or the name alone where the process was renamed.
    words = cmdline.split("\0")
    for number, argument in enumerate(words[:ARGUMENTS_LOOKED_AT]):
        base = os.path.basename(argument)
        if base in names:
            # The last word ends with a NUL too.
            return base, tuple(words[number + 1 : -1])
        if number == 0 and not base.startswith("python"):
            break
        if number > 0 and not argument.startswith("-"):
            break
    return "", ()


def _home(pid: int) -> str:
    try:
        environ = _read(f"/proc/{pid}/environ").split("\0")
    except OSError:
        return ""
    found = [entry for entry in environ if entry.startswith("QMAIL_HOME=")]
    return found[0].partition("=")[2] if found else ""


def _numbers(field: str) -> frozenset[int]:
    return frozenset(int(number) for number in field.split())


def _read(path: str, bytes_max: int = PROC_BYTES_MAX) -> str:
    with open(path, encoding="utf-8", errors="surrogateescape") as file:
        return file.read(bytes_max)


def socket_inodes(pid: int) -> frozenset[int]:
    """Return the inode numbers of the sockets that a process holds; none where we may not look."""
    found = set()
    try:
        for name in os.listdir(f"/proc/{pid}/fd"):
            match = _SOCKET.fullmatch(os.readlink(f"/proc/{pid}/fd/{name}"))
            if match:
                found.add(int(match[1]))
    except OSError:
        return frozenset(found)
    return frozenset(found)


def holder_of(inode: int) -> str:
    """Return `pid 123 (name)` of a process that holds a socket, "" where none can be seen."""
    for entry in os.listdir("/proc"):
        if entry.isdigit() and inode in socket_inodes(int(entry)):
            try:
                return f"pid {entry} ({_read(f'/proc/{entry}/comm').strip()})"
            except OSError:
                continue
    return ""


def listening_sockets() -> Iterator[ListeningSocket]:
    """Yield every listening TCP socket of this machine."""
    for path in ("/proc/net/tcp", "/proc/net/tcp6"):
        try:
            lines = _read(path, NET_BYTES_MAX).splitlines()[1:]
        except FileNotFoundError:
            # A kernel without IPv6.
            continue
        for line in lines:
            fields = line.split()
            if fields[3] == _LISTENING:
                host, port = fields[1].split(":")
                yield ListeningSocket(_address(host), int(port, 16), int(fields[9]))


def _address(hexadecimal: str) -> str:
    # Words of 32 bits, each in this machine's byte order.
    words = [int(hexadecimal[at : at + 8], 16) for at in range(0, len(hexadecimal), 8)]
    packed = struct.pack(f"={len(words)}I", *words)
    family = socket.AF_INET if len(words) == 1 else socket.AF_INET6
    return str(ipaddress.ip_address(socket.inet_ntop(family, packed)))
