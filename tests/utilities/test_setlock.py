"""setlock: a program runs while a file is locked (spec/companion.md 3.3)."""

from pathlib import Path

import pytest
from tests.programs.injection import Injection


@pytest.fixture
def world(tmp_path: Path) -> Injection:
    found = Injection(tmp_path)
    found.environ["PATH"] = f"{found.home}/bin:/usr/bin:/bin"
    return found


def test_the_program_runs_with_the_file_locked(world: Injection, tmp_path: Path) -> None:
    lock = tmp_path / "lock"
    ended = world.run(["setlock", str(lock), "setlock", "-n", str(lock), "echo", "wrong"])
    why = f"setlock: fatal: unable to lock {lock}: resource temporarily unavailable\n"
    assert (ended.code, ended.out, ended.err.decode()) == (111, b"", why)
    assert lock.stat().st_mode & 0o777 == 0o600
    # It ended with its holder.
    assert world.run(["setlock", "-n", str(lock), "echo", "right"]).out == b"right\n"


def test_what_is_in_the_file_stays(world: Injection, tmp_path: Path) -> None:
    lock = tmp_path / "lock"
    lock.write_bytes(b"something\n")
    assert world.run(["setlock", str(lock), "cat", str(lock)]).out == b"something\n"


def test_option_x_ends_well_where_there_is_no_lock(world: Injection, tmp_path: Path) -> None:
    lock = str(tmp_path / "lock")
    nested = ["setlock", lock, "setlock", "-nx", lock, "echo", "wrong"]
    assert world.run(nested) == (0, b"", b"")
    assert world.run(["setlock", "-x", "/nonexistent/lock", "echo", "wrong"]) == (0, b"", b"")
    ended = world.run(["setlock", "-xX", "/nonexistent/lock", "echo", "wrong"])
    assert (ended.code, ended.err) == (
        111,
        b"setlock: fatal: unable to open /nonexistent/lock: no such file or directory\n",
    )


def test_without_n_it_waits_for_its_turn(world: Injection, tmp_path: Path) -> None:
    lock = str(tmp_path / "lock")
    script = (
        f"setlock {lock} sh -c 'echo one; read line <{tmp_path}/fifo; echo two' & "
        f"exec 3>{tmp_path}/fifo; setlock -nN {lock} echo three & echo go >&3; wait"
    )
    assert world.run(["setlock", "-x", str(tmp_path / "other"), "mkfifo", f"{tmp_path}/fifo"])
    ended = world.run(["setlock", str(tmp_path / "third"), "sh", "-c", script])
    assert ended.out == b"one\ntwo\nthree\n"


@pytest.mark.parametrize("words", [[], ["file"], ["-q", "file", "true"], ["-n"]])
def test_wrong_usage_is_told(world: Injection, words: list[str]) -> None:
    ended = world.run(["setlock", *words])
    assert ended.code == 100
    assert ended.err.endswith(b"usage: setlock [ -nNxX ] file program [ arg ... ]\n")


def test_a_program_that_is_not_there_is_told(world: Injection, tmp_path: Path) -> None:
    ended = world.run(["setlock", str(tmp_path / "lock"), "/nonexistent/program"])
    why = b"setlock: fatal: unable to run /nonexistent/program: no such file or directory\n"
    assert (ended.code, ended.err) == (111, why)
