"""Headers completed and envelopes found: spec/inject.md 3 to 7, spec/oddities.md 8."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qmail.core.inject.message import Composed, InjectError, Moment, Order, Person, Request, compose
from qmail.core.inject.rewriting import Hosts
from qmail.protocol.header import HeaderReader

HOSTS = Hosts(b"dh.ex", b"dd.ex", b"pd.ex", b"id.ex")
PERSON = Person(b"joe", None, None, b"joe", None)
MOMENT = Moment(b"23 Nov 2026 10:11:12 -0000", b"20261123101112.1234.qmail", b"1795428672.12")
ORDER = Order(Request("h"), HOSTS, PERSON, MOMENT)
DATE = b"Date: 23 Nov 2026 10:11:12 -0000\n"
ID = b"Message-ID: <20261123101112.1234.qmail@id.ex>\n"
FROM = b"From: joe@dh.ex\n"
FILLER = b"Cc: recipient list not shown: ;\n"
NEW = DATE + ID + FROM


def composed(header: bytes, order: Order = ORDER) -> Composed:
    reader = HeaderReader(1000000)
    if reader.feed(header) is None:
        reader.finish()
    return compose(order, reader.fields)


def order(*, letters: bytes = b"", **request: Any) -> Order:
    return ORDER._replace(letters=letters, request=ORDER.request._replace(**request))


# --- fields -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("header", "wanted", "recipients"),
    [
        (b"To: a\n", NEW + b"To: a@dh.ex\n", [b"a@dh.ex"]),
        (b"tO :a@b\n", NEW + b"tO: a@b.dd.ex\n", [b"a@b.dd.ex"]),
        (b"Cc: a, b\n", NEW + b"Cc: a@dh.ex, b@dh.ex\n", [b"b@dh.ex", b"a@dh.ex"]),
        (b"Bcc: a\n", NEW + FILLER, [b"a@dh.ex"]),
        (b"Apparently-To: a\n", NEW + FILLER, [b"a@dh.ex"]),
        (b"To: a\nTo: b\n", NEW + b"To: a@dh.ex\nTo: b@dh.ex\n", [b"a@dh.ex", b"b@dh.ex"]),
        (b"To: a\nContent-Length: 5\n", NEW + b"To: a@dh.ex\n", [b"a@dh.ex"]),
        (b"X:  y\n  z\nTo: a\n", NEW + b"X:  y\n  z\nTo: a@dh.ex\n", [b"a@dh.ex"]),
        (b"Received: x\nTo: a\n", NEW + b"Received: x\nTo: a@dh.ex\n", [b"a@dh.ex"]),
        (b"To: a, a\n", NEW + b"To: a@dh.ex, a@dh.ex\n", [b"a@dh.ex", b"a@dh.ex"]),
        (b"To: (c) <>, a\n", NEW + b"To: (c) <>, a@dh.ex\n", [b"a@dh.ex"]),
    ],
)
def test_inject_4_recipient_fields(header: bytes, wanted: bytes, recipients: list[bytes]) -> None:
    result = composed(header)
    assert result.header == wanted
    assert list(result.recipients) == recipients
    assert result.sender == b"joe@dh.ex"
    assert result.warnings == ()


@pytest.mark.parametrize("name", [b"Sender", b"Reply-To", b"Return-Receipt-To", b"Errors-To"])
def test_inject_4_other_address_fields_are_rewritten_only(name: bytes) -> None:
    result = composed(name + b": x y\nBcc: a\n")
    assert result.header == NEW + FILLER + name + b": x@dh.ex, y@dh.ex\n"
    assert result.recipients == (b"a@dh.ex",)
    with pytest.raises(InjectError, match="unable to parse this line: " + name.decode() + ": x"):
        composed(name + b": x)y (\nBcc: a\n")


@pytest.mark.parametrize(
    ("header", "kept"),
    [
        (b"Date: x\n", ID + FROM + FILLER + b"Date: x\n"),
        (b"Message-Id: x\n", DATE + FROM + FILLER + b"Message-Id: x\n"),
        (b"From: f\n", DATE + ID + FILLER + b"From: f@dh.ex\n"),
    ],
)
def test_inject_7_what_is_there_is_not_added(header: bytes, kept: bytes) -> None:
    assert composed(header + b"Bcc: a\n").header == kept


def test_inject_7_a_resent_message_gets_resent_fields_only() -> None:
    result = composed(b"To: a\nResent-Bcc: b\n")
    resent = b"".join(b"Resent-" + line for line in (DATE, ID, FROM, FILLER))
    assert result.header == resent + b"To: a@dh.ex\n"
    assert result.recipients == (b"b@dh.ex",)
    result = composed(b"To: a\nResent-To: b\nResent-Cc: c\nResent-From: d\nResent-Date: x\n")
    assert result.recipients == (b"b@dh.ex", b"c@dh.ex")
    assert result.header == (
        b"Resent-" + ID + b"To: a@dh.ex\nResent-To: b@dh.ex\nResent-Cc: c@dh.ex\n"
        b"Resent-From: d@dh.ex\nResent-Date: x\n"
    )


def test_inject_2_letters_delete_fields_or_change_from() -> None:
    header = b"From: f\nMessage-ID: x\nBcc: a\n"
    assert composed(header, order(letters=b"f")).header == DATE + FROM + FILLER + b"Message-ID: x\n"
    assert composed(header, order(letters=b"i")).header == DATE + ID + FILLER + b"From: f@dh.ex\n"


@pytest.mark.parametrize(
    ("person", "letters", "wanted"),
    [
        ({"name": b"Joe Q. Public"}, b"", b'From: "Joe Q. Public" <joe@dh.ex>\n'),
        ({"name": b""}, b"", b'From: "" <joe@dh.ex>\n'),
        ({"name": b"Joe (x)"}, b"c", b"From: joe@dh.ex (Joe \\(x\\))\n"),
        ({"name": "Jö M".encode()}, b"", b"From: =?utf-8?q?J=C3=B6_M?= <joe@dh.ex>\n"),
        ({"name": "Jö".encode()}, b"c", b"From: joe@dh.ex (=?utf-8?q?J=C3=B6?=)\n"),
        ({"user": b"joe x"}, b"", b'From: "joe x"@dh.ex\n'),
        ({"host": b"h"}, b"", b"From: joe@h.dd.ex\n"),
        ({"host": b""}, b"", b"From: joe@dh.ex\n"),
        ({"host": b"[1.2.3.4]"}, b"", b"From: joe@[1.2.3.4]\n"),
    ],
)
def test_inject_7_from_is_made_of_the_person(
    person: dict[str, bytes], letters: bytes, wanted: bytes
) -> None:
    new = order(letters=letters)._replace(person=PERSON._replace(**person))
    assert wanted in composed(b"Bcc: a\n", new).header


def test_inject_7_followups_go_to_the_list_and_not_to_its_readers() -> None:
    new = ORDER._replace(lists=frozenset((b"list@dh.ex",)))
    header = b"To: LIST, (x) a b@c\nCc: d\nCc: e\n"
    followup = b"Mail-Followup-To: e@dh.ex,\n  d@dh.ex,\n  LIST@dh.ex,\n  a@dh.ex,\n  b@c.dd.ex\n"
    assert composed(header, new).header.startswith(NEW + followup + b"To: ")
    for other in (b"To: a\n", b"Bcc: list\n", header + b"Mail-Followup-To: x\n"):
        assert followup not in composed(other, new).header
    assert b"Followup" not in composed(header + b"Resent-To: x\n", new).header
    assert b"Followup" not in composed(header).header


# --- sender -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("letters", "header", "sender"),
    [
        (b"", b"", b"joe@dh.ex"),
        (b"r", b"", b"joe-@dh.ex-@[]"),
        (b"m", b"", b"joe-1795428672.12@dh.ex"),
        (b"mr", b"", b"joe-1795428672.12-@dh.ex-@[]"),
        (b"", b"Return-Path: <x@y>\n", b"x@y.dd.ex"),
        (b"", b"Return-Path: <>\n", b""),
        (b"r", b"Return-Path: x\n", b"x@dh.ex-@[]"),
        (b"s", b"Return-Path: x\n", b"joe@dh.ex"),
        (b"", b"Return-Path: x, y\nReturn-Path: z\n", b"y@dh.ex"),
        (b"", b"Return-Path:\nReturn-Path: z\n", b"z@dh.ex"),
    ],
)
def test_inject_3_the_sender_is_the_return_path_or_made(
    letters: bytes, header: bytes, sender: bytes
) -> None:
    result = composed(header + b"Bcc: a\n", order(letters=letters))
    assert result.sender == sender
    assert b"Return-Path" not in result.header


def test_inject_3_option_f_wins() -> None:
    for option, sender in ((b"f", b"f@dh.ex"), (b"", b""), (b"<>", b""), (b"a b@c.d", b"a b@c.d")):
        new = order(sender=option, letters=b"mr")
        assert composed(b"Return-Path: x\nBcc: a\n", new).sender == sender
    with pytest.raises(InjectError, match="unable to parse this address: a@b c"):
        composed(b"Bcc: a\n", order(sender=b"a@b c"))


def test_inject_2_the_sender_has_user_and_host_of_its_own() -> None:
    person = PERSON._replace(sender_user=b"s u", sender_host=b"h")
    assert composed(b"Bcc: a\n", ORDER._replace(person=person)).sender == b"s u@h.dd.ex"


def test_option_n_shows_the_sender() -> None:
    result = composed(b"Subject: x\n", order(is_shown=True, sender=b"a b@c.d"))
    assert result.header.startswith(b'Return-Path: <"a b"@c.d>\nDate:')
    assert result.recipients == ()


# --- recipients ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("mode", "arguments", "header", "recipients"),
    [
        ("a", (b"x", b"y z"), b"To: a\n", [b"x@dh.ex", b"y z@dh.ex"]),
        ("h", (b"x",), b"To: a\n", [b"a@dh.ex"]),
        ("A", (b"x",), b"To: a\n", [b"x@dh.ex"]),
        ("A", (), b"To: a\n", [b"a@dh.ex"]),
        ("H", (b"x",), b"To: a\nCc: b\n", [b"x@dh.ex", b"a@dh.ex", b"b@dh.ex"]),
        ("H", (b"x",), b"To: a\nResent-To: b\n", [b"x@dh.ex", b"b@dh.ex"]),
    ],
)
def test_inject_1_recipients_come_from_where_the_options_say(
    mode: str, arguments: tuple[bytes, ...], header: bytes, recipients: list[bytes]
) -> None:
    result = composed(header, order(mode=mode, arguments=arguments))
    assert list(result.recipients) == recipients


@pytest.mark.parametrize(
    ("mode", "header"),
    [("h", b""), ("a", b"To: a\n"), ("h", b"To: x: ;\n"), ("h", b"To: a\nResent-Date: x\n")],
)
def test_oddities_8_nobody_to_send_to_is_an_error(mode: str, header: bytes) -> None:
    with pytest.raises(InjectError, match="no recipients"):
        composed(header, order(mode=mode))


def test_an_empty_argument_is_an_error() -> None:
    with pytest.raises(InjectError, match="empty address"):
        composed(b"", order(mode="a", arguments=(b"a", b"")))


@pytest.mark.parametrize("value", [b"a)( b", b"x: y", b"<a b@c>"])
def test_oddities_8_a_broken_recipient_field_needs_other_recipients(value: bytes) -> None:
    with pytest.raises(InjectError, match="unable to parse this line: To: "):
        composed(b"To: " + value + b"\n")
    result = composed(b"To:" + value + b"\nCc: c\nBcc: ((\n")
    assert result.recipients == (b"c@dh.ex",)
    assert result.header == NEW + b"To:" + value + b"\nCc: c@dh.ex\n"
    assert len(result.warnings) == 2


@given(
    st.lists(
        st.tuples(
            st.sampled_from((b"To", b"Cc", b"Bcc", b"From", b"Resent-To", b"Return-Path", b"X")),
            st.text('ab. ,@<>:;()[]"\\+ä\n ', max_size=20).map(str.encode),
        ),
        max_size=5,
    )
)
@settings(max_examples=100)
def test_any_header_is_completed_or_refused(fields: list[tuple[bytes, bytes]]) -> None:
    header = b"".join(name + b": " + value + b"\n" for name, value in fields)
    try:
        result = composed(header, order(mode="H", arguments=(b"z",)))
    except InjectError:
        return
    assert result.recipients[0] == b"z@dh.ex"
    assert b"" not in result.recipients
    reader = HeaderReader(1000000)
    assert reader.feed(result.header + b"\nbody") == b"\nbody"
    assert not any(field.name in (b"bcc", b"return-path") for field in reader.fields)
