"""From samples to tables: medians, ratios pair by pair, plain text and Markdown. Pure."""

import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final

from bench.extras import IdleConnections, Memory
from bench.fanout import HOSTS, FanOut
from bench.fifty import Fifty
from bench.injection import MESSAGES, PROCESSES, Injection
from bench.machine import Machine
from bench.mailboxes import MESSAGES as MAILBOX_MESSAGES
from bench.pop3 import RETRIEVED, Reading
from bench.values import Kind, Sample, Variant
from bench.waiting import Waiting

NONE: Final = "-"
TARGET_BYTES: Final = 4096
"""The targets are for messages of this size."""
RATIO_TARGETS: Final = {
    (Kind.LOCAL, True): 4.0,
    (Kind.LOCAL, False): 3.0,
    (Kind.RELAY, True): 4.0,
    (Kind.RELAY, False): 3.0,
    (Kind.ACCEPT, True): 5.0,
    (Kind.ACCEPT, False): 5.0,
}
BUSY_CORES: Final = 0.8
"""More CPU for others than this, and strangers ran: the kernel's own threads need about half."""
SUITE_MB_TARGET: Final = 200
IDLE_MB_TARGET: Final = 150
USERS_SHARE_TARGET: Final = 0.5
SENDMAIL_MS_TARGET: Final = 60
INJECTION_RATIO_TARGET: Final = 1
FAN_OUT_S_TARGET: Final = 5
FIRST_DELIVERY_S_TARGET: Final = 5
LIST_S_TARGET: Final = 1
COUNT_S_TARGET: Final = 3
IDLE_CPU_TARGET: Final = 0.01
NEW_MAIL_TARGET: Final = 0.9
RECIPIENT_BYTES_TARGET: Final = 100


@dataclass(frozen=True, slots=True)
class Row:
    """All rounds of one variant; the nth samples of both sides were taken one after the other."""

    variant: Variant
    ours: Sequence[Sample]
    postfix: Sequence[Sample]

    @property
    def ratios(self) -> list[float]:
        """Our rate over Postfix's, pair by pair."""
        return [a.rate / b.rate for a, b in zip(self.ours, self.postfix, strict=False)]

    @property
    def target(self) -> float | None:
        """The ratio to reach."""
        if self.variant.size_bytes != TARGET_BYTES:
            return None
        return RATIO_TARGETS.get((self.variant.kind, self.variant.is_kept))


@dataclass(frozen=True, slots=True)
class Single:
    """One figure that is no rate."""

    title: str
    ours: str
    postfix: str = NONE
    target: str = NONE


@dataclass(slots=True)
class Report:
    """Everything that a run has found."""

    machine: Machine
    rows: list[Row] = field(default_factory=list)
    singles: list[Single] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


Table = tuple[Sequence[str], list[Sequence[str]]]


def number(value: float | None, digits: int = 0) -> str:
    """Write a figure; a dash where there is none."""
    return NONE if value is None else f"{value:.{digits}f}"


def median(values: Iterable[float | None]) -> float | None:
    """Return the median of what is there; None where nothing is."""
    known = [value for value in values if value is not None]
    return statistics.median(known) if known else None


def span(values: Sequence[float], digits: int = 0) -> str:
    """Write the least and the greatest of several."""
    if not values:
        return NONE
    return f"{min(values):.{digits}f} to {max(values):.{digits}f}"


RATE_HEAD: Final = (
    "work", "ours/s", "Postfix/s", "ratio", "of rounds", "target", "reached", "ours, of rounds",
    "Postfix, of rounds",
)  # fmt: skip


def rate_table(rows: Iterable[Row]) -> Table:
    """Messages a second, and the ratios."""
    lines: list[Sequence[str]] = []
    for row in rows:
        ours, theirs = [one.rate for one in row.ours], [one.rate for one in row.postfix]
        ratio, target = median(row.ratios), row.target
        reached = NONE
        if ratio is not None and target is not None:
            reached = "yes" if ratio >= target else "no"
        lines.append((
            row.variant.title, number(median(ours)), number(median(theirs)), number(ratio, 2),
            span(row.ratios, 2), number(target), reached, span(ours), span(theirs),
        ))  # fmt: skip
    return RATE_HEAD, lines


COST_HEAD: Final = (
    "work", "CPU ms ours", "CPU ms Postfix", "CPU ratio", "load ms ours", "load ms Postfix",
    "flushes ours", "flushes Postfix", "N ours", "N Postfix", "other CPU",
)  # fmt: skip


def cost_table(rows: Iterable[Row]) -> Table:
    """CPU and flushes for each message."""
    lines: list[Sequence[str]] = []
    for row in rows:
        ours, theirs = row.ours, row.postfix
        ratio = median(b.cpu_ms / a.cpu_ms for a, b in zip(ours, theirs, strict=False) if a.cpu_ms)
        other = median(one.other_cpu_s / one.wall_s for one in (*ours, *theirs))
        lines.append((
            row.variant.title,
            number(median(one.cpu_ms for one in ours), 3),
            number(median(one.cpu_ms for one in theirs), 3),
            number(ratio, 2),
            number(median(one.load_cpu_ms for one in ours), 3),
            number(median(one.load_cpu_ms for one in theirs), 3),
            number(median(one.flushes_each for one in ours), 3),
            number(median(one.flushes_each for one in theirs), 3),
            number(median(one.count for one in ours)),
            number(median(one.count for one in theirs)),
            number(other, 2),
        ))  # fmt: skip
    return COST_HEAD, lines


def busy_note(rows: Iterable[Row]) -> str | None:
    """Say so where the machine had much else to do; None where it had not."""
    samples = [one for row in rows for one in (*row.ours, *row.postfix)]
    other = median(one.other_cpu_s / one.wall_s for one in samples)
    if other is None or other < BUSY_CORES:
        return None
    return f"The machine was busy: {other:.1f} cores worked for others, so rates are too low."


def single_table(singles: Iterable[Single]) -> Table:
    """The figures that are no rates."""
    head = ("what", "ours", "Postfix", "target")
    return head, [(one.title, one.ours, one.postfix, one.target) for one in singles]


def memory_single(ours: Memory, postfix: Memory | None) -> Single:
    """Write the memory of the idle suites."""

    def shown(memory: Memory | None) -> str:
        return NONE if memory is None else f"{memory.mb:.0f} MB, {memory.processes} processes"

    title = "idle memory of the whole suite"
    return Single(title, shown(ours), shown(postfix), f"under {SUITE_MB_TARGET} MB")


def share_single(many: Sequence[Sequence[Sample]], one: Sequence[Sequence[Sample]]) -> Single:
    """Write which share of the rate to one user remains where a thousand get mail in turn."""

    def shown(side: int) -> str:
        if side >= len(many):
            return NONE
        shares = [a.rate / b.rate for a, b in zip(many[side], one[side], strict=True)]
        return f"{number(median(shares), 2)} ({span(shares, 2)})"

    title = "rate to 1,000 users, by the rate to one of them"
    return Single(title, shown(0), shown(1), f"at least {USERS_SHARE_TARGET}")


def injection_singles(sides: Sequence[Sequence[Injection]]) -> list[Single]:
    """Write how many messages a second sendmail takes from many at once, and what that makes."""
    title = f"{MESSAGES} messages by {PROCESSES} processes that start sendmail"

    def shown(at: int) -> str:
        if at >= len(sides):
            return NONE
        rates = [one.rate for one in sides[at]]
        arrived = median(MESSAGES / one.arrived_s for one in sides[at])
        return f"{number(median(rates))}/s ({span(rates)}), {number(arrived)}/s delivered"

    found = [Single(title, shown(0), shown(1))]
    if len(sides) > 1:
        ratios = [a.rate / b.rate for a, b in zip(*sides, strict=True)]
        found.append(
            Single(
                f"{title}: ratio",
                f"{number(median(ratios), 2)} ({span(ratios, 2)})",
                target=f"at least {INJECTION_RATIO_TARGET}",
            )
        )
    return found


def reading_singles(sides: Sequence[Sequence[Reading]]) -> list[Single]:
    """Write how many POP3 sessions a second there are; the second side is Dovecot."""
    title = f"POP3 sessions, maildirs of {MAILBOX_MESSAGES}, {RETRIEVED} read"

    def shown(at: int) -> str:
        if at >= len(sides):
            return NONE
        rates = [one.rate for one in sides[at]]
        cpu = number(median(one.cpu_ms for one in sides[at]), 1)
        return f"{number(median(rates))}/s ({span(rates)}), {cpu} ms CPU each"

    theirs = NONE if len(sides) < 2 else f"Dovecot {shown(1)}"
    found = [Single(title, shown(0), theirs)]
    if len(sides) > 1:
        ratios = [a.rate / b.rate for a, b in zip(*sides, strict=True)]
        found.append(Single(f"{title}: ratio", f"{number(median(ratios), 2)} ({span(ratios, 2)})"))
    return found


def idle_single(found: IdleConnections) -> Single:
    """Write what idle connections cost."""
    title = f"{found.open_count} idle SMTP connections, the whole suite"
    shown = f"{found.after_mb:.0f} MB ({found.before_mb:.0f} before)"
    return Single(title, shown, target=f"under {IDLE_MB_TARGET} MB")


def fan_out_single(samples: Sequence[FanOut], names: Sequence[str]) -> Single:
    """Write how long the fan-out took each server, and how many hosts had it at the first try."""

    def shown(name: str) -> str:
        mine = [one for one in samples if one.server == name]
        if not mine:
            return NONE
        times = [one.seconds for one in mine]
        least = min(one.delivered for one in mine)
        return f"{number(median(times), 1)} s ({span(times, 1)}), {least} at first try"

    title = f"one message to {HOSTS} hosts, slow and lossy DNS"
    ours, postfix = (*map(shown, names), NONE)[:2]
    return Single(title, ours, postfix, f"under {FAN_OUT_S_TARGET} s, all at first try")


def waiting_singles(
    found: Waiting, full: Sequence[Sample], empty: Sequence[Sample]
) -> list[Single]:
    """Write what a queue of deferred messages costs; the nth rates were taken in turn."""
    shares = [a.rate / b.rate for a, b in zip(full, empty, strict=True)]
    queue = f"{found.count} deferred"
    return [
        Single(
            f"{queue}: start to first delivery",
            f"{found.first_delivery_s:.1f} s",
            target=f"under {FIRST_DELIVERY_S_TARGET} s",
        ),
        Single(
            f"{queue}: memory of the whole suite",
            f"{found.mb:.0f} MB, {found.processes} processes",
            target=f"under {SUITE_MB_TARGET} MB",
        ),
        Single(
            f"{queue}: qmail queue list --limit 50",
            f"{found.list_s:.2f} s",
            target=f"under {LIST_S_TARGET} s",
        ),
        Single(
            f"{queue}: qmail queue count --by domain",
            f"{found.count_s:.2f} s",
            target=f"under {COUNT_S_TARGET} s",
        ),
        Single(
            f"{queue}: rate of new mail, by that of an empty queue",
            f"{number(median(shares), 2)} ({span(shares, 2)})",
            target=f"at least {NEW_MAIL_TARGET}",
        ),
        Single(
            f"{queue}: CPU when idle",
            f"{found.idle_share:.1%} of a core",
            target=f"under {IDLE_CPU_TARGET:.0%}",
        ),
    ]


def fifty_singles(found: Fifty) -> list[Single]:
    """Write what a message to very many takes, and what it does to the next one."""
    title = f"one message to {found.recipients} local recipients"
    return [
        Single(
            f"{title}: memory for each",
            f"{found.bytes_each:.0f} bytes ({found.before_mb:.0f} to {found.peak_mb:.0f} MB)",
            target=f"under {RECIPIENT_BYTES_TARGET} bytes",
        ),
        Single(
            f"{title}: a small message right behind",
            f"{found.behind_s:.2f} s ({found.alone_s:.2f} s alone)",
        ),
    ]


def aligned(table: Table) -> str:
    """Write a table as plain text in columns: words to the left, figures to the right."""
    head, lines = table
    widths = _widths(table)
    return "\n".join(
        "  ".join(
            cell.ljust(width) if at == 0 else cell.rjust(width)
            for at, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in (head, *lines)
    )


def markdown(table: Table) -> str:
    """Write a table as Markdown, in columns too."""
    head, lines = table
    widths = _widths(table)
    rule = ["-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:])]
    return "\n".join(
        "| "
        + " | ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True))
        + " |"
        for line in (head, rule, *lines)
    )


def _widths(table: Table) -> list[int]:
    head, lines = table
    return [max(len(line[at]) for line in (head, *lines)) for at in range(len(head))]


def tables(report: Report) -> list[tuple[str, Table]]:
    """List the tables that have anything to show, each with its title."""
    found = []
    if report.rows:
        found.append(("Messages a second", rate_table(report.rows)))
        found.append(("For each message", cost_table(report.rows)))
    if report.singles:
        found.append(("Besides", single_table(report.singles)))
    return found


def plain_text(report: Report) -> str:
    """Write the whole report for the terminal."""
    parts = [f"{title}\n{aligned(table)}" for title, table in tables(report)]
    parts += [f"note: {note}" for note in report.notes]
    return "\n\n".join(parts)
