"""Every rule and row of spec/inject.md 7; addresses in UTF-8; fields of any length, any bytes."""

import re
import tracemalloc
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.fakes.posting import DATE, FILLER, FROM, ID, SENDERS, Posted

from qmail.core.inject.message import Request

DELETED = re.compile(rb"^(?:bcc|resent-bcc|return-path|content-length)[ \t]*:", re.MULTILINE)
PIECES = (
    *(f"{name}: ".encode() for name in (*SENDERS, "To", "Cc", "Bcc", "Resent-To", "Return-Path")),
    *(
        b"\n",
        b"\n",
        b"\n",
        b"\n ",
        b"\n\n",
        b"\r\n",
        b", ",
        b"a",
        b"b@c",
        b"<",
        b">",
        b":",
        b";",
        b"\\",
    ),
    *(b"(", b")", b'"', b"[", b"]", b"@", b".", b"+", b"\xc3\xb6", b"\xff", b"\0", b" ", b"From "),
)


@pytest.mark.parametrize(
    ("header", "wanted"),
    [
        (b"", DATE + ID + FROM + FILLER),
        (b"Date: x\n", ID + FROM + FILLER + b"Date: x\n"),
        (b"Message-ID: x\n", DATE + FROM + FILLER + b"Message-ID: x\n"),
        (b"From: x\n", DATE + ID + FILLER + b"From: x@dh.ex\n"),
        (b"To: x\n", DATE + ID + FROM + b"To: x@dh.ex\n"),
        (b"Cc: x\n", DATE + ID + FROM + b"Cc: x@dh.ex\n"),
        (b"To:\n", DATE + ID + FROM + b"To:\n"),
        (b"To: (\n", DATE + ID + FROM + b"To: (\n"),
        (b"Bcc: x\n", DATE + ID + FROM + FILLER),
        (b"Apparently-To: x\n", DATE + ID + FROM + FILLER),
        (b"B: 1\nA: 2\nB: 3\n", DATE + ID + FROM + FILLER + b"B: 1\nA: 2\nB: 3\n"),
    ],
)
def test_inject_7_fields_that_are_missing_are_added_in_this_order(
    header: bytes, wanted: bytes
) -> None:
    assert Posted(header).message == wanted


@pytest.mark.parametrize(
    ("header", "missing"),
    [
        (b"Resent-Sender: x@y.z\n", (DATE, ID, FROM, FILLER)),
        (b"Resent-Date: x\n", (ID, FROM, FILLER)),
        (b"Resent-Message-ID: x\n", (DATE, FROM, FILLER)),
        (b"Resent-From: x@y.z\n", (DATE, ID, FILLER)),
        (b"Resent-To: x@y.z\n", (DATE, ID, FROM)),
        (b"Resent-Cc: x@y.z\n", (DATE, ID, FROM)),
        (b"To: a@b.c\nResent-Sender: x@y.z\nDate: d\n", (DATE, ID, FROM, FILLER)),
    ],
)
def test_inject_7_a_resent_message_gets_the_resent_ones_alone(
    header: bytes, missing: tuple[bytes, ...]
) -> None:
    added = b"".join(b"Resent-" + field for field in missing)
    assert Posted(header).message == added + header


@pytest.mark.parametrize(
    ("header", "followup"),
    [
        (b"To: list\n", b"list@dh.ex"),
        (b"Cc: LIST@DH.ex\n", b"LIST@DH.ex"),
        (b"To: (c) Joe <list>, a\n", b"list@dh.ex,\n  a@dh.ex"),
        (b"To: list\nCc: a, b\nTo: c\n", b"c@dh.ex,\n  a@dh.ex,\n  b@dh.ex,\n  list@dh.ex"),
        (b'To: list, "a b"@c.d\n', b'list@dh.ex,\n  "a b"@c.d'),
        (b"To: a\n", None),
        (b"Bcc: list\n", None),
        (b"To: a\nBcc: list\n", None),
        (b"To: list\nMail-Followup-To: x\n", None),
        (b"To: list\nResent-To: list\n", None),
    ],
)
def test_inject_7_mail_followup_to(header: bytes, followup: bytes | None, tmp_path: Path) -> None:
    path = tmp_path / "lists"
    path.write_bytes(b"# mine\n\nList@dh.ex \t\n")
    message = Posted(header, {b"QMAILMFTFILE": bytes(path)}).message
    added = b"" if followup is None else b"Mail-Followup-To: " + followup + b"\n"
    assert added in message
    assert message.count(b"Mail-Followup-To") == header.count(b"Mail-Followup-To") + bool(added)
    if added:
        assert message.startswith(DATE + ID + FROM + added)
    path.unlink()
    assert Posted(header, {b"QMAILMFTFILE": bytes(path)}).message == Posted(header).message
    path.mkdir()
    assert Posted(header, {b"QMAILMFTFILE": bytes(path)}).code == 111


@pytest.mark.parametrize(
    ("environ", "wanted"),
    [
        ({}, b"anonymous@dh.ex"),
        ({b"NAME": b"Joe"}, b'"Joe" <anonymous@dh.ex>'),
        ({b"NAME": b""}, b'"" <anonymous@dh.ex>'),
        ({b"NAME": b'J "Q" \\ (x)'}, b'"J \\"Q\\" \\\\ \\(x\\)" <anonymous@dh.ex>'),
        ({b"NAME": b"Joe", b"QMAILINJECT": b"c"}, b"anonymous@dh.ex (Joe)"),
        ({b"NAME": b"J)o", b"QMAILINJECT": b"c"}, b"anonymous@dh.ex (J\\)o)"),
        ({b"USER": b"a.b+c"}, b"a.b+c@dh.ex"),
        ({b"USER": b"a b"}, b'"a b"@dh.ex'),
        ({b"USER": b".a"}, b'".a"@dh.ex'),
        ({b"USER": b"a@b"}, b'"a@b"@dh.ex'),
        ({b"USER": b""}, b'""@dh.ex'),
        ({b"USER": "jö".encode()}, "jö@dh.ex".encode()),
        ({b"MAILHOST": b"h"}, b"anonymous@h.dd.ex"),
        ({b"MAILHOST": b"h+"}, b"anonymous@h.pd.ex"),
        ({b"MAILHOST": b""}, b"anonymous@dh.ex"),
        ({b"MAILHOST": b"[1.2.3.4]"}, b"anonymous@[1.2.3.4]"),
        ({b"NAME": "Jö M".encode()}, b"=?utf-8?q?J=C3=B6_M?= <anonymous@dh.ex>"),
        ({b"NAME": b"J\xf6"}, b"=?unknown-8bit?q?J=F6?= <anonymous@dh.ex>"),
        (
            {b"NAME": "Jö".encode(), b"QMAILINJECT": b"c"},
            b"anonymous@dh.ex (=?utf-8?q?J=C3=B6?=)",
        ),
        ({b"NAME": b"a\nBcc: b"}, b'"a Bcc: b" <anonymous@dh.ex>'),
    ],
)
def test_inject_7_from_is_made(environ: dict[bytes, bytes], wanted: bytes) -> None:
    assert Posted(b"", environ).lines(b"From") == [b"From: " + wanted + b"\n"]


@pytest.mark.parametrize(
    ("header", "recipients"),
    [
        (b"To: a, b\n", [b"b", b"a"]),
        (b"To: a\nCc: b\nBcc: c\n", [b"a", b"b", b"c"]),
        (b"To: a, a\nCc: a\n", [b"a", b"a", b"a"]),
        (b"To: g: a, b;, c\n", [b"c", b"b", b"a"]),
        (b"To: a, <>, @x, b\n", [b"b", b"a"]),
    ],
)
def test_inject_7_recipients_come_from_right_to_left_and_none_is_removed(
    header: bytes, recipients: list[bytes]
) -> None:
    found = Posted(header, request=Request("H", arguments=(b"y", b"z", b"y"))).recipients
    assert found == [one + b"@dh.ex" for one in (b"y", b"z", b"y", *recipients)]


# --- RFC 6531 and 6532 --------------------------------------------------------------------------

FOREIGN = "jörg@münchen.de".encode()


@pytest.mark.parametrize("name", ["To", "Cc", "From", "Reply-To", "Sender", "Resent-To"])
def test_rfc6532_3_2_an_address_in_utf8_is_neither_quoted_nor_encoded(name: str) -> None:
    line = f"{name}: jörg@münchen.de, Joe <ö.ä+x@ü.de>, 用户@例え.jp\n".encode()
    posted = Posted(line)
    assert posted.lines(name.encode()) == [line]
    if name in ("To", "Cc", "Resent-To"):
        wanted = ["用户@例え.jp", "ö.ä+x@ü.de", "jörg@münchen.de"]
        assert posted.recipients[1:] == [one.encode() for one in wanted]


def test_rfc6531_arguments_and_senders_in_utf8_are_taken_as_they_are(tmp_path: Path) -> None:
    (tmp_path / "lists").write_bytes(b"a@dh.ex\n")
    environ = {b"QMAILMFTFILE": bytes(tmp_path / "lists")}
    request = Request("H", sender=FOREIGN, arguments=(FOREIGN,))
    posted = Posted(b"To: a, " + FOREIGN + b"\n", environ, request)
    assert posted.sender == FOREIGN
    assert posted.recipients == [FOREIGN, FOREIGN, b"a@dh.ex"]
    assert b"Mail-Followup-To: a@dh.ex,\n  " + FOREIGN + b"\n" in posted.message


def test_rfc6532_what_is_not_rewritten_is_byte_for_byte() -> None:
    rest = "Subject: Grüße\nX: ".encode() + bytes(range(128, 256)) + "\n\nTschüß\n".encode()
    assert Posted(rest).message.endswith(rest)


def test_bytes_that_are_no_utf8_pass_quoted_in_addresses_and_names() -> None:
    posted = Posted(b"To: J\xf6rg <j\xf6@b.c>, (\xf6) d\n")
    assert posted.lines(b"To") == [b'To: "J\xf6rg" <"j\xf6"@b.c>, d@dh.ex (\xf6)\n']
    assert posted.recipients[1:] == [b"d@dh.ex", b"j\xf6@b.c"]


# --- fields of any length -----------------------------------------------------------------------


def test_a_list_of_20000_is_folded_and_everybody_gets_the_message() -> None:
    posted = Posted(b"To: " + b"Joe <a@b>, " * 19999 + b"Joe <a@b>\n\nbody\n")
    header, _, body = posted.message.partition(b"\n\n")
    assert posted.recipients == [b"z@dh.ex", *[b"a@b.dd.ex"] * 20000]
    assert header.count(b"Joe <a@b.dd.ex>") == 20000
    assert max(map(len, header.split(b"\n"))) <= 78
    assert body == b"body\n"


def test_a_field_of_two_megabytes_is_kept_byte_for_byte() -> None:
    for value in (b"x" * 2_000_000, b"x\n " * 700_000, b"\xff " * 1_000_000):
        field = b"X: " + value + b"y\n"
        assert Posted(field + b"\nbody").message == DATE + ID + FROM + FILLER + field + b"\nbody\n"


def test_a_header_of_many_fields_is_held_once() -> None:
    message = b"X: y\n" * 200_000 + b"\nbody"
    tracemalloc.start()
    try:
        posted = Posted(message)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert posted.message.endswith(message + b"\n")
    # Saved, joined, and joined once more here; a record for each field would be ten times that.
    assert peak < 6 * len(message)


@settings(max_examples=150, deadline=None)
@given(st.lists(st.sampled_from(PIECES), max_size=30).map(b"".join) | st.binary(max_size=120))
def test_any_bytes_are_taken_or_refused_with_a_reason(message: bytes) -> None:
    posted = Posted(message)
    assert posted.code in (0, 100)
    if posted.code:
        assert posted.said
        return
    assert posted.recipients[0] == b"z@dh.ex"
    assert all(b"@" in one and not set(b"\0\r\n") & set(one) for one in posted.recipients)
    header = posted.message.partition(b"\n\n")[0].lower()
    assert DELETED.search(header) is None
    # Given to it again, nothing is missing and nothing changes; of two last dots one goes a time.
    if re.search(rb"[.@][^a-z]*[.@]", message) is None:
        assert Posted(posted.message).message == posted.message
