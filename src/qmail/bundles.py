"""Bundles: the compiled modules of a program that starts for every message, in one file.

To find, open and check thirty files costs such a program more than its work. A bundle has the code
of all that importing the program imports. It lies beside the .pyc files and is like them: made when
the programs are installed, left aside when a source has changed or it is not there.
"""

import importlib.util
import marshal
import os
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from types import CodeType

LOADER = "qmail.bundle_loader"
IMPORT_S_MAX = 60
BUNDLED = ("qmail", "__future__", "struct")
"""Our own modules, and those of Python that each of these programs needs and reads from a file."""
_LIST = "import sys; sys.path += {folders!r}; import {module}; print(*sys.modules)"


class BundleError(Exception):
    """A bundle that can't be made; the text says why."""


def write_bundle(module: str, folders: Iterable[str], path: str) -> None:
    """Make the bundle of one program at `path`; it appears whole, or not at all.

    Raises: OSError: no such folder, or not allowed. BundleError: it can't be imported.
    """
    names = [name for name in imported_by(module, folders) if name.split(".")[0] in BUNDLED]
    codes = {name: code_of(name) for name in names}
    sources = [source_of(code.co_filename) for code, _ in codes.values()]
    new = f"{path}.new{os.getpid()}"
    with open(new, "wb") as file:
        file.write(marshal.dumps((code_of(LOADER)[0], sources, codes)))
    os.chmod(new, 0o644)
    os.rename(new, path)


def imported_by(module: str, folders: Iterable[str]) -> list[str]:
    """Return what is imported when a program starts, as a launcher starts it.

    Raises: BundleError: it can't be imported.
    """
    code = _LIST.format(folders=list(folders), module=module)
    done = subprocess.run(
        [sys.executable, "-IS", "-c", code],
        capture_output=True,
        text=True,
        check=False,
        timeout=IMPORT_S_MAX,
    )
    if done.returncode != 0:
        raise BundleError(f"{module}: {done.stderr.strip()[-200:]}")
    return done.stdout.split()


def code_of(name: str) -> tuple[CodeType, str]:
    """Return a module's code without its docstrings, and its folder where it is a package.

    Raises: BundleError: it has no source. OSError: that can't be read.
    """
    spec = importlib.util.find_spec(name)
    if spec is None or spec.origin is None or not spec.has_location:
        raise BundleError(f"{name}: no source")
    with open(spec.origin, "rb") as file:
        text = file.read()
    code = compile(text, spec.origin, "exec", dont_inherit=True, optimize=2)
    return code, next(iter(spec.submodule_search_locations or ()), "")


def source_of(path: str) -> tuple[str, int, int]:
    """Return what a source is known by: path, size in bytes, time of change in nanoseconds."""
    found = os.stat(path)
    return path, found.st_size, found.st_mtime_ns


def write_bundles(
    modules: Iterable[str], folders: Iterable[str], path_of: Callable[[str, str], str]
) -> Iterator[str]:
    """Make the bundles of these programs, at `path_of` program and cache tag.

    Yields: what is wrong with one that can't be made; then that program only starts slower.
    """
    places, tag = list(folders), sys.implementation.cache_tag
    if tag is None:
        yield "this Python keeps no compiled files"
        return
    for module in modules:
        try:
            write_bundle(module, places, path_of(module, tag))
        except (OSError, BundleError, subprocess.SubprocessError) as wrong:
            yield str(wrong)
