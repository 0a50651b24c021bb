"""DNS messages, with dnspython as the second opinion."""

import struct

import dns.flags
import dns.message
import dns.rcode
import dns.rrset
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qmail.protocol.dns_message import (
    BadAnswerError,
    DnsAnswer,
    Kind,
    answer_number,
    name_to_wire,
    parse_answer,
    query,
    question,
)
from qmail.protocol.lookups import MxRecord

WIRE = name_to_wire("far.ex")
assert WIRE is not None
ASKED = question(WIRE, Kind.MX)


def records(*lines: str) -> list[dns.rrset.RRset]:
    made = []
    for line in lines:
        name, ttl, kind, of, data = line.split(" ", 4)
        made.append(dns.rrset.from_text(name, int(ttl), kind, of, data))
    return made


def response(
    *answers: str, kind: str = "MX", rcode: dns.rcode.Rcode = dns.rcode.NOERROR, soa: str = ""
) -> bytes:
    made = dns.message.make_response(dns.message.make_query("far.ex.", kind))
    made.set_rcode(rcode)
    made.answer += records(*answers)
    if soa:
        made.authority += records(soa)
    return made.to_wire()


def test_a_query_is_what_dnspython_makes_of_it() -> None:
    read = dns.message.from_wire(query(4711, ASKED))
    assert read.id == 4711
    assert read.question[0].to_text() == "far.ex. IN MX"
    assert read.flags == dns.flags.RD
    assert read.edns == 0
    assert read.payload == 1232


def test_mx_records_with_compressed_names() -> None:
    data = response("far.ex. 60 IN MX 10 A.far.ex.", "far.ex. 30 IN MX 20 .")
    records_found = (MxRecord(10, "a.far.ex"), MxRecord(20, ""))
    assert parse_answer(data, ASKED) == DnsAnswer(0, values=records_found, ttl_s=30)
    assert answer_number(data) == struct.unpack(">H", data[:2])[0]


@pytest.mark.parametrize(("kind", "address"), [(Kind.A, "192.0.2.1"), (Kind.AAAA, "2001:db8::1")])
def test_rfc1034_3_6_2_aliases_are_followed(kind: Kind, address: str) -> None:
    data = response(
        f"b.ex. 60 IN {kind.name} {address}",
        f"other.ex. 60 IN {kind.name} {address}",
        "far.ex. 9 IN CNAME a.ex.",
        "a.ex. 50 IN CNAME b.ex.",
        kind=kind.name,
    )
    assert WIRE is not None
    answer = parse_answer(data, question(WIRE, kind))
    assert answer == DnsAnswer(0, values=(address,), ttl_s=9)


def test_aliases_in_a_circle_lead_to_nothing() -> None:
    data = response("far.ex. 9 IN CNAME a.ex.", "a.ex. 9 IN CNAME far.ex.")
    assert parse_answer(data, ASKED).values == ()


def test_rfc2308_5_nothing_is_believed_as_long_as_the_soa_says() -> None:
    soa = "ex. 70 IN SOA a.ex. b.ex. 1 2 3 4 50"
    nothing = parse_answer(response(rcode=dns.rcode.NXDOMAIN, soa=soa), ASKED)
    assert nothing == DnsAnswer(3, ttl_s=50)
    assert parse_answer(response(soa=soa), ASKED) == DnsAnswer(0, ttl_s=50)
    assert parse_answer(response(), ASKED) == DnsAnswer(0, ttl_s=0)


def test_other_codes_and_truncation_are_told() -> None:
    assert parse_answer(response(rcode=dns.rcode.SERVFAIL), ASKED) == DnsAnswer(2)
    cut = bytearray(response())
    cut[2] |= 0x02
    assert parse_answer(bytes(cut), ASKED).is_truncated
    assert parse_answer(bytes(cut[:2]) + b"\x81\x81" + bytes(8), ASKED) == DnsAnswer(1)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        bytes(11),
        query(1, ASKED),
        response(kind="A"),
        response("far.ex. 60 IN MX 10 a.far.ex.")[:-1],
        b"\0\1\x81\x80\0\1\x10\0\0\0\0\0" + ASKED,
        b"\0\1\x81\x80\0\1\0\1\0\0\0\0" + ASKED + b"\xc0\x18",
        b"\0\1\x81\x80\0\1\0\1\0\0\0\0" + ASKED + b"\xc0\xff",
        b"\0\1\x81\x80\0\1\0\1\0\0\0\0" + ASKED + b"\x80x",
        b"\0\1\x81\x80\0\1\0\1\0\0\0\0" + ASKED + (b"\x3f" + b"x" * 63) * 5,
    ],
)
def test_what_is_no_answer_is_an_error(data: bytes) -> None:
    with pytest.raises(BadAnswerError):
        parse_answer(data, ASKED)


@settings(max_examples=200)
@given(
    data=st.binary(max_size=80),
    header=st.sampled_from(
        [b"\x81\x80\0\1\0\1\0\0\0\0", b"\x81\x83\0\1\0\0\0\1\0\0", b"\x81\x80\0\1\0\4\0\2\0\0"]
    ),
)
def test_any_bytes_are_an_answer_or_an_error(data: bytes, header: bytes) -> None:
    message = b"\0\1" + header + ASKED + data
    try:
        answer = parse_answer(message, ASKED)
    except BadAnswerError:
        return
    assert 0 <= answer.ttl_s < 1 << 31


@settings(max_examples=100)
@given(at=st.integers(0, 200), byte=st.integers(0, 255))
def test_one_wrong_byte_never_hangs_or_breaks_the_reader(at: int, byte: int) -> None:
    good = response("far.ex. 60 IN MX 10 a.far.ex.", "far.ex. 60 IN MX 20 b.c.far.ex.")
    data = bytearray(good)
    data[at % len(data)] = byte
    try:
        answer = parse_answer(bytes(data), ASKED)
    except BadAnswerError:
        return
    assert len(answer.values) <= 2


@pytest.mark.parametrize(
    ("name", "wire"),
    [
        ("Far.EX", b"\3far\2ex\0"),
        ("far.ex.", b"\3far\2ex\0"),
        ("bücher.ex", b"\x0dxn--bcher-kva\2ex\0"),
        ("_x.ex", b"\2_x\2ex\0"),
        ("", None),
        (".", None),
        ("a..b", None),
        ("x" * 64, None),
        ("x." * 127 + "y", None),
        ("ü" * 70, None),
    ],
)
def test_names(name: str, wire: bytes | None) -> None:
    assert name_to_wire(name) == wire
