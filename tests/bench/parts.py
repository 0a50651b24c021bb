"""The benchmark's modules: no part of the package, and not known to the type checker here."""

import importlib
import os
import sys
from types import ModuleType

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


def part(name: str) -> ModuleType:
    """Return one of them."""
    if ROOT not in sys.path:
        sys.path.append(ROOT)
    return importlib.import_module(f"bench.{name}")
