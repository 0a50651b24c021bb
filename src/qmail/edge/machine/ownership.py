"""Whether a name can lead only to what we, or root, have put there.

Root may write beside a file that an administrator names only where nobody else can make that name
lead elsewhere meanwhile.
"""

from __future__ import annotations

import os
import stat

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

OTHERS_WRITE: Final = stat.S_IWGRP | stat.S_IWOTH


def others_part(path: str) -> str:
    """Return the first part of `path`'s folder that others can change, "" where there is none.

    A symbolic link counts as one that others can change: what it leads to is not looked at.
    Raises: OSError: a part is not there, or closed to us.
    """
    part = ""
    for name in os.path.dirname(os.path.abspath(path)).split("/"):
        part = f"{part}/{name}" if name else part
        found = os.lstat(part or "/")
        is_ours = found.st_uid in (0, os.geteuid()) and not found.st_mode & OTHERS_WRITE
        if not (is_ours and stat.S_ISDIR(found.st_mode)):
            return part or "/"
    return ""
