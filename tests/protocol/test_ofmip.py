"""The submission session for simple clients, fed by the byte (spec/companion.md 7)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qmail.protocol import ofmip
from qmail.protocol.loose_data import LooseDataReader
from qmail.protocol.ofmip import (
    Body,
    DataBegins,
    MailFrom,
    MessageEnds,
    RcptTo,
    Session,
    loose_path,
)

LINES = st.lists(
    st.sampled_from([
        b"MAIL FROM:<a>", b"RCPT TO:<b>", b"DATA", b".", b"..", b".x", b"", b"text", b"QUIT",
        b"RSET", b"a\rb", b"x" * 9000, b"\r", b"NOOP", b"ehlo x", b"MAIL", b"RCPT TO:", b"\0\xff",
    ]),
    max_size=25,
)  # fmt: skip
BYTE_BY_BYTE_MAX = 3000
ENDS = st.sampled_from([b"\r\n", b"\n", b"\r\r\n"])


def talk(*chunks: bytes) -> tuple[list[tuple[bytes, tuple[bytes, ...]]], bytes]:
    """Take everything; return messages with their envelopes, and all that was said."""
    session = Session()
    said = session.bytes_to_send()
    found: list[tuple[bytes, tuple[bytes, ...]]] = []
    text = b""
    for chunk in chunks:
        if not session.is_closed:
            session.feed(chunk)
        while (event := session.next_event()) is not None:
            match event:
                case MailFrom():
                    session.answer(ofmip.OK)
                case RcptTo(address):
                    session.answer(ofmip.OK, address)
                case DataBegins():
                    session.answer(ofmip.GO_AHEAD)
                    text = b""
                case Body(data):
                    text += data
                case MessageEnds(data, refusal):
                    found.append((text + data, tuple(session.recipients)))
                    session.answer(refusal or ofmip.OK)
        said += session.bytes_to_send()
    return found, said


@given(LINES, ENDS, st.data())
def test_any_split_of_the_input_gives_the_same(
    lines: list[bytes], end: bytes, data: st.DataObject
) -> None:
    sent = b"".join(line + end for line in lines)
    at = data.draw(st.integers(0, len(sent)))
    whole = talk(sent)
    assert talk(sent[:at], sent[at:]) == whole
    if len(sent) < BYTE_BY_BYTE_MAX:
        assert talk(*[sent[at : at + 1] for at in range(len(sent))]) == whole


@given(st.binary(max_size=400))
def test_no_input_is_too_odd(sent: bytes) -> None:
    talk(sent, b"\r\n", b"MAIL FROM:<" + sent + b">\nRCPT TO:" + sent + b"\nDATA\n" + sent)


@pytest.mark.parametrize("end", [b"\r\n", b"\n"])
def test_a_message_comes_with_either_line_end(end: bytes) -> None:
    lines = [b"MAIL FROM:joe", b"RCPT TO:<a> NOTIFY=NEVER", b"rcpt to: b", b"DATA"]
    lines += [b"Subject: x", b"", b"..dot", b"text", b".", b"QUIT"]
    found, said = talk(b"".join(line + end for line in lines))
    assert found == [(b"Subject: x\n\n.dot\ntext\n", (b"a", b"b"))]
    assert said == (
        b"220 ofmipd.local ESMTP\r\n250 ok\r\n250 ok\r\n250 ok\r\n354 go ahead\r\n250 ok\r\n"
        b"221 ofmipd.local\r\n"
    )


def test_a_cr_inside_a_line_refuses_the_message_and_cuts_none_short() -> None:
    start = b"MAIL FROM:<a>\nRCPT TO:<b>\nDATA\n"
    found, said = talk(start + b"x\r.\r\ny\rMAIL FROM:<evil>\r\n.\r\n" + start + b"z\r\r\n.\n")
    assert said.count(b"554 a CR inside a line (#5.6.0)\r\n") == 1
    assert [text for text, _ in found][1:] == [b"z\n"]


def test_commands_out_of_order_are_told() -> None:
    _, said = talk(b"RCPT TO:<a>\nDATA\nMAIL FROM:<>\nDATA\nRSET\nRCPT TO:<a>\nFOO\nHELP\nEHLO\n")
    assert said.split(b"\r\n")[1:-1] == [
        b"503 MAIL first (#5.5.1)",
        b"503 MAIL first (#5.5.1)",
        b"250 ok",
        b"503 RCPT first (#5.5.1)",
        b"250 flushed",
        b"503 MAIL first (#5.5.1)",
        b"502 unimplemented (#5.5.1)",
        b"214 qmail: this takes outgoing mail, and completes it",
        b"250-ofmipd.local",
        b"250-PIPELINING",
        b"250 8BITMIME",
    ]


def test_too_many_mistakes_end_the_conversation() -> None:
    _, said = talk(b"FOO\n" * 200)
    assert said.count(b"502 ") == 100
    assert said.endswith(b"421 ofmipd.local too many errors (#4.7.0)\r\n")


def test_a_line_without_end_is_refused_once() -> None:
    _, said = talk(*[b"x" * 1000] * 20, b"\r\nNOOP\r\n")
    assert said.split(b"\r\n")[1:-1] == [b"500 line too long (#5.5.2)", b"250 ok"]


@pytest.mark.parametrize(
    ("argument", "address"),
    [
        (b"FROM:<joe@h>", b"joe@h"),
        (b"FROM: joe@h SIZE=5", b"joe@h"),
        (b"<joe>", b"joe"),
        (b"TO:<@a,@b:joe@h>", b"joe@h"),
        (b'TO:<"a b"@h>', b"a b@h"),
        (b'TO:<"a>b"@h> x', b"a>b@h"),
        (b"TO:<a\\@b@c>", b"a@b@c"),
        (b"FROM:<>", b""),
        (b"FROM:", b""),
        (b"joe@h", None),
        (b"", None),
        (b"TO:<a\x01@h>", None),
        (b"TO:<a\r@h>", None),
        (b"TO:<a\0@h>", None),
    ],
)
def test_addresses_of_simple_clients(argument: bytes, address: bytes | None) -> None:
    assert loose_path(argument) == address


@given(st.lists(st.sampled_from([b"\r", b"\n", b".", b"a", b"\r\n", b"b" * 8190]), max_size=40))
def test_any_split_of_the_data_gives_the_same(parts: list[bytes]) -> None:
    sent = b"".join(parts)
    whole, pieces = LooseDataReader(), LooseDataReader()
    stored = whole.feed(sent)
    cut = b""
    rest = b""
    for part in parts:
        if pieces.is_ended:
            rest += part
        else:
            cut += pieces.feed(part)
    assert pieces.is_ended == whole.is_ended
    if whole.is_ended:
        assert (cut, pieces.rest + rest, pieces.has_bare_cr) == (
            stored, whole.rest, whole.has_bare_cr,
        )  # fmt: skip
    assert b"\r" not in stored
