"""The inner doors: every frame comes back as it was sent, and garbage is refused and no more."""

from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qmail.protocol.doors import (
    FRAME_BYTES_MAX,
    JOB_FRAME_MAX,
    REPORT_BYTES_MAX,
    REPORT_FRAME_MAX,
    Job,
    LookAhead,
    Notice,
    Receipt,
    Report,
    Slots,
    Submission,
    number,
)
from qmail.protocol.netstring import FrameError, FrameReader, pack_fields

NUMBERS = st.integers(0, 10**19 - 1)
BYTES = st.binary(max_size=50)
UNPACKERS: list[Callable[[bytes], object]] = [
    Submission.unpack,
    Receipt.unpack,
    Notice.unpack,
    Job.unpack,
    LookAhead.unpack,
    Slots.unpack,
    Report.unpack,
]
UNPACKER_IDS = ["submission", "receipt", "notice", "job", "look ahead", "slots", "report"]


def payload_of(frame: bytes) -> bytes:
    (payload,) = FrameReader(FRAME_BYTES_MAX).feed(frame)
    return payload


@given(
    tag=NUMBERS, envelope=BYTES, data=BYTES, kind=st.sampled_from([b"M", b"O", b"C", b"E", b"X"])
)
def test_a_submission_keeps_the_fields_of_its_kind(
    tag: int, envelope: bytes, data: bytes, kind: bytes
) -> None:
    got = Submission.unpack(payload_of(Submission(kind, tag, envelope, data).pack()))
    assert got.kind == kind
    assert got.tag == tag
    assert got.envelope == (envelope if kind in b"ME" else b"")
    assert got.data == (data if kind in b"MC" else b"")


@given(tag=NUMBERS, code=st.integers(0, 255), qp=NUMBERS, text=BYTES)
def test_a_receipt_comes_back(tag: int, code: int, qp: int, text: bytes) -> None:
    receipt = Receipt(tag, code, qp, text)
    assert Receipt.unpack(payload_of(receipt.pack())) == receipt


@given(numbers=st.tuples(NUMBERS, NUMBERS, NUMBERS, NUMBERS, NUMBERS), envelope=BYTES)
def test_a_notice_comes_back(numbers: tuple[int, int, int, int, int], envelope: bytes) -> None:
    notice = Notice(*numbers, envelope)
    assert Notice.unpack(payload_of(notice.pack())) == notice


@given(delivery=NUMBERS, body=BYTES, sender=BYTES, recipient=BYTES)
def test_a_job_comes_back(delivery: int, body: bytes, sender: bytes, recipient: bytes) -> None:
    job = Job(delivery, body, sender, recipient)
    assert Job.unpack(payload_of(job.pack())) == job


@given(host=BYTES)
def test_a_host_to_look_up_comes_back(host: bytes) -> None:
    assert LookAhead.unpack(payload_of(LookAhead(host).pack())) == LookAhead(host)


@given(count=NUMBERS)
def test_a_number_of_slots_comes_back(count: int) -> None:
    assert Slots.unpack(payload_of(Slots(count).pack())) == Slots(count)


@given(delivery=NUMBERS, text=BYTES)
def test_a_report_comes_back(delivery: int, text: bytes) -> None:
    report = Report(delivery, text)
    assert Report.unpack(payload_of(report.pack())) == report


def test_delivery_10_a_report_over_10000_bytes_is_cut_and_fits_the_door() -> None:
    frame = Report(10**19 - 1, b"K" + b"x" * 20000).pack()
    (payload,) = FrameReader(REPORT_FRAME_MAX).feed(frame)
    assert len(Report.unpack(payload).text) == REPORT_BYTES_MAX


def test_the_longest_job_fits_the_door() -> None:
    """The longest recipient, with a host and a prepend added, and the sender that names it."""
    recipient = b"p" * 1002 + b"-" + b"r" * 1002 + b"@" + b"h" * 255
    sender = b"s" * 997 + recipient
    frame = Job(10**18, b"22/18446744073709551615", sender, recipient).pack()
    assert FrameReader(JOB_FRAME_MAX).feed(frame)


@pytest.mark.parametrize("unpack", UNPACKERS, ids=UNPACKER_IDS)
@settings(max_examples=60)
@given(
    letter=st.sampled_from([b"M", b"O", b"C", b"E", b"X", b"R", b"N", b"J", b"L", b"", b"?"]),
    fields=st.lists(st.one_of(BYTES, st.integers(0, 99).map(lambda n: b"%d" % n)), max_size=7),
    rest=st.binary(max_size=3),
)
def test_garbage_raises_nothing_but_frame_error(
    unpack: Callable[[bytes], object], letter: bytes, fields: list[bytes], rest: bytes
) -> None:
    try:
        unpack(letter + pack_fields(*fields) + rest)
    except FrameError:
        return


@pytest.mark.parametrize("unpack", UNPACKERS, ids=UNPACKER_IDS)
@pytest.mark.parametrize("wrong", [b"", b"Z1:1,", b"M", b"R", b"N1:1,", b"J1:1,1:a,1:b,"])
def test_a_frame_of_another_kind_or_without_its_fields_is_refused(
    unpack: Callable[[bytes], object], wrong: bytes
) -> None:
    with pytest.raises(FrameError):
        unpack(wrong)


@pytest.mark.parametrize("field", [b"", b"-1", b"+1", b"1.0", b" 1", b"x", b"\xb2", b"9" * 20])
def test_a_number_is_digits_and_at_most_19_of_them(field: bytes) -> None:
    with pytest.raises(FrameError):
        number(field)


def test_a_receipts_exit_code_has_at_most_three_digits() -> None:
    with pytest.raises(FrameError):
        Receipt.unpack(b"R" + pack_fields(b"1", b"1000", b"1", b""))
