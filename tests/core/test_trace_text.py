"""What happened to a message, in words."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qmail.core.trace_text import WORDS, after, lines_of, moment, told
from qmail.protocol.log_record import EVENTS, POPUP, record_of
from qmail.protocol.trace_link import Entry

AT = 1_764_088_046_123_456


def test_a_story_is_aligned_with_the_time_since_its_beginning() -> None:
    lines = (
        b"new msg 5",
        b"starting delivery 3: msg 5 to remote ann@b.ex",
        b"delivery 3: deferral: Connected_to_192.0.2.7_but_greeting_failed./",
    )
    story = [Entry(AT + at * 61_000_000, "id1", record_of(line)) for at, line in enumerate(lines)]
    assert list(lines_of("id1", story, ["id2"])) == [
        "id1  2025-11-25 16:27:26.123 UTC",
        "    +0.000 s  qmail-send  new       message 5",
        "   +61.000 s  qmail-send  start     3: remote, to ann@b.ex",
        "  +2 min 2 s  qmail-send  deferral  3: Connected to 192.0.2.7 but greeting failed./",
        "  see also id2",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("us", "text"),
    [
        (0, "+0.000 s"), (99_999_000, "+99.999 s"), (100_000_000, "+1 min 40 s"),
        (7_500_000_000, "+2 h 5 min"), (183_600_000_000, "+2 d 3 h"),
    ],
)  # fmt: skip
def test_times_are_as_people_say_them(us: int, text: str) -> None:
    assert after(us) == text


def test_every_event_about_a_message_has_words_of_its_own() -> None:
    about = {
        event.name
        for event in EVENTS
        if {"id", "session"} & set(event.fields) and event.program != POPUP
    }
    assert about == set(WORDS)


@given(st.sampled_from(sorted(WORDS)), st.text(max_size=40))
def test_nothing_reaches_the_terminal_but_text(event: str, text: str) -> None:
    names = ("ip", "sender", "recipient", "reply", "helo", "message_id", "text", "result")
    for part in told({"event": event, **dict.fromkeys(names, text)}):
        assert part.isprintable()
    assert all(part.isprintable() for part in told({"event": text}))


def test_a_moment_is_utc_to_the_millisecond() -> None:
    assert moment(AT) == "2025-11-25 16:27:26.123"
