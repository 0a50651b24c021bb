"""Arguments of MAIL and RCPT, and addresses as they are written on the wire."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qmail.mail import ADDRESS_BYTES_MAX
from qmail.protocol import reply as replies
from qmail.protocol.path import MailArgument, parse_mail, parse_rcpt, quote
from qmail.protocol.reply import Reply


@pytest.mark.parametrize(
    ("argument", "sender"),
    [
        (b"FROM:<>", b""),
        (b"FROM:<a@b.example>", b"a@b.example"),
        (b"from: <a@b>", b"a@b"),
        (b"FROM :<a@b>", b"a@b"),
        (b"<a@b>", b"a@b"),
        (b"FROM: a@b", b"a@b"),
        (b"FROM:a@b", b"a@b"),
        (b"FROM:<a@b", b"a@b"),
        (b"FROM:<user>", b"user"),
        (b"FROM:<@one.example,@two.example:a@b>", b"a@b"),
        (b'FROM:<"a b"@c>', b"a b@c"),
        (b'FROM:<"a@b"@c>', b"a@b@c"),
        (b'FROM:<"a\\"b\\\\c"@d>', b'a"b\\c@d'),
        (b"FROM:<a\\@b@c>", b"a@b@c"),
        (b'FROM:<a."b c".d@e>', b"a.b c.d@e"),
        (b'FROM:<">"@c>', b">@c"),
        (b"FROM:<a@[192.0.2.1]>", b"a@[192.0.2.1]"),
        (b"FROM:<a@[IPv6:2001:db8::1]>", b"a@[IPv6:2001:db8::1]"),
        (b"FROM:<a..b@c>", b"a..b@c"),
    ],
)
def test_rfc5321_4_1_2_senders_are_stored_without_quotes(argument: bytes, sender: bytes) -> None:
    assert parse_mail(argument) == MailArgument(sender)


@pytest.mark.parametrize(
    "argument",
    [b"", b"a@b", b"FROM", b"FROM:", b"FROM a@b", b"TO:<a@b>", b"x<a@b>", b"FROM:<a@b>x",
     b"FROM:<a b@c>", b"FROM:<a@>", b"FROM:<@b>", b"FROM:<@x:>x", b"FROM:<<a@b>>",
     b'FROM:<a@"b">',
     b'FROM:<"a@b">', b'FROM:<"a@b>', b"FROM:<a\\@b>", b"FROM:<a\tb@c>", b"FROM:<a\rb@c>",
     b"FROM:<a\x7fb@c>", b'FROM:<"a\x01b"@c>', b"FROM:<a@b\\>"],
)  # fmt: skip
def test_a_malformed_sender_is_501(argument: bytes) -> None:
    assert parse_mail(argument) == replies.SENDER_SYNTAX


@pytest.mark.parametrize(
    ("argument", "recipient"),
    [
        (b"TO:<a@b>", b"a@b"),
        (b"to:<Postmaster>", b"Postmaster"),
        (b"TO: a@b", b"a@b"),
        (b"TO:<@x.example:a@b>", b"a@b"),
        (b'TO:<"a b"@c>', b"a b@c"),
    ],
)
def test_rfc5321_4_1_1_3_recipients(argument: bytes, recipient: bytes) -> None:
    assert parse_rcpt(argument) == recipient


def test_oddities_2_an_address_without_brackets_and_colon_is_501() -> None:
    assert parse_mail(b"a@b") == replies.SENDER_SYNTAX
    assert parse_rcpt(b"a@b") == replies.RECIPIENT_SYNTAX


def test_oddities_2_an_empty_recipient_is_refused() -> None:
    assert parse_rcpt(b"TO:<>") == replies.RECIPIENT_EMPTY
    for argument in (b'TO:<""@b>', b"TO:<@b>"):
        assert parse_rcpt(argument) == replies.RECIPIENT_SYNTAX


def test_rfc1870_6_size_is_read_and_body_is_known() -> None:
    assert parse_mail(b"FROM:<a@b> SIZE=12345 BODY=8bitmime") == MailArgument(b"a@b", 12345)
    assert parse_mail(b"FROM:<a@b> body=7BIT size=1") == MailArgument(b"a@b", 1)
    assert parse_mail(b"FROM:a@b SIZE=7") == MailArgument(b"a@b", 7)


@pytest.mark.parametrize(
    "parameter",
    [b"SIZE=", b"SIZE=x", b"SIZE=-1", b"SIZE=" + b"9" * 21, b"BODY=BINARYMIME", b"BODY"],
)
def test_a_bad_parameter_is_501(parameter: bytes) -> None:
    assert parse_mail(b"FROM:<a@b> " + parameter) == replies.PARAMETER_SYNTAX


def test_rfc5321_4_1_1_11_an_unknown_parameter_is_555() -> None:
    assert parse_mail(b"FROM:<a@b> AUTH=<>") == replies.PARAMETER_UNKNOWN
    assert parse_rcpt(b"TO:<a@b> NOTIFY=NEVER") == replies.PARAMETER_UNKNOWN


def test_addresses_up_to_the_envelope_limit_pass_and_longer_ones_do_not() -> None:
    longest = b"a" * (ADDRESS_BYTES_MAX - 2) + b"@b"
    assert parse_mail(b"FROM:<%b>" % longest) == MailArgument(longest)
    assert parse_rcpt(b"TO:<%b>" % longest) == longest
    assert parse_mail(b"FROM:<a%b>" % longest) == replies.SENDER_TOO_LONG
    assert parse_rcpt(b"TO:<a%b>" % longest) == replies.RECIPIENT_TOO_LONG
    assert parse_rcpt(b"TO:<%b@b>" % (b"x" * 1100)) == replies.RECIPIENT_TOO_LONG


def test_rfc6531_3_5_an_address_with_8_bit_bytes_is_553() -> None:
    assert parse_mail(b"FROM:<j\xc3\xb6rg@b>") == replies.NOT_ASCII
    assert parse_rcpt(b"TO:<a@\xff>") == replies.NOT_ASCII


@pytest.mark.parametrize(
    ("address", "written"),
    [
        (b"", b""), (b"a@b", b"a@b"), (b"a.b@c", b"a.b@c"), (b"root", b"root"),
        (b"a b@c", b'"a b"@c'), (b".a@b", b'".a"@b'), (b"a.@b", b'"a."@b'),
        (b"a..b@c", b'"a..b"@c'),
        (b"@b", b'""@b'), (b'a"b@c', b'"a\\"b"@c'), (b"a\\b@c", b'"a\\\\b"@c'),
        (b"a@b@c", b'"a@b"@c'), (b"a\rb@c", b'"a\\\rb"@c'), (b"\xff@c", b'"\xff"@c'),
        (b"two words", b'"two words"'), (b"!#$%&'*+-/=?^_`{|}~@c", b"!#$%&'*+-/=?^_`{|}~@c"),
    ],
)  # fmt: skip
def test_inject_8_quoting(address: bytes, written: bytes) -> None:
    assert quote(address) == written


@given(
    local=st.binary(min_size=1, max_size=30).filter(
        lambda text: all(32 <= byte < 127 for byte in text)
    )
)
def test_what_is_quoted_is_read_back(local: bytes) -> None:
    address = local + b"@host.example"
    assert parse_rcpt(b"TO:<%b>" % quote(address)) == address


@given(argument=st.binary(max_size=40).map(lambda text: b"FROM:<" + text))
def test_any_argument_gives_an_address_or_a_reply(argument: bytes) -> None:
    parsed = parse_mail(argument)
    if not isinstance(parsed, Reply):
        assert len(parsed.sender) <= ADDRESS_BYTES_MAX
        assert parsed.sender.isascii()
        assert all(32 <= byte < 127 for byte in parsed.sender)
