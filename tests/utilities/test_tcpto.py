"""qmail-tcpto and qmail-tcpok (spec/programs.md 4)."""

import time
from pathlib import Path

import pytest

from qmail.edge.smtp.back_off import BackOff
from qmail.utilities import tcpok, tcpto

NOW = 1_700_000_000.0


@pytest.fixture(autouse=True)
def a_clock_that_stands(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "time", lambda: NOW)


def fill(home: Path) -> None:
    back_off = BackOff(str(home))
    back_off.timed_out("192.0.2.1")
    back_off.timed_out("2001:db8::1")
    back_off.refused("192.0.2.7")
    back_off.close()


def test_programs_4_tcpto_prints_a_line_for_each_address(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    fill(home)
    monkeypatch.setattr(time, "time", lambda: NOW + 95)
    assert tcpto.main([]) == 0
    assert capsys.readouterr().out == (
        "192.0.2.1 timed out 95 seconds ago; # recent timeouts: 1\n"
        "2001:db8::1 timed out 95 seconds ago; # recent timeouts: 1\n"
        "192.0.2.7 refused 95 seconds ago; # recent refusals: 1\n"
    )


def test_programs_4_tcpok_forgets_them_all(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fill(home)
    assert tcpok.main([]) == 0
    assert tcpto.main([]) == 0
    assert capsys.readouterr().out == ""


def test_programs_4_without_a_table_both_end_with_111(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (home / "queue/lock/tcpto").unlink()
    assert tcpto.main([]) == 111
    assert capsys.readouterr().out == (
        "fatal: unable to read queue/lock/tcpto: No such file or directory\n"
    )
    assert tcpok.main([]) == 111
    assert "No such file" in capsys.readouterr().err


def test_programs_0_they_take_no_arguments(home: Path) -> None:
    assert home
    assert (tcpto.main(["x"]), tcpok.main(["x"])) == (100, 100)
