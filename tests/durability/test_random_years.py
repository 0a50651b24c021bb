"""Random lives of a machine: mail, kills, power cuts, full disks, failed syncs; nothing is lost.

A seed replays a life exactly. Source: design.md, "Durability".
"""

from collections import Counter
from collections.abc import Callable
from random import Random

import pytest
from tests.sim.killing import KillMachine
from tests.sim.power import Choice, Power, PowerCut
from tests.sim.simworld import Disks, Key, Mail, Outside, copy_of
from tests.sim.survey import check_owed, check_rest, look, pending

PEOPLE = (b"anne@here", b"bert@here", b"late@here", b"nobody@here", b"dora@far", b"late@far")
LIVES = 100
MOVES = 80


class Life:
    """One machine, its power cuts, and what is owed after each of them."""

    def __init__(self, seed: int) -> None:
        self.random = Random(seed)
        self.boots = 1
        self.mails = 0
        self.owed: Counter[Key] = Counter()
        self.machine = KillMachine(Disks.new(Power()), Outside())
        self.power = self.machine.disks.queue.power

    def step(self) -> None:
        """Make one move; a power cut may come in the middle of it."""
        moves: list[tuple[Callable[[], object], int]] = [
            (self.submit, 6),
            (self.machine.turn, 12),
            (self.machine.queue_turn, 3),
            (self.machine.work, 1),
            (self.plan_kill, 2),
            (self.plan_cut, 1),
            (self.fail_disk, 1),
            (self.wait, 1),
        ]
        work = self.random.choices([move for move, _ in moves], [often for _, often in moves])[0]
        try:
            work()
        except PowerCut:
            self.cut()

    def submit(self) -> None:
        """One to three messages come in."""
        for _ in range(self.random.randint(1, 3)):
            self.mails += 1
            recipients = self.random.sample(PEOPLE, self.random.choice((1, 1, 1, 2, 3)))
            self.machine.submit(Mail(self.mails, b"anne@here", tuple(recipients)))

    def plan_kill(self) -> None:
        """One of the next operations is the last of the program that makes it."""
        self.machine.is_power_cut = False
        self.power.cut_at = self.power.count + self.random.randrange(12)

    def plan_cut(self) -> None:
        """The power fails before one of the next operations."""
        self.machine.is_power_cut = True
        self.power.cut_at = self.power.count + self.random.randrange(30)

    def fail_disk(self) -> None:
        """One of the disks fills up or fails to sync, once."""
        disk = self.random.choice((self.machine.disks.queue, self.machine.disks.mail))
        disk.fail_next(write=self.random.random() < 0.5)

    def wait(self) -> None:
        """Minutes or hours pass; no commit takes as long as that."""
        self.machine.accept_all()
        self.machine.pass_time(self.random.choice((1, 130, 700, 4000, 100_000)))

    def cut(self) -> None:
        """The power is gone; something of what was not synced survives; everything starts."""
        disks, outside = self.machine.disks, self.machine.outside
        queue = Choice(
            self.random.randint(0, disks.queue.waiting), seed=self.random.getrandbits(32)
        )
        mail = Choice(self.random.randint(0, disks.mail.waiting), seed=self.random.getrandbits(32))
        found = disks.after_power_cut(queue, mail)
        self.owed.update(pending(found.queue))
        look(found, outside)
        self.boots += 1000
        self.machine = KillMachine(found, copy_of(outside), self.boots)
        self.power = found.queue.power

    def end(self) -> None:
        """Let it come to rest, and check that nothing is lost, left over or half."""
        self.power.restore()
        self.machine.disks.queue.heal()
        self.machine.disks.mail.heal()
        self.machine.rest()
        outside = self.machine.outside
        found = look(self.machine.disks, outside)
        check_owed(outside, found)
        check_rest(self.machine)


def live(seed: int) -> Life:
    life = Life(seed)
    for _ in range(MOVES):
        life.step()
    life.end()
    return life


@pytest.mark.parametrize("seed", range(LIVES))
def test_no_life_loses_mail(seed: int) -> None:
    life = live(seed)
    assert life.machine.outside.accepted
