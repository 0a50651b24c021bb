"""CR LF becomes LF, wherever the text is cut."""

from hypothesis import given
from hypothesis import strategies as st

from qmail.protocol.unix_lines import UnixLines


@given(st.lists(st.sampled_from([b"\r", b"\n", b"a", b"\r\n", b"\r\r"])), st.data())
def test_every_cut_gives_the_same_text(pieces: list[bytes], data: st.DataObject) -> None:
    text = b"".join(pieces)
    rest = bytearray(text)

    def read(size: int) -> bytes:
        count = data.draw(st.integers(1, size)) if rest else 0
        part = bytes(rest[:count])
        del rest[:count]
        return part

    lines = UnixLines(read)
    found = []
    while part := lines(3):
        found.append(part)
    assert b"".join(found) == text.replace(b"\r\n", b"\n")
    assert lines(3) == b""
