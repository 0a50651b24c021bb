"""The values of an explanation: they cross a pipe, and do nothing to a terminal."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qmail.core.explain.explanation import (
    Explanation,
    Part,
    Question,
    Step,
    printable,
    sentence,
    worst,
)
from qmail.protocol.exits import Exit
from qmail.protocol.netstring import FrameError, pack_fields

TEXT = st.text(max_size=20).filter(str.isprintable)
STEPS = st.builds(
    Step,
    part=TEXT,
    text=TEXT,
    file=TEXT,
    line=st.integers(0, 999_999_999),
    quote=TEXT,
    depth=st.integers(0, 1),
)
PARTS = st.builds(
    Part,
    steps=st.lists(STEPS, max_size=4).map(tuple),
    verdict=st.sampled_from((Exit.OK, Exit.PERMANENT, Exit.TEMPORARY)),
    facts=st.lists(st.binary(max_size=20), max_size=4).map(tuple),
)
STEP = Step("route", "x", "control/locals", 3)


@given(part=PARTS)
def test_a_part_crosses_the_pipe_unchanged(part: Part) -> None:
    assert Part.unpack(part.pack()) == part


@given(raw=st.binary(max_size=80))
def test_other_bytes_are_refused_and_nothing_else_happens(raw: bytes) -> None:
    with pytest.raises(FrameError):
        Part.unpack(raw)


@given(part=PARTS, cut=st.integers(0, 200))
def test_half_a_part_is_refused(part: Part, cut: int) -> None:
    whole = part.pack()
    if cut < len(whole):
        with pytest.raises(FrameError):
            Part.unpack(whole[:cut])


@pytest.mark.parametrize(
    "fields",
    [
        (b"x\x1b[2J", b"t", b"f", b"q", b"1", b"0"),
        (b"x", b"t\n", b"f", b"q", b"1", b"0"),
        (b"x", b"\xff", b"f", b"q", b"1", b"0"),
        (b"x", b"t", b"f", b"q", b"-1", b"0"),
        (b"x", b"t", b"f", b"q", b"1", b"2"),
        (b"x", b"t", b"f", b"q", b"1234567890", b"0"),
        (b"x", b"t", b"f", b"q", b"1"),
    ],
)
def test_a_step_that_is_none_is_refused(fields: tuple[bytes, ...]) -> None:
    with pytest.raises(FrameError):
        Step.unpack(pack_fields(*fields))


def test_a_verdict_is_one_of_three() -> None:
    with pytest.raises(FrameError):
        Part.unpack(pack_fields(b"99", b"", b""))


def test_a_step_names_file_and_line() -> None:
    assert STEP.where == "control/locals:3"
    assert Step("route", "x", "control/locals").where == "control/locals"
    assert Step("route", "x").where == ""


@given(raw=st.binary())
def test_what_is_shown_is_printable_and_short(raw: bytes) -> None:
    assert printable(raw).isprintable()
    assert len(printable(raw, 10)) <= 100


@pytest.mark.parametrize(
    ("raw", "shown"),
    [
        (b"joe@x.example", "joe@x.example"),
        ("jörg@x.example".encode(), "jörg@x.example"),
        (b"a\x1b[31m\n", "a\\x1b[31m\\x0a"),
        (b"a\xff", "a\\xff"),
        ("a\u202eb".encode(), "a\\u202eb"),
        (b"x" * 500, "x" * 400 + "... (500 bytes)"),
    ],
)
def test_bytes_of_others_do_nothing_to_a_terminal(raw: bytes, shown: str) -> None:
    assert printable(raw) == shown


def test_the_lines_of_a_report_become_one() -> None:
    assert sentence(b"one\ntwo (#4.3.0)\n") == "one / two (#4.3.0)"


def test_not_now_outdoes_a_refusal_and_both_outdo_success() -> None:
    assert worst([]) is Exit.OK
    assert worst([Exit.OK, Exit.PERMANENT]) is Exit.PERMANENT
    assert worst([Exit.TEMPORARY, Exit.PERMANENT, Exit.OK]) is Exit.TEMPORARY


def test_json_has_plain_values_only() -> None:
    quoted = Step("line 1", "x", "/home/joe/.qmail", 1, "./Maildir/", 1)
    question = Question(b"joe@x.example", b"", "forwarded by a@x.example")
    found = Explanation(question, (STEP, quoted), Exit.PERMANENT).as_json()
    assert json.loads(json.dumps(found)) == {
        "address": "joe@x.example",
        "sender": "",
        "because": "forwarded by a@x.example",
        "verdict": "refused",
        "steps": [
            {"part": "route", "file": "control/locals", "line": 3, "text": "x"},
            {
                "part": "line 1",
                "file": "/home/joe/.qmail",
                "line": 1,
                "text": "x",
                "quote": "./Maildir/",
            },
        ],
    }
