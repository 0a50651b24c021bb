"""Which hosts are tried, in which order."""

from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qmail.core.remote.mx import (
    ADDRESSES_MAX,
    NO_EXCHANGER,
    TAKES_NO_MAIL,
    TALKS_TO_ITSELF,
    Candidate,
    Target,
    exchangers,
    literal_address,
    route_of,
    routed_targets,
    targets,
)
from qmail.core.settings.controls import Line
from qmail.core.settings.programs import Route, parse_routes
from qmail.mail import Result
from qmail.protocol.lookups import LocalAddresses, MxRecord

HERE = LocalAddresses(frozenset({"192.0.2.1", "127.0.0.1"}), has_global_ipv6=False)
HERE_V6 = LocalAddresses(frozenset({"192.0.2.1", "2001:db8::1"}), has_global_ipv6=True)


def addresses(found: tuple[Target, ...] | Result) -> list[str]:
    assert not isinstance(found, Result)
    return [target.address for target in found]


@pytest.mark.parametrize(
    ("host", "address"),
    [
        (b"192.0.2.9", "192.0.2.9"),
        (b"[192.0.2.9]", "192.0.2.9"),
        (b"[IPv6:2001:DB8::1]", "2001:db8::1"),
        (b"[ipv6:::1]", "::1"),
        (b"[::1]", "::1"),
        (b"256.0.0.1", None),
        (b"[256.0.0.1]", None),
        (b"[192.0.2.9", None),
        (b"192.0.2.9]", None),
        (b"::1", None),
        (b"[IPv6:192.0.2.9]", None),
        (b"host.ex", None),
        (b"", None),
        (b"\xff", None),
    ],
)
def test_rfc5321_4_1_3_address_literals(host: bytes, address: str | None) -> None:
    assert literal_address(host) == address


def test_4_5_the_first_key_present_decides_longest_suffix_first() -> None:
    lines = [b"far.ex:relay.ex", b".far.ex:[192.0.2.5]:26", b".in.far.ex:", b":smart.ex:587"]
    routes = parse_routes("smtproutes", [Line(i, text) for i, text in enumerate(lines, 1)])
    assert route_of(b"FAR.ex", routes) == Route(b"relay.ex", 25)
    assert route_of(b"a.far.ex", routes) == Route(b"[192.0.2.5]", 26)
    assert route_of(b"a.in.far.ex", routes) == Route(b"", 25)
    assert route_of(b"other.ex", routes) == Route(b"smart.ex", 587)
    assert route_of(b"[192.0.2.7]", routes) == Route(b"smart.ex", 587)
    assert route_of(b"other.ex", {}) is None


def test_rfc5321_5_1_lowest_preference_first_and_equal_ones_by_lot() -> None:
    records = [MxRecord(20, "c"), MxRecord(10, "a"), MxRecord(10, "b")]
    seen = set()
    for seed in range(40):
        found = exchangers(records, Random(seed))
        assert not isinstance(found, Result)
        names = "".join(record.host for record in found)
        assert names in ("abc", "bac")
        seen.add(names)
    assert seen == {"abc", "bac"}


def test_rfc7505_3_a_null_mx_fails_at_once() -> None:
    assert exchangers([MxRecord(0, "")], Random(1)) is TAKES_NO_MAIL
    assert exchangers([MxRecord(0, ""), MxRecord(5, "a")], Random(1)) == (MxRecord(5, "a"),)


def test_b4_only_hosts_better_than_this_one_are_used() -> None:
    candidates = [
        Candidate(10, ("192.0.2.7",)),
        Candidate(20, ("192.0.2.8", "192.0.2.1")),
        Candidate(30, ("192.0.2.9",)),
    ]
    assert addresses(targets(candidates, HERE, 25)) == ["192.0.2.7"]
    assert targets(candidates[1:], HERE, 25) is TALKS_TO_ITSELF


@pytest.mark.parametrize(
    "address", ["127.0.0.1", "127.9.9.9", "0.0.0.0", "::1", "::", "::ffff:127.0.0.1"]
)
def test_oddities_4_loopback_and_unspecified_are_this_host(address: str) -> None:
    assert targets([Candidate(0, (address,))], HERE, 25) is TALKS_TO_ITSELF


@pytest.mark.parametrize("address", ["224.0.0.1", "ff02::1"])
def test_oddities_4_nothing_is_sent_to_a_multicast_address(address: str) -> None:
    assert targets([Candidate(0, (address,))], HERE, 25) is NO_EXCHANGER


def test_oddities_4_with_a_port_of_its_own_a_route_may_point_at_this_host() -> None:
    found = targets([Candidate(10, ("127.0.0.1",)), Candidate(20, ("192.0.2.9",))], HERE, 2525)
    assert addresses(found) == ["127.0.0.1", "192.0.2.9"]


def test_no_address_at_all_is_5_4_4() -> None:
    assert targets([Candidate(10, ())], HERE, 25) is NO_EXCHANGER


def test_4_5_a_route_may_point_at_this_host() -> None:
    assert routed_targets(["127.0.0.1"], HERE, 2525) == (Target("127.0.0.1", 2525),)


def test_ipv6_comes_first_only_where_this_host_can_use_it() -> None:
    both = [Candidate(10, ("2001:db8::7", "192.0.2.7")), Candidate(20, ("192.0.2.8",))]
    assert addresses(targets(both, HERE_V6, 25)) == ["2001:db8::7", "192.0.2.7", "192.0.2.8"]
    assert addresses(targets(both, HERE, 25)) == ["192.0.2.7", "2001:db8::7", "192.0.2.8"]


CANDIDATES = st.lists(
    st.builds(
        Candidate,
        st.integers(0, 3),
        st.lists(
            st.sampled_from(["192.0.2.1", "192.0.2.7", "192.0.2.8", "2001:db8::7", "127.0.0.1"]),
            max_size=3,
        ).map(tuple),
    ),
    max_size=30,
).map(lambda found: sorted(found, key=lambda each: each.preference))


@settings(max_examples=100)
@given(candidates=CANDIDATES)
def test_targets_are_few_distinct_and_never_this_host(candidates: list[Candidate]) -> None:
    found = targets(candidates, HERE, 25)
    if not isinstance(found, Result):
        assert len(set(found)) == len(found) <= ADDRESSES_MAX
        assert not {target.address for target in found} & HERE.addresses
