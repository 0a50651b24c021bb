"""control/break and control/patrn (spec/00-index.md, compile-time constants)."""

import pytest

from qmail.core.settings.controls import ControlError, load
from qmail.core.settings.local import LocalControls


def local_controls(**files: bytes) -> LocalControls:
    return load(LocalControls, files.get)


@pytest.mark.parametrize(
    ("text", "value"), [(b"+\n", b"+"), (b"-", b"-"), (b"", b""), (b"\n", b""), (b"= \nx\n", b"=")]
)
def test_break_is_one_character_or_none(text: bytes, value: bytes) -> None:
    assert local_controls(**{"break": text}).break_ == value


@pytest.mark.parametrize(
    "text", [b"--\n", b"x\n", b"7\n", b"@\n", b"/\n", b":\n", b"\xfc\n", b"\0\n", b"\x01\n"]
)
def test_what_can_not_end_a_name_is_named(text: bytes) -> None:
    with pytest.raises(ControlError, match=r"^control/break:1: "):
        local_controls(**{"break": text})


@pytest.mark.parametrize(
    ("text", "value"), [(b"002\n", 2), (b"022", 18), (b"22", 18), (b"0", 0), (b"0077", 63)]
)
def test_patrn_is_octal(text: bytes, value: int) -> None:
    assert local_controls(patrn=text).patrn == value


@pytest.mark.parametrize(
    "text", [b"", b"8", b"0o2", b"-2", b"100", b"700", b"00022", b"022 x", b"0x12"]
)
def test_a_patrn_that_is_none_is_named(text: bytes) -> None:
    with pytest.raises(ControlError, match=r"^control/patrn:1: "):
        local_controls(patrn=text)


def test_index_break_and_patrn_have_the_values_that_the_original_was_compiled_with() -> None:
    assert (local_controls().break_, local_controls().patrn) == (b"-", 0o002)
    assert str(local_controls().patrn) == "002"
