"""The real programs in a home of their own, to be killed: started, looked at, killed, drained."""

import os
import signal
import socket
import socketserver
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from tests.fakes.homes import free_port

HOST = "test.example"
FAR = "far.example"
NOBODY = 65534
START_S_MAX = 60.0
STOP_S_MAX = 60.0
GREETING_S_MAX = 5.0


class Suite:
    """One home and its qmail-start. `separate`: we are root and each program has its account."""

    def __init__(self, top: Path, *, separate: bool, sink_port: int) -> None:
        self.top = top
        self.home = top / "home"
        self.port = free_port()
        self.process: subprocess.Popen[bytes] | None = None
        self._environ = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "QMAIL_HOME": str(self.home)}
        self._user = NOBODY if os.geteuid() == 0 and not separate else None
        self._make(sink_port)

    def _make(self, sink_port: int) -> None:
        programs = self.top / "bin"
        programs.mkdir()
        if self._user is not None:
            os.chown(self.top, self._user, self._user)
        subprocess.run([sys.executable, "-m", "qmail.launchers", str(programs)], check=True)
        listen = f"smtp 127.0.0.1:{self.port}"
        init = [str(programs / "qmail"), "init", "--home", str(self.home), "--no-maildirs"]
        self._run([*init, "--host", HOST, "--listen", listen])
        for name, text in {
            "smtproutes": f"{FAR}:[127.0.0.1]:{sink_port}\n",
            "relayclients": "127.0.0.1\n",
            "concurrencyremote": "20\n",
        }.items():
            (self.home / "control" / name).write_text(text)
        # What is made here is read by accounts that are not ours.
        for path in (self.home / "control").iterdir():
            path.chmod(0o644)
        default = self.home / "alias" / ".qmail-default"
        default.write_text("./Maildir/\n")
        default.chmod(0o644)
        owner = (self.home / "alias").stat()
        if os.geteuid() == 0:
            os.chown(default, owner.st_uid, owner.st_gid)

    def _run(self, command: list[str]) -> None:
        subprocess.run(
            command,
            check=True,
            env=self._environ,
            user=self._user,
            group=self._user,
            extra_groups=None if self._user is None else [],
            stdout=subprocess.DEVNULL,
            cwd="/",
        )

    # --- running --------------------------------------------------------------------------------

    def start(self) -> None:
        """Start qmail-start, and wait until the port answers with a greeting."""
        give_up = time.monotonic() + START_S_MAX
        while time.monotonic() < give_up:
            with open(self.top / "log", "ab") as log:
                self.process = subprocess.Popen(
                    [str(self.top / "bin" / "qmail-start"), "./Maildir/"],
                    env=self._environ,
                    user=self._user,
                    group=self._user,
                    extra_groups=None if self._user is None else [],
                    stdout=log,
                    stderr=log,
                    cwd="/",
                )
            while self.process.poll() is None and time.monotonic() < give_up:
                if self.greets():
                    return
                time.sleep(0.05)
            # What was killed last may still hold the port or the lock for a moment.
            time.sleep(0.1)
        raise AssertionError(f"the suite does not start:\n{self.log_tail()}")

    def greets(self) -> bool:
        """Tell whether qmail-smtpd answers."""
        try:
            with socket.create_connection(("127.0.0.1", self.port), GREETING_S_MAX) as sock:
                return sock.recv(3) == b"220"
        except OSError:
            return False

    def stop(self) -> None:
        """Stop everything that is left, in order if it can be."""
        if self.process is None:
            return
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(STOP_S_MAX)
            except subprocess.TimeoutExpired:
                self.kill_all()

    def log(self) -> str:
        """Return the whole log."""
        return (self.top / "log").read_text(errors="replace")

    def log_tail(self) -> str:
        """Return the end of the log."""
        return "\n".join(self.log().splitlines()[-40:])

    # --- killing: only what descends from our own qmail-start ------------------------------------

    def pids(self) -> dict[int, str]:
        """Return pid and program of every process below qmail-start, itself included."""
        assert self.process is not None
        parents: dict[int, list[int]] = {}
        for pid, parent in all_processes():
            parents.setdefault(parent, []).append(pid)
        found: dict[int, str] = {}
        waiting = [(self.process.pid, "")] if self.process.poll() is None else []
        while waiting:
            pid, parent_name = waiting.pop()
            name = program_of(pid)
            if name == parent_name == "qmail-lspawn":
                # Forked and not executed: it does the duty of qmail-local under another name.
                name = "qmail-local"
            waiting += [(child, name) for child in parents.get(pid, [])]
            if name:
                found[pid] = name
        return found

    def kill_one(self, pid: int) -> bool:
        """Kill one of `pids` by SIGKILL. Returns: whether it was still there."""
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            return False
        return True

    def kill_all(self) -> None:
        """Kill qmail-start and all below it, at once: the machine without its power cut."""
        assert self.process is not None
        # Stopped first, or it would start again what we kill.
        self.process.send_signal(signal.SIGSTOP)
        for pid in self.pids():
            self.kill_one(pid)
        self.process.wait()

    # --- looking --------------------------------------------------------------------------------

    def retry_now(self) -> None:
        """Make every deferred message due."""
        assert self.process is not None
        self.process.send_signal(signal.SIGALRM)

    def queued(self) -> int:
        """Return how many accepted messages are in the queue."""
        folders = [self.home / "queue" / "todo", *(self.home / "queue" / "info").iterdir()]
        return sum(sum(1 for _ in folder.iterdir()) for folder in folders)

    def arrived(self) -> Iterator[bytes]:
        """Yield every message that a reader of the maildir can see."""
        for folder in ("new", "cur"):
            for path in (self.home / "alias" / "Maildir" / folder).iterdir():
                yield path.read_bytes()


def all_processes() -> Iterator[tuple[int, int]]:
    """Yield pid and parent of every process."""
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                text = Path(f"/proc/{name}/stat").read_text()
            except OSError:
                continue
            yield int(name), int(text.rpartition(")")[2].split()[1])


def program_of(pid: int) -> str:
    """Return the qmail program that a process is, "" for any other."""
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        title = Path(f"/proc/{pid}/comm").read_text().strip()
    except OSError:
        return ""
    for word in words:
        name = os.path.basename(word.split(b" ")[0].rstrip(b":")).decode(errors="replace")
        if name.startswith("qmail-"):
            return name
    return title if title.startswith("qmail-") else ""


class _SinkServer(socketserver.ThreadingTCPServer):
    daemon_threads = True
    allow_reuse_address = True


class Sink:
    """Another host: takes all mail and keeps it."""

    def __init__(self) -> None:
        self.taken: list[tuple[str, bytes]] = []
        taken = self.taken

        class Conversation(socketserver.StreamRequestHandler):
            timeout = 60

            def handle(self) -> None:
                try:
                    self.talk()
                except OSError:
                    return

            def say(self, line: bytes) -> None:
                self.wfile.write(line + b"\r\n")

            def talk(self) -> None:
                recipients: list[str] = []
                self.say(b"220 sink")
                while line := self.rfile.readline(2000):
                    verb = line[:4].upper()
                    if verb == b"QUIT":
                        self.say(b"221 bye")
                        return
                    if verb == b"RCPT":
                        recipients.append(line.partition(b"<")[2].partition(b">")[0].decode())
                    if verb != b"DATA":
                        self.say(b"250 ok")
                        continue
                    self.say(b"354 go")
                    text = self.text()
                    if text is None:
                        return
                    taken.extend((recipient, text) for recipient in recipients)
                    recipients = []
                    self.say(b"250 taken")

            def text(self) -> bytes | None:
                lines: list[bytes] = []
                while line := self.rfile.readline(100_000):
                    if line == b".\r\n":
                        return b"".join(lines)
                    lines.append(line.removeprefix(b".").replace(b"\r\n", b"\n"))
                return None

        self._server = _SinkServer(("127.0.0.1", 0), Conversation)
        self.port: int = self._server.server_address[1]
        self.serve = self._server.serve_forever

    def close(self) -> None:
        """Stop."""
        self._server.shutdown()
        self._server.server_close()
