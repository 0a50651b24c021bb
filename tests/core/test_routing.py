"""Local, virtual or remote, and one sender a recipient (spec/delivery.md 1 and 11)."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qmail.core.routing import Routes, route, verp_sender, without_prepend
from qmail.mail import Channel

L, R = Channel.LOCAL, Channel.REMOTE
OBSERVED = Routes(
    locals=frozenset((b"here.ex",)),
    virtualdomains={b"v.ex": b"joe-v", b"u@x.ex": b"joe-u", b".w.ex": b"joe-w", b"s.w.ex": b""},
    percenthack=frozenset((b"p.ex",)),
    envnoathost=b"none.ex",
)


@pytest.mark.parametrize(
    ("address", "channel", "result"),
    [
        (b"u%far.ex@p.ex", R, b"u@far.ex"),
        (b"a%b%v.ex@p.ex", L, b"joe-v-a%b@v.ex"),
        (b"Any@V.EX", L, b"joe-v-Any@V.EX"),
        (b"u@x.ex", L, b"joe-u-u@x.ex"),
        (b"o@x.ex", R, b"o@x.ex"),
        (b"x@a.w.ex", L, b"joe-w-x@a.w.ex"),
        (b"x@s.w.ex", R, b"x@s.w.ex"),
        (b"x@w.ex", R, b"x@w.ex"),
        (b"Joe@HERE.ex", L, b"Joe@HERE.ex"),
        (b"a@b@here.ex", L, b"a@b@here.ex"),
        (b"joe", R, b"joe@none.ex"),
        (b"U@X.ex", L, b"joe-u-U@X.ex"),
        (b"x@b.a.w.ex", L, b"joe-w-x@b.a.w.ex"),
        (b"", R, b"@none.ex"),
        (b"@here.ex", L, b"@here.ex"),
        (b"a%b@p.ex@far.ex", R, b"a%b@p.ex@far.ex"),
    ],
)
def test_delivery_1_observed_examples(address: bytes, channel: Channel, result: bytes) -> None:
    assert route(address, OBSERVED) == (channel, result)


def test_delivery_1_envnoathost_is_added_before_everything_else() -> None:
    routes = Routes(frozenset((b"p.ex",)), {}, frozenset((b"p.ex",)), b"p.ex")
    assert route(b"joe", routes) == (L, b"joe@p.ex")
    assert route(b"joe%far.ex", routes) == (R, b"joe@far.ex")


def test_control_files_4_7_percenthack_goes_on_while_the_domain_is_listed() -> None:
    routes = Routes(frozenset(), {}, frozenset((b"host", b"c")))
    assert route(b"a%b%c@host", routes) == (R, b"a@b")
    assert route(b"a%b%c@C", routes) == (R, b"a@b")
    assert route(b"a%b%c@other", routes) == (R, b"a%b%c@other")


def test_control_files_4_6_locals_count_before_virtual_domains() -> None:
    routes = Routes(frozenset((b"a.ex",)), {b"a.ex": b"no", b"joe@a.ex": b"no", b"": b"no"})
    assert route(b"joe@a.ex", routes) == (L, b"joe@a.ex")


def test_control_files_4_6_the_first_key_present_decides() -> None:
    table = {b"info@a.b.c": b"1", b"a.b.c": b"2", b".b.c": b"3", b".c": b"4", b"": b"5"}
    for key, prepend in list(table.items()):
        assert route(b"info@a.b.c", Routes(frozenset(), table)) == (L, prepend + b"-info@a.b.c")
        del table[key]
    assert route(b"info@a.b.c", Routes(frozenset(), table)) == (R, b"info@a.b.c")


@pytest.mark.parametrize("key", [b"info@a.b.c", b"a.b.c", b".b.c", b".c"])
def test_control_files_4_6_an_empty_prepend_ends_the_search(key: bytes) -> None:
    routes = Routes(frozenset(), {key: b"", b"": b"all"})
    assert route(b"info@a.b.c", routes) == (R, b"info@a.b.c")


def test_a_catch_all_takes_what_nothing_else_takes() -> None:
    routes = Routes(frozenset((b"here.ex",)), {b"": b"all"})
    assert route(b"x@far.ex", routes) == (L, b"all-x@far.ex")


def test_a_virtual_address_stays_virtual_however_long_it_gets() -> None:
    """As a remote one it would come back to this host, and bounce as a loop."""
    long = b"x" * 996 + b"@v.ex"
    assert route(long, OBSERVED) == (L, b"joe-v-" + long)


@settings(max_examples=100)
@given(address=st.binary(max_size=40))
def test_every_address_has_a_channel_and_a_domain(address: bytes) -> None:
    _, result = route(address, OBSERVED)
    assert b"@" in result


# --- as its sender wrote it (spec/bounces.md 2) ---------------------------------------------------


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        (b"joe-v-any@v.ex", b"any@v.ex"),
        (b"joe-v-any@V.EX", b"any@V.EX"),
        (b"joe-w-x@a.w.ex", b"x@a.w.ex"),
        (b"joe-v@v.ex", b"joe-v@v.ex"),
        (b"joe@here.ex", b"joe@here.ex"),
        (b"x@s.w.ex", b"x@s.w.ex"),
    ],
)
def test_bounces_2_a_virtual_domains_prepend_is_taken_off(address: bytes, shown: bytes) -> None:
    assert without_prepend(address, OBSERVED) == shown


def test_bounces_2_a_virtual_users_prepend_stays_visible() -> None:
    assert without_prepend(b"joe-u-u@x.ex", OBSERVED) == b"joe-u-u@x.ex"


def test_bounces_2_the_catch_all_is_tried_too() -> None:
    assert without_prepend(b"all-x@far.ex", Routes(frozenset(), {b"": b"all"})) == b"x@far.ex"


# --- VERP (spec/delivery.md 11) -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sender", "recipient", "result"),
    [
        (b"list-owner-@l.ex-@[]", b"bob@far.ex", b"list-owner-bob=far.ex@l.ex"),
        (b"a@b-@l.ex-@[]", b"x@y@far.ex", b"a@b-x@y=far.ex@l.ex"),
        (b"list-@l.ex-@[]", b"bob", b"list-@l.ex-@[]"),
        (b"nohost-@[]", b"bob@far.ex", b"nohost-@[]"),
        (b"-@[]", b"bob@far.ex", b"-@[]"),
        (b"#@[]", b"bob@far.ex", b"#@[]"),
        (b"", b"bob@far.ex", b""),
        (b"joe@l.ex", b"bob@far.ex", b"joe@l.ex"),
    ],
)
def test_delivery_11_the_sender_names_the_recipient(
    sender: bytes, recipient: bytes, result: bytes
) -> None:
    assert verp_sender(sender, recipient) == result
