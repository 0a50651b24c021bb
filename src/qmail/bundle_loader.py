"""Finds the modules of a short program in its bundle, one file in place of thirty.

This module's code is the first thing in each bundle and runs before anything is imported: it needs
nothing that the interpreter has not loaded by then. `qmail.bundles` makes the bundles.
"""

from __future__ import annotations

import sys
from _frozen_importlib import ModuleSpec
from posix import stat

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from types import CodeType, ModuleType
    from typing import Any

    Source = tuple[str, int, int]
    # A source file: path, size in bytes, time of change in nanoseconds.
    Codes = Mapping[str, tuple[CodeType, str]]
    # For each module its code, and its folder where it is a package, else "".


class Bundle:
    """A finder and loader of modules, as sys.meta_path has them."""

    def __init__(self, codes: Codes) -> None:
        self._codes = codes

    def find_spec(
        self, name: str, _path: Sequence[str] | None = None, _target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Return where a module comes from: here; None: it is not in the bundle."""
        found = self._codes.get(name)
        if found is None:
            return None
        code, folder = found
        loader: Any = self
        spec = ModuleSpec(name, loader, origin=code.co_filename, is_package=bool(folder))
        if spec.submodule_search_locations is not None:
            # Modules that only some runs need are found there as always.
            spec.submodule_search_locations.append(folder)
        return spec

    def create_module(self, _spec: ModuleSpec) -> ModuleType | None:
        """Leave making the module to the interpreter."""
        return None

    def exec_module(self, module: ModuleType) -> None:
        """Run the module's code."""
        exec(self._codes[module.__name__][0], module.__dict__)  # noqa: S102 - as an import does


def install(sources: Sequence[Source], codes: Codes) -> bool:
    """Use the bundle, unless a source has changed since. Returns whether it is used.

    Raises: OSError: a source is not there any more.
    """
    for path, size, changed_ns in sources:
        found = stat(path)
        if found.st_size != size or found.st_mtime_ns != changed_ns:
            return False
    sys.meta_path.insert(0, Bundle(codes))
    return True
