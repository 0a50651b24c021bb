"""What the resident programs that talk to the network run in: a loop, inherited sockets."""

import asyncio
import gc
import os
import socket
from collections.abc import Callable, Coroutine
from typing import Any

from qmail.edge.log.lines import complain
from qmail.edge.machine.accounts import MissingAccountError
from qmail.protocol.exits import Exit


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


def run_to_end(name: str, serve: Callable[[], Coroutine[Any, Any, None]]) -> int:
    """Run the life of the program `name` in an event loop. Returns: its exit code."""
    # What is there now stays: no collection needs to look at it again.
    gc.freeze()
    try:
        with asyncio.Runner(loop_factory=loop_factory()) as runner:
            runner.run(serve())
    except (OSError, MissingAccountError) as trouble:
        complain(name, f"fatal: {trouble}")
        return Exit.TEMPORARY
    return Exit.OK
