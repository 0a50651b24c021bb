"""Where the virtual environment and the home of this checkout are."""

import hashlib
import os
from dataclasses import dataclass

from qmail.edge.machine.openness import closed_part

OPEN_BASE = "/var/lib/qmail-"


@dataclass(frozen=True)
class Places:
    """The folders of one checkout. `closed` names what keeps other accounts out of it, if any."""

    checkout: str
    venv: str
    home: str
    closed: str

    @property
    def bin_folder(self) -> str:
        """The folder of the programs."""
        return f"{self.venv}/bin"


def find_places() -> Places:
    """Find the places; an open one for root where the checkout is closed to the accounts."""
    checkout = os.path.dirname(os.path.dirname(os.path.realpath(__file__)))
    closed = closed_part(f"{checkout}/src/qmail") if os.geteuid() == 0 else ""
    if not closed:
        return Places(checkout, f"{checkout}/.venv", f"{checkout}/var/qmail", "")
    base = OPEN_BASE + hashlib.sha256(os.fsencode(checkout)).hexdigest()[:12]
    return Places(checkout, f"{base}/venv", f"{base}/home", closed)
