"""What the system keeps of an account's password: may a login rest on it? (shadow(5))."""

from dataclasses import dataclass, field
from typing import Final

_LOCKED: Final = (b"!", b"*")


@dataclass(frozen=True, slots=True)
class Shadow:
    """One record. Times are days since 1970, or numbers of days; negative: not set."""

    crypted: bytes = field(repr=False)
    changed: int
    """When the password was changed; 0: it must be changed before anything else."""
    days_max: int
    """After so many it must be changed."""
    expires: int
    """The account is closed from this day on."""

    def is_usable(self, today: int) -> bool:
        """Say whether a login may rest on it: not empty, locked, expired or to be changed first."""
        if not self.crypted or self.crypted.startswith(_LOCKED) or self.changed == 0:
            return False
        if 0 <= self.expires <= today:
            return False
        return self.days_max < 0 or self.changed < 0 or today <= self.changed + self.days_max


NO_SHADOW: Final = Shadow(b"", -1, -1, -1)
"""Of an account that has none: it is never usable."""
