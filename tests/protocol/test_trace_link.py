"""Which message a record belongs to, with ids and without, and the names it is found by."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qmail.protocol import trace_link
from qmail.protocol.log_record import record_of
from qmail.protocol.log_tail import packed_tail
from qmail.protocol.trace_link import Linker, name_of, names_of

STORY = (
    b"new msg 5",
    b"info msg 5: bytes 9 from <A@b> qp 7 uid 0",
    b"starting delivery 3: msg 5 to local C@d",
    b"status: local 1/10 remote 0/20",
    b"delivery 3: success: did_1+0+0/",
    b"bounce msg 5 qp 8",
    b"end msg 5",
)


def ids(linker: Linker, *lines: bytes) -> list[str]:
    entries = [linker.entry(1_000_000 + at, record_of(line)) for at, line in enumerate(lines)]
    return [entry.trace_id if entry else "" for entry in entries]


def test_records_with_an_id_have_that() -> None:
    assert ids(Linker(), *(line + packed_tail(id=b"abc") for line in STORY)) == ["abc"] * 7


def test_classic_lines_of_one_message_get_one_id_that_is_made_up() -> None:
    found = ids(Linker(), *STORY)
    assert found[3] == ""
    assert len({*found[:3], *found[4:]}) == 1
    assert found[0] == "00000000f424000001"


def test_a_number_that_comes_back_is_another_message() -> None:
    linker = Linker()
    assert ids(linker, *STORY)[0] != ids(linker, *STORY)[0]


def test_a_connection_has_its_session_and_the_rest_nothing() -> None:
    line = b"smtpd: connect 192.0.2.7"
    assert ids(Linker(), line + packed_tail(session=b"s1"), line, b"qmail-start: stopped") == [
        "s1", "", "",
    ]  # fmt: skip


def test_a_refusal_without_id_can_still_be_found() -> None:
    (found,) = ids(Linker(), b"smtpd: refuse 192.0.2.7 <a@b> <c@d>: 550 5.1.1 no")
    assert found


def test_what_is_remembered_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trace_link, "KNOWN_MAX", 3)
    linker = Linker()
    for number in range(9):
        ids(linker, b"new msg %d" % number)
    assert ids(linker, b"end msg 5", b"end msg 8")[0] == ""
    assert ids(linker, b"end msg 8") != [""]


def test_names_are_those_people_ask_for() -> None:
    record = record_of(STORY[1] + packed_tail(message_id=b"<X@y>", parent=b"p1", session=b"s1"))
    assert set(names_of(record)) == {"m5", "q7", "sa@b", "iX@y", "pp1", "cs1"}
    assert name_of("recipient", "Ann@B.ex") == "rann@b.ex"
    assert name_of("sender", "a b%@x") == name_of("sender", "a_b_@x") == "sa_b_@x"
    assert len(name_of("sender", "a" * 9999)) == trace_link.NAME_CHARS_MAX + 1


@given(st.lists(st.binary(max_size=80).filter(lambda line: b"\n" not in line), max_size=20))
def test_no_lines_upset_it(lines: list[bytes]) -> None:
    linker = Linker()
    for line in [*lines, *(word + line for word in STORY for line in lines)]:
        entry = linker.entry(5, record_of(line))
        if entry is not None:
            assert entry.trace_id
            list(names_of(entry.record))


def test_who_reads_mail_is_in_no_messages_story() -> None:
    lines = (
        b"popup: login 192.0.2.1 <ann> pop3 USER clear" + packed_tail(session=b"s1"),
        b"popup: refuse 192.0.2.1: -ERR [SYS/TEMP] too many clients",
    )
    assert ids(Linker(), *lines) == ["", ""]
