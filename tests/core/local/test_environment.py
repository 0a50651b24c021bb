"""What delivery programs are told (spec/delivery.md 6 and 7)."""

import pytest

from qmail.core.local.environment import (
    Facts,
    delivered_to,
    environment,
    from_line,
    new_sender,
    return_path,
)
from qmail.protocol.local_door import Target

TARGET = Target(b"joe", b"/home/joe", b"v-joe-a-b-C", b"-", b"a-b-C", b"test.ex.org")


def variables(default: bytes | None = None) -> dict[bytes, bytes]:
    facts = Facts(
        target=TARGET, sender=b"s@t", forward_sender=b"o@p", default=default, now_s=951827696
    )
    inherited = {b"PATH": b"/bin", b"DEFAULT": b"stale", b"EXT4": b"stale"}
    return environment(facts, inherited)


def test_variables_are_those_of_the_table() -> None:
    found = variables(b"C")
    expected = {
        b"PATH": b"/bin",
        b"SENDER": b"s@t",
        b"NEWSENDER": b"o@p",
        b"RECIPIENT": b"v-joe-a-b-C@test.ex.org",
        b"LOCAL": b"v-joe-a-b-C",
        b"HOST": b"test.ex.org",
        b"USER": b"joe",
        b"HOME": b"/home/joe",
        b"EXT": b"a-b-C",
        b"EXT2": b"b-C",
        b"EXT3": b"C",
        b"EXT4": b"",
        b"HOST2": b"test.ex",
        b"HOST3": b"test",
        b"HOST4": b"test",
        b"DEFAULT": b"C",
        b"DTLINE": b"Delivered-To: v-joe-a-b-C@test.ex.org\n",
        b"RPLINE": b"Return-Path: <s@t>\n",
        b"UFLINE": b"From s@t Tue Feb 29 12:34:56 2000\n",
    }
    assert found == expected


def test_stale_default_is_not_inherited() -> None:
    assert b"DEFAULT" not in variables()


@pytest.mark.parametrize(
    ("sender", "line"),
    [
        (b"", b"From MAILER-DAEMON Thu Jan 01 00:00:00 1970\n"),
        (b"a b\tc\nd@e", b"From a-b-c-d@e Thu Jan 01 00:00:00 1970\n"),
    ],
)
def test_from_line_has_no_blanks_in_the_sender(sender: bytes, line: bytes) -> None:
    assert from_line(sender, 0) == line


def test_trace_lines_are_one_line_each() -> None:
    target = Target(b"", b"", b"a\nb", b"", b"", b"c\nd")
    assert delivered_to(target) == b"Delivered-To: a_b@c_d\n"
    assert return_path(b"a\nb@c").count(b"\n") == 1
    assert return_path(b"a b@c") == b'Return-Path: <"a b"@c>\n'
    assert return_path(b"") == b"Return-Path: <>\n"


@pytest.mark.parametrize(
    ("sender", "owner", "verp", "result"),
    [
        (b"", True, True, b""),
        (b"#@[]", True, True, b"#@[]"),
        (b"s@t", False, False, b"s@t"),
        (b"s@t", True, False, b"v-joe-a-b-C-owner@test.ex.org"),
        (b"s@t", True, True, b"v-joe-a-b-C-owner-@test.ex.org-@[]"),
    ],
)
def test_owner_of_a_list_becomes_the_sender(
    sender: bytes, owner: bool, verp: bool, result: bytes
) -> None:
    assert new_sender(sender, TARGET, has_owner=owner, has_verp=verp) == result
