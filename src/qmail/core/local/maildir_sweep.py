"""What crashes left in the tmp/ of a maildir (spec/delivery.md 9, "Readers")."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

    from qmail.core.fs import Fs

STALE_S: Final = 129600
"""A file in tmp/ that nobody touched for 36 hours is what a crash left."""
LOOKED_AT_MAX: Final = 1000
"""So many files of one tmp/ are looked at in one sweep."""


def remove_stale(fs: Fs, now_s: float) -> None:
    """Remove from tmp/ what crashes left there; whatever goes wrong is for the next time."""
    try:
        for count, (name, _) in enumerate(fs.names("tmp")):
            if count == LOOKED_AT_MAX:
                return
            path = f"tmp/{name}"
            found = fs.info(path)
            if found is not None and found.is_regular and found.newest + STALE_S < now_s:
                fs.unlink(path)
    except OSError:
        return
