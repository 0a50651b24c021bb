"""Whether a file that is made from another one is up to date: users/cdb, morercpthosts.cdb."""

import os
from enum import Enum, auto


class Freshness(Enum):
    """How a made file and its source stand to each other."""

    NEITHER = auto()
    FRESH = auto()
    STALE = auto()
    """The source was changed after it was made."""
    MISSING = auto()
    """There is a source, and nothing was made of it."""
    ALONE = auto()
    """Its source is gone."""


def freshness(made: str, source: str) -> Freshness:
    """Compare the times of two files. Raises: OSError: one of them can't be looked at."""
    made_ns, source_ns = _mtime_ns(made), _mtime_ns(source)
    if made_ns is None:
        return Freshness.NEITHER if source_ns is None else Freshness.MISSING
    if source_ns is None:
        return Freshness.ALONE
    return Freshness.STALE if made_ns < source_ns else Freshness.FRESH


def _mtime_ns(path: str) -> int | None:
    try:
        return os.stat(path).st_mtime_ns
    except FileNotFoundError:
        return None
