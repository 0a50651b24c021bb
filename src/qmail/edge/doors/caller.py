"""A door that is called again whenever it closes: how resident programs find each other."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from qmail.edge.doors.station import Door, Station, call_door

CALL_AGAIN_S: Final = 0.5


@dataclass(frozen=True, slots=True)
class Line:
    """Whom to call and what to do with what comes."""

    name: str
    peer_uids: frozenset[int]
    frame_bytes_max: int
    on_frames: Callable[[list[bytes]], None]
    on_change: Callable[[bool], None]
    """Called with True when the connection is there, False when it is gone."""


class Caller:
    """Keeps one connection to an inner door."""

    def __init__(self, station: Station, home: str, line: Line) -> None:
        self._station = station
        self._home = home
        self._line = line
        self._door: Door | None = None
        self._next_call = 0.0

    @property
    def is_up(self) -> bool:
        """True while connected."""
        return self._door is not None

    def call(self) -> None:
        """Connect if that is due; a refusal is tried again later."""
        now = time.monotonic()
        if self._door is not None or now < self._next_call:
            return
        self._next_call = now + CALL_AGAIN_S
        try:
            sock = call_door(self._home, self._line.name)
        except OSError:
            return
        door = Door(
            self._station,
            sock,
            self._line.frame_bytes_max,
            on_frames=self._on_frames,
            on_close=self._on_close,
        )
        if door.peer_uid not in self._line.peer_uids:
            door.close()
            return
        self._door = door
        self._line.on_change(True)

    def _on_frames(self, _door: Door, payloads: list[bytes]) -> None:
        self._line.on_frames(payloads)

    def _on_close(self, door: Door) -> None:
        if door is self._door:
            self._door = None
            self._line.on_change(False)

    def send(self, frames: list[bytes]) -> None:
        """Write frames; they are lost when the connection is."""
        if self._door is not None and frames:
            self._door.send(b"".join(frames))
            self._door.flush()
