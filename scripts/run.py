"""make run: a home, everything started, two first messages, then the log until Ctrl-C.

Runs under the interpreter of .venv. The first messages go to postmaster of the new home, which
keeps them in its own maildir; nobody's real mailbox is touched.
"""

import errno
import os
import signal
import smtplib
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from types import FrameType

from places import Places, find_places

from qmail.core.settings.controls import ControlError, control_reader, load
from qmail.core.settings.places import FIRST_ALIAS_TEXT
from qmail.core.settings.programs import Listener, StartControls
from qmail.edge.machine.account_maker import AccountToolError
from qmail.edge.machine.accounts import MissingAccountError
from qmail.edge.machine.home_maker import HomeError
from qmail.utilities.init import make_home

FIRST_PORT = 2525
START_SECONDS_MAX = 30.0
LANDING_SECONDS_MAX = 10.0
STOP_SECONDS_MAX = 60
POLL_SECONDS = 0.05
SMTP_SECONDS_MAX = 30.0


class RunError(Exception):
    """Something in the first steps did not work; the text says what."""


@dataclass(frozen=True)
class Suite:
    """The started suite: its home, what it listens on, its qmail-start."""

    places: Places
    host: str
    listeners: tuple[Listener, ...]
    process: subprocess.Popen[bytes]

    @property
    def smtp(self) -> Listener:
        """The first address for SMTP."""
        return next(one for one in self.listeners if one.service == "smtp")

    def program(self, name: str) -> str:
        """Return the path of one of the programs."""
        return f"{self.places.bin_folder}/{name}"


def main() -> int:
    """Run until a signal comes. Returns 0 for a clean end, else 1 or qmail-start's exit code."""
    hold_standard_descriptors()
    os.umask(0o022)
    stop = Stop()
    try:
        suite = start(find_places())
    except (RunError, HomeError, AccountToolError, MissingAccountError, ControlError) as problem:
        return complain(problem)
    except OSError as problem:
        return complain(problem)
    stop.watch(suite.process)
    try:
        wait_for_greeting(suite, stop)
        if not stop.is_asked:
            show_first_messages(suite)
            show_what_next(suite)
    except (RunError, OSError, smtplib.SMTPException) as problem:
        if not stop.is_asked:
            complain(problem)
            stop.ask()
            stop.wait()
            return 1
    return stop.wait()


def complain(problem: Exception) -> int:
    """Print what went wrong. Returns the exit code for it."""
    say(f"run: {problem}")
    return 1


def say(line: str = "") -> None:
    """Print one line at once, between the lines of the log."""
    print(line, flush=True)


def hold_standard_descriptors() -> None:
    """Open /dev/null in place of a closed standard descriptor, so that nothing else lands there."""
    for number in (0, 1, 2):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)


class Stop:
    """Turns SIGINT and SIGTERM into a clean end of qmail-start."""

    def __init__(self) -> None:
        self.is_asked = False
        self._process: subprocess.Popen[bytes] | None = None
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._on_signal)
        signal.signal(signal.SIGALRM, self._on_alarm)

    def _on_signal(self, _number: int, _frame: FrameType | None) -> None:
        self.ask()

    def _on_alarm(self, _number: int, _frame: FrameType | None) -> None:
        if self._process is not None:
            say(f"run: not ended after {STOP_SECONDS_MAX} seconds: killing it; no mail is lost")
            os.killpg(self._process.pid, signal.SIGKILL)

    def ask(self) -> None:
        """Tell qmail-start to end, and see to it that it does."""
        if self._process is not None and not self.is_asked:
            signal.alarm(STOP_SECONDS_MAX)
            self._process.send_signal(signal.SIGTERM)
        self.is_asked = True

    def watch(self, process: subprocess.Popen[bytes]) -> None:
        """Pass signals on to `process` from now on, also one that came before."""
        self._process = process
        if self.is_asked:
            self.is_asked = False
            self.ask()

    def wait(self) -> int:
        """Wait for the end. Returns 0 where it was asked for and clean."""
        if self._process is None:
            return 0
        code = self._process.wait()
        signal.alarm(0)
        if not self.is_asked:
            say(f"run: qmail-start ended by itself, exit code {code}")
            return code or 1
        say("run: stopped; 'make run' goes on from here" if code == 0 else f"run: exit code {code}")
        return 0 if code == 0 else 1


def start(places: Places) -> Suite:
    """Make or repair the home and start qmail-start on it.

    Raises: RunError: a first listener is missing, or not free. ControlError, HomeError,
    AccountToolError, MissingAccountError, OSError: the home can't be made.
    """
    if places.closed:
        say(f"run: {places.closed} is closed to other accounts; home and programs are in")
        say(f"run: {os.path.dirname(places.home)}")
    first = (f"smtp 127.0.0.1:{free_port()}",)
    make_home(places.home, host=None, listeners=first, say=say)
    read_control = control_reader(places.home)
    listeners = load(StartControls, read_control).listeners
    if not any(one.service == "smtp" for one in listeners):
        raise RunError(f"{places.home}/control/listeners has no smtp line: add one")
    for one in listeners:
        if not is_free(one):
            raise RunError(
                f"{one.host} port {one.port} is taken: stop what listens there,"
                f" or change {places.home}/control/listeners"
            )
    host = (read_control("me") or b"localhost").split(b"\n")[0].decode("ascii", "replace").strip()
    process = subprocess.Popen(
        (f"{places.bin_folder}/qmail-start", "./Maildir/"),
        stdin=subprocess.DEVNULL,
        env={**os.environ, "QMAIL_HOME": places.home},
        # A session of its own: Ctrl-C reaches this script only, which passes it on in good order.
        start_new_session=True,
    )
    return Suite(places, host, listeners, process)


def free_port() -> int:
    """Return 2525, or where that is taken a port that the system chooses."""
    if is_free(Listener("smtp", "127.0.0.1", FIRST_PORT)):
        return FIRST_PORT
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def is_free(listener: Listener) -> bool:
    """Say whether nobody listens on that address; other trouble is left to qmail-start."""
    family = socket.AF_INET6 if listener.is_ipv6 else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((listener.host, listener.port))
        except OSError as problem:
            return problem.errno != errno.EADDRINUSE
    return True


def until(is_done: Callable[[], bool], seconds: float) -> bool:
    """Ask again and again for at most `seconds`. Returns the last answer."""
    end = time.monotonic() + seconds
    while not is_done():
        if time.monotonic() > end:
            return False
        time.sleep(POLL_SECONDS)
    return True


def wait_for_greeting(suite: Suite, stop: Stop) -> None:
    """Wait until the SMTP port greets.

    Raises: RunError: qmail-start ended, or it takes too long.
    """

    def is_done() -> bool:
        if suite.process.poll() is not None or stop.is_asked:
            return True
        try:
            with socket.create_connection((suite.smtp.host, suite.smtp.port), 2.0) as caller:
                return caller.recv(4) == b"220 "
        except OSError:
            return False

    greeted = until(is_done, START_SECONDS_MAX)
    if suite.process.poll() is not None and not stop.is_asked:
        raise RunError("qmail-start ended at once; its last log line says why")
    if not greeted:
        raise RunError(f"no greeting at port {suite.smtp.port} after {START_SECONDS_MAX:.0f} s")


def show_first_messages(suite: Suite) -> None:
    """Send one message by SMTP and one by sendmail, and show where they landed.

    Raises: RunError: they did not land. OSError, SMTPException: they were not taken.
    """
    alias = f"{suite.places.home}/alias"
    try:
        with open(f"{alias}/.qmail-postmaster", encoding="utf-8", errors="replace") as file:
            is_ours = file.read(4096) == FIRST_ALIAS_TEXT
    except FileNotFoundError:
        is_ours = False
    if not is_ours:
        say(f"run: {alias}/.qmail-postmaster is not as it was made, so no first messages are sent")
        return
    address = f"postmaster@{suite.host}"
    marks = {way: f"<{uuid.uuid4()}@{suite.host}>" for way in ("SMTP", "sendmail")}
    with smtplib.SMTP(
        suite.smtp.host, suite.smtp.port, local_hostname=suite.host, timeout=SMTP_SECONDS_MAX
    ) as client:
        message = first_message(address, "SMTP", marks["SMTP"])
        client.sendmail(address, [address], message.replace(b"\n", b"\r\n"))
    subprocess.run(
        (suite.program("sendmail"), "-f", address, "-t"),
        input=first_message(address, "sendmail", marks["sendmail"]),
        env={**os.environ, "QMAIL_HOME": suite.places.home},
        timeout=SMTP_SECONDS_MAX,
        check=True,
    )
    landed: dict[str, str] = {}
    new = f"{alias}/Maildir/new"

    def is_done() -> bool:
        landed.update(find_marks(new, marks, landed))
        return len(landed) == len(marks)

    if not until(is_done, LANDING_SECONDS_MAX):
        missing = ", ".join(set(marks) - set(landed))
        raise RunError(f"the message by {missing} is not in {new}; the log above says why")
    for way in marks:
        say(f"\nthe first message by {way} landed in {landed[way]}")
        for line in header_lines(landed[way]):
            say(f"    {line}")


def first_message(address: str, way: str, mark: str) -> bytes:
    """Write the first message of one way in."""
    date = time.strftime("%a, %d %b %Y %H:%M:%S +0000", time.gmtime())
    return (
        f"From: {address}\nTo: {address}\nSubject: first message, by {way}\n"
        f"Date: {date}\nMessage-ID: {mark}\n\nIt works.\n"
    ).encode("ascii")


def find_marks(folder: str, marks: dict[str, str], known: dict[str, str]) -> dict[str, str]:
    """Look in a maildir's new for the messages not known yet, by their Message-ID."""
    found = {}
    for name in os.listdir(folder):
        path = f"{folder}/{name}"
        if path in known.values():
            continue
        text = "\n".join(header_lines(path))
        for way, mark in marks.items():
            if mark in text:
                found[way] = path
    return found


def header_lines(path: str) -> list[str]:
    """Return the header of a message, line by line."""
    with open(path, "rb") as file:
        head = file.read(65536).partition(b"\n\n")[0]
    return head.decode("ascii", "replace").split("\n")


def show_what_next(suite: Suite) -> None:
    """Print the ports and two lines to copy."""
    home = suite.places.home
    say()
    for one in suite.listeners:
        say(f"{one.service} listens on {one.host} port {one.port}")
    say("try next, in another terminal: send a message, and look at the set-up")
    sendmail = suite.program("sendmail")
    say(f"    echo 'Subject: hello' | QMAIL_HOME={home} {sendmail} postmaster@{suite.host}")
    say(f"    QMAIL_HOME={home} {suite.program('qmail')} check; ls {home}/alias/Maildir/new")
    say("Ctrl-C stops it; what follows is the log\n")


if __name__ == "__main__":
    sys.exit(main())
