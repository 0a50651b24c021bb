"""Text in log fields (spec/logging.md 1)."""

from hypothesis import given
from hypothesis import strategies as st

from qmail.protocol.logtext import safe


def test_logging_1_a_line_feed_is_a_slash_and_blanks_and_percent_are_underscores() -> None:
    assert safe(b"Sorry, no\nmailbox 100% (#5.1.1)\n") == b"Sorry,_no/mailbox_100__(#5.1.1)/"
    assert safe(b"\x00\x1f\x7f\x80\xff\t") == b"______"


@given(text=st.binary())
def test_logging_1_nothing_unprintable_is_left_and_nothing_else_is_changed(text: bytes) -> None:
    out = safe(text)
    assert len(out) == len(text)
    assert all(33 <= byte <= 126 and byte != 37 for byte in out)
    assert all(a == b for a, b in zip(text, out, strict=True) if 33 <= a <= 126 and a != 37)
