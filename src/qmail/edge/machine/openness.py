"""Whether accounts other than the owner can reach a path.

The installer uses it before anything is installed: any Python 3 must be able to read this file.
"""

import os
import stat


def closed_part(path: str) -> str:
    """Return the first part of `path` that is closed to others; an empty string where none is.

    Folders on the way must let others pass; what stands at the end must be readable for them.
    """
    path = os.path.realpath(path)
    part = "/"
    for step in path.split("/")[1:-1]:
        part = os.path.join(part, step)
        if not os.stat(part).st_mode & stat.S_IXOTH:
            return part
    mode = os.stat(path).st_mode
    wanted = stat.S_IROTH | (stat.S_IXOTH if stat.S_ISDIR(mode) else 0)
    return path if mode & wanted != wanted else ""


def closed_below(folder: str) -> str:
    """Return the first closed part on the way to `folder` or below it, else an empty string.

    Compiled files don't count: without them a program only starts slower.
    """
    closed = closed_part(folder)
    if closed:
        return closed
    for here, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if name != "__pycache__"]
        for path in [here] + [os.path.join(here, name) for name in files]:
            mode = os.stat(path).st_mode
            wanted = stat.S_IROTH | (stat.S_IXOTH if stat.S_ISDIR(mode) else 0)
            if mode & wanted != wanted:
                return path
    return ""
