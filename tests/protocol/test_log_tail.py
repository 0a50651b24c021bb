"""The machine part of log lines."""

from hypothesis import given
from hypothesis import strategies as st

from qmail.protocol.log_tail import packed_tail, split_line


def test_a_tail_is_what_was_packed_without_empty_fields() -> None:
    line = b"new msg 5" + packed_tail(id=b"abc", parent=b"", helo=b"a b=c")
    assert split_line(line) == (b"new msg 5", {"id": b"abc", "helo": b"a_b=c"})


def test_a_line_without_a_tail_is_all_text() -> None:
    assert split_line(b"status: local 0/10 remote 0/20") == (
        b"status: local 0/10 remote 0/20",
        {},
    )


@given(st.binary(max_size=60), st.dictionaries(st.sampled_from(["id", "helo"]), st.binary()))
def test_no_value_can_forge_another_field(text: bytes, fields: dict[str, bytes]) -> None:
    text = text.replace(b"\x1f", b"")
    found_text, found = split_line(text + packed_tail(**fields))
    assert found_text == text
    assert found.keys() == {name for name, value in fields.items() if value}


@given(st.binary())
def test_any_line_is_split(line: bytes) -> None:
    text, _ = split_line(line)
    assert line.startswith(text)
