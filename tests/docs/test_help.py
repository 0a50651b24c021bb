"""Whoever asks a command how it is used is told: one line on descriptor 2, the usual exit code."""

import importlib
import os
import sys
from pathlib import Path

import pytest

from qmail.launchers import PROGRAMS
from qmail.protocol.options import asks_for_help

FRIENDLY = ("qmail",)
ANY_ARGUMENT_IS_AN_ADDRESS = ("qmail-getpw",)
KNOW_H = ("qmail-inject", "new-inject", "sendmail", "datemail", "qmail-pw2u")
"""For these `-h` is an option of their own."""
SYSEXITS = ("sendmail", "mailq")
"""These end as Sendmail does: 64 is wrong usage."""
ASKED = [
    (name, word)
    for name in PROGRAMS
    if name not in (*FRIENDLY, *ANY_ARGUMENT_IS_AN_ADDRESS)
    for word in ("--help", "-h")
    if word != "-h" or name not in KNOW_H
]


@pytest.mark.parametrize(("name", "word"), ASKED)
def test_help_is_one_line_of_usage(
    name: str,
    word: str,
    *,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("QMAIL_HOME", str(tmp_path / "none"))
    monkeypatch.setattr(sys, "argv", [name, word])
    umask = os.umask(0o022)
    try:
        code = importlib.import_module(PROGRAMS[name]).main([word])
    finally:
        os.umask(umask)
    said = capfd.readouterr()
    assert "usage: " in said.err
    assert said.err.count("\n") == 1
    assert name in said.err
    # qmail-remote always ends with 0; its report says that this was nothing to send.
    wrong_usage = 64 if name in SYSEXITS else 100
    assert (code, said.out[:1]) == ((0, "D") if name == "qmail-remote" else (wrong_usage, ""))
    assert os.listdir(tmp_path) == []


def test_only_the_word_alone_asks_for_help() -> None:
    assert asks_for_help(["-h"])
    assert asks_for_help(["--help"])
    assert not asks_for_help(["-h"], ("--help",))
    assert not asks_for_help(["-h", "x"])
    assert not asks_for_help(["x"])
    assert not asks_for_help([])
