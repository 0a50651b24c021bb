"""A child that answers questions: started when the first comes, again when it dies, killed on call.

Its parent is asked many things at a time; which answer belongs to what, the frames say.
"""

import time
from collections.abc import Callable

from qmail.edge.children.post import ChildPost, Post
from qmail.edge.doors.station import Door, Station


class ChildDesk:
    """One such child; its answers go to `on_payload`, and `on_lost` hears that it is gone."""

    def __init__(
        self,
        station: Station,
        post: Post,
        on_payload: Callable[[bytes], None],
        on_lost: Callable[[], None],
    ) -> None:
        self._child = ChildPost(station, post)
        self._on_payload = on_payload
        self._on_lost = on_lost
        self._door: Door | None = None

    def ask(self, frame: bytes) -> bool:
        """Send a frame; False: there is no child, and none may be started yet."""
        now = time.monotonic()
        if self._door is None and self._child.may_start(now):
            self._door = self._child.start(now, self._on_frames, self._on_close)
        if self._door is None:
            return False
        self._door.send(frame)
        self._door.flush()
        # A flush that fails closes the door, and `on_lost` has been told.
        return self._door is not None

    def _on_frames(self, door: Door, payloads: list[bytes]) -> None:
        for payload in payloads:
            # One that was replaced meanwhile has nothing to say.
            if door is self._door:
                self._on_payload(payload)

    def _on_close(self, door: Door) -> None:
        if door is self._door:
            self._door = None
            # One that broke the rules may still run.
            self._child.kill()
            self._on_lost()

    def replace(self) -> None:
        """Let the child end: what it was made with has changed. The next question starts one."""
        self._child.wait_no_longer()
        if self._door is not None:
            self.close()
            self._on_lost()

    def restart(self) -> None:
        """Do away with the child, which is silent."""
        self._child.wait_no_longer()
        if self._door is not None:
            self._door.close()

    def reaped(self, pid: int) -> bool:
        """Note that the child `pid` has ended. Returns whether it was ours."""
        return self._child.reaped(pid)

    def close(self) -> None:
        """Let the child end."""
        door, self._door = self._door, None
        if door is not None:
            door.close()
