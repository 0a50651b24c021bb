"""Totals, rates, slow domains, last errors."""

import pytest
from tests.fakes.queue_world import FakeClock

from qmail.core.send import gauges
from qmail.core.send.gauges import TROUBLES_MAX, Gauges
from qmail.mail import Channel, deferred, delivered, failed


def test_rates_are_of_whole_seconds() -> None:
    clock = FakeClock(1000.0)
    made = Gauges(clock)
    assert made.rates(60) == (0, 0, 0, 0)
    for _ in range(30):
        made.arrived()
    assert made.rates(1) == (0, 0, 0, 0)
    clock.time = 1001.5
    assert made.rates(1)[0] == 30
    assert made.rates(60)[0] == 0.5
    clock.time = 1002.5
    assert made.rates(1)[0] == 0
    assert made.rates(60)[0] == 0.5
    clock.time = 1100
    assert made.rates(60)[0] == 0


def test_ends_are_counted_by_letter_and_errors_are_kept() -> None:
    clock = FakeClock(1000.0)
    made = Gauges(clock)
    results = (delivered(), deferred(b"later (#4.4.1)\n"), failed(b"no"), None)
    for number, result in enumerate(results):
        made.started(number)
        clock.time += 2
        made.ended(number, Channel.REMOTE, b"x@B.example", result)
    assert made.totals == [0, 1, 2, 1]
    assert [trouble.text for trouble in made.troubles] == [
        b"later (#4.4.1)",
        b"no",
        b"the delivery program is gone",
    ]
    ((domain, pace),) = made.slowest(5)
    assert (domain, pace.count, pace.total_s, pace.longest_s) == (b"b.example", 4, 8, 2)


def test_nothing_grows_without_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gauges, "DOMAINS_MAX", 3)
    clock = FakeClock(1000.0)
    made = Gauges(clock)
    for number in range(200):
        clock.time += 1
        made.ended(number, Channel.REMOTE, b"x@d%d" % number, deferred(b"x" * 5000))
    assert len(made.slowest(100)) == 3
    assert len(made.troubles) == TROUBLES_MAX
    assert len(made._seconds) < 70


def test_the_slowest_come_first() -> None:
    clock = FakeClock(1000.0)
    made = Gauges(clock)
    for took_s, domain in ((1, b"a"), (5, b"b"), (3, b"c")):
        made.started(1)
        clock.time += took_s
        made.ended(1, Channel.REMOTE, b"x@" + domain, delivered())
    made.ended(9, Channel.LOCAL, b"x@here", delivered())
    assert [domain for domain, _ in made.slowest(2)] == [b"b", b"c"]
