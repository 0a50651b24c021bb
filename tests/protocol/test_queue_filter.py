"""Which messages an operator means: a table of cases, properties, and nonsense at the door."""

import fnmatch

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qmail.mail import Channel
from qmail.protocol.netstring import FrameError
from qmail.protocol.queue_filter import (
    NUMBERS_MAX,
    PATTERN_BYTES_MAX,
    Filter,
    address_matcher,
    code_of,
    reason_matcher,
)

ADDRESSES = st.binary(max_size=40).map(lambda text: text.replace(b"\0", b""))
COUNTS = st.none() | st.integers(0, 10**9)
FILTERS = st.builds(
    Filter,
    numbers=st.lists(st.integers(0, 2**63), max_size=5).map(tuple),
    sender=st.none() | ADDRESSES,
    recipient=st.none() | ADDRESSES,
    older_s=COUNTS,
    younger_s=COUNTS,
    reason=st.none() | ADDRESSES,
    channel=st.none() | st.sampled_from(Channel),
    held=st.booleans(),
    size_min=COUNTS,
    size_max=COUNTS,
)


@pytest.mark.parametrize(
    ("pattern", "address", "fits"),
    [
        (b"*@example.org", b"joe@example.org", True),
        (b"*@example.org", b"joe@EXAMPLE.Org", True),
        (b"*@Example.ORG", b"joe@example.org", True),
        (b"*@example.org", b"joe@sub.example.org", False),
        (b"*@*.example.org", b"joe@sub.example.org", True),
        (b"*@example.org", b"joe@example.org.evil", False),
        (b"joe@*", b"joe@a", True),
        (b"joe@*", b"Joe@a", False),
        (b"jo?@a", b"joe@a", True),
        (b"jo?@a", b"jo@a", False),
        (b"[jk]oe@a", b"koe@a", True),
        (b"[!jk]oe@a", b"koe@a", False),
        (b"example.org", b"joe@example.org", True),
        (b"example.org", b"example.org@b", False),
        (b"*", b"", True),
        (b"*", b"joe@a", True),
        (b"<>", b"", True),
        (b"", b"", True),
        (b"<>", b"joe@a", False),
        (b"*@a", b"a b@c@a", True),
        (b"joe+x.y@a", b"joe+x.y@a", True),
        (b"joe.y@a", b"joexy@a", False),
        (b"j\xf6rg@a", b"j\xf6rg@a", True),
        (b"joe@a", b"joe@a\n", False),
        (b"*e@a", b"jo\ne@a", True),
    ],
)
def test_addresses_and_patterns(pattern: bytes, address: bytes, fits: bool) -> None:
    assert address_matcher(pattern)(address) is fits


@pytest.mark.parametrize(
    ("wanted", "reason", "fits"),
    [
        (b"4.4.1", b"no connection. (#4.4.1)", True),
        (b"4.4.1", b"no connection. (#4.4.12)", False),
        (b"4.4.1", b"no connection. (#14.4.1)", False),
        (b"4.4.1", b"said: 451 4.4.1 later", True),
        (b"4.4.1", b"4.4.1.2 is no code", False),
        (b"4.4.1", b"", False),
        (b"greylisted", b"450 GreyListed, try later", True),
        (b"4.4", b"(#4.4.1)", True),
        (b"disk", b"no connection", False),
    ],
)
def test_reasons_are_codes_or_text(wanted: bytes, reason: bytes, fits: bool) -> None:
    assert reason_matcher(wanted)(reason) is fits


@pytest.mark.parametrize(
    ("chosen", "age_s", "fits"),
    [
        (Filter(older_s=60), 59, False),
        (Filter(older_s=60), 60, True),
        (Filter(younger_s=60), 60, False),
        (Filter(younger_s=60), 59, True),
        (Filter(older_s=10, younger_s=60), 30, True),
        (Filter(), 10**9, True),
    ],
)
def test_ages(chosen: Filter, age_s: int, fits: bool) -> None:
    assert chosen.takes_age(age_s) is fits


def test_sizes_senders_channels() -> None:
    assert Filter(size_min=10).takes_size(10)
    assert not Filter(size_min=10).takes_size(9)
    assert Filter(size_max=10).takes_size(10)
    assert not Filter(size_max=10).takes_size(11)
    assert Filter(sender=b"<>").takes_sender(b"")
    assert not Filter(sender=b"*@a").takes_sender(b"x@b")
    assert not Filter(channel=Channel.LOCAL).takes_recipient(Channel.REMOTE, b"a@b")


def test_code_of_a_reason() -> None:
    assert code_of(b"no. (#4.4.1)") == b"4.4.1"
    assert code_of(b"no") == b""


def test_which_filters_name_recipients() -> None:
    assert not Filter(sender=b"*", older_s=1, size_min=1, numbers=(1,)).names_recipients
    for chosen in (
        Filter(recipient=b"*"),
        Filter(reason=b"x"),
        Filter(held=True),
        Filter(channel=Channel.LOCAL),
    ):
        assert chosen.names_recipients
    assert Filter().is_empty
    assert not Filter(numbers=(1,)).is_empty


@given(FILTERS)
def test_a_filter_crosses_the_door_unchanged(chosen: Filter) -> None:
    assert Filter.unpack(chosen.pack()) == chosen


@given(st.binary(max_size=200))
def test_nonsense_is_refused_as_a_frame_error(packed: bytes) -> None:
    try:
        Filter.unpack(packed)
    except FrameError:
        return


def test_what_is_too_long_is_refused() -> None:
    with pytest.raises(FrameError):
        Filter.unpack(Filter(sender=b"x" * (PATTERN_BYTES_MAX + 1)).pack())
    with pytest.raises(FrameError):
        Filter.unpack(Filter(numbers=tuple(range(NUMBERS_MAX + 1))).pack())


NAMES = st.text("ab.*?[]!-", max_size=8)


@given(NAMES, NAMES, st.text("ab.-", max_size=8), st.text("ab.-", max_size=8))
def test_patterns_match_as_those_of_the_shell(
    local: str, domain: str, text: str, host: str
) -> None:
    fits = address_matcher(f"{local}@{domain}".encode())(f"{text}@{host}".encode())
    wanted = fnmatch.fnmatchcase(text, local) and fnmatch.fnmatchcase(host, domain)
    assert fits is wanted


@given(ADDRESSES)
def test_an_address_without_signs_of_its_own_fits_itself(address: bytes) -> None:
    if not set(address) & set(b"*?[]") and address.strip(b"<>"):
        assert address_matcher(b"@" + address if b"@" not in address else address)(
            address if b"@" in address else b"@" + address
        )
