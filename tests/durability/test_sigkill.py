"""Real programs, real disk, SIGKILL at random under load: what was answered 250 arrives, whole."""

import hashlib
import os
import pwd
import re
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
from tests.durability.real_suite import FAR, HOST, Sink, Suite

from qmail.edge.machine.openness import closed_below
from qmail.launchers import package_folder

SEED = 20
SENDERS = 5
LOAD_S = 12.0
LOAD_S_MAX = 240.0
"""It goes on for so long where a busy machine needs longer until all that counts has happened."""
WHOLE_KILLS = 3
LEAD_MAX = 3
"""So many kills more than any other program one may have."""
MAILS_MAX = 5000
ACCEPTED_MIN = 100
DRAIN_S_MAX = 240.0
JOIN_S_MAX = 120.0
ALL_PROGRAMS = frozenset(
    {
        "qmail-smtpd",
        "qmail-queue",
        "qmail-send",
        "qmail-clean",
        "qmail-lspawn",
        "qmail-local",
        "qmail-rspawn",
        "qmail-verify",
    }
)
FIELD = re.compile(rb"^(X-Id|X-Sum|Delivered-To): (.*)$", re.MULTILINE)
Owed = tuple[str, str]
"""One delivery: id of the mail, recipient."""


@dataclass(slots=True)
class Load:
    """What the senders did: `accepted` has every delivery that a 250 promised."""

    suite: Suite
    accepted: set[Owed] = field(default_factory=set)
    sent: int = 0
    is_over: bool = False

    def send(self, sender: int) -> None:
        """Submit messages until it is over; whatever breaks, connect again."""
        random = Random(f"{SEED} {sender}")
        number = 0
        while not self.is_over:
            try:
                with smtplib.SMTP("127.0.0.1", self.suite.port, HOST, timeout=5) as smtp:
                    for _ in range(random.randint(1, 30)):
                        number += 1
                        self.send_one(smtp, f"{sender}-{number}", random)
                        if self.is_over or self.sent >= MAILS_MAX:
                            break
            except (OSError, smtplib.SMTPException):
                time.sleep(0.05)
            if self.sent >= MAILS_MAX:
                return

    def send_one(self, smtp: smtplib.SMTP, mail_id: str, random: Random) -> None:
        """Submit one message; note what is owed only after the 250."""
        recipients = random.choice(
            [(f"one@{HOST}",), (f"one@{HOST}",), (f"one@{HOST}", f"two@{HOST}"), (f"one@{FAR}",)]
        )
        lines = random.choice([5, 5, 20, 50, 50, 1500])
        body = "".join(f"line {line} of {mail_id}\r\n" for line in range(lines))
        digest = hashlib.sha256(body.replace("\r\n", "\n").encode()).hexdigest()
        text = f"X-Id: {mail_id}\r\nX-Sum: {digest}\r\n\r\n{body}"
        smtp.ehlo_or_helo_if_needed()
        if smtp.mail(f"sender@{HOST}")[0] != 250:
            raise smtplib.SMTPException("MAIL")
        for recipient in recipients:
            if smtp.rcpt(recipient)[0] != 250:
                raise smtplib.SMTPException("RCPT")
        self.sent += 1
        if smtp.data(text)[0] == 250:
            self.accepted.update((mail_id, recipient) for recipient in recipients)
        else:
            smtp.rset()


def whole(text: bytes) -> tuple[str, str]:
    """Return id and Delivered-To of a message. Fails where it is not whole."""
    head, _, body = text.partition(b"\n\n")
    fields = {name.decode(): value.decode() for name, value in FIELD.findall(head)}
    assert "X-Id" in fields, f"neither one of ours nor whole: {text[:400]!r}"
    assert hashlib.sha256(body).hexdigest() == fields["X-Sum"], f"half of {fields['X-Id']}"
    return fields["X-Id"], fields.get("Delivered-To", "")


@pytest.fixture
def sink() -> Iterator[Sink]:
    sink = Sink()
    threading.Thread(target=sink.serve, daemon=True).start()
    yield sink
    sink.close()


@pytest.fixture
def suite(sink: Sink) -> Iterator[Suite]:
    top = Path(tempfile.mkdtemp(prefix="qmail-test-"))
    top.chmod(0o755)
    closed = closed_below(package_folder()) if os.geteuid() == 0 else ""
    if closed:
        pytest.skip(f"{closed} is closed to the accounts of the programs")
    suite = Suite(top, separate=has_accounts(), sink_port=sink.port)
    yield suite
    suite.stop()
    shutil.rmtree(top, ignore_errors=True)


def has_accounts() -> bool:
    """Tell whether the accounts of the suite are there; if not, one account has to do."""
    try:
        pwd.getpwnam("qmailq")
    except KeyError:
        return False
    return os.geteuid() == 0


def is_enough(killed: Counter[str], load: Load) -> bool:
    """Tell whether everybody was killed, and enough mail was accepted meanwhile."""
    everybody = killed.keys() >= ALL_PROGRAMS and killed["qmail-start"] == WHOLE_KILLS
    return everybody and len(load.accepted) > ACCEPTED_MIN


def kill_at_random(load: Load, random: Random) -> Counter[str]:
    """Kill programs, one after the other, and a few times all at once. Returns: how often whom."""
    suite = load.suite
    killed: Counter[str] = Counter()
    end = time.monotonic() + LOAD_S
    give_up = end + LOAD_S_MAX
    moments = [end - LOAD_S * random.uniform(0.05, 0.9) for _ in range(WHOLE_KILLS)]
    whole_kills = sorted(moments)
    while time.monotonic() < (end if is_enough(killed, load) else give_up):
        time.sleep(random.uniform(0.05, 0.4))
        if whole_kills and time.monotonic() > whole_kills[0]:
            whole_kills.pop(0)
            suite.kill_all()
            killed["qmail-start"] += 1
            suite.start()
            continue
        victims: dict[str, list[int]] = {}
        for pid, name in suite.pids().items():
            if name != "qmail-start":
                victims.setdefault(name, []).append(pid)
        if victims:
            # Those that were killed least come first, or rare ones would hardly ever be hit.
            name = min(sorted(victims), key=lambda name: (killed[name], random.random()))
            # Who is not there would never come if all others were killed again and again.
            if killed[name] <= min(killed[one] for one in ALL_PROGRAMS) + LEAD_MAX:
                killed[name] += suite.kill_one(random.choice(victims[name]))
    return killed


def drain(suite: Suite) -> None:
    """Wait until the queue is empty."""
    give_up = time.monotonic() + DRAIN_S_MAX
    while suite.queued():
        assert time.monotonic() < give_up, f"the queue is not emptied:\n{suite.log_tail()}"
        suite.retry_now()
        time.sleep(0.5)


def test_programs_killed_at_random_lose_nothing_that_was_answered_250(
    suite: Suite, sink: Sink
) -> None:
    suite.start()
    load = Load(suite)
    senders = [threading.Thread(target=load.send, args=(n,), daemon=True) for n in range(SENDERS)]
    for sender in senders:
        sender.start()
    killed = kill_at_random(load, Random(SEED))
    load.is_over = True
    for sender in senders:
        sender.join(JOIN_S_MAX)
        assert not sender.is_alive()
    drain(suite)
    found: Counter[Owed] = Counter()
    for text in suite.arrived():
        mail_id, address = whole(text)
        found[mail_id, address.removeprefix("alias-")] += 1
    for recipient, text in sink.taken:
        found[whole(text)[0], recipient] += 1
    assert "Traceback" not in suite.log(), suite.log()[suite.log().index("Traceback") :][:3000]
    duplicates = sum(count - 1 for count in found.values())
    print(f"killed {dict(killed)}; owed {len(load.accepted)}, duplicates {duplicates}")
    lost = load.accepted - found.keys()
    assert not lost, f"{len(lost)} of {len(load.accepted)} lost: {sorted(lost)[:10]}"
    assert is_enough(killed, load)
    assert duplicates <= 60 * killed.total()
