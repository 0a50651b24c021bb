"""The folder that everything lies in, laid out so that no measurement disturbs the next.

ext4 looks long for a free inode where many were freed in the last minute: a file then costs up to
a millisecond instead of 0.04. What a server frees by its own work is its own cost. What is removed
between measurements is not, so nothing is: it moves aside, and goes at the end. The folders here
are spread over the disk as those below / are, so that mailboxes and queues, ours and Postfix's, do
not free inodes in each other's neighbourhood.
"""

import os
import shutil
import subprocess
import tempfile
from typing import Final

from bench.load import tool

FREE_BYTES_MIN: Final = 8 * 2**30
TOOL_SECONDS_MAX: Final = 10.0


class Ground:
    """The folder of one run."""

    def __init__(self, below: str) -> None:
        self.path = tempfile.mkdtemp(prefix="qmail-bench-", dir=below)
        os.chmod(self.path, 0o755)
        chattr = tool("chattr")
        if chattr is not None:
            # Refused by other file systems, which have no such habit to work around.
            subprocess.run(
                [chattr, "+T", self.path],
                capture_output=True,
                timeout=TOOL_SECONDS_MAX,
                check=False,
            )

    def folder(self) -> str:
        """Make a folder in it."""
        path = tempfile.mkdtemp(dir=self.path)
        os.chmod(path, 0o755)
        return path

    def _is_roomy(self) -> bool:
        return shutil.disk_usage(self.path).free > FREE_BYTES_MIN

    def empty(self, folder: str) -> None:
        """Move all files out of `folder`; remove them where the disk is nearly full."""
        with os.scandir(folder) as entries:
            names = [entry.name for entry in entries]
        if names and self._is_roomy():
            aside = tempfile.mkdtemp(dir=self.path)
            for name in names:
                os.rename(f"{folder}/{name}", f"{aside}/{name}")
            return
        for name in names:
            os.unlink(f"{folder}/{name}")

    def leave(self, folder: str) -> None:
        """Be done with a folder: it stays until the end unless the disk is nearly full."""
        if not self._is_roomy():
            shutil.rmtree(folder, ignore_errors=True)

    def remove(self) -> None:
        """Remove everything."""
        shutil.rmtree(self.path, ignore_errors=True)
