"""Where the inner doors are, and how to knock: what short programs need of `edge.doors.station`.

It uses `_socket`, on which `socket` is built: the rest of that module costs a short program more
than its work.
"""

from __future__ import annotations

import _socket
import os
import struct

_FOLDERS: dict[str, int] = {}


def door_path(home: str, name: str) -> str:
    """Return the path of the inner door `name`."""
    return f"{home}/run/{name}"


def short_path(path: str) -> str:
    """Return a path to the same socket that fits into an address.

    A Unix socket's path may not exceed 107 bytes: a deep home is reached through its folder.
    """
    if len(os.fsencode(path)) <= 107:
        return path
    folder, name = os.path.split(path)
    # The descriptor stays open for the life of the process: one for each deep home.
    fd = _FOLDERS.get(folder, -1)
    if fd < 0:
        fd = _FOLDERS[folder] = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    return f"/proc/self/fd/{fd}/{name}"


def forget_folders() -> None:
    """Forget the descriptors of deep homes: for a forked child that closes all it inherited."""
    _FOLDERS.clear()


def knock(home: str, name: str, timeout_s: int) -> _socket.socket:
    """Connect to the inner door `name`; every later wait on the socket is limited as well.

    Raises: OSError: nobody listens there, or this account may not; BlockingIOError: the time is up.
    """
    sock = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM | _socket.SOCK_CLOEXEC)
    limit = struct.pack("@ll", timeout_s, 0)
    try:
        # The kernel's own timeouts: connect waits for room in the backlog, which settimeout spoils.
        sock.setsockopt(_socket.SOL_SOCKET, _socket.SO_SNDTIMEO, limit)
        sock.setsockopt(_socket.SOL_SOCKET, _socket.SO_RCVTIMEO, limit)
        sock.connect(short_path(door_path(home, name)))
    except OSError:
        sock.close()
        raise
    return sock
