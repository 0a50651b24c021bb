"""A year of a busy server in under a minute: `python -m tests.sim.year SEED...`.

Mail comes in, hosts come and go, programs are killed, the power fails, the disk is full, the
administrator changes the control files and steers the queue. The clock jumps from event to event.
At every moment the invariants of watch.py hold, at the end the ledger is even: each accepted
message is delivered, bounced, deleted by an operator, or queued with a next time. Then the server
is left in peace until all of it is over.

A seed decides everything; a failure says how to have it again.
"""

import argparse
import heapq
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from random import Random

from tests.sim.network import DAY_S, HOUR_S, Network
from tests.sim.power import Choice, Power, PowerCut
from tests.sim.simworld import Disks
from tests.sim.survey import asked_for
from tests.sim.yearmail import CHANGES, Writers, days, policy_of
from tests.sim.yearworld import World, YearMachine

from qmail.core.queue.engine import Act
from qmail.core.send.operator_acts import PAUSE
from qmail.mail import Channel
from qmail.protocol.control_door import Question
from qmail.protocol.queue_filter import Filter

PEACE_DAYS = 20
RELEASES_MAX = 3
TROUBLE_S = 4 * HOUR_S
Work = Callable[[], None]


@dataclass(frozen=True, slots=True)
class Plan:
    """How long, and how busy."""

    days: int = 365
    mails_a_day: int = 49
    long_list: int = 50_000
    domains: int = 100


YEAR = Plan()


def plan_of(days: int) -> Plan:
    """Return the plan of a whole year, or a smaller one of some days or weeks."""
    return YEAR if days == YEAR.days else Plan(days, 40, long_list=25 * days, domains=30)


class Year:
    """One machine, its world, and what is to happen when."""

    def __init__(self, seed: int, plan: Plan = YEAR) -> None:
        self.plan = plan
        self.random = Random(seed)
        self.network = Network(Random(seed + 1), plan.domains)
        self.world = World(Random(seed + 2), self.network, policy_of({}))
        self.writers = Writers(Random(seed + 3), self.network.names)
        self.machine = YearMachine(Disks.new(Power()), self.world)
        self.boots = 1
        self.mails = 0
        self.moves = 0
        self.power_cuts = 0
        self.kills = 0
        self._agenda: list[tuple[float, int, Work]] = []
        self._count = 0
        self._is_restarting = False
        self._full_until = 0.0
        self._end = self.now + plan.days * DAY_S
        self._plan_all()

    # --- time -----------------------------------------------------------------------------------

    @property
    def now(self) -> float:
        """The time in there."""
        return self.machine.disks.queue.clock.now()

    def at(self, when: float, work: Work) -> None:
        """Have something happen."""
        self._count += 1
        heapq.heappush(self._agenda, (when, self._count, work))

    def _plan_all(self) -> None:
        for day in days(self.now, self.plan.days):
            for when in self.writers.times(day, self.plan.mails_a_day):
                self.at(when, self._mail)
        lists = [self.plan.long_list, *[self.plan.long_list // 50] * (self.plan.days // 30)]
        for size in lists:
            self.at(self._sometime(), lambda size=size: self._list(size))  # type: ignore[misc]
        moves: tuple[tuple[Work, float], ...] = (
            (self._kill, 2),
            (self._kill_spawners, 15),
            (self._cut_soon, 9),
            (self._fail_disk, 3),
            (self._fill_disk, 30),
            (self._hup, 5),
            (self._alrm, 8),
            (self._tcpok, 10),
            (self._term, 10),
            (self._operate, 3),
            (self._look, 6),
        )
        for work, every_days in moves:
            for _ in range(round(self.plan.days / every_days)):
                self.at(self._sometime(), work)

    def _sometime(self) -> float:
        return self.random.uniform(self.now, self._end)

    def run(self) -> None:
        """Live through the year, then let it come to rest."""
        self._run_until(self._end)
        self._heal()
        self.check()
        self._run_until(self._end + PEACE_DAYS * DAY_S)
        self._check_rest()

    def _run_until(self, end: float) -> None:
        while self.now < end:
            try:
                self._step(end)
            except PowerCut:
                self._cut()

    def _step(self, end: float) -> None:
        self.machine.go_on()
        self._see_to_disk()
        if self._is_restarting and self._has_ended():
            self._is_restarting = False
            self.machine.restart_send()
            return
        self._sleep(min(end, self._next_event()))
        while self._agenda and self._agenda[0][0] <= self.now:
            heapq.heappop(self._agenda)[2]()

    def _next_event(self) -> float:
        landing = self.machine.deliverer.next_landing()
        times = [self._agenda[0][0]] if self._agenda else []
        times += [] if landing is None else [landing]
        return min(times, default=self._end + PEACE_DAYS * DAY_S)

    def _sleep(self, until: float) -> None:
        """Let time pass until something is to be done."""
        clock = self.machine.disks.queue.clock
        while self.now < until:
            wait_s = self.machine.send.dispatcher.wait_s()
            if wait_s <= 0:
                return
            # Not so short that time stands still.
            clock.advance(max(1e-5, min(wait_s, until - self.now)))

    # --- mail -----------------------------------------------------------------------------------

    def _mail(self) -> None:
        self.mails += 1
        self.machine.submit(self.writers.mail())

    def _list(self, size: int) -> None:
        self.mails += 1
        self.machine.submit(self.writers.to_list(size))

    # --- what the administrator does ------------------------------------------------------------

    def _hup(self) -> None:
        self._reread(self.random.randrange(len(CHANGES)))
        self.at(self.now + self.random.uniform(HOUR_S, 2 * DAY_S), lambda: self._reread(0))

    def _reread(self, change: int) -> None:
        self.moves += 1
        self.world.policy = policy_of(CHANGES[change])
        self.world.watch.reread(self.world.policy, self.now)
        send = self.machine.send
        self.machine.guarded("send", lambda: send.dispatcher.reread(self.world.policy))

    def _alrm(self) -> None:
        self.moves += 1
        self.world.watch.all_due()
        self.machine.guarded("send", lambda: self.machine.send.engine.act(Act.RETRY_NOW))

    def _tcpok(self) -> None:
        self.moves += 1
        self.network.addresses.forget()

    def _term(self) -> None:
        self.moves += 1
        self._is_restarting = True
        self.machine.send.dispatcher.exit_soon()

    def _has_ended(self) -> bool:
        send = self.machine.send
        is_open = send.asked or send.dispatcher.ending.bounces or self.machine.orders
        return send.dispatcher.exiting and send.dispatcher.is_idle and not is_open

    def _operate(self) -> None:
        if self.machine.send.dispatcher.exiting:
            return
        verb = self.random.choice(("hold", "hold", "release", "retry", "delete", "bounce", "undo"))
        self._steer(verb, self._filter())
        if verb == "hold":
            when = self.now + self.random.uniform(60, 5 * DAY_S)
            self.at(when, lambda: self._steer("release", Filter()))
        elif verb in ("delete", "bounce") and self.random.random() < 0.5:
            self.at(self.now + self.random.uniform(1, 900), lambda: self._steer("undo", Filter()))

    def _filter(self) -> Filter:
        random = self.random
        host = b"*@" + random.choice([b"here", *self.network.names])
        return random.choice(
            (
                Filter(recipient=host),
                Filter(recipient=b"full@*"),
                Filter(older_s=int(random.uniform(0, 3 * DAY_S))),
                Filter(sender=b"anne@here", younger_s=int(random.uniform(0, 3 * DAY_S))),
                Filter(channel=random.choice(list(Channel))),
            )
        )

    def _steer(self, verb: str, chosen: Filter) -> None:
        self.moves += 1
        self.machine.guarded("send", lambda: self._ask(verb, chosen))

    def _ask(self, verb: str, chosen: Filter) -> None:
        send, world = self.machine.send, self.world
        for sight in send.dispatcher.operator.sights(Filter() if verb == "undo" else chosen):
            if verb == "undo" or sight.meant(chosen):
                world.watch.operated.add(sight.number)
                if verb in ("delete", "bounce"):
                    world.ledger.given_up.add(send.digest_of(sight.number))
        for answer in send.dispatcher.operator.answer(Question(tag=1, verb=verb, filter=chosen)):
            if answer is PAUSE:
                send.settle_turn()

    # --- what goes wrong ------------------------------------------------------------------------

    def _kill(self) -> None:
        """One of the next operations is the last of the program that makes it."""
        self.machine.is_power_cut = False
        power = self.machine.disks.queue.power
        power.cut_at = power.count + self.random.randrange(60)

    def _kill_spawners(self) -> None:
        self.kills += 1
        self.machine.kill_spawners()

    def _cut_soon(self) -> None:
        """The power fails before one of the next operations."""
        self.machine.is_power_cut = True
        power = self.machine.disks.queue.power
        power.cut_at = power.count + self.random.randrange(60)

    def _cut(self) -> None:
        """The power is gone; something of what was not synced survives; everything starts."""
        random, machine = self.random, self.machine
        self.power_cuts += 1
        self.kills += machine.kills
        machine.deliverer.abandon()
        waiting = machine.disks.queue.waiting
        choice = Choice(random.randint(0, waiting), seed=random.getrandbits(32))
        found = machine.disks.after_power_cut(choice, Choice())
        self.world.look_for_torn(found)
        self.world.crashed(found)
        self.world.forget_settled(found)
        self.world.is_disk_ill = False
        found.queue.clock.advance(random.choice((0, 0, 600, HOUR_S, 3 * DAY_S)))
        self.boots += 1000
        self._is_restarting = False
        self.machine = YearMachine(found, self.world, self.boots)

    def _fail_disk(self) -> None:
        """The disk is full or fails to sync, once."""
        self.machine.disks.queue.fail_next(write=self.random.random() < 0.5)

    def _fill_disk(self) -> None:
        """The disk is full for a while: every second write fails."""
        self._full_until = self.now + self.random.uniform(600, TROUBLE_S)
        self._fail_disk()

    def _see_to_disk(self) -> None:
        disk = self.machine.disks.queue
        has_failed_write = disk.fail_write is not None and disk.writes > disk.fail_write
        has_failed_sync = disk.fail_sync is not None and disk.syncs > disk.fail_sync
        if has_failed_write or has_failed_sync:
            disk.heal()
            self.world.is_disk_ill = True
            self.world.watch.excused_until = self.now + TROUBLE_S
            self.world.crashed(self.machine.disks)
            if self.now < self._full_until:
                disk.fail_next(write=True)

    def _heal(self) -> None:
        self._full_until = 0
        self.machine.disks.queue.power.restore()
        self.machine.disks.queue.heal()
        self._agenda.clear()
        self._reread(0)
        held = Filter(held=True)
        for _ in range(RELEASES_MAX):
            # The first one may hear of a sync that failed before.
            self._steer("release", Filter())
            sights = self.machine.send.dispatcher.operator.sights(held)
            if not any(sight.meant(held) for sight in sights):
                return
        raise AssertionError("what is held can't be released")

    # --- checks ---------------------------------------------------------------------------------

    def _look(self) -> None:
        if not self.machine.send.dispatcher.exiting:
            self.check()

    def check(self) -> None:
        """The ledger is even, and whatever waits has a next time."""
        files = self.machine.disks.queue.files()
        self.world.ledger.check(files)
        waiting = _numbers(files, "info/") - _numbers(files, "todo/")
        known = {each.number for each in self.machine.send.dispatcher.operator.sights(Filter())}
        assert waiting <= known, f"{waiting - known} wait, and nothing is to happen to them"

    def _check_rest(self) -> None:
        self.check()
        files = self.machine.disks.queue.files()
        left = [path for path in files if path.partition("/")[0] not in ("mess", "pid")]
        assert not left, f"left in the queue: {left[:20]}"
        assert not list(asked_for(files))

    def story(self) -> str:
        """Return what happened, in a line."""
        figures, ledger = self.world.watch.figures, self.world.ledger
        copies = sum(ledger.delivered.values()) - len(ledger.delivered)
        bounces = sum(1 for entry in ledger.entries.values() if entry.about and entry.is_accepted)
        return (
            f"{self.mails} mails, {figures.starts} deliveries, {figures.retries} retries, "
            f"{bounces} bounces, {figures.deaths} died of age, {len(ledger.deleted)} deleted, "
            f"{copies} copies too many, {self.kills + self.machine.kills} kills, "
            f"{self.power_cuts} power cuts, {self.moves} moves, "
            f"{figures.most_running} at once, longest wait {figures.longest_wait_s:.1f} s of "
            f"{figures.checked_waits}, log {self.world.fingerprint:08x}"
        )


def _numbers(files: dict[str, bytes], folder: str) -> set[int]:
    names = {path.rpartition("/")[2] for path in files if path.startswith(folder)}
    return {int(name) for name in names if name.isdigit()}


def live(seed: int, plan: Plan = YEAR) -> Year:
    """Live through one year. Raises: AssertionError: with what replays it."""
    year = Year(seed, plan)
    try:
        year.run()
    except Exception as trouble:
        again = f"again by: python -m tests.sim.year --days {plan.days} {seed}"
        raise AssertionError(f"at {year.now:.3f}: {trouble!r}; {again}") from trouble
    return year


def main(argv: Sequence[str]) -> int:
    """Live through the years of some seeds. Returns: 1 where one of them failed."""
    parser = argparse.ArgumentParser(prog="python -m tests.sim.year", description=__doc__)
    parser.add_argument("seeds", nargs="+", metavar="SEED", help="a number, or FIRST-LAST")
    parser.add_argument("--days", type=int, default=YEAR.days, help="shorter years (365)")
    options = parser.parse_args(argv)
    failures = 0
    for word in options.seeds:
        first, _, last = word.partition("-")
        for seed in range(int(first), int(last or first) + 1):
            begun = time.process_time()
            try:
                year = live(seed, plan_of(options.days))
            except AssertionError:
                failures += 1
                print(f"seed {seed}: FAILED\n{traceback.format_exc()}", flush=True)
                continue
            print(f"seed {seed}: {time.process_time() - begun:.1f} s, {year.story()}", flush=True)
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
