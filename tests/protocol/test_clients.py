"""Who counts as one client, and how many connections each has."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qmail.protocol.clients import ClientCounts, client_key


@pytest.mark.parametrize(
    ("ip", "other", "is_same"),
    [
        ("192.0.2.1", "192.0.2.1", True),
        ("192.0.2.1", "192.0.2.2", False),
        ("192.0.2.1", "::ffff:192.0.2.1", True),
        ("2001:db8::1", "2001:db8::ffff:1:2:3", True),
        ("2001:db8::1", "2001:db8:0:1::1", False),
    ],
)
def test_a_client_is_an_address_or_a_network_of_64_bits(
    ip: str, other: str, *, is_same: bool
) -> None:
    counts = ClientCounts()
    counts.add(ip)
    assert counts.of(ip) == 1
    assert counts.of(other) == is_same


@pytest.mark.parametrize("ip", ["127.0.0.1", "127.1.2.3", "::1", "::ffff:127.0.0.1", "unknown"])
def test_this_host_itself_and_what_is_no_address_are_not_counted(ip: str) -> None:
    counts = ClientCounts()
    counts.add(ip)
    assert counts.of(ip) == 0
    counts.remove(ip)


def test_who_has_gone_leaves_nothing_behind() -> None:
    counts = ClientCounts()
    for _ in range(2):
        counts.add("192.0.2.1")
    counts.remove("192.0.2.1")
    assert counts.of("192.0.2.1") == 1
    counts.remove("192.0.2.1")
    assert not counts._counts


@given(st.text(max_size=40) | st.ip_addresses().map(str))
def test_no_text_is_too_strange(ip: str) -> None:
    key = client_key(ip)
    assert key is None or len(key) in (4, 8)
