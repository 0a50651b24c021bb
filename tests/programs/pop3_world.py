"""Maildirs for tests of the POP3 programs, the real commands, and a client that speaks in bytes."""

import os
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from tests.fakes.door import WAIT_S_MAX
from tests.programs.lspawn_driver import can_read_the_programs

OWNER = 31017
"""Who owns the maildirs where root runs the tests: qmail-pop3d refuses root."""
IS_ROOT = os.getuid() == 0
OK = b"+OK \r\n"
POPUP = "import sys; from qmail.programs.popup import main; sys.exit(main(sys.argv[1:]))"
POP3D = "import sys; from qmail.programs.pop3d import main; sys.exit(main(sys.argv[1:]))"


@contextmanager
def maildir_of_owner() -> Iterator[Path]:
    """Make a maildir that its owner can reach; it is removed in the end."""
    if IS_ROOT and not can_read_the_programs(OWNER, OWNER):
        pytest.skip("other accounts can't read the programs here")
    folder = Path(tempfile.mkdtemp(prefix="qmail-test-"))
    try:
        folder.chmod(0o755)
        root = folder / "Maildir"
        for path in (root, *(root / part for part in ("tmp", "new", "cur"))):
            path.mkdir()
            if IS_ROOT:
                os.chown(path, OWNER, OWNER)
        yield root
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def put(root: Path, path: str, text: bytes, when: float = 1_700_000_000) -> None:
    """Put a message into a maildir."""
    (root / path).write_bytes(text)
    os.utime(root / path, (when, when))
    if IS_ROOT:
        os.chown(root / path, OWNER, OWNER)


def names(root: Path) -> list[str]:
    """List what is in new and cur."""
    found = [f"{part}/{path.name}" for part in ("new", "cur") for path in (root / part).iterdir()]
    return sorted(found)


class Conversation:
    """A real command with a socket as descriptors 0 and 1."""

    def __init__(
        self,
        words: Sequence[str],
        environ: Mapping[str, str] | None = None,
        *,
        as_owner: bool = False,
    ) -> None:
        self.sock, theirs = socket.socketpair()
        self.sock.settimeout(WAIT_S_MAX)
        kept = {name: os.environ[name] for name in ("PATH", "PYTHONPATH") if name in os.environ}
        owner = OWNER if as_owner and IS_ROOT else None
        self.process = subprocess.Popen(
            list(words),
            stdin=theirs.fileno(),
            stdout=theirs.fileno(),
            stderr=subprocess.PIPE,
            env={**kept, "QMAIL_HOME": "/nonexistent", **(environ or {})},
            cwd="/",
            user=owner,
            group=owner,
            extra_groups=None if owner is None else [],
        )
        theirs.close()
        self._rest = b""

    def __enter__(self) -> "Conversation":
        return self

    def __exit__(self, *_trouble: object) -> None:
        self.sock.close()
        if self.process.poll() is None:
            self.process.kill()
        self.process.communicate(timeout=WAIT_S_MAX)

    def send(self, *lines: bytes) -> None:
        """Send lines, all at once."""
        self.sock.sendall(b"".join(line + b"\r\n" for line in lines))

    def line(self) -> bytes:
        """Return the next line with its end; what is left where there is none."""
        while b"\n" not in self._rest:
            data = self.sock.recv(65536)
            if not data:
                break
            self._rest += data
        end = self._rest.find(b"\n") + 1 or len(self._rest)
        line, self._rest = self._rest[:end], self._rest[end:]
        return line

    def rest(self) -> bytes:
        """Return everything up to the end of the connection."""
        parts = [self._rest]
        self._rest = b""
        while data := self.sock.recv(65536):
            parts.append(data)
        return b"".join(parts)

    def end(self) -> tuple[int, bytes]:
        """Wait for the end. Returns: exit code, what was written to descriptor 2."""
        _, errors = self.process.communicate(timeout=WAIT_S_MAX)
        return self.process.returncode, errors

    def play(self, script: bytes) -> bytes:
        """Send everything, then the end of input; return everything that is said."""
        sender = threading.Thread(target=self._send_all, args=(script,))
        sender.start()
        said = self.rest()
        sender.join(WAIT_S_MAX)
        return said

    def _send_all(self, script: bytes) -> None:
        # The command may have said all and gone.
        with suppress(OSError):
            self.sock.sendall(script)
            self.sock.shutdown(socket.SHUT_WR)


def pop3d(root: Path | str) -> Conversation:
    """Run qmail-pop3d on a maildir, as its owner."""
    return Conversation([sys.executable, "-c", POP3D, str(root)], as_owner=True)


def popup(*words: str, **environ: str) -> Conversation:
    """Run qmail-popup with these arguments; it answers to wrong passwords at once."""
    quick = f"from qmail.programs import popup_single as p; p.FAILURE_S = 0; {POPUP}"
    return Conversation([sys.executable, "-c", quick, *words], environ)
