"""What a queue file must hold, against what qmail-send makes of it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qmail.core.queue.read import _parse_todo
from qmail.core.queue.records import mended_bounce, wrong_with

ADDRESS = st.binary(max_size=30).map(lambda text: text.replace(b"\0", b""))
RAW = st.lists(st.sampled_from([b"\0", b"T", b"D", b"F", b"u1", b"p2", b"a@b"])).map(b"".join)


@given(sender=ADDRESS, recipients=st.lists(st.tuples(st.sampled_from([b"T", b"D"]), ADDRESS)))
def test_whole_files_are_right(sender: bytes, recipients: list[tuple[bytes, bytes]]) -> None:
    records = b"".join(letter + address + b"\0" for letter, address in recipients)
    open_ones = b"".join(b"T" + address + b"\0" for _, address in recipients)
    assert not wrong_with("info", b"F" + sender + b"\0")
    assert not wrong_with("todo", b"u1\0p2\0F" + sender + b"\0" + open_ones)
    if recipients:
        assert not wrong_with("local", records)
        assert not wrong_with("remote", records)


@given(data=RAW)
def test_an_envelope_is_right_where_qmail_send_takes_it(data: bytes) -> None:
    try:
        _parse_todo(1, 1, 1, data)
    except ValueError:
        assert wrong_with("todo", data)
    else:
        assert not wrong_with("todo", data)


@given(data=RAW)
def test_recipients_are_right_where_each_record_is_one(data: bytes) -> None:
    parts = data.split(b"\0")
    right = data != b"" and parts[-1] == b"" and all(p[:1] in (b"T", b"D") for p in parts[:-1])
    assert (wrong_with("local", data) == "") == right


@pytest.mark.parametrize("kind", ["todo", "info", "local", "remote", "bounce"])
def test_an_empty_file_is_wrong(kind: str) -> None:
    assert wrong_with(kind, b"") == "it is empty"


@pytest.mark.parametrize(
    "data", [b"Fa", b"a\0", b"Fa\0b\0", b"Fa\0\0", b"\0\0\0\0", b"Ta\0"], ids=repr
)
def test_a_sender_is_one_record(data: bytes) -> None:
    assert wrong_with("info", data)


@pytest.mark.parametrize(
    ("data", "kept"),
    [
        (b"<a@b>:\nno\n\n\0\0\0", b"<a@b>:\nno\n\n"),
        (b"<a@b>:\nno", b"<a@b>:\nno\n\n"),
        (b"\0\0\0", b""),
        (b"\n\n", b""),
    ],
)
def test_what_can_be_read_of_reports_is_kept(data: bytes, kept: bytes) -> None:
    assert mended_bounce(data) == kept
    assert not kept or not wrong_with("bounce", kept)
