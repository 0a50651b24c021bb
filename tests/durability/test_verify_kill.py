"""The look-up is killed at random under load: nobody is ever refused who is there."""

import os
import shutil
import smtplib
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

import pytest
from tests.durability.real_suite import HOST, Suite
from tests.durability.test_sigkill import has_accounts

from qmail.edge.machine.openness import closed_below
from qmail.launchers import package_folder

SEED = 21
CLIENTS = 6
LOAD_S = 6.0
LOAD_S_MAX = 240.0
"""It goes on for so long where a busy machine needs longer until all that counts has happened."""
RECIPIENTS_MAX = 20
VICTIMS = {"qmail-verify": 2, "qmail-lspawn": 1, "qmail-local": 7}
"""Who is killed and how often: what qmail-start has to start again takes longer every time.

Helpers for addresses count as qmail-verify and qmail-local.
"""
SETTLE_S_MAX = 120.0


@dataclass(slots=True)
class Load:
    """What the clients heard: `wrong` has every answer that no state of things excuses."""

    port: int
    codes: Counter[tuple[str, int]] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    is_over: bool = False

    def ask(self, client: int) -> None:
        """Hold conversations until it is over; each address is asked for once."""
        random = Random(f"{SEED} {client}")
        number = 0
        while not self.is_over:
            try:
                with smtplib.SMTP("127.0.0.1", self.port, timeout=60) as smtp:
                    smtp.ehlo("client.example")
                    smtp.mail("sender@far.example")
                    for _ in range(RECIPIENTS_MAX):
                        number += 1
                        kind = "nobody" if number % 10 == 0 else "joe"
                        self.note(kind, *smtp.rcpt(f"{kind}-{client}-{number}@{HOST}"))
                        if random.random() < 0.1:
                            smtp.noop()
                        if self.is_over:
                            break
            except (OSError, smtplib.SMTPException) as lost:
                self.wrong.append(f"client {client}: {lost!r}")

    def note(self, kind: str, code: int, text: bytes) -> None:
        """Count one reply, and keep it where it is wrong."""
        self.codes[kind, code] += 1
        if code not in {"joe": (250, 451), "nobody": (550, 451)}[kind]:
            self.wrong.append(f"{kind}: {code} {text!r}")


@pytest.fixture
def suite() -> Iterator[Suite]:
    top = Path(tempfile.mkdtemp(prefix="qmail-test-"))
    top.chmod(0o755)
    closed = closed_below(package_folder()) if os.geteuid() == 0 else ""
    if closed:
        pytest.skip(f"{closed} is closed to the accounts of the programs")
    suite = Suite(top, separate=has_accounts(), sink_port=1)
    (suite.home / "control/relayclients").unlink()
    default = suite.home / "alias/.qmail-default"
    default.rename(default.with_name(".qmail-joe-default"))
    yield suite
    suite.stop()
    shutil.rmtree(top, ignore_errors=True)


def is_enough(killed: Counter[str], load: Load) -> bool:
    """Tell whether everybody was killed, and enough was answered meanwhile."""
    answered = load.codes["joe", 250] > 20 and load.codes["nobody", 550] > 2
    return answered and killed.keys() == VICTIMS.keys()


def kill_at_random(suite: Suite, load: Load, random: Random) -> Counter[str]:
    """Kill whoever takes part in a look-up. Returns: how often whom."""
    killed: Counter[str] = Counter()
    end = time.monotonic() + LOAD_S
    give_up = end + LOAD_S_MAX
    while time.monotonic() < (end if is_enough(killed, load) else give_up):
        time.sleep(random.uniform(0.02, 0.3))
        # Who is not there is waited for: if others were killed in its place it would never come.
        victim = min(sorted(VICTIMS), key=lambda name: killed[name] / VICTIMS[name])
        pids = [pid for pid, name in suite.pids().items() if name == victim]
        if pids:
            killed[victim] += suite.kill_one(random.choice(pids))
    return killed


def test_look_ups_killed_at_random_never_refuse_who_is_there(suite: Suite) -> None:
    suite.start()
    load = Load(suite.port)
    clients = [threading.Thread(target=load.ask, args=(n,), daemon=True) for n in range(CLIENTS)]
    for client in clients:
        client.start()
    killed = kill_at_random(suite, load, Random(SEED))
    load.is_over = True
    for client in clients:
        client.join(120)
    print(f"killed {dict(killed)}; answers {dict(load.codes)}")
    assert not load.wrong, load.wrong[:10]
    assert "Traceback" not in suite.log(), suite.log()[suite.log().index("Traceback") :][:3000]
    assert is_enough(killed, load)
    end = time.monotonic() + SETTLE_S_MAX
    after = Load(suite.port)
    while (after.codes["joe", 250], after.codes["nobody", 550]) < (1, 1):
        assert time.monotonic() < end, after.codes
        with smtplib.SMTP("127.0.0.1", suite.port, timeout=60) as smtp:
            smtp.ehlo("client.example")
            smtp.mail("sender@far.example")
            for kind in ("joe", "nobody"):
                after.note(kind, *smtp.rcpt(f"{kind}-after-{after.codes.total()}@{HOST}"))
    assert after.wrong == []
