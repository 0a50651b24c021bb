"""The bar on the terminal: not for what is short, not where there is no terminal."""

import io

import pytest
from tests.fakes.terminal import Terminal

from qmail.edge.tools.progress import AFTER_S, CLEAR, EVERY_S, Progress, bar


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.mark.parametrize(
    ("done", "total", "full", "words"),
    [(0, 10, 0, "0 of 10 x"), (5, 10, 15, "5 of 10 x"), (10, 10, 30, "10 of 10 x"),
     (11, 10, 30, "11 of 10 x"), (1234, 56789, 0, "1,234 of 56,789 x")],
)  # fmt: skip
def test_a_bar_is_as_full_as_the_work_is_done(done: int, total: int, full: int, words: str) -> None:
    assert bar(done, total, "x") == f"[{'#' * full}{'.' * (30 - full)}] {words}"


def test_without_a_total_there_is_a_count() -> None:
    assert (bar(1234, 0, "files"), bar(7, 0)) == ("1,234 files", "7")


def test_what_is_short_shows_nothing() -> None:
    terminal, clock = Terminal(), Clock()
    with Progress(terminal, clock) as progress:
        progress.show(1, 2)
        clock.now += AFTER_S / 2
        progress.show(2, 2)
    assert terminal.getvalue() == ""


def test_a_bar_is_drawn_now_and_then_and_nothing_is_left_of_it() -> None:
    terminal, clock = Terminal(), Clock()
    with Progress(terminal, clock) as progress:
        clock.now += AFTER_S * 1.01
        for done in range(1000):
            progress.show(done, 1000)
        clock.now += EVERY_S * 1.01
        progress.show(1000, 1000)
    assert terminal.getvalue() == CLEAR + bar(0, 1000) + CLEAR + bar(1000, 1000) + CLEAR


def test_without_a_terminal_there_is_no_bar() -> None:
    stream, clock = io.StringIO(), Clock()
    with Progress(stream, clock) as progress:
        clock.now += 100
        progress.show(1, 2)
    assert stream.getvalue() == ""


def test_a_terminal_that_went_away_stops_nothing() -> None:
    terminal, clock = Terminal(), Clock()
    terminal.is_gone = True
    with Progress(terminal, clock) as progress:
        clock.now += 100
        progress.show(1, 2)
