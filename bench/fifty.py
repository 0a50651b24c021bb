"""One message to 50,000 local recipients, and a small one right behind it. Ours alone."""

import os
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

from bench.counters import tree_pss_mb
from bench.extras import time_sendmail
from bench.mailbox import ACCOUNT, count_in
from bench.measure import Field, wait_for_quiet
from bench.ours import BIN, Ours
from bench.values import HOST, BenchError, wait_until

RECIPIENTS: Final = 50_000
WARM_UP: Final = 5_000
"""Sent before memory is looked at: what any such message makes the suite keep is there then."""
QUEUE_SECONDS_MAX: Final = 60.0
ARRIVAL_SECONDS_MAX: Final = 240.0
SMALL_SECONDS_MAX: Final = 60.0
WATCH_S: Final = 0.3
SHARED_MEMORY: Final = "/dev/shm"
"""Where so many files go quickly: how fast they are written is measured elsewhere."""
MANY: Final = "many"
"""The extension of the many: an address of the account for each."""
TEXT: Final = f"From: sender@{HOST}\nSubject: to many\n\nA line of text.\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class Fifty:
    """What was found."""

    recipients: int
    before_mb: float
    peak_mb: float
    alone_s: float
    """From the start of sendmail to the maildir, for a small message that is alone."""
    behind_s: float
    """The same right behind the large one."""

    @property
    def bytes_each(self) -> float:
        """How much the suite has grown for each recipient."""
        return (self.peak_mb - self.before_mb) * 2**20 / self.recipients


def measure_fifty(server: Ours, field: Field) -> Fifty:
    """Send the messages, and watch the memory until all is delivered.

    Raises: BenchError: something did not arrive.
    """
    in_memory = SHARED_MEMORY if os.access(SHARED_MEMORY, os.W_OK) else field.ground.path
    with tempfile.TemporaryDirectory(prefix="qmail-bench-", dir=in_memory) as folder:
        os.chmod(folder, 0o755)
        home = os.path.dirname(os.path.dirname(field.mailbox.new))
        return _measure(server, field, make_folder_for_many(home, folder))


def _measure(server: Ours, field: Field, many: str) -> Fifty:
    send_to_many(server, field, WARM_UP)
    wait_for_many(many, WARM_UP)
    wait_for_quiet(server)
    alone_s = small_message(server, field)
    wait_for_quiet(server)
    before_mb, _ = tree_pss_mb(server.pid)
    with watched(server) as peaks:
        send_to_many(server, field, RECIPIENTS)
        behind_s = small_message(server, field)
        wait_for_many(many, WARM_UP + RECIPIENTS)
    return Fifty(
        recipients=RECIPIENTS,
        before_mb=before_mb,
        peak_mb=max(peaks),
        alone_s=alone_s,
        behind_s=behind_s,
    )


def make_folder_for_many(home: str, folder: str) -> str:
    """Make the maildir of all the addresses with an extension. Returns: its new/."""
    owner = os.stat(home)
    maildir = f"{folder}/{MANY}"
    for path in (maildir, *(f"{maildir}/{name}" for name in ("tmp", "new", "cur"))):
        os.mkdir(path, 0o700)
        os.chown(path, owner.st_uid, owner.st_gid)
    path = f"{home}/.qmail-{MANY}-default"
    with open(path, "w", encoding="ascii") as file:
        file.write(f"{maildir}/\n")
    os.chown(path, owner.st_uid, owner.st_gid)
    return f"{maildir}/new"


def envelope(count: int) -> bytes:
    """Return what qmail-queue reads on descriptor 1."""
    recipients = (f"T{ACCOUNT}-{MANY}-{number}@{HOST}\0" for number in range(count))
    return f"Fsender@{HOST}\0{''.join(recipients)}\0".encode()


def send_to_many(server: Ours, field: Field, count: int) -> None:
    """Queue one message to so many. Raises: BenchError: it is refused."""
    folder = field.ground.folder()
    for name, data in (("message", TEXT.encode()), ("envelope", envelope(count))):
        with open(f"{folder}/{name}", "wb") as file:
            file.write(data)
    with open(f"{folder}/message", "rb") as message, open(f"{folder}/envelope", "rb") as to:
        done = subprocess.run(
            [f"{BIN}/qmail-queue"],
            env={**os.environ, "QMAIL_HOME": server.home},
            stdin=message,
            stdout=to,
            timeout=QUEUE_SECONDS_MAX,
            check=False,
        )
    if done.returncode != 0:
        raise BenchError(f"qmail-queue: exit code {done.returncode}")


def small_message(server: Ours, field: Field) -> float:
    """Send one small message. Returns: seconds until it is in the maildir."""
    new = field.mailbox.new
    before, started = count_in(new), time.monotonic()
    time_sendmail(server, field.mailbox.address)
    if not wait_until(lambda: count_in(new) > before, seconds_max=SMALL_SECONDS_MAX):
        raise BenchError("a small message did not arrive")
    return time.monotonic() - started


def wait_for_many(new: str, wanted: int) -> None:
    """Wait until so many are there. Raises: BenchError: they do not come."""

    def is_done() -> bool:
        return count_in(new) >= wanted

    if not wait_until(is_done, seconds_max=ARRIVAL_SECONDS_MAX, poll_s=0.5):
        raise BenchError(f"{count_in(new)} of {wanted} messages arrived")


@contextmanager
def watched(server: Ours) -> Iterator[Sequence[float]]:
    """Look at the memory of a server again and again meanwhile; the figures, in MB, gather."""
    found = [tree_pss_mb(server.pid)[0]]
    is_over = threading.Event()

    def watch() -> None:
        while not is_over.wait(WATCH_S):
            found.append(tree_pss_mb(server.pid)[0])

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield found
    finally:
        is_over.set()
        watcher.join()
