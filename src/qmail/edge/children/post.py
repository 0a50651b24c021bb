"""A post that a child fills, one at a time: forked when wanted, again some time after it died.

Who asks it, and what becomes of questions when it is gone, is the business of its owners.
"""

import os
import signal
import socket
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from qmail.edge.children.offspring import Who, fork_child
from qmail.edge.doors.station import Door, Station

START_AGAIN_S: Final = 1.0
"""A child that died is followed by another after so long."""


@dataclass(frozen=True, slots=True)
class Post:
    """What kind of child it is."""

    name: str
    """What ps shows."""
    account: Who | None
    """Whom it becomes; None: it stays who we are."""
    main: Callable[[socket.socket], int]
    frame_bytes_max: int


class ChildPost:
    """Knows the process; the door to it is its owner's."""

    def __init__(self, station: Station, post: Post) -> None:
        self._station = station
        self._post = post
        self._pid = 0
        self._started_at = -START_AGAIN_S

    def may_start(self, now: float) -> bool:
        """Say whether it is time for another child; `now` is monotonic."""
        return now >= self._started_at + START_AGAIN_S

    def start(
        self,
        now: float,
        on_frames: Callable[[Door, list[bytes]], None],
        on_close: Callable[[Door], None],
    ) -> Door | None:
        """Fork a child and return the door to it; None: no process or no descriptor is left."""
        self._started_at = now
        try:
            self._pid, sock = fork_child(self._post.name, self._post.account, self._post.main)
        except OSError:
            return None
        return Door(
            self._station,
            sock,
            self._post.frame_bytes_max,
            on_frames=on_frames,
            on_close=on_close,
        )

    def wait_no_longer(self) -> None:
        """Let the next child start at once."""
        self._started_at = -START_AGAIN_S

    def kill(self) -> None:
        """Kill the child, if there is one."""
        if self._pid:
            os.kill(self._pid, signal.SIGKILL)

    def reaped(self, pid: int) -> bool:
        """Note that the child `pid` has ended. Returns whether it was ours."""
        if pid != self._pid:
            return False
        self._pid = 0
        return True
