"""qmail top: what qmail-send is doing, live on a terminal; elsewhere as plain text, or in JSON.

Rates, slots, slow domains and errors are asked for at every interval; the queue by domain and age,
which means a look at every message, at most every ten seconds and never for a tenth of the time.
"""

import argparse
import json
import os
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from qmail.edge.doors.control_call import CallError, ControlCall
from qmail.edge.machine.home import home_folder
from qmail.edge.tools.plain_text import WIDTH_MIN, short_age, shown, text_of
from qmail.edge.tools.screen import Screen
from qmail.protocol.control_door import Question, tally_of
from qmail.protocol.exits import Exit
from qmail.protocol.netstring import FrameError

COUNT_EVERY_S: Final = 10.0
COUNT_SHARE: Final = 10
ROWS: Final = 8
WORDS: Final = ("arrived", "delivered", "deferred", "failed")
LETTERS: Final = {b"Z": "later", b"D": "never"}
STATUS_FIELDS: Final = 14


@dataclass(slots=True)
class Sample:
    """What is shown at one time."""

    rates: list[float] = field(default_factory=lambda: [0.0] * 8)
    slots: list[int] = field(default_factory=lambda: [0] * 4)
    at_work: int = 0
    held: int = 0
    slow: list[tuple[bytes, int, int, int]] = field(default_factory=list)
    troubles: list[tuple[int, bytes, bytes, bytes]] = field(default_factory=list)


@dataclass(slots=True)
class Queue:
    """The queue as it was counted last; `by`: what, messages, recipients."""

    by: dict[str, list[tuple[bytes, int, int]]] = field(default_factory=dict)
    messages: int = 0
    counted_at: float = 0.0


def main(argv: Sequence[str]) -> int:
    """Show it. Returns: 0; 100 for wrong usage; 111 where qmail-send can't be asked."""
    parser = argparse.ArgumentParser(prog="qmail top", description="Watch qmail-send at work.")
    parser.add_argument("--interval", type=_seconds, default=1.0, metavar="SECONDS")
    parser.add_argument(
        "--count", type=_times, default=0, metavar="N", help="so often; without a terminal once"
    )
    parser.add_argument("--json", action="store_true", help="for programs: one object a line")
    chosen = parser.parse_args(argv)
    try:
        if chosen.json or not (sys.stdout.isatty() and sys.stdin.isatty()):
            return plain(chosen)
        return live(chosen)
    except (CallError, FrameError) as trouble:
        print(f"qmail top: fatal: {trouble}", file=sys.stderr)
        return Exit.TEMPORARY
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return Exit.OK
    except KeyboardInterrupt:
        return Exit.OK


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 0.1 <= seconds <= 86400:
        raise argparse.ArgumentTypeError(f"{text!r} is not between 0.1 and 86400 seconds")
    return seconds


def _times(text: str) -> int:
    if not (text.isascii() and text.isdigit() and 0 < int(text[:12]) <= 10**9):
        raise argparse.ArgumentTypeError(f"{text!r} is no number above 0")
    return int(text)


# --- asking ---------------------------------------------------------------------------------------


def sample(call: ControlCall) -> Sample:
    """Ask for all but the queue. Raises: CallError."""
    made = Sample()
    for answer in call.ask(Question(tag=1, verb="status", limit=ROWS)):
        fields = answer.fields
        if answer.kind == "status" and len(fields) == STATUS_FIELDS:
            numbers = [int(each) if each.isdigit() else 0 for each in fields]
            made.rates = [number / 1000 for number in numbers[:8]]
            made.slots = numbers[8:12]
            made.at_work, made.held = numbers[12:14]
        elif answer.kind == "slow" and len(fields) == 4:
            count, mean_ms, longest_ms = (int(each) for each in fields[1:])
            made.slow.append((fields[0], count, mean_ms, longest_ms))
        elif answer.kind == "trouble" and len(fields) == 4:
            made.troubles.append((int(fields[0]), *fields[1:]))
    return made


def count(call: ControlCall, queue: Queue) -> float:
    """Count the queue by domain and age. Returns: how long that took. Raises: CallError."""
    began = time.monotonic()
    for word in ("domain", "age"):
        rows = []
        question = Question(tag=2, verb="count", text=word.encode(), limit=ROWS)
        for answer in call.ask(question):
            if answer.kind == "tally":
                rows.append(tally_of(answer))
            elif answer.kind == "done":
                queue.messages = int(answer.fields[0])
        queue.by[word] = rows
    queue.counted_at = time.monotonic()
    return queue.counted_at - began


def count_on(home: str, queue: Queue, ending: threading.Event) -> None:
    """Go on counting, beside the screen, until it ends or there is no answer."""
    try:
        call = ControlCall(home)
        while True:
            took_s = count(call, queue)
            if ending.wait(max(COUNT_EVERY_S, COUNT_SHARE * took_s)):
                return
    except (CallError, FrameError):
        # The screen asks as well, and says so.
        return


# --- showing --------------------------------------------------------------------------------------


def plain(chosen: argparse.Namespace) -> int:
    """Print samples one after the other."""
    call, queue = ControlCall(home_folder()), Queue()
    times = chosen.count or 1
    try:
        for turn in range(times):
            if turn:
                time.sleep(chosen.interval)
            if not turn or time.monotonic() - queue.counted_at > COUNT_EVERY_S:
                count(call, queue)
            made = sample(call)
            if chosen.json:
                print(json.dumps(as_object(made, queue)), flush=True)
            else:
                print("\n".join(lines_of(made, queue, None)), flush=True)
    finally:
        call.close()
    return Exit.OK


def live(chosen: argparse.Namespace) -> int:
    """Show samples on the terminal until q."""
    home = home_folder()
    call, queue, ending = ControlCall(home), Queue(), threading.Event()
    threading.Thread(target=count_on, args=(home, queue, ending), daemon=True).start()
    left, is_paused = chosen.count, False
    made = sample(call)
    with Screen() as screen:
        while True:
            if not is_paused:
                made = sample(call)
            lines = lines_of(made, queue, screen.width)
            screen.show([*lines, "", f"q quit  p {'go on' if is_paused else 'pause'}"])
            key = screen.key(chosen.interval)
            if key in ("q", "Q", "\x03"):
                break
            is_paused ^= key == "p"
            left -= key == "" and not is_paused
            if chosen.count and left <= 0:
                break
    ending.set()
    call.close()
    return Exit.OK


def lines_of(made: Sample, queue: Queue, width: int | None) -> list[str]:
    """Return what is shown, in lines of at most `width` characters."""
    local, local_max, remote, remote_max = made.slots
    lines = [
        f"queue {queue.messages:,} messages  at work {made.at_work:,}  held {made.held:,}",
        f"slots local {local}/{local_max}  remote {remote}/{remote_max}",
        "",
        "a second     " + "".join(f"{word:>12}" for word in WORDS),
        "  now        " + "".join(f"{rate:12.1f}" for rate in made.rates[:4]),
        "  1 minute   " + "".join(f"{rate:12.1f}" for rate in made.rates[4:]),
        "",
        f"{'queue by age':<34}queue by destination",
    ]
    ages, domains = queue.by.get("age", []), queue.by.get("domain", [])
    for place in range(max(len(ages), len(domains))):
        left = f"{ages[place][1]:>9,}  {shown(ages[place][0])}" if place < len(ages) else ""
        right = f"{domains[place][1]:>9,}  {shown(domains[place][0])}"
        lines.append(f"{left:<32}{right if place < len(domains) else ''}".rstrip())
    lines += ["", "slowest destinations      tries   mean  longest"]
    for domain, tries, mean_ms, longest_ms in made.slow:
        times = f"{mean_ms / 1000:6.1f}s {longest_ms / 1000:7.1f}s"
        lines.append(f"  {shown(domain)[:22]:<22} {tries:>6} {times}")
    lines += ["", "last errors"]
    for ago_s, letter, address, text in reversed(made.troubles):
        word = LETTERS.get(letter, "?")
        lines.append(f"  {short_age(ago_s):>4} ago  {word}  {shown(address)}  {shown(text)}")
    return [line if width is None else line[: max(WIDTH_MIN, width)] for line in lines]


def as_object(made: Sample, queue: Queue) -> dict[str, Any]:
    """Return a sample under the names that stay."""
    local, local_max, remote, remote_max = made.slots
    return {
        "messages": queue.messages,
        "at_work": made.at_work,
        "held": made.held,
        "per_s": dict(zip(WORDS, made.rates[:4], strict=True)),
        "per_s_1_minute": dict(zip(WORDS, made.rates[4:], strict=True)),
        "slots": {
            "local": {"used": local, "limit": local_max},
            "remote": {"used": remote, "limit": remote_max},
        },
        "by_age": {text_of(key): messages for key, messages, _ in queue.by.get("age", [])},
        "by_domain": {text_of(key): messages for key, messages, _ in queue.by.get("domain", [])},
        "slowest": [
            {"domain": text_of(domain), "tries": tries, "mean_ms": mean, "longest_ms": longest}
            for domain, tries, mean, longest in made.slow
        ],
        "errors": [
            {"ago_s": ago_s, "letter": text_of(letter), "address": text_of(address),
             "text": text_of(text)}
            for ago_s, letter, address, text in made.troubles
        ],
    }  # fmt: skip
