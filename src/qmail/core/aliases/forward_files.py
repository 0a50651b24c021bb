"""The files that a command line of dot-forward names, read as the program reads them.

The program does what comes of it, and `qmail explain` shows it. Source: spec/companion.md 1.
"""

from __future__ import annotations

import os

from qmail.core.aliases.dot_forward import FORWARD_BYTES_MAX, Owner, plan_dot_forward
from qmail.core.inject.rewriting import Rewriter
from qmail.core.settings.hosts import read_hosts
from qmail.core.whole_files import read_whole

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Final

    from qmail.core.aliases.dot_forward import DotForward
    from qmail.core.settings.lines import ReadFile

WRITABLE_BY_OTHERS: Final = 0o002


class ClosedFileError(Exception):
    """A .forward file that can't be read, or that others may write to."""


def plan_files(
    files: Sequence[bytes], environ: Mapping[bytes, bytes], read_control: ReadFile
) -> DotForward:
    """Find out what the first of `files` that says something asks for.

    Raises: ForwardFileError: a line that can't be understood. ClosedFileError. ControlError,
    OSError: a control file with a host that completes addresses can't be used.
    """
    owner = Owner(environ.get(b"USER", b""), environ.get(b"HOST", b""))
    return plan_dot_forward(files, owner, Rewriter(read_hosts({}, read_control)), read_forward)


def read_forward(file: bytes) -> bytes | None:
    """Return a .forward file, None where there is none. Raises: ClosedFileError."""
    shown = os.fsdecode(file)
    try:
        text, found = read_whole(file, FORWARD_BYTES_MAX)
    except FileNotFoundError:
        return None
    except OSError as trouble:
        reason = (trouble.strerror or str(trouble)).lower()
        raise ClosedFileError(f"unable to read {shown}: {reason}") from None
    if found.st_mode & WRITABLE_BY_OTHERS:
        raise ClosedFileError(f"others may write to {shown}: run 'chmod o-w {shown}'")
    return text
