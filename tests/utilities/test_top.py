"""qmail top: plain, in JSON, and on a terminal that it always gives back."""

import fcntl
import json
import os
import pty
import re
import signal
import struct
import subprocess
import termios
import time
from collections.abc import Iterator

import pytest
from tests.fakes.homes import open_folder, others_can_run_the_programs
from tests.fakes.suite import Suite, is_readable

from qmail.edge.tools.screen import BELOW, HOME
from qmail.utilities.top import Queue, Sample, lines_of

WAIT_S = 60.0


@pytest.fixture(scope="module")
def suite() -> Iterator[Suite]:
    if not others_can_run_the_programs():
        pytest.skip("the programs lie where only root can read them")
    with open_folder() as folder, Suite(folder) as made:
        made.control("smtproutes", ":127.0.0.1:1\n")
        made.control("concurrencyremote", "70\n")
        made.start().wait_for("status: local 0/")
        made.send("a@b.example", "c@d.example", sender="anne@far.example")
        made.lines_until("deferral: ", 2)
        yield made


def environment(suite: Suite) -> dict[str, str]:
    return {"PATH": os.environ["PATH"], "QMAIL_HOME": str(suite.home), "TERM": "xterm"}


def plain(suite: Suite, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(suite.bin / "qmail"), "top", *arguments],
        check=False,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        env=environment(suite),
        text=True,
        timeout=60,
    )


def test_without_a_terminal_it_is_plain_text_once(suite: Suite) -> None:
    done = plain(suite)
    assert done.returncode == 0
    assert "\x1b" not in done.stdout
    assert done.stdout.startswith("queue 1 messages  at work 0  held 0\nslots local 0/20 ")
    assert re.search(r"^ +1  under 5 minutes +1  b\.example$", done.stdout, re.MULTILINE)
    assert re.search(r"^  d\.example +1 ", done.stdout, re.MULTILINE)
    assert "ago  later  a@b.example  Unable" in done.stdout


def test_json_is_one_object_a_line(suite: Suite) -> None:
    done = plain(suite, "--json", "--count", "2", "--interval", "0.1")
    first, second = (json.loads(line) for line in done.stdout.splitlines())
    assert first.keys() == second.keys()
    assert first["messages"] == 1
    assert first["by_domain"] == {"b.example": 1, "d.example": 1}
    assert first["slots"]["remote"] == {"used": 0, "limit": 70}
    assert {error["letter"] for error in first["errors"]} == {"Z"}


@pytest.mark.parametrize("arguments", [["--interval", "0"], ["--count", "x"], ["more"]])
def test_wrong_usage_is_100(suite: Suite, arguments: list[str]) -> None:
    assert plain(suite, *arguments).returncode == 100


class Terminal:
    """qmail top on a pseudo-terminal."""

    def __init__(self, suite: Suite, *arguments: str) -> None:
        self.fd, slave = pty.openpty()
        self.resize(30, 100)
        self.before = termios.tcgetattr(slave)
        self.slave = slave
        self.process = subprocess.Popen(
            [str(suite.bin / "qmail"), "top", "--interval", "0.2", *arguments],
            stdin=slave,
            stdout=slave,
            stderr=slave,
            env=environment(suite),
        )
        self.text = ""

    def resize(self, lines: int, columns: int) -> None:
        fcntl.ioctl(self.fd, termios.TIOCSWINSZ, struct.pack("4H", lines, columns, 0, 0))

    def wait_for(self, text: str) -> None:
        end = time.monotonic() + WAIT_S
        while text not in self.text:
            assert is_readable(self.fd, max(0.0, end - time.monotonic())), self.text
            self.text += os.read(self.fd, 65536).decode()

    def wait_for_screen_of(self, count: int) -> list[str]:
        """Read until a whole screen has so many lines; one begun before may have others."""
        self.text = ""
        for _ in range(100):
            self.wait_for(BELOW)
            screen, _, self.text = self.text.partition(BELOW)
            shown_last = screen.rpartition(HOME)[2]
            lines = re.sub(r"\x1b\[[?\d]*[A-Za-z]", "", shown_last).split("\r\n")
            if HOME in screen and len(lines) == count:
                return lines
        pytest.fail(f"100 screens, none of {count} lines; the last one: {lines}")

    def press(self, key: str) -> None:
        os.write(self.fd, key.encode())

    def check_given_back(self) -> int:
        code = self.process.wait(WAIT_S)
        self.wait_for("\x1b[?25h\x1b[?1049l")
        assert termios.tcgetattr(self.slave) == self.before
        os.close(self.slave)
        os.close(self.fd)
        return code


def test_q_ends_it_and_the_terminal_is_as_before(suite: Suite) -> None:
    terminal = Terminal(suite)
    terminal.wait_for("\x1b[?1049h")
    terminal.wait_for("b.example")
    terminal.press("q")
    assert terminal.check_given_back() == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_a_signal_gives_the_terminal_back(suite: Suite, number: signal.Signals) -> None:
    terminal = Terminal(suite)
    terminal.wait_for("last errors")
    terminal.process.send_signal(number)
    terminal.check_given_back()


def test_p_pauses_and_goes_on(suite: Suite) -> None:
    terminal = Terminal(suite)
    terminal.wait_for("p pause")
    terminal.press("p")
    terminal.wait_for("p go on")
    terminal.text = ""
    terminal.press("p")
    terminal.wait_for("p pause")
    terminal.press("q")
    terminal.check_given_back()


def test_it_fits_a_terminal_that_becomes_small(suite: Suite) -> None:
    terminal = Terminal(suite)
    terminal.wait_for("last errors")
    terminal.resize(6, 40)
    lines = terminal.wait_for_screen_of(6)
    assert max(map(len, lines)) <= 40
    terminal.press("q")
    assert terminal.check_given_back() == 0


def test_a_count_ends_it(suite: Suite) -> None:
    terminal = Terminal(suite, "--count", "2")
    assert terminal.check_given_back() == 0


def test_text_from_outside_steers_no_terminal() -> None:
    made = Sample(troubles=[(1, b"Z", b"\x1b[2J@a", b"\x07")], slow=[(b"\x1b]0;x", 1, 2, 3)])
    text = "\n".join(lines_of(made, Queue(by={"domain": [(b"\x1b", 1, 1)]}), 80))
    assert "\x1b" not in text
    assert "\x07" not in text
