"""What a caller of qmail-queue makes of each exit code (spec/programs.md 0)."""

import pytest

from qmail.mail import Letter
from qmail.protocol.exits import QueueExit, queue_result

TABLE = [
    (11, Letter.FAILED, b"(#5.1.3)"),
    (115, Letter.FAILED, b"(#5.1.3)"),
    (31, Letter.FAILED, b"(#5.3.0)"),
    *[(code, Letter.DEFERRED, b"(#4.3.0)") for code in (51, 52, 53, 54, 55, 56)],
    *[(code, Letter.DEFERRED, b"(#4.3.0)") for code in (61, 62, 63, 64, 65, 66, 71)],
    (72, Letter.DEFERRED, b"(#4.4.1)"),
    (73, Letter.DEFERRED, b"(#4.4.1)"),
    (74, Letter.DEFERRED, b"(#4.4.2)"),
    *[(code, Letter.DEFERRED, b"(#4.3.0)") for code in (81, 91, 120, 111)],
]


@pytest.mark.parametrize(("code", "letter", "status"), TABLE)
def test_programs_0_each_exit_code_has_its_class_and_status(
    code: int, letter: Letter, status: bytes
) -> None:
    result = queue_result(code)
    assert result is not None
    assert result.letter is letter
    assert result.text.endswith(status)


def test_programs_0_exit_0_is_success() -> None:
    assert queue_result(0) is None


@pytest.mark.parametrize("code", [code for code in range(12, 41) if code != 31])
def test_programs_0_other_codes_from_11_to_40_are_permanent(code: int) -> None:
    result = queue_result(code)
    assert result is not None
    assert result.letter is Letter.FAILED
    assert result.text.endswith(b"(#5.3.0)")


@pytest.mark.parametrize("code", [-9, -1, 1, 2, 10, 41, 50, 57, 82, 99, 100, 116, 121, 255, 300])
def test_programs_0_any_other_code_and_a_crash_are_temporary(code: int) -> None:
    result = queue_result(code)
    assert result is not None
    assert result.letter is Letter.DEFERRED
    assert result.text.endswith(b"(#4.3.0)")


@pytest.mark.parametrize(
    ("text", "letter"), [(b"Dno spam", Letter.FAILED), (b"Zlater", Letter.DEFERRED)]
)
def test_programs_0_exit_82_says_it_in_its_own_words(text: bytes, letter: Letter) -> None:
    result = queue_result(82, text)
    assert result is not None
    assert result.letter is letter
    assert result.text == text[1:]


@pytest.mark.parametrize("text", [b"", b"D", b"Zx", b"Kwonderful", b"hello"])
def test_programs_0_exit_82_without_a_usable_text_is_temporary(text: bytes) -> None:
    result = queue_result(82, text)
    assert result is not None
    assert result.letter is Letter.DEFERRED


def test_the_text_of_exit_82_counts_for_no_other_code() -> None:
    assert queue_result(0, b"Dno") is None
    result = queue_result(53, b"Dno")
    assert result is not None
    assert result.letter is Letter.DEFERRED


def test_every_exit_code_of_qmail_queue_is_in_the_table() -> None:
    known = {code for code, _, _ in TABLE} | {0, 82}
    assert {int(code) for code in QueueExit} <= known
