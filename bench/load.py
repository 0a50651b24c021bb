"""The load: smtp-source, smtp-sink, free ports."""

import os
import re
import shutil
import socket
import subprocess
import time
from dataclasses import dataclass
from typing import Final

from bench.counters import tree_cpu_s
from bench.values import HOST, SESSIONS, BenchError, wait_until

LOAD_SECONDS_MAX: Final = 90.0
START_SECONDS_MAX: Final = 20.0
STOP_SECONDS_MAX: Final = 10.0
SINK_BACKLOG: Final = 2500
SINK_SESSIONS_MAX: Final = 2500
SINK_TAIL_BYTES: Final = 200
SEARCH_PATH: Final = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"

_COUNTER: Final = re.compile(rb"mesg=(\d+)[ \r\n]")


def tool(name: str) -> str | None:
    """Return the path of a tool, looked for in the administrator's folders too."""
    return shutil.which(name, path=SEARCH_PATH)


def need(name: str) -> str:
    """Return the path of a tool. Raises: BenchError: it is missing."""
    path = tool(name)
    if path is None:
        raise BenchError(f"{name} is missing: run 'apt-get install postfix' as root")
    return path


def free_port() -> int:
    """Return a port of 127.0.0.1 where nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


SMTP: Final = b"220"
POP3: Final = b"+OK"


def greets(port: int, word: bytes = SMTP) -> bool:
    """Say whether a server answers on that port and greets with `word`."""
    try:
        with socket.create_connection(("127.0.0.1", port), 2.0) as caller:
            caller.settimeout(2.0)
            return caller.recv(4)[:3] == word
    except OSError:
        return False


def wait_for_greeting(
    port: int, name: str, process: "subprocess.Popen[bytes] | None", word: bytes = SMTP
) -> None:
    """Wait until `port` greets. Raises: BenchError: it does not, or `process` ended."""

    def is_done() -> bool:
        return (process is not None and process.poll() is not None) or greets(port, word)

    if not wait_until(is_done, seconds_max=START_SECONDS_MAX, poll_s=0.05) or not greets(
        port, word
    ):
        raise BenchError(f"{name} does not greet on its port")


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """What smtp-source sends."""

    port: int
    recipient: str
    count: int
    size_bytes: int
    is_kept: bool
    sessions: int = SESSIONS
    is_numbered: bool = False
    """The nth message goes to the recipient with n in front."""

    def command(self) -> list[str]:
        """Return the command."""
        return [
            need("smtp-source"),
            *("-s", str(min(self.sessions, self.count))),
            *("-m", str(self.count)),
            *("-l", str(self.size_bytes)),
            *("-f", f"sender@{HOST}", "-t", self.recipient),
            *("-M", HOST),
            *(["-d"] if self.is_kept else []),
            *(["-N"] if self.is_numbered else []),
            f"127.0.0.1:{self.port}",
        ]


@dataclass(frozen=True, slots=True)
class Sent:
    """When smtp-source started and ended, by the wall clock, and the CPU seconds it took."""

    started: float
    ended: float
    cpu_s: float


def send(load: Load) -> Sent:
    """Run smtp-source until its last message is answered.

    Raises: BenchError: the server refused a message, or it takes too long.
    """
    started = time.time()
    process = subprocess.Popen(
        load.command(), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    )
    before = os.times()
    try:
        _, errors = process.communicate(timeout=LOAD_SECONDS_MAX)
    except BaseException as trouble:
        process.kill()
        process.wait()
        if isinstance(trouble, subprocess.TimeoutExpired):
            raise BenchError(f"smtp-source not done after {LOAD_SECONDS_MAX:.0f} s") from None
        raise
    ended = time.time()
    after = os.times()
    if process.returncode != 0:
        reason = errors.decode("utf-8", "replace").strip()[-300:]
        raise BenchError(f"smtp-source: {reason or process.returncode}")
    cpu_s = after.children_user + after.children_system
    return Sent(started, ended, cpu_s - before.children_user - before.children_system)


def parse_sink_count(tail: bytes) -> int:
    """Read the last complete message counter out of the end of smtp-sink's output; 0: none yet."""
    found = _COUNTER.findall(tail)
    return int(found[-1]) if found else 0


class Sink:
    """A running smtp-sink; its running counters go to a file, of which only the end is read."""

    def __init__(self, folder: str, *, host: str = "127.0.0.1", port: int = 0) -> None:
        self.port = port or free_port()
        self._host = host
        self._path = f"{folder}/sink-counters"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it and wait for its greeting. Raises: BenchError."""
        command = [need("smtp-sink"), "-c", "-m", str(SINK_SESSIONS_MAX)]
        if os.geteuid() == 0:
            command += ["-u", "nobody"]
        with open(self._path, "wb") as file:
            self._process = subprocess.Popen(
                [*command, f"{self._host}:{self.port}", str(SINK_BACKLOG)],
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )
        wait_for_greeting(self.port, "smtp-sink", self._process)

    def count(self) -> int:
        """Messages received so far."""
        with open(self._path, "rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - SINK_TAIL_BYTES))
            return parse_sink_count(file.read(SINK_TAIL_BYTES))

    def cpu_s(self) -> float:
        """CPU seconds it has taken."""
        return 0.0 if self._process is None else tree_cpu_s([self._process.pid])

    def stop(self) -> None:
        """End it."""
        end_process(self._process)
        self._process = None


def end_process(process: "subprocess.Popen[bytes] | None") -> None:
    """End a process that we started: TERM, and KILL where that does not help."""
    if process is None:
        return
    process.terminate()
    try:
        process.wait(STOP_SECONDS_MAX)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
