"""The run itself: servers started, variants measured in turn, everything stopped again."""

import itertools
import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Final

from bench.crowd import LIST_MEMBERS, USERS, Crowd, make_crowd
from bench.dovecot import Dovecot
from bench.extras import idle_connections, idle_memory, sendmail_ms, sync_calls_each
from bench.fanout import FanOut, measure_fan_out
from bench.fifty import measure_fifty
from bench.ground import Ground
from bench.injection import MESSAGES, WARM_UP, Injection, inject
from bench.load import Sink
from bench.mailbox import make_account, remove_account
from bench.mailboxes import Mailboxes, make_mailboxes
from bench.measure import Field, make_field, measure
from bench.measure_crowd import measure_crowd
from bench.ours import Ours, OursReading
from bench.pop3 import SESSIONS_WARM, Reading, read_all
from bench.postfix import Postfix, Withhold
from bench.report import (
    NONE,
    SENDMAIL_MS_TARGET,
    Report,
    Row,
    Single,
    busy_note,
    fan_out_single,
    fifty_singles,
    idle_single,
    injection_singles,
    memory_single,
    reading_singles,
    share_single,
    waiting_singles,
)
from bench.slow_dns import NET
from bench.values import Kind, Mailbox, Sample, Server, Variant
from bench.waiting import fill, look_at, start_filled

from bench import dovecot

SIZES_BYTES: Final = (4096, 102400)
WARM_UP_COUNT: Final = {4096: 400, 102400: 100}
COUNT_MIN: Final = 100
COUNT_MAX: Final = 40_000
TRIAL: Final = Variant(Kind.ACCEPT, 4096, is_kept=True)
STRACE_COUNT: Final = 500
CROWD_PARTS: Final = frozenset({"users", "list"})
OWN_PARTS: Final = frozenset({"accept", "fanout", "fifty", "deferred", "pop3"})
"""Those that share no server with another part."""
FAN_OUT_ROUNDS_MAX: Final = 2
"""Postfix takes the better part of a minute for each."""
OUT_OF_TIME: Final = "The machine was too slow for all rounds: the later variants have fewer."

INJECTION_ROUNDS_MAX: Final = 2
"""A round takes both servers some twenty seconds."""
LIST_ROUNDS_MAX: Final = 2
"""Each takes as long as ten thousand deliveries do."""

Say = Callable[[str], None]
Take = Callable[[int, Kind, int], Sample]
"""Takes one measurement: which server, what, how many deliveries."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What is to be measured."""

    ground: Ground
    parts: frozenset[str]
    rounds: int
    seed: int
    """The name server's in the first round of the fan-out; each further round takes the next."""
    seconds: float
    budget_s: float
    sendmail_runs: int
    idle_count: int
    with_postfix: bool
    with_strace: bool


def run_plan(plan: Plan, report: Report, say: Say) -> None:
    """Measure everything that `plan` asks for into `report`.

    Raises: BenchError, OSError: something could not be measured.
    """
    with ExitStack() as stack:
        sink = Sink(plan.ground.path)
        stack.callback(sink.stop)
        sink.start()
        bench = Bench(plan, report, say, sink)
        if os.geteuid() == 0:
            bench.account = make_account(plan.ground.path)
            stack.callback(remove_account)
        else:
            report.notes.append("Ours ran under one account: not started by root.")
        if plan.parts - CROWD_PARTS - OWN_PARTS:
            bench.measure_delivering()
        if plan.parts & CROWD_PARTS:
            bench.measure_crowd()
        if "accept" in plan.parts:
            bench.measure_accepting()
        if "pop3" in plan.parts:
            bench.measure_reading()
        bench.measure_queue()
    busy = busy_note(report.rows)
    if busy is not None:
        report.notes.append(busy)


def variants(kind: Kind) -> list[Variant]:
    """List the variants of one kind of work."""
    return [Variant(kind, *pair) for pair in itertools.product(SIZES_BYTES, (True, False))]


def count_for(rate: float, seconds: float, unit: int = COUNT_MIN) -> int:
    """Return how many messages take about `seconds` at that rate, in units of at least 100."""
    unit = max(unit, COUNT_MIN)
    return min(COUNT_MAX, max(unit, round(rate * seconds / unit) * unit))


class Bench:
    """One run: the plan, where its figures go, and what stays the same for all measurements."""

    def __init__(self, plan: Plan, report: Report, say: Say, sink: Sink) -> None:
        self._plan = plan
        self._report = report
        self._say = say
        self._sink = sink
        self._end = time.monotonic() + plan.budget_s
        self.account: Mailbox | None = None

    def _rounds(self) -> Iterator[int]:
        """Count the rounds of a variant: one only when the time for the whole run is used up."""
        for done in range(self._plan.rounds):
            if done and time.monotonic() > self._end:
                if OUT_OF_TIME not in self._report.notes:
                    self._report.notes.append(OUT_OF_TIME)
                return
            yield done

    # --- servers --------------------------------------------------------------------------------

    @contextmanager
    def _running(self, server: Server, folder: str) -> Iterator[Server]:
        """Start a server, and stop it whatever happens."""
        try:
            server.start()
            yield server
        finally:
            server.stop()
            self._plan.ground.leave(folder)

    def _ours(
        self, stack: ExitStack, *, is_withheld: bool, crowd: Crowd | None = None
    ) -> tuple[Server, Field]:
        folder = self._plan.ground.folder()
        server = Ours(folder, sink_port=self._sink.port, is_withheld=is_withheld, crowd=crowd)
        stack.enter_context(self._running(server, folder))
        return server, self._field(self.account or server.mailbox())

    def _postfix(self, stack: ExitStack, withhold: Withhold, crowd: Crowd | None = None) -> Server:
        folder = self._plan.ground.folder()
        server = Postfix(folder, sink_port=self._sink.port, withhold=withhold, crowd=crowd)
        return stack.enter_context(self._running(server, folder))

    def _field(self, mailbox: Mailbox) -> Field:
        return make_field(mailbox, self._sink, self._plan.ground)

    # --- local, relay, and what is no rate ------------------------------------------------------

    def measure_delivering(self) -> None:
        """Measure with servers that deliver; both run all the time, one of them idle."""
        with ExitStack() as stack:
            server, field = self._ours(stack, is_withheld=False)
            servers = [server]
            if self._plan.with_postfix:
                servers.append(self._postfix(stack, Withhold.NOTHING))
            if "memory" in self._plan.parts:
                self._measure_memory(servers)
            if "sendmail" in self._plan.parts:
                self._measure_sendmail(servers, field)
            if "inject" in self._plan.parts:
                self._measure_injection(servers, field)
            for kind in (Kind.LOCAL, Kind.RELAY):
                if kind.value in self._plan.parts:
                    self._measure_kind(kind, servers, field)

    def _measure_memory(self, servers: list[Server]) -> None:
        self._say("bench: memory")
        found = [idle_memory(server) for server in servers]
        self._report.singles.append(memory_single(found[0], (*found, None)[1]))
        if self._plan.idle_count:
            self._say(f"bench: {self._plan.idle_count} idle connections")
            idle = idle_connections(servers[0], self._plan.idle_count)
            self._report.singles.append(idle_single(idle))
            if idle.open_count < self._plan.idle_count:
                self._report.notes.append(
                    f"Of {self._plan.idle_count} idle connections {idle.open_count} stayed open."
                )

    def _measure_sendmail(self, servers: list[Server], field: Field) -> None:
        self._say("bench: sendmail")
        times = sendmail_ms(servers, field.mailbox, self._plan.sendmail_runs)
        shown = [f"{one:.1f} ms" for one in times]
        target = f"under {SENDMAIL_MS_TARGET} ms"
        self._report.singles.append(
            Single("sendmail of one small message", shown[0], (*shown, NONE)[1], target)
        )

    def _measure_injection(self, servers: list[Server], field: Field) -> None:
        """Measure sendmail started by many at once; a first, short round is not counted."""
        self._say("bench: injection")
        folder = self._plan.ground.path
        samples: list[list[Injection]] = [[] for _ in servers]
        for server in servers:
            inject(server, field.mailbox, folder, WARM_UP)
        for done in self._rounds():
            if done >= INJECTION_ROUNDS_MAX:
                break
            for server, side in zip(servers, samples, strict=True):
                side.append(inject(server, field.mailbox, folder, MESSAGES))
        self._report.singles += injection_singles(samples)

    def _measure_kind(self, kind: Kind, servers: list[Server], field: Field) -> None:
        for variant in variants(kind):
            samples: list[list[Sample]] = []
            counts = []
            for server in servers:
                warm = measure(server, variant, WARM_UP_COUNT[variant.size_bytes], field)
                counts.append(count_for(warm.rate, self._plan.seconds))
                samples.append([])
            for _ in self._rounds():
                for at, server in enumerate(servers):
                    sample = measure(server, variant, counts[at], field)
                    counts[at] = count_for(sample.rate, self._plan.seconds)
                    samples[at].append(sample)
            self._add_row(variant, samples)
        if self._plan.with_strace:
            self._count_syncs(kind, servers, field)

    def _add_row(self, variant: Variant, samples: list[list[Sample]]) -> None:
        row = Row(variant, samples[0], (*samples, [])[1])
        self._report.rows.append(row)
        rates = [" ".join(f"{one.rate:.0f}" for one in side) for side in samples]
        self._say(f"bench: {variant.title}: {' | '.join(rates)} a second")

    def _count_syncs(self, kind: Kind, servers: list[Server], field: Field) -> None:
        variant = Variant(kind, SIZES_BYTES[0], is_kept=True)
        for server in servers:
            calls = sync_calls_each(server, variant, STRACE_COUNT, field)
            shown = ", ".join(f"{name} {each:.3f}" for name, each in sorted(calls.items()))
            self._report.notes.append(
                f"Calls for each message, {server.name}, {variant.title}: {shown or 'none'}."
            )

    # --- a thousand users -----------------------------------------------------------------------

    def measure_crowd(self) -> None:
        """Measure deliveries to a thousand users, and to one of them beside."""
        if os.geteuid() != 0:
            self._report.notes.append("A thousand users were not measured: only root can be them.")
            return
        crowd = make_crowd(self._plan.ground)
        with ExitStack() as stack:
            server, field = self._ours(stack, is_withheld=False, crowd=crowd)
            servers = [server]
            if self._plan.with_postfix:
                servers.append(self._postfix(stack, Withhold.NOTHING, crowd))

            def take(at: int, kind: Kind, count: int) -> Sample:
                variant = Variant(kind, SIZES_BYTES[0], is_kept=True)
                return measure_crowd(servers[at], variant, count, field=field, crowd=crowd)

            if "users" in self._plan.parts:
                self._measure_users(len(servers), take)
            if "list" in self._plan.parts:
                self._measure_list(len(servers), take)

    def _measure_users(self, sides: int, take: Take) -> None:
        """Measure one user and all of them right after each other, so that they compare."""
        kinds = {Kind.ONE_USER: 1, Kind.USERS: USERS}
        samples: dict[Kind, list[list[Sample]]] = {
            kind: [[] for _ in range(sides)] for kind in kinds
        }
        rates = [{kind: take(at, kind, USERS).rate for kind in kinds} for at in range(sides)]
        for _ in self._rounds():
            for at, kind in itertools.product(range(sides), kinds):
                count = count_for(rates[at][kind], self._plan.seconds, kinds[kind])
                sample = take(at, kind, count)
                rates[at][kind] = sample.rate
                samples[kind][at].append(sample)
        for kind in kinds:
            self._add_row(Variant(kind, SIZES_BYTES[0], is_kept=True), samples[kind])
        self._report.singles.append(share_single(samples[Kind.USERS], samples[Kind.ONE_USER]))

    def _measure_list(self, sides: int, take: Take) -> None:
        samples: list[list[Sample]] = [[] for _ in range(sides)]
        for done in self._rounds():
            if done >= LIST_ROUNDS_MAX:
                break
            for at, side in enumerate(samples):
                side.append(take(at, Kind.LIST, LIST_MEMBERS))
        self._add_row(Variant(Kind.LIST, SIZES_BYTES[0], is_kept=True), samples)

    # --- reading --------------------------------------------------------------------------------

    def measure_reading(self) -> None:
        """Measure POP3 sessions, ours beside Dovecot's; the first visits are not counted."""
        self._say("bench: pop3")
        with ExitStack() as stack:
            folders = [self._plan.ground.folder() for _ in range(3)]
            mailboxes = make_mailboxes(folders[0], time.time())
            ours = OursReading(folders[1], sink_port=self._sink.port, mailboxes=mailboxes)
            stack.enter_context(self._running(ours, folders[1]))
            doors = [(ours.pop3_port, ours.pid)]
            if dovecot.is_there():
                peer = Dovecot(folders[2], mailboxes)
                stack.callback(peer.stop)
                peer.start()
                doors.append((peer.port, peer.pid))
                self._report.notes.append(f"POP3 is measured beside Dovecot {dovecot.version()}.")
            else:
                self._report.notes.append(
                    "Dovecot was not measured: it takes root and Debian's dovecot-pop3d."
                )
            sides = self._read_in_turn(doors, mailboxes)
        self._report.singles += reading_singles(sides)

    def _read_in_turn(
        self, doors: Sequence[tuple[int, int]], mailboxes: Mailboxes
    ) -> list[list[Reading]]:
        sides: list[list[Reading]] = [[] for _ in doors]
        warm = [read_all(*door, mailboxes, SESSIONS_WARM) for door in doors]
        each = [
            max(SESSIONS_WARM, round(one.rate * self._plan.seconds / len(mailboxes.names)))
            for one in warm
        ]
        for _ in self._rounds():
            for at, door in enumerate(doors):
                sides[at].append(read_all(*door, mailboxes, each[at]))
        return sides

    # --- the life of a queued message -----------------------------------------------------------

    def measure_queue(self) -> None:
        """Measure the fan-out, the message to very many, and the queue of deferred messages."""
        parts = {
            "fanout": self._measure_fan_out,
            "fifty": self._measure_fifty,
            "deferred": self._measure_deferred,
        }
        for name, work in parts.items():
            if name not in self._plan.parts:
                continue
            if self.account is None:
                self._report.notes.append(f"{name} was not measured: only root can.")
                continue
            self._say(f"bench: {name}")
            work()

    def _measure_fan_out(self) -> None:
        names = [Ours.name, Postfix.name][: 1 + self._plan.with_postfix]
        samples: list[FanOut] = []
        rounds = self._plan.rounds
        if self._plan.with_postfix:
            rounds = min(rounds, FAN_OUT_ROUNDS_MAX)
        if time.monotonic() > self._end:
            rounds = 1

        def take(sample: FanOut) -> None:
            samples.append(sample)
            self._say(sample.told())

        seeds = range(self._plan.seed, self._plan.seed + rounds)
        measure_fan_out(self._plan.ground, names, seeds, take)
        self._report.singles.append(fan_out_single(samples, names))
        self._report.notes.append(
            f"The hosts of the fan-out have addresses of {NET}, which exist in its own network"
            " namespace alone: ours takes an exchanger in 127.0.0.0/8 for this machine itself."
        )

    def _measure_fifty(self) -> None:
        with ExitStack() as stack:
            folder = self._plan.ground.folder()
            server = Ours(folder, sink_port=self._sink.port, is_withheld=False)
            stack.enter_context(self._running(server, folder))
            assert self.account is not None
            found = measure_fifty(server, self._field(self.account))
        self._report.singles += fifty_singles(found)

    def _measure_deferred(self) -> None:
        assert self.account is not None
        variant = Variant(Kind.LOCAL, SIZES_BYTES[0], is_kept=True)
        with ExitStack() as stack:
            empty, field = self._ours(stack, is_withheld=False)
            folder = self._plan.ground.folder()
            full = Ours(folder, sink_port=self._sink.port, is_withheld=False)
            stack.callback(self._plan.ground.leave, folder)
            fill(full)
            stack.callback(full.stop)
            found = look_at(full, start_filled(full, self._sink))
            sides: list[list[Sample]] = [[], []]
            counts = [
                count_for(
                    measure(server, variant, WARM_UP_COUNT[variant.size_bytes], field).rate,
                    self._plan.seconds,
                )
                for server in (full, empty)
            ]
            for _ in self._rounds():
                for server, count, samples in zip((full, empty), counts, sides, strict=True):
                    samples.append(measure(server, variant, count, field))
        self._report.singles += waiting_singles(found, *sides)

    # --- accept only ----------------------------------------------------------------------------

    def measure_accepting(self) -> None:
        """Measure with deliveries withheld; every measurement starts with an empty queue."""
        withhold = self._best_withhold() if self._plan.with_postfix else None
        for variant in variants(Kind.ACCEPT):
            samples: list[list[Sample]] = [[]] if withhold is None else [[], []]
            counts = [0, 0]
            for _ in self._rounds():
                for at, side in enumerate(samples):
                    sample = self._accept(variant, withhold if at else None, counts[at])
                    counts[at] = count_for(sample.rate, self._plan.seconds)
                    side.append(sample)
            self._add_row(variant, samples)
        if self._plan.with_strace:
            for way in [None] if withhold is None else [None, withhold]:
                with ExitStack() as stack:
                    server, field = self._accepting(stack, way)
                    self._count_syncs(Kind.ACCEPT, [server], field)

    def _accepting(self, stack: ExitStack, withhold: Withhold | None) -> tuple[Server, Field]:
        """Start a server that delivers nothing; without a way to withhold it is ours."""
        if withhold is None:
            return self._ours(stack, is_withheld=True)
        mailbox = self.account or Mailbox(local_part="", new="")
        return self._postfix(stack, withhold), self._field(mailbox)

    def _accept(self, variant: Variant, withhold: Withhold | None, count: int) -> Sample:
        """Measure one fresh server."""
        with ExitStack() as stack:
            server, field = self._accepting(stack, withhold)
            warm = measure(server, variant, WARM_UP_COUNT[variant.size_bytes], field)
            return measure(
                server, variant, count or count_for(warm.rate, self._plan.seconds), field
            )

    def _best_withhold(self) -> Withhold:
        """Find the way to withhold deliveries that lets Postfix accept fastest."""
        self._say("bench: how Postfix accepts fastest")
        rates = {way: self._accept(TRIAL, way, 0).rate for way in Withhold}
        best = max(rates, key=lambda way: rates[way])
        tried = ", ".join(f"{way.value} {rate:.0f}/s" for way, rate in rates.items())
        self._report.notes.append(f"Accept-only, Postfix: {best.value} (tried: {tried}).")
        return best
