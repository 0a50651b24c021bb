"""Why recipients wait, with bounds."""

import pytest

from qmail.core.send import reasons
from qmail.core.send.reasons import REASON_BYTES_MAX, Reasons


def test_the_last_reason_of_each_recipient_is_kept() -> None:
    known = Reasons()
    known.note(5, 1, 0, b"no\nroom\n")
    known.note(5, 1, 9, b"later")
    known.note(5, 1, 9, b"later still")
    assert known.of(5, 1, 0) == b"no room"
    assert known.of(5, 1, 9) == b"later still"
    assert known.of(5, 0, 9) == b""
    known.drop(5, 1, 9)
    known.drop(5, 1, 9)
    assert known.of(5, 1, 9) == b""
    assert len(known) == 1


def test_texts_are_cut_and_shared() -> None:
    known = Reasons()
    for number in range(3):
        known.note(number, 1, 0, b"x" * 5000)
    assert len(known.of(0, 1, 0)) == REASON_BYTES_MAX
    assert known.of(0, 1, 0) is known.of(2, 1, 0)


def test_beyond_the_bound_the_oldest_is_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reasons, "REASONS_MAX", 2)
    monkeypatch.setattr(reasons, "TEXTS_MAX", 1)
    known = Reasons()
    for number in (1, 2, 1, 3):
        known.note(number, 1, 0, b"reason %d" % number)
    assert [known.of(number, 1, 0) for number in (1, 2, 3)] == [b"reason 1", b"", b"reason 3"]
