"""What the resident programs that talk to the network start with: a loop, inherited sockets."""

import asyncio
import os
import socket
from collections.abc import Callable
from typing import Any


def loop_factory() -> Callable[[], Any]:
    """Return what makes the event loop: uvloop, or asyncio where that can't be imported."""
    try:
        import uvloop  # noqa: PLC0415 - it may be missing
    except ImportError:
        return asyncio.new_event_loop
    return uvloop.new_event_loop


def inherit(fd: int) -> socket.socket:
    """Take a listening socket from qmail-start; programs that we start must not get it.

    `fileno=` finds family and protocol out; without these asyncio would leave Nagle on.
    """
    os.set_inheritable(fd, False)
    return socket.socket(fileno=fd)
