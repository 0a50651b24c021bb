"""The whole suite, really started by qmail-start in a home of its own, and its log."""

import os
import select
import signal
import smtplib
import subprocess
import time
from pathlib import Path
from types import TracebackType

from tests.fakes.homes import GID, IS_ROOT, UID, free_port, make_home

from qmail.launchers import write_launchers

WAIT_S = 60.0


def is_readable(fd: int, wait_s: float) -> bool:
    """Wait for input; unlike select.select for descriptors of any number."""
    poll = select.poll()
    poll.register(fd, select.POLLIN)
    return bool(poll.poll(wait_s * 1000))


class Suite:
    """One home and, while it runs, the qmail-start on it."""

    descriptors = 0
    """The limit of open files that it is started with; 0: ours."""

    def __init__(self, folder: Path) -> None:
        self.home = folder / "home"
        self.bin = folder / "bin"
        self.port = free_port()
        make_home(self.home, f"smtp 127.0.0.1:{self.port}")
        self.bin.mkdir()
        write_launchers(str(self.bin))
        self.lines: list[str] = []
        self.environ: dict[str, str] = {}
        """More for the environment of qmail-start."""
        self.process: subprocess.Popen[bytes] | None = None
        self._rest = b""

    def control(self, name: str, text: str) -> None:
        """Write a control file."""
        (self.home / "control" / name).write_text(text)

    def start(self, *arguments: str) -> "Suite":
        """Start qmail-start; its output is the log."""
        limit = ["sh", "-c", f'ulimit -n {self.descriptors}; exec "$@"', "sh"]
        command = [str(self.bin / "qmail-start"), *(arguments or ("./Maildir/",))]
        self.process = subprocess.Popen(
            [*limit, *command] if self.descriptors else command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env={"PATH": os.environ["PATH"], "QMAIL_HOME": str(self.home), **self.environ},
            cwd="/",
            user=UID,
            group=GID,
            extra_groups=[] if IS_ROOT else None,
        )
        return self

    def __enter__(self) -> "Suite":
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _wrong: object, _trace: TracebackType | None
    ) -> None:
        if self.process is not None and self.process.poll() is None:
            self.stop()
        if self.process is not None and self.process.stdout is not None:
            self.process.stdout.close()

    # --- its log --------------------------------------------------------------------------------

    def wait_for(self, text: str) -> str:
        """Return the next line of the log that holds `text`."""
        end = time.monotonic() + WAIT_S
        start = 0
        while True:
            for line in self.lines[start:]:
                if text in line:
                    del self.lines[: self.lines.index(line, start) + 1]
                    return line
            start = len(self.lines)
            if not self._read(end - time.monotonic()):
                raise AssertionError(f"no {text!r} in the log: {self.lines}")

    def lines_until(self, text: str, count: int) -> list[str]:
        """Return the next lines of the log, up to the one that is the `count`th with `text`.

        There may be thousands: the next of them is waited for, and not all.
        """
        found: list[int] = []
        looked_at = 0
        end = time.monotonic() + WAIT_S
        while True:
            before = len(found)
            new = enumerate(self.lines[looked_at:], looked_at + 1)
            found += [at for at, line in new if text in line]
            looked_at = len(self.lines)
            if len(found) >= count:
                taken = self.lines[: found[count - 1]]
                del self.lines[: found[count - 1]]
                return taken
            if len(found) > before:
                end = time.monotonic() + WAIT_S
            if not self._read(end - time.monotonic()):
                raise AssertionError(f"{len(found)} of {count} {text!r} in the log: {self.lines}")

    def wait_for_each(self, *texts: str) -> list[str]:
        """Return the next lines of the log that hold these texts, in whatever order they come."""
        end = time.monotonic() + WAIT_S
        while True:
            found = [[line for line in self.lines if text in line] for text in texts]
            if all(found):
                lines = [matching[0] for matching in found]
                del self.lines[: max(map(self.lines.index, lines)) + 1]
                return lines
            if not self._read(end - time.monotonic()):
                raise AssertionError(f"not all of {texts} in the log: {self.lines}")

    def pass_over(self) -> None:
        """Forget all lines that have come so far: the next ones are about what is done next."""
        assert self.process is not None
        assert self.process.stdout is not None
        while is_readable(self.process.stdout.fileno(), 0) and self._read(WAIT_S):
            continue
        self.lines.clear()

    def _read(self, wait_s: float) -> bool:
        assert self.process is not None
        assert self.process.stdout is not None
        pipe = self.process.stdout.fileno()
        if wait_s <= 0 or not is_readable(pipe, wait_s):
            return False
        data = os.read(pipe, 65536)
        *lines, self._rest = (self._rest + data).split(b"\n")
        self.lines += [line.decode() for line in lines]
        return bool(data)

    def rest(self) -> list[str]:
        """Return all lines up to the end of the log."""
        while self._read(WAIT_S):
            continue
        return self.lines

    # --- its programs ---------------------------------------------------------------------------

    @property
    def children(self) -> dict[str, int]:
        """Name and process id of every resident program."""
        assert self.process is not None
        found = {}
        for folder in Path("/proc").iterdir():
            try:
                if not folder.name.isdigit():
                    continue
                parent = (folder / "stat").read_text().rpartition(")")[2].split()[1]
                arguments = (folder / "cmdline").read_bytes().split(b"\0")
            except OSError:
                continue
            if int(parent) == self.process.pid:
                names = [os.path.basename(word).decode() for word in arguments]
                name = next((name for name in names if name.startswith("qmail-")), "?")
                found[name] = int(folder.name)
        return found

    def signal(self, number: int) -> None:
        """Send qmail-start a signal."""
        assert self.process is not None
        self.process.send_signal(number)

    def stop(self) -> int:
        """Stop it with TERM. Returns: its exit code."""
        self.signal(signal.SIGTERM)
        return self.ended()

    def ended(self) -> int:
        """Wait for its end. Returns: its exit code."""
        assert self.process is not None
        self.rest()
        return self.process.wait(WAIT_S)

    def qmail(self, *arguments: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
        """Run the command `qmail` on the home."""
        return subprocess.run(
            [str(self.bin / "qmail"), *arguments],
            check=False,
            input=stdin,
            capture_output=True,
            env={"PATH": os.environ["PATH"], "QMAIL_HOME": str(self.home)},
            cwd="/",
            text=True,
            timeout=WAIT_S,
        )

    # --- mail -----------------------------------------------------------------------------------

    def send_by_smtp(self, *recipients: str, sender: str, text: str = "x\n") -> None:
        """Send a message by SMTP; as long as the answer is temporary, try again."""
        end = time.monotonic() + WAIT_S
        while True:
            with smtplib.SMTP("127.0.0.1", self.port, timeout=WAIT_S) as smtp:
                try:
                    smtp.sendmail(sender, recipients, f"Subject: test\n\n{text}")
                except smtplib.SMTPResponseException as wrong:
                    if wrong.smtp_code >= 500 or time.monotonic() > end:
                        raise
                else:
                    return

    def send(self, *recipients: str, sender: str = "joe@far.example", text: str = "x\n") -> int:
        """Queue a message with the command qmail-queue. Returns: its pid."""
        reader, writer = os.pipe()
        envelope = f"F{sender}\0" + "".join(f"T{recipient}\0" for recipient in recipients) + "\0"
        os.write(writer, envelope.encode())
        os.close(writer)
        command = subprocess.Popen(
            [str(self.bin / "qmail-queue")],
            stdin=subprocess.PIPE,
            stdout=reader,
            env={"PATH": os.environ["PATH"], "QMAIL_HOME": str(self.home)},
            cwd="/",
        )
        os.close(reader)
        command.communicate(f"Subject: test\n\n{text}".encode(), timeout=WAIT_S)
        assert command.returncode == 0
        return command.pid

    @property
    def mailbox(self) -> list[bytes]:
        """The messages that were delivered to alias."""
        folder = self.home / "alias/Maildir/new"
        return [path.read_bytes() for path in sorted(folder.iterdir())]
