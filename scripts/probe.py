"""Say by the exit code whether this interpreter will do: 0 yes, 1 no.

It must be 3.11 or newer, have venv and ensurepip, and be reachable for other accounts where root
asks. Written so that any Python 3 can read it.
"""

import importlib.util
import os
import sys

from qmail.edge.machine.openness import closed_part


def main() -> int:
    """Return 0 where this interpreter can carry the programs."""
    if sys.hexversion < 0x030B0000:
        return 1
    for name in ("venv", "ensurepip"):
        found = importlib.util.find_spec(name)
        if found is None or not found.origin:
            return 1
    if os.geteuid() == 0:
        needed = (os.path.realpath(sys.executable), os.path.dirname(os.__file__))
        if any(closed_part(path) for path in needed):
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
