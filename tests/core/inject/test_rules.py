"""Every rule and row of spec/inject.md 2, 3 and 4, through the whole of qmail-inject."""

from pathlib import Path

import pytest
from tests.fakes.posting import DATE, FILLER, FROM, ID, RESENT_SENDERS, SENDERS, Posted

from qmail.core.inject.message import Request

# --- 2, environment -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("names", "default", "field"),
    [
        (("QMAILUSER", "MAILUSER", "USER", "LOGNAME"), "anonymous", "From: {}@dh.ex\n"),
        (("QMAILHOST", "MAILHOST"), "dh", "From: anonymous@{}.ex\n"),
        (("QMAILNAME", "MAILNAME", "NAME"), None, 'From: "{}" <anonymous@dh.ex>\n'),
    ],
)
def test_inject_2_the_first_variable_that_is_set_counts(
    names: tuple[str, ...], default: str | None, field: str
) -> None:
    suffix = b".ex" if "HOST" in names[0] else b""
    for at, name in enumerate(names):
        environ = {other.encode(): b"x" + suffix for other in names[at + 1 :]}
        posted = Posted(b"", {**environ, name.encode(): b"v" + suffix})
        assert posted.lines(b"From") == [field.format("v").encode()], name
    if default is not None:
        assert Posted(b"").lines(b"From") == [field.format(default).encode()]


@pytest.mark.parametrize(
    ("environ", "sender"),
    [
        ({}, b"anonymous@dh.ex"),
        ({b"USER": b"u", b"QMAILHOST": b"h.ex"}, b"u@h.ex"),
        ({b"QMAILSUSER": b"s"}, b"s@dh.ex"),
        ({b"QMAILSUSER": b"s", b"USER": b"u"}, b"s@dh.ex"),
        ({b"QMAILSHOST": b"t"}, b"anonymous@t.dd.ex"),
        ({b"QMAILSHOST": b"t", b"MAILHOST": b"h"}, b"anonymous@t.dd.ex"),
        ({b"QMAILSHOST": b"t+"}, b"anonymous@t.pd.ex"),
        ({b"QMAILSUSER": b""}, b"@dh.ex"),
        ({b"QMAILSUSER": b"a b"}, b"a b@dh.ex"),
        ({b"QMAILSUSER": b"a@b"}, b"a@b@dh.ex"),
        ({b"QMAILSUSER": b'a"b\\'}, b'a"b\\@dh.ex'),
    ],
)
def test_inject_2_and_3_the_default_sender(environ: dict[bytes, bytes], sender: bytes) -> None:
    assert Posted(b"", environ).sender == sender


@pytest.mark.parametrize(
    ("name", "text", "wanted"),
    [
        ("defaulthost", b"To: a\n", b"To: a@file.ex\n"),
        ("defaultdomain", b"To: a@b\n", b"To: a@b.file.ex\n"),
        ("plusdomain", b"To: a@b+\n", b"To: a@b.file.ex\n"),
        ("idhost", b"", b"@file.ex>\n"),
    ],
)
def test_inject_2_control_files_and_what_overrides_them(
    name: str, text: bytes, wanted: bytes, tmp_path: Path
) -> None:
    (tmp_path / "control").mkdir()
    (tmp_path / "control" / name).write_text("file.ex\n")
    variable = b"QMAIL" + name.upper().encode()
    posted = Posted(text, {variable: b"env.ex"}, home=str(tmp_path))
    assert wanted.replace(b"file.ex", b"env.ex") in posted.message
    assert wanted in Posted(text, home=str(tmp_path), without=variable).message


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("QMAILDEFAULTHOST", "a b"),
        ("QMAILDEFAULTDOMAIN", ")"),
        ("QMAILPLUSDOMAIN", "a,b"),
        ("QMAILHOST", "a b"),
        ("MAILHOST", "<a>"),
        ("QMAILSHOST", "(a"),
    ],
)
def test_a_variable_that_holds_no_host_is_named(name: str, value: str) -> None:
    posted = Posted(b"", {name.encode(): value.encode()})
    assert posted.code == 100
    (line,) = posted.said
    assert line.startswith("qmail-inject: fatal: ")
    assert name in line
    assert line.endswith(f": {value} is not a host name")


@pytest.mark.parametrize(
    ("letters", "header", "field", "wanted"),
    [
        (b"", b"", b"From", b'From: "N" <anonymous@dh.ex>\n'),
        (b"c", b"", b"From", b"From: anonymous@dh.ex (N)\n"),
        (b"c", b"From: f\n", b"From", b"From: f@dh.ex\n"),
        (b"f", b"From: f\n", b"From", b'From: "N" <anonymous@dh.ex>\n'),
        (b"f", b"From: (\n", b"From", b'From: "N" <anonymous@dh.ex>\n'),
        (b"fc", b"From: f\n", b"From", b"From: anonymous@dh.ex (N)\n"),
        (b"i", b"Message-ID: x\n", b"Message-ID", ID),
        (b"", b"Message-ID: x\n", b"Message-ID", b"Message-ID: x\n"),
        (b"xyz", b"From: f\n", b"From", b"From: f@dh.ex\n"),
    ],
)
def test_inject_2_letters_that_change_fields(
    letters: bytes, header: bytes, field: bytes, wanted: bytes
) -> None:
    posted = Posted(header, {b"QMAILINJECT": letters, b"NAME": b"N"})
    assert posted.lines(field) == [wanted]


# --- 3, envelope sender -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("letters", "header", "sender"),
    [
        (b"", b"", b"anonymous@dh.ex"),
        (b"m", b"", b"anonymous-1795428672.12@dh.ex"),
        (b"r", b"", b"anonymous-@dh.ex-@[]"),
        (b"rm", b"", b"anonymous-1795428672.12-@dh.ex-@[]"),
        (b"", b"Return-Path: <x@y>\n", b"x@y.dd.ex"),
        (b"m", b"Return-Path: <x@y>\n", b"x@y.dd.ex"),
        (b"r", b"Return-Path: <x@y>\n", b"x@y.dd.ex-@[]"),
        (b"", b"Return-Path: <>\n", b""),
        (b"r", b"Return-Path: <>\n", b""),
        (b"", b"Return-Path: x, y\n", b"y@dh.ex"),
        (b"", b"Return-Path: x\nReturn-Path: y\n", b"x@dh.ex"),
        (b"", b"Return-Path:\nReturn-Path: y\n", b"y@dh.ex"),
        (b"", b"return-PATH\t: x\n", b"x@dh.ex"),
        (b"s", b"Return-Path: x\n", b"anonymous@dh.ex"),
        (b"s", b"Return-Path: ((\n", b"anonymous@dh.ex"),
    ],
)
def test_inject_3_return_path_and_verp(letters: bytes, header: bytes, sender: bytes) -> None:
    posted = Posted(header, {b"QMAILINJECT": letters})
    assert posted.sender == sender
    assert posted.lines(b"Return-Path") == []


@pytest.mark.parametrize(
    ("option", "sender"),
    [
        (b"a", b"a@dh.ex"),
        (b"a@b", b"a@b.dd.ex"),
        (b"a@b+", b"a@b.pd.ex"),
        (b"", b""),
        (b"@r:a@b.c", b"@r:a@b.c"),
        (b"a b@c.d", b"a b@c.d"),
    ],
)
def test_inject_3_option_f_beats_all_and_is_rewritten_without_verp(
    option: bytes, sender: bytes
) -> None:
    request = Request("H", sender=option, arguments=(b"z",))
    environ = {b"QMAILINJECT": b"rm", b"QMAILSUSER": b"s"}
    assert Posted(b"Return-Path: x\n", environ, request).sender == sender


# --- 4, header ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "is_kept", "counts", "is_resent"),
    [
        (b"To", True, True, False),
        (b"Cc", True, True, False),
        (b"Bcc", False, True, False),
        # Oddities 8: it says who is blind.
        (b"Apparently-To", False, True, False),
        (b"Resent-To", True, True, True),
        (b"Resent-Cc", True, True, True),
        (b"Resent-Bcc", False, True, True),
    ],
)
def test_inject_4_recipient_fields(
    name: bytes, is_kept: bool, counts: bool, is_resent: bool
) -> None:
    posted = Posted(name + b": a, Joe <b@c>\n")
    kept = name + b": a@dh.ex, Joe <b@c.dd.ex>\n"
    assert posted.lines(name) == ([kept] if is_kept else [])
    assert posted.recipients == [b"z@dh.ex", *([b"b@c.dd.ex", b"a@dh.ex"] if counts else [])]
    assert bool(posted.lines(b"Resent-Date")) is is_resent
    other = b"Subject: s\n" if is_resent else b"Resent-Date: x\n"
    assert Posted(name + b": a\n" + other).recipients == [
        b"z@dh.ex",
        *([b"a@dh.ex"] if is_resent else []),
    ]


@pytest.mark.parametrize("name", ["To", "Cc", "Bcc", "Resent-To", "Resent-Cc", "Resent-Bcc"])
def test_inject_4_a_recipient_field_that_can_not_be_parsed_is_kept_and_told(name: str) -> None:
    line = f"{name}:  a, b)( <c\n".encode()
    posted = Posted(line)
    assert posted.code == 0
    assert posted.recipients == [b"z@dh.ex"]
    assert posted.lines(name.encode()) == ([] if name.endswith("Bcc") else [line])
    (warning,) = posted.said
    assert warning.startswith(
        f"qmail-inject: warning: unable to parse this line: {name}:  a, b)( <c: "
    )
    refused = Posted(line, request=Request())
    assert refused.code == 100
    assert refused.said[0].startswith("qmail-inject: fatal: unable to parse this line: " + name)


@pytest.mark.parametrize("name", [*SENDERS, *RESENT_SENDERS, "Return-Path"])
def test_inject_4_another_address_field_that_can_not_be_parsed_ends_with_100(name: str) -> None:
    posted = Posted(f"To: a\n{name}: a,\n\tb)(\n".encode())
    assert posted.code == 100
    assert posted.message == b""
    (line,) = posted.said
    assert line.startswith(f"qmail-inject: fatal: unable to parse this line: {name}: a,?b)(: ")


@pytest.mark.parametrize("name", [*SENDERS, *RESENT_SENDERS])
def test_inject_4_other_address_fields_are_rewritten_and_name_nobody(name: str) -> None:
    posted = Posted(f"{name}: a, Joe <b@c>, g: d;\n".encode())
    wanted = f"{name}: a@dh.ex, Joe <b@c.dd.ex>, g: d@dh.ex;\n".encode()
    assert posted.lines(name.encode()) == [wanted]
    assert posted.recipients == [b"z@dh.ex"]


@pytest.mark.parametrize(
    "name",
    [
        "Date",
        "Message-ID",
        "Subject",
        "Received",
        "Delivered-To",
        "Content-Type",
        "Content-Transfer-Encoding",
        "Notice-Requested-Upon-Delivery-To",
        "Mail-Followup-To",
        "Mail-Reply-To",
        "X-To",
        "To-X",
        "Toto",
        "T",
    ],
)
@pytest.mark.parametrize("value", [b" a,  b)( <\n", b"\xff\x80\r\n \n\t x\n", b"\n"])
def test_inject_4_all_other_fields_are_kept_byte_for_byte(name: str, value: bytes) -> None:
    field = name.encode() + b" :" + value
    posted = Posted(field + field + b"\nbody")
    assert field + field + b"\nbody\n" in posted.message
    assert posted.recipients == [b"z@dh.ex"]


@pytest.mark.parametrize("name", [b"Content-Length", b"CONTENT-LENGTH \t", b"content-length"])
def test_inject_4_content_length_is_deleted(name: bytes) -> None:
    assert Posted(name + b": 5\n x\n\nbody\n").message == DATE + ID + FROM + FILLER + b"\nbody\n"


@pytest.mark.parametrize("name", [b"to", b"TO", b"tO", b"To ", b"To \t "])
def test_inject_4_known_names_match_in_any_case_with_blanks_before_the_colon(name: bytes) -> None:
    posted = Posted(name + b":a\n")
    assert posted.recipients == [b"z@dh.ex", b"a@dh.ex"]
    assert name.rstrip() + b": a@dh.ex\n" in posted.message


@pytest.mark.parametrize("name", [b"sender", b"from", b"reply-to", b"to", b"cc", b"bcc"])
def test_inject_4_any_resent_field_makes_a_message_resent(name: bytes) -> None:
    posted = Posted(b"Resent-" + name + b": a\nTo: b\n", request=Request("h", sender=b"s"))
    if name in (b"to", b"cc", b"bcc"):
        assert posted.recipients == [b"a@dh.ex"]
    else:
        assert posted.code == 100
        assert posted.said == [
            "qmail-inject: fatal: no recipients: none among the arguments, none in the header"
        ]


@pytest.mark.parametrize("name", [b"date", b"message-id"])
def test_inject_4_resent_date_and_message_id_make_it_resent_too(name: bytes) -> None:
    posted = Posted(b"Resent-" + name + b": a\nTo: b\n")
    assert posted.recipients == [b"z@dh.ex"]
    assert posted.lines(b"Date") == posted.lines(b"From") == []


def test_inject_4_header_recipients_are_rewritten_also_with_option_a() -> None:
    posted = Posted(b"To: a\n", request=Request("a", arguments=(b"z",)))
    assert posted.lines(b"To") == [b"To: a@dh.ex\n"]
    assert posted.recipients == [b"z@dh.ex"]
