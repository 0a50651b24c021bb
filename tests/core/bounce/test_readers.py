"""Both forms are read by others: Mailman 3 (its own code), and ezmlm (its rules)."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.fakes.bounce_readers import (
    bounce,
    controls,
    ezmlm_addresses,
    mailman_addresses,
)

from qmail.core.settings.programs import BounceFormat

REPORTS = [
    b"There is no mailbox of this name here. (#5.1.1)\n",
    b"192.0.2.1 does not like recipient.\n550 5.1.1 <joe@far.ex>: no\nGiving up on 192.0.2.1.\n",
    b"--- transcript of session follows ---\n<someone@else.ex>:\n",
    b"Hi. This is the other program.\n\n<someone@else.ex>:\nno\n\n--- Below\n",
    b"This is a permanent error\n\n\n",
    b"--=_token\nContent-Type: text/plain\n\nx\n--=_token--\n",
    b"Final-Recipient: rfc822; someone@else.ex\nAction: failed\n",
    b"",
]
WORD = st.text("abcXYZ019!#$%&'*+-/?^_`{|}~", min_size=1, max_size=12)
DOMAIN = st.lists(st.text("abc019-", min_size=1, max_size=8), min_size=1, max_size=3).map(".".join)
ADDRESS = st.builds(lambda user, host: f"{user}@{host}".encode(), WORD, DOMAIN)
FAILURES = st.lists(st.tuples(ADDRESS, st.binary(max_size=200)), max_size=5)


@pytest.mark.parametrize("form", BounceFormat)
@pytest.mark.parametrize("report", REPORTS)
def test_no_report_hides_an_address_or_adds_one(form: BounceFormat, report: bytes) -> None:
    told = [(b"ann@far.ex", report), (b"bob+x@far.ex", report)]
    for sender in (b"joe@a.ex", b""):
        text = bounce(told, controls(form), sender=sender)
        assert ezmlm_addresses(text) == [b"ann@far.ex", b"bob+x@far.ex"]
        assert mailman_addresses(text) == {b"ann@far.ex", b"bob+x@far.ex"}


@pytest.mark.parametrize("form", BounceFormat)
@settings(max_examples=150)
@given(failures=FAILURES, original=st.binary(max_size=100), bytes_max=st.sampled_from([0, 99999]))
def test_bounces_6_the_addresses_that_went_in_come_out(
    form: BounceFormat, failures: list[tuple[bytes, bytes]], original: bytes, bytes_max: int
) -> None:
    text = bounce(failures, controls(form, bytes_max=bytes_max), original=b"A: 1\n\n" + original)
    addresses = [address for address, _ in failures]
    assert ezmlm_addresses(text) == addresses
    if failures:
        # Without any Mailman's guesses look into the original.
        assert mailman_addresses(text) == set(addresses)


@pytest.mark.parametrize("form", BounceFormat)
@given(address=st.binary(min_size=1, max_size=40).filter(lambda text: b"\0" not in text))
def test_no_address_hides_the_one_after_it(form: BounceFormat, address: bytes) -> None:
    text = bounce([(address, b"no"), (b"ann@far.ex", b"no")], controls(form))
    first, last = ezmlm_addresses(text)
    assert len(first) == len(address)
    assert last == b"ann@far.ex"
    assert b"ann@far.ex" in mailman_addresses(text)


@pytest.mark.parametrize("form", BounceFormat)
def test_a_bounce_that_was_refused_tells_of_its_address(form: BounceFormat) -> None:
    text = bounce([(b"ann@far.ex", b"no")], controls(form), refusal=b"not here (#5.7.1)")
    assert ezmlm_addresses(text) == [b"joe@a.ex"]
    assert b"joe@a.ex" in mailman_addresses(text)


def test_mailman_cuts_an_address_at_an_equals_sign_in_a_delivery_status_alone() -> None:
    """It takes what follows for the value of a parameter; docs/bounces.md tells of it."""
    told = [(b"list-ann=far.ex@l.ex", b"no")]
    assert mailman_addresses(bounce(told, controls())) == {b"list-ann=far.ex@l.ex"}
    assert mailman_addresses(bounce(told, controls(BounceFormat.DSN))) == {b"list-ann"}


def test_ezmlm_weeds_what_is_not_a_failure_notice() -> None:
    for form in BounceFormat:
        assert b"\nSubject: failure notice\n" in bounce([(b"a@b", b"no")], controls(form))
