"""qmail-send: what keeps it from starting, and its settings (spec/queue.md 7.1, logging.md 4)."""

import fcntl
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest
from tests.fakes.homes import BECOME, UID, make_home, open_folder

from qmail.core.addresses.routing import routes_from
from qmail.core.settings.controls import ControlError
from qmail.core.settings.programs import SendControls
from qmail.mail import Channel
from qmail.programs.send import policy_from

CODE: Final = (
    BECOME
    + """
from qmail.programs.send import main
become(int(sys.argv[1]))
sys.exit(main(sys.argv[2:]))
"""
)


@pytest.fixture
def home() -> Iterator[Path]:
    with open_folder() as folder:
        make_home(folder / "home")
        yield folder / "home"


def run(home: Path, *arguments: str) -> tuple[int, list[str]]:
    """Run qmail-send, which is to refuse. Returns: its exit code and its log."""
    done = subprocess.run(
        [sys.executable, "-c", CODE, str(UID), *arguments],
        check=False,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        env={"QMAIL_HOME": str(home)},
        cwd="/",
        timeout=60,
        text=True,
    )
    lines = done.stdout.splitlines()
    # The reason is on descriptor 2: in the suite that is the log as well.
    return done.returncode, [*lines, *done.stderr.splitlines()[:1]]


def test_logging_4_a_second_qmail_send_is_refused(home: Path) -> None:
    with open(home / "queue/lock/sendmutex", "wb") as mutex:
        fcntl.flock(mutex, fcntl.LOCK_EX)
        assert run(home) == (
            111,
            [
                "alert: cannot start: qmail-send is already running",
                "qmail-send: fatal: cannot start: qmail-send is already running",
            ],
        )


def test_logging_4_without_its_lock_it_does_not_start(home: Path) -> None:
    os.unlink(home / "queue/lock/sendmutex")
    code, (line, _) = run(home)
    assert code == 111
    assert line == "alert: cannot start: unable to open mutex"


def test_logging_4_without_a_home_it_does_not_start(home: Path) -> None:
    code, (line, _) = run(home / "nowhere")
    assert code == 111
    assert line == "alert: cannot start: unable to switch to home directory"


@pytest.mark.parametrize(
    ("name", "text", "says"),
    [
        ("queuelifetime", "a week\n", "control/queuelifetime:1: "),
        ("virtualdomains", "#\nv.ex\n", "control/virtualdomains:2: "),
        ("bouncehost", "\n", "control/bouncehost:1: "),
    ],
)
def test_logging_4_bad_controls_are_told_with_file_and_line(
    home: Path, name: str, text: str, says: str
) -> None:
    (home / "control" / name).write_text(text)
    code, (line, why) = run(home)
    assert code == 111
    assert line == "alert: cannot start: unable to read controls"
    assert why.startswith(f"qmail-send: fatal: cannot start: unable to read controls: {says}")


def test_control_files_3_without_locals_and_me_it_does_not_start(home: Path) -> None:
    for name in ("me", "locals"):
        (home / "control" / name).unlink(missing_ok=True)
    assert run(home)[0] == 111
    with pytest.raises(ControlError, match="neither control/locals nor control/me"):
        routes_from(SendControls())


def test_programs_1_it_takes_no_arguments(home: Path) -> None:
    assert run(home, "x")[0] == 100


def test_control_files_3_the_settings_decide_what_is_done() -> None:
    controls = SendControls(
        locals=frozenset((b"a.ex",)), concurrencylocal=3, concurrencyremote=4, queuelifetime=5
    )
    policy = policy_from(controls)
    assert policy.limits == {Channel.LOCAL: 3, Channel.REMOTE: 4}
    assert policy.lifetime_s == 5
    assert policy.routes.envnoathost == b"envnoathost"
    assert (policy.bounces.bouncehost, policy.bounces.doublebouncehost) == (
        b"bouncehost",
        b"doublebouncehost",
    )
