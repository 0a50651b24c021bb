"""Local, virtual or remote, and one sender a recipient (spec/delivery.md 1 and 11)."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qmail.core.addresses.routing import Routes, route, routes_from, verp_sender, without_prepend
from qmail.core.settings.controls import ControlError, load
from qmail.core.settings.programs import SendControls
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


HOST = b"p.ex"


@pytest.mark.parametrize(
    ("address", "channel", "result"),
    [
        (b"joe", L, b"joe@p.ex"),
        (b"", L, b"@p.ex"),
        (b"joe%far.ex", R, b"joe@far.ex"),
        (b"Joe%V.Ex", L, b"v-Joe@V.Ex"),
        (b"joe@", R, b"joe@"),
        (b"@", R, b"@"),
    ],
)
def test_delivery_1_1_envnoathost_is_added_before_everything_else(
    address: bytes, channel: Channel, result: bytes
) -> None:
    routes = Routes(frozenset((HOST,)), {b"v.ex": b"v"}, frozenset((HOST,)), HOST)
    assert route(address, routes) == (channel, result)


@pytest.mark.parametrize(
    ("address", "result"),
    [
        (b"a%b%c@host", b"a@b"),
        (b"a%b%c@C", b"a@b"),
        (b"a%b%c@HOST", b"a@b"),
        (b"a%b%other@host", b"a%b@other"),
        (b"a%b%c@other", b"a%b%c@other"),
        (b"a%c%host%c@host", b"a@c"),
        (b"a@host", b"a@host"),
        (b"a%@host", b"a@"),
        (b"%b@host", b"@b"),
        (b"%@host", b"@"),
        (b"%%b@host", b"%@b"),
        (b"a%b", b"a%b@none"),
        (b"a%b@x@host", b"a@b@x"),
        (b"a%b@c@host", b"a@b@c"),
        (b"a%x%b@d@host", b"a%x@b@d"),
        (b"a@b%c@host", b"a@b@c"),
    ],
)
def test_control_files_4_7_percenthack_goes_on_while_the_domain_is_listed(
    address: bytes, result: bytes
) -> None:
    routes = Routes(frozenset(), {}, frozenset((b"host", b"c")), b"none")
    assert route(address, routes) == (R, result)


def test_delivery_1_3_the_domain_of_a_rewritten_address_is_what_follows_its_last_at() -> None:
    routes = Routes(frozenset((b"here.ex",)), {b"v.ex": b"v"}, frozenset((b"p.ex",)))
    assert route(b"a%b@here.ex@p.ex", routes) == (L, b"a@b@here.ex")
    assert route(b"a%b@v.ex@p.ex", routes) == (L, b"v-a@b@v.ex")


@pytest.mark.parametrize("entry", [b"percent", b"local", b"virtual"])
def test_control_files_2_domains_match_in_any_case(entry: bytes) -> None:
    routes = Routes(frozenset((b"local.ex",)), {b"virtual.ex": b"v"}, frozenset((b"percent.ex",)))
    wanted = {
        b"percent": (R, b"Joe@Far.Ex"),
        b"local": (L, b"Joe%Far.Ex@LOCAL.Ex"),
        b"virtual": (L, b"v-Joe%Far.Ex@VIRTUAL.Ex"),
    }
    assert route(b"Joe%Far.Ex@" + entry.upper() + b".Ex", routes) == wanted[entry]


@pytest.mark.parametrize(
    ("address", "channel"),
    [
        (b"joe@a.ex", L),
        (b"joe@A.EX", L),
        (b"joe@x@a.ex", L),
        (b"joe@x.a.ex", R),
        (b"joe@ex", R),
        (b"joe@a.ex.", R),
        (b"joe@.a.ex", R),
    ],
)
def test_delivery_1_3_locals_match_whole_domains_only(address: bytes, channel: Channel) -> None:
    assert route(address, Routes(frozenset((b"a.ex",)))) == (channel, address)


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


@pytest.mark.parametrize(
    ("key", "address", "is_virtual"),
    [
        (b"v.ex", b"joe@v.ex", True),
        (b"v.ex", b"Joe@V.eX", True),
        (b"v.ex", b"joe@w.v.ex", False),
        (b".v.ex", b"joe@w.v.ex", True),
        (b".v.ex", b"joe@W.X.V.EX", True),
        (b".v.ex", b"joe@v.ex", False),
        (b".v.ex", b"joe@wv.ex", False),
        (b"joe@v.ex", b"joe@v.ex", True),
        (b"joe@v.ex", b"JOE@V.EX", True),
        (b"joe@v.ex", b"joe-x@v.ex", False),
        (b"joe@v.ex", b"x@joe@v.ex", False),
        (b"x@joe@v.ex", b"x@joe@v.ex", True),
        (b"@v.ex", b"joe@v.ex", False),
        (b"", b"joe@anything", True),
        (b"", b"joe@", True),
        (b"[192.0.2.1]", b"joe@[192.0.2.1]", True),
    ],
)
def test_control_files_4_6_domain_wildcard_address_and_catch_all(
    key: bytes, address: bytes, *, is_virtual: bool
) -> None:
    wanted = (L, b"pre-" + address) if is_virtual else (R, address)
    assert route(address, Routes(frozenset(), {key: b"pre"})) == wanted


def test_control_files_4_6_the_case_of_address_and_prepend_is_kept() -> None:
    routes = Routes(frozenset(), {b"v.ex": b"Joe-V"})
    assert route(b"Mr.X@V.Ex", routes) == (L, b"Joe-V-Mr.X@V.Ex")


def test_control_files_4_6_a_prepended_address_is_not_looked_up_again() -> None:
    routes = Routes(frozenset(), {b"v.ex": b"a", b"a-joe@v.ex": b"b"})
    assert route(b"joe@v.ex", routes) == (L, b"a-joe@v.ex")


def test_a_catch_all_takes_what_nothing_else_takes() -> None:
    routes = Routes(frozenset((b"here.ex",)), {b"": b"all"})
    assert route(b"x@far.ex", routes) == (L, b"all-x@far.ex")


def test_a_virtual_address_stays_virtual_however_long_it_gets() -> None:
    """As a remote one it would come back to this host, and bounce as a loop."""
    long = b"x" * 996 + b"@v.ex"
    assert route(long, OBSERVED) == (L, b"joe-v-" + long)


names = st.sampled_from((b"", b"a", b"b.ex", b"A.b.eX", b".ex", b"a%b.ex", b"%", b"x@a"))
domains = st.sampled_from((b"a", b"b.ex", b"a.b.ex", b"c"))
keys = st.sampled_from((b"", b"a", b"b.ex", b".b.ex", b".ex", b"a@b.ex", b"@a", b"x@a"))


def read_step_by_step(address: bytes, routes: Routes) -> tuple[Channel, bytes]:
    """The rules of spec/delivery.md 1 in the order and the words in which they stand there."""
    if address.count(b"@") == 0:
        address = address + b"@" + routes.envnoathost
    while address[address.rindex(b"@") + 1 :].lower() in routes.percenthack:
        local = address[: address.rindex(b"@")]
        if b"%" not in local:
            break
        percent = local.rindex(b"%")
        address = local[:percent] + b"@" + local[percent + 1 :]
    domain = address[address.rindex(b"@") + 1 :]
    if domain.lower() in routes.locals:
        return L, address
    tried = [address, domain]
    tried += [domain[at:] for at in range(len(domain)) if domain[at : at + 1] == b"."]
    for key in (*tried, b""):
        if key.lower() in routes.virtualdomains:
            value = routes.virtualdomains[key.lower()]
            return (L, value + b"-" + address) if value else (R, address)
    return R, address


@settings(max_examples=400)
@given(
    address=st.lists(names, min_size=1, max_size=3).map(b"@".join),
    locals_=st.frozensets(domains, max_size=1),
    virtual=st.dictionaries(keys, st.sampled_from((b"", b"p", b"P-q")), max_size=3),
    percent=st.frozensets(domains, max_size=2),
)
def test_delivery_1_any_address_goes_where_the_rules_read_step_by_step_send_it(
    address: bytes,
    locals_: frozenset[bytes],
    virtual: dict[bytes, bytes],
    percent: frozenset[bytes],
) -> None:
    routes = Routes(locals_, virtual, percent, b"A.b.ex")
    assert route(address, routes) == read_step_by_step(address, routes)


@settings(max_examples=100)
@given(address=st.binary(max_size=40))
def test_every_address_has_a_channel_and_a_domain(address: bytes) -> None:
    _, result = route(address, OBSERVED)
    assert b"@" in result


def test_delivery_1_the_tables_are_those_of_the_control_files() -> None:
    files = {
        "me": b"Me.Ex\n",
        "locals": b"A.ex\n# b.ex\n\nc.ex \n",
        "virtualdomains": b"V.ex:one\nv.EX:Two:x\n:all\n",
        "percenthack": b"P.ex\n",
    }
    routes = routes_from(load(SendControls, files.get))
    assert routes == Routes(
        frozenset((b"a.ex", b"c.ex")),
        # Of equal keys the last counts, and the value is all after the first colon (2).
        {b"v.ex": b"Two:x", b"": b"all"},
        frozenset((b"p.ex",)),
        b"Me.Ex",
    )
    assert routes_from(load(SendControls, {"me": b"me.ex"}.get)).locals == {b"me.ex"}
    assert routes_from(load(SendControls, {"me": b"me.ex", "locals": b""}.get)).locals == set()


def test_control_files_3_neither_locals_nor_me_is_an_error() -> None:
    with pytest.raises(ControlError, match="neither control/locals nor control/me"):
        routes_from(load(SendControls, lambda _name: None))


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
