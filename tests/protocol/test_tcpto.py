"""The tables of addresses that failed (spec/queue.md 9, delivery.md 13, oddities.md 3, 4)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qmail.protocol.tcpto import (
    NEW,
    OLD,
    REFUSED_UNIT_S,
    TCPTO6_BYTES,
    TCPTO_BYTES,
    TIMEOUT_UNIT_S,
    Shape,
    Table,
    new_key,
    old_key,
    seconds_alone,
    shown,
)

NOW = 1_700_000_000
ALONE_S = seconds_alone(0, TIMEOUT_UNIT_S)
HOST = bytes((192, 0, 2, 1))


def old() -> Table:
    return Table(bytes(TCPTO_BYTES), OLD)


def test_queue_9_a_record_is_the_originals_byte_for_byte() -> None:
    table = old()
    assert table.failed(HOST, NOW)
    expected = HOST + b"\1\0\0\0" + NOW.to_bytes(4, "little") + bytes(4)
    assert bytes(table.data) == expected + bytes(TCPTO_BYTES - 16)


def test_delivery_13_an_address_is_left_alone_after_two_timeouts_in_a_row() -> None:
    table = old()
    table.failed(HOST, NOW)
    assert not table.is_left_alone(HOST, NOW, ALONE_S)
    table.failed(HOST, NOW + 120)
    assert table.is_left_alone(HOST, NOW + 120, ALONE_S)
    assert table.is_left_alone(HOST, NOW + 120 + ALONE_S - 1, ALONE_S)
    assert not table.is_left_alone(HOST, NOW + 120 + ALONE_S, ALONE_S)
    assert not table.is_left_alone(HOST[:3] + b"\2", NOW + 120, ALONE_S)


def test_delivery_13_within_120_seconds_a_timeout_counts_once() -> None:
    table = old()
    table.failed(HOST, NOW)
    assert not table.failed(HOST, NOW + 119)
    assert next(table.entries()).count == 1
    assert table.failed(HOST, NOW + 120)


def test_delivery_13_the_count_goes_up_to_10_and_back_to_0_at_once() -> None:
    table = old()
    for attempt in range(15):
        table.failed(HOST, NOW + attempt * 120)
    assert next(table.entries()).count == 10
    assert table.answered(HOST)
    assert list(table.entries()) == []
    assert not table.answered(HOST)


def test_delivery_13_a_free_slot_is_used_first_then_the_smallest_time_and_count_go() -> None:
    table = old()
    for number in range(64):
        table.failed(bytes((10, 0, 0, number)), NOW + number)
    table.failed(bytes((10, 0, 0, 0)), NOW + 500)
    table.answered(bytes((10, 0, 0, 30)))
    table.failed(HOST, NOW + 1000)
    assert bytes(table.data[30 * 16 : 30 * 16 + 4]) == HOST
    table.failed(bytes((10, 9, 9, 9)), NOW + 1001)
    assert bytes(table.data[16:20]) == bytes((10, 9, 9, 9))
    assert len(list(table.entries())) == 64


def test_delivery_13_programs_come_back_at_different_times() -> None:
    assert seconds_alone(0, TIMEOUT_UNIT_S) == 3840
    assert seconds_alone(31, TIMEOUT_UNIT_S) == 5824
    assert seconds_alone(32, TIMEOUT_UNIT_S) == 3840
    assert (seconds_alone(0, REFUSED_UNIT_S), seconds_alone(31, REFUSED_UNIT_S)) == (240, 364)


def test_a_clock_that_is_set_back_leaves_nobody_alone_for_years() -> None:
    table = old()
    table.failed(HOST, NOW)
    table.failed(HOST, NOW + 200)
    assert not table.is_left_alone(HOST, NOW - 10**6, ALONE_S)
    assert table.failed(HOST, NOW - 10**6)


def test_delivery_13_an_empty_table_is_no_table() -> None:
    table = Table(b"", OLD)
    assert not table.failed(HOST, NOW)
    assert not table.answered(HOST)
    assert not table.clear()
    assert not table.is_left_alone(HOST, NOW, ALONE_S)


def test_only_a_whole_record_is_an_address() -> None:
    data = bytearray(TCPTO_BYTES)
    data[8:12] = HOST
    table = Table(bytes(data), OLD)
    assert not table.answered(HOST)
    # Found again behind a place where the same bytes mean something else.
    data[32:48] = HOST + b"\1\0\0\0" + NOW.to_bytes(4, "little") + bytes(4)
    assert Table(bytes(data), OLD).answered(HOST)


@pytest.mark.parametrize(
    ("address", "old_form", "new_form"),
    [
        ("192.0.2.1", HOST, bytes(10) + b"\xff\xff" + HOST),
        ("2001:db8::1", None, b"\x20\x01\x0d\xb8" + bytes(11) + b"\1"),
        ("fe80::1%eth0", None, b"\xfe\x80" + bytes(13) + b"\1"),
    ],
)
def test_oddities_3_the_second_table_names_both_families(
    address: str, old_form: bytes | None, new_form: bytes
) -> None:
    assert old_key(address) == old_form
    assert new_key(address) == new_form
    assert shown(new_form) == address.partition("%")[0]
    assert old_form is None or shown(old_form) == address


def test_oddities_3_times_of_the_second_table_have_64_bits() -> None:
    table = Table(bytes(TCPTO6_BYTES), NEW)
    table.failed(new_key("2001:db8::1"), 2**40)
    assert next(table.entries()).when == 2**40


@given(
    data=st.binary(max_size=300),
    shape=st.sampled_from([OLD, NEW]),
    address=st.binary(min_size=4, max_size=4),
    now=st.integers(0, 2**33),
)
def test_any_bytes_are_a_table(data: bytes, shape: Shape, address: bytes, now: int) -> None:
    table = Table(data, shape)
    key = address * (shape.address_bytes // 4)
    table.is_left_alone(key, now, ALONE_S)
    has_slot = len(data) >= shape.record.size
    changed = table.failed(key, now)
    assert changed <= has_slot
    assert len(table.data) == len(data)
    if changed:
        assert key in [entry.address for entry in table.entries()]
        assert table.answered(key)
    assert all(shown(entry.address) for entry in table.entries())
