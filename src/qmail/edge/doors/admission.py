"""Calls at an inner door: taken from those who may call there, told of and ended from others."""

import socket
from collections.abc import Callable, Collection

from qmail.edge.doors.station import Door, Listener, Station
from qmail.edge.log.lines import complain

OnFrames = Callable[[Door, list[bytes]], None]


def _nothing(_door: Door) -> None:
    return


class Admission:
    """The open calls of one program. `on_close` is told of each that ends.

    `callers_max`: more at a time are hung up on, and so are more than `each_max` of one account.
    """

    def __init__(
        self,
        station: Station,
        program: str,
        *,
        on_close: Callable[[Door], None] = _nothing,
        callers_max: int | None = None,
        each_max: int | None = None,
    ) -> None:
        self._station = station
        self._program = program
        self._on_close = on_close
        self._callers_max = callers_max
        self._each_max = each_max
        self.kind: type[Door] = Door
        """What is made of each connection."""
        self._callers: set[Door] = set()
        self._is_shut = False

    @property
    def callers(self) -> tuple[Door, ...]:
        """Those that are being served now."""
        return tuple(self._callers)

    def shut(self) -> None:
        """Take no more calls; those that are open stay."""
        self._is_shut = True

    def listen(
        self,
        sock: socket.socket,
        frame_bytes_max: int,
        uids: Collection[int] | None,
        on_frames: OnFrames,
        *,
        greet: Callable[[], bytes] | None = None,
    ) -> None:
        """Take calls of `uids`, None: of anybody, at a listening door.

        `greet` makes what each gets first.
        """

        def on_call(caller: socket.socket) -> None:
            door = self.kind(
                self._station, caller, frame_bytes_max, on_frames=on_frames, on_close=self._closed
            )
            if self._is_shut:
                door.close()
            elif uids is not None and door.peer_uid not in uids:
                complain(self._program, f"refused a call from uid {door.peer_uid}")
                door.close()
            elif self._is_full(door.peer_uid):
                door.close()
            else:
                # Kept, or nobody would hold the connection.
                self._callers.add(door)
                if greet is not None:
                    door.send(greet())
                    door.flush()

        Listener(self._station, sock, on_call)

    def _is_full(self, uid: int) -> bool:
        if self._callers_max is not None and len(self._callers) >= self._callers_max:
            return True
        if self._each_max is None:
            return False
        return sum(door.peer_uid == uid for door in self._callers) >= self._each_max

    def _closed(self, door: Door) -> None:
        if door in self._callers:
            self._callers.discard(door)
            self._on_close(door)
