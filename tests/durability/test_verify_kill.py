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

from qmail.edge.openness import closed_below
from qmail.launchers import package_folder

SEED = 21
CLIENTS = 6
LOAD_S = 6.0
RECIPIENTS_MAX = 20
VICTIMS = {"qmail-verify": 2, "qmail-lspawn": 1, "qmail-local": 7}
"""Who is killed and how often: what qmail-start has to start again takes longer every time.

Helpers for addresses count as qmail-verify and qmail-local.
"""
SETTLE_S_MAX = 20.0


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
                with smtplib.SMTP("127.0.0.1", self.port, timeout=30) as smtp:
                    smtp.ehlo("client.example")
                    smtp.mail("sender@far.example")
                    for _ in range(RECIPIENTS_MAX):
                        number += 1
                        kind = "nobody" if number % 10 == 0 else "joe"
                        self.note(kind, *smtp.rcpt(f"{kind}-{client}-{number}@{HOST}"))
                        if random.random() < 0.1:
                            smtp.noop()
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


def kill_at_random(suite: Suite, random: Random) -> Counter[str]:
    """Kill whoever takes part in a look-up. Returns: how often whom."""
    killed: Counter[str] = Counter()
    end = time.monotonic() + LOAD_S
    while time.monotonic() < end:
        time.sleep(random.uniform(0.02, 0.3))
        victims: dict[str, list[int]] = {}
        for pid, name in suite.pids().items():
            if name in VICTIMS:
                victims.setdefault(name, []).append(pid)
        if victims:
            name = min(sorted(victims), key=lambda name: killed[name] / VICTIMS[name])
            killed[name] += suite.kill_one(random.choice(victims[name]))
    return killed


def test_look_ups_killed_at_random_never_refuse_who_is_there(suite: Suite) -> None:
    suite.start()
    load = Load(suite.port)
    clients = [threading.Thread(target=load.ask, args=(n,), daemon=True) for n in range(CLIENTS)]
    for client in clients:
        client.start()
    killed = kill_at_random(suite, Random(SEED))
    load.is_over = True
    for client in clients:
        client.join(60)
    print(f"killed {dict(killed)}; answers {dict(load.codes)}")
    assert not load.wrong, load.wrong[:10]
    assert "Traceback" not in suite.log(), suite.log()[suite.log().index("Traceback") :][:3000]
    assert killed.keys() == VICTIMS.keys()
    assert load.codes["joe", 250] > 20
    assert load.codes["nobody", 550] > 2
    end = time.monotonic() + SETTLE_S_MAX
    after = Load(suite.port)
    while (after.codes["joe", 250], after.codes["nobody", 550]) < (1, 1):
        assert time.monotonic() < end, after.codes
        with smtplib.SMTP("127.0.0.1", suite.port, timeout=30) as smtp:
            smtp.ehlo("client.example")
            smtp.mail("sender@far.example")
            for kind in ("joe", "nobody"):
                after.note(kind, *smtp.rcpt(f"{kind}-after-{after.codes.total()}@{HOST}"))
    assert after.wrong == []
