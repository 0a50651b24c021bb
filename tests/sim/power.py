"""The plug of the simulated disks, and what a cut leaves of what was not synced."""

from dataclasses import dataclass
from enum import Enum, auto


class PowerCut(BaseException):
    """The power is gone: no `except Exception` of the code under test may survive it."""


class Power:
    """Counts the operations of all disks on one plug and cuts before number `cut_at`."""

    def __init__(self, cut_at: int | None = None) -> None:
        self.count = 0
        self.is_off = False
        self.cut_at = cut_at
        self.who = ""
        """Which program is at work."""

    def restore(self) -> None:
        """Put the power back, for good: what was cut was one program."""
        self.is_off = False
        self.cut_at = None

    def check(self) -> None:
        """Raise PowerCut when the power is gone."""
        if self.is_off:
            raise PowerCut(self.count)

    def step(self) -> None:
        """Count one operation, or cut the power before it takes effect."""
        if self.is_off or self.count == self.cut_at:
            self.is_off = True
            raise PowerCut(self.count)
        self.count += 1


class Torn(Enum):
    """What a cut leaves of bytes that were written and not synced."""

    NOTHING = auto()
    HALF = auto()
    ZEROS = auto()
    WHOLE = auto()


@dataclass(frozen=True, slots=True)
class Choice:
    """What survives of what was not synced: the first `names` names, and how files are torn.

    `seed`: each file is torn in its own way. Synced bytes and names survive always.
    """

    names: int = 0
    torn: Torn = Torn.NOTHING
    seed: int | None = None


NOTHING = Choice()
"""Disk model `nothing`: only what was synced is there."""


def torn_bytes(torn: Torn, disk: bytes, data: bytes) -> bytes:
    """Return what a cut leaves of a file that was `disk` and is being made `data`."""
    if torn is Torn.WHOLE:
        return data
    longer = len(data) - len(disk)
    if torn is Torn.HALF:
        if data.startswith(disk):
            return data[: len(disk) + longer // 2]
        # Written over in place: the new beginning and the old rest.
        half = len(data) // 2
        return data[:half] + disk[half:]
    if torn is Torn.ZEROS:
        return disk + bytes(longer) if longer > 0 else disk[: len(data)]
    return disk
