"""A busy server for weeks, a seed each: nothing is lost, limits and schedule hold at every moment.

tests/sim/year.py has more of it: `python -m tests.sim.year 1-1000` lives through whole years.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from tests.sim.ledger import Entry, Ledger
from tests.sim.survey import LossError
from tests.sim.watch import Newcomer, Started, Watch
from tests.sim.year import Year, live, main, plan_of
from tests.sim.yearmail import policy_of

from qmail.mail import Channel

ROOT = Path(__file__).parents[2]
DAYS = 15
ENTRY = Entry(b"anne@here", (b"bert@far",))
SEEDS = range(4)
FOUND = (
    50297,  # what is held and not yet written down when qmail-send starts again stays held
    50660,  # bytes that a failed sync dropped, a killed qmail-queue, a power cut
    50739,
    50762,
    50774,
    52129,
    53044,  # a torn message with its entry in todo is not to be delivered: its seal says so
    52422,  # an operator has some recipients tried in between: all are due when they were
)
"""Seeds that failed once, and what they came upon."""
REMOTE = Channel.REMOTE


@pytest.mark.parametrize("seed", [*SEEDS, *FOUND])
def test_every_accepted_message_is_delivered_or_bounced_or_has_a_next_time(seed: int) -> None:
    year = live(seed, plan_of(DAYS))
    assert year.mails > 100
    assert year.world.watch.figures.checked_waits > 50


def test_a_seed_replays_in_another_process() -> None:
    code = (
        "from tests.sim.year import live, plan_of;"
        "year = live(7, plan_of(3));"
        "print(year.world.log_lines, year.world.fingerprint, year.now)"
    )
    said = {
        subprocess.run(
            [sys.executable, "-c", code],
            cwd=ROOT,
            env={**os.environ, "PYTHONHASHSEED": seed},
            check=True,
            capture_output=True,
            text=True,
            timeout=300,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(said) == 1
    assert int(said.pop().split()[0]) > 100


def test_a_failure_says_how_to_have_it_again(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(_: Year) -> None:
        raise LossError("gone")

    monkeypatch.setattr(Year, "run", fail)
    assert main(["--days", "40", "5-6"]) == 1
    said = capsys.readouterr().out
    assert "again by: python -m tests.sim.year --days 40 5" in said
    assert "again by: python -m tests.sim.year --days 40 6" in said


# --- the checks can fail --------------------------------------------------------------------------


def accepted() -> tuple[Ledger, bytes]:
    ledger = Ledger()
    found = ledger.submitted(b"Subject: 1\n\n", ENTRY)
    ledger.accepted(found)
    return ledger, found


def test_the_ledger_misses_what_is_lost() -> None:
    ledger, found = accepted()
    with pytest.raises(LossError):
        ledger.check({})
    ledger.check({"mess/1/11": b"Received: (qmail 1)\nSubject: 1\n\n", "todo/11": b"Tbert@far\0"})
    ledger.has(found, b"bert@far")
    ledger.check({})


def test_the_ledger_counts_copies() -> None:
    ledger, found = accepted()
    ledger.has(found, b"bert@far")
    with pytest.raises(AssertionError, match="2 copies"):
        ledger.has(found, b"bert@far")


def test_the_ledger_refuses_a_bounce_to_a_bounce_and_about_what_did_not_fail() -> None:
    ledger, found = accepted()
    about = Entry(b"", (b"anne@here",), found, frozenset((b"bert@far",)))
    with pytest.raises(AssertionError, match="did not fail"):
        ledger.bounce_submitted(b"bounce", about)
    ledger.failed.add((found, b"bert@far"))
    bounce = ledger.bounce_submitted(b"bounce", about)
    with pytest.raises(AssertionError, match="to a bounce"):
        ledger.bounce_submitted(b"again", Entry(b"", (b"anne@here",), bounce))


def test_the_watch_sees_limits_passed() -> None:
    watch = Watch(policy_of({"concurrencyremote": b"3\n"}))
    watch.started(1, Started(11, REMOTE, b"x@limited.example"), 0)
    watch.started(2, Started(12, REMOTE, b"x@limited.example"), 0)
    with pytest.raises(AssertionError, match="more than 2 at once"):
        watch.started(3, Started(13, REMOTE, b"x@limited.example"), 0)
    with pytest.raises(AssertionError, match="more than 3 on"):
        watch.started(4, Started(14, REMOTE, b"x@else.example"), 0)


def test_the_watch_sees_a_rate_passed_and_a_pause_not_kept() -> None:
    watch = Watch(policy_of({"concurrencyhosts": b"rated.example:9:2\n"}))
    for delivery in (1, 2):
        watch.started(delivery, Started(11, REMOTE, b"x@rated.example"), 0)
    with pytest.raises(AssertionError, match="too many a minute"):
        watch.started(3, Started(11, REMOTE, b"x@rated.example"), 59)
    watch.ended(1, b"ZRemote host said: 421 no\n", 60)
    with pytest.raises(AssertionError, match="left alone"):
        watch.started(4, Started(11, REMOTE, b"x@rated.example"), 119)


def test_the_watch_sees_who_waits_too_long() -> None:
    watch = Watch(policy_of({}))
    watch.expect(11, Channel.LOCAL, Newcomer(0, 10))
    with pytest.raises(AssertionError, match="waited 16 s"):
        watch.started(1, Started(11, Channel.LOCAL, b"x@here"), 16)


def test_the_watch_knows_schedule_and_lifetime() -> None:
    watch = Watch(policy_of({}))
    watch.arrived(11, 1000)
    watch.renewed((11, REMOTE), 1000, 400, 1000)
    with pytest.raises(AssertionError, match="too soon"):
        watch.pass_began((11, REMOTE), 1399)
    watch.pass_began((11, REMOTE), 1400)
    with pytest.raises(AssertionError, match="beside its schedule"):
        watch.renewed((11, REMOTE), 1000, 400, 1400)
    with pytest.raises(AssertionError, match="dies"):
        watch.blamed(11, 1000, b"<x@b>:\nqueued too long\n", 1000 + 604800)
    with pytest.raises(AssertionError, match="not rejected"):
        watch.blamed(11, 1000, b"<x@b>:\nno\n", 2000)
