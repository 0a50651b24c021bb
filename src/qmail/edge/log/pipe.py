"""The pipe between all programs and qmail-log, as qmail-start makes it."""

import contextlib
import fcntl
import os
from typing import Final

PIPE_BYTES: Final = 1024 * 1024
"""So much may wait for qmail-log: a fifth of a second of very busy mail, or its restart."""


class LogPipe:
    """Both ends stay open in qmail-start: nothing is lost while qmail-log is started again.

    `outer` is what had the log before: descriptor 1, or the logger of the command line.
    """

    def __init__(self, outer: int) -> None:
        self.outer = outer
        self.reader, self.writer = os.pipe()
        with contextlib.suppress(OSError):
            # Above what an account without privileges may have, it stays as it is: 64 KB.
            fcntl.fcntl(self.writer, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
        # For all who write: a logger that is slow or dead holds up no mail (edge/log/lines.py).
        os.set_blocking(self.writer, False)
