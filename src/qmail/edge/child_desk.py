"""A child that answers questions: started when the first comes, again when it dies, killed on call.

Its parent is asked many things at a time; which answer belongs to what, the frames say.
"""

import os
import signal
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from qmail.edge.offspring import Who, fork_child
from qmail.edge.station import Door, Station

START_AGAIN_S: Final = 1.0
"""A child that died is followed by another after so long; until then questions fail."""


@dataclass(frozen=True, slots=True)
class Post:
    """What kind of child it is."""

    name: str
    """What ps shows."""
    account: Who | None
    """Whom it becomes; None: it stays who we are."""
    main: Callable[[socket.socket], int]
    frame_bytes_max: int


class ChildDesk:
    """One such child; its answers go to `on_payload`, and `on_lost` hears that it is gone."""

    def __init__(
        self,
        station: Station,
        post: Post,
        on_payload: Callable[[bytes], None],
        on_lost: Callable[[], None],
    ) -> None:
        self._station = station
        self._post = post
        self._on_payload = on_payload
        self._on_lost = on_lost
        self._door: Door | None = None
        self._pid = 0
        self._started_at = -START_AGAIN_S

    def ask(self, frame: bytes) -> bool:
        """Send a frame; False: there is no child, and none may be started yet."""
        if self._door is None:
            self._start()
        if self._door is None:
            return False
        self._door.send(frame)
        self._door.flush()
        # A flush that fails closes the door, and `on_lost` has been told.
        return self._door is not None

    def _start(self) -> None:
        now = time.monotonic()
        if now < self._started_at + START_AGAIN_S:
            return
        self._started_at = now
        try:
            self._pid, sock = fork_child(self._post.name, self._post.account, self._post.main)
        except OSError:
            return
        self._door = Door(
            self._station,
            sock,
            self._post.frame_bytes_max,
            on_frames=self._on_frames,
            on_close=self._on_close,
        )

    def _on_frames(self, door: Door, payloads: list[bytes]) -> None:
        for payload in payloads:
            # One that was replaced meanwhile has nothing to say.
            if door is self._door:
                self._on_payload(payload)

    def _on_close(self, door: Door) -> None:
        if door is self._door:
            self._door = None
            # One that broke the rules may still run.
            self._kill()
            self._on_lost()

    def _kill(self) -> None:
        if self._pid:
            os.kill(self._pid, signal.SIGKILL)

    def replace(self) -> None:
        """Let the child end: what it was made with has changed. The next question starts one."""
        self._started_at = -START_AGAIN_S
        if self._door is not None:
            self.close()
            self._on_lost()

    def restart(self) -> None:
        """Do away with the child, which is silent."""
        self._started_at = -START_AGAIN_S
        if self._door is not None:
            self._door.close()

    def reaped(self, pid: int) -> bool:
        """Note that the child `pid` has ended. Returns whether it was ours."""
        if pid != self._pid:
            return False
        self._pid = 0
        return True

    def close(self) -> None:
        """Let the child end."""
        door, self._door = self._door, None
        if door is not None:
            door.close()
