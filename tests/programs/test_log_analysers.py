"""Our log, read by the rules of qmailanalog's matchup (spec/logging.md 6)."""

import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from tests.fakes.homes import HOST, open_folder, others_can_run_the_programs
from tests.fakes.suite import WAIT_S, Suite
from tests.programs.test_log import send_many, wait_for

POSTMASTER = f"postmaster@{HOST}"
STRANGE = ("a b%\n@far.example", "ä@far.example", "UPPER@Far.Example")


@pytest.fixture
def suite() -> Iterator[Suite]:
    if not others_can_run_the_programs():
        pytest.skip("the programs lie where only root can read them")
    with open_folder() as folder, Suite(folder) as made:
        yield made


@dataclass
class Matchup:
    """Reads lines by field number alone, as matchup does, and gathers its `m` and `d` lines."""

    messages: dict[int, tuple[float, int, str, int, int]] = field(default_factory=dict)
    deliveries: dict[int, tuple[int, float, str]] = field(default_factory=dict)
    done: list[tuple[str, ...]] = field(default_factory=list)
    tries: list[tuple[str, ...]] = field(default_factory=list)
    results: dict[int, Counter[str]] = field(default_factory=dict)
    odd: list[str] = field(default_factory=list)

    def read(self, line: str) -> None:
        """Take one line; field 0 is the time, field 1 says what it is."""
        fields = line.split(" ")
        handler = {"new": self._new, "info": self._info, "starting": self._starting,
                   "delivery": self._delivery, "end": self._end}.get(fields[1])  # fmt: skip
        if handler is not None:
            handler(float(fields[0]), fields)
        elif fields[1] not in ("status:", "warning:", "alert:"):
            self.odd.append(line)

    def _new(self, _at: float, fields: list[str]) -> None:
        self.messages.pop(int(fields[3]), None)
        self.results[int(fields[3])] = Counter()

    def _info(self, at: float, fields: list[str]) -> None:
        number = int(fields[3].removesuffix(":"))
        assert fields[3] == f"{number}:"
        sender = fields[7].lower()
        assert (sender[0], sender[-1]) == ("<", ">")
        assert fields[4::2] == ["bytes", "from", "qp", "uid"]
        self.messages[number] = at, int(fields[5]), sender, int(fields[9]), int(fields[11])

    def _starting(self, at: float, fields: list[str]) -> None:
        assert fields[7] in ("local", "remote")
        assert len(fields) == 9
        delivery = int(fields[3].removesuffix(":"))
        self.deliveries[delivery] = int(fields[5]), at, f"{fields[7]}.{fields[8].lower()}"

    def _delivery(self, at: float, fields: list[str]) -> None:
        number, started, whom = self.deliveries.pop(int(fields[2].removesuffix(":")))
        (letter,) = {
            letter
            for prefix, letter in (("succ", "k"), ("fail", "d"), ("defer", "z"), ("report", "z"))
            if fields[3].startswith(prefix)
        }
        assert len(fields) == 5 or fields[3] == "report"
        self.results[number][letter] += 1
        birth, size, sender, *rest = self.messages[number]
        times = f"{birth:.6f} {started:.6f} {at:.6f}"
        self.tries.append((letter, times, str(size), sender, whom, *map(str, rest), fields[4]))

    def _end(self, at: float, fields: list[str]) -> None:
        birth, size, sender, qp, uid = self.messages.pop(int(fields[3]))
        counts = self.results.pop(int(fields[3]))
        numbers = [str(counts[letter]) for letter in "kdz"]
        self.done.append((f"{birth:.6f} {at:.6f}", str(size), *numbers, sender, str(qp), str(uid)))


def test_logging_6_matchup_understands_every_line_of_a_busy_hour(suite: Suite) -> None:
    suite.control("log", "time seconds\nto file main\n")
    suite.start()
    path = suite.home / "log/main/current"
    wait_for(path, "status: local 0/")
    send_many(suite, 20)
    for sender in STRANGE:
        suite.send(f"no-such@{HOST}", POSTMASTER, sender=sender)
    suite.send(f"no-such@{HOST}", sender="")
    wait_for(path, "from <#@[]>")
    lines = ended(path, 20 + 3 + 3 + 1 + 3 + 1)
    assert suite.stop() == 0
    matchup = Matchup()
    for line in lines:
        matchup.read(line)
    assert matchup.messages == {}
    assert matchup.deliveries == {}
    # Only lines that begin with other words are not understood.
    assert {line.split(" ")[1] for line in matchup.odd} <= {
        "bounce", "triple", "smtpd:", "qmail-start:",
    }  # fmt: skip
    senders = Counter(one[5] for one in matchup.done)
    assert senders["<joe@far.example>"] == 20
    assert {"<a_b_/@far.example>", "<__@far.example>", "<upper@far.example>", "<>", "<#@[]>"} <= (
        set(senders)
    )
    assert {one[0] for one in matchup.tries} == {"k", "d"}


def ended(path: Path, count: int) -> list[str]:
    """Wait until `count` messages have ended; return all lines."""
    end = time.monotonic() + WAIT_S
    while time.monotonic() < end:
        lines = path.read_text().splitlines()
        if sum(" end msg " in line for line in lines) >= count:
            return lines
        time.sleep(0.02)
    raise AssertionError(lines)
