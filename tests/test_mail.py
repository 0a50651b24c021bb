"""The nouns of all floors: envelope, channel, result."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qmail.mail import (
    ADDRESS_BYTES_MAX,
    BadEnvelopeError,
    Channel,
    Envelope,
    Letter,
    Result,
    deferred,
    delivered,
    failed,
)

ADDRESSES = st.binary(max_size=30).map(lambda text: text.replace(b"\0", b""))


@given(sender=ADDRESSES, recipients=st.lists(ADDRESSES, max_size=5))
def test_an_envelope_comes_back_as_it_was_packed(sender: bytes, recipients: list[bytes]) -> None:
    envelope = Envelope(sender, tuple(recipients))
    assert Envelope.unpack(envelope.pack()) == envelope


def test_queue_4_the_packed_form_is_what_qmail_queue_reads() -> None:
    assert Envelope(b"a@b", (b"c@d", b"e@f")).pack() == b"Fa@b\0Tc@d\0Te@f\0\0"
    assert Envelope(b"", ()).pack() == b"F\0\0"


def test_queue_4_an_address_of_1002_bytes_passes_and_one_of_1003_does_not() -> None:
    longest = b"x" * ADDRESS_BYTES_MAX
    assert Envelope(longest, (longest,)).recipients == (longest,)
    for sender, recipients in ((longest + b"x", ()), (b"", (longest + b"x",))):
        with pytest.raises(BadEnvelopeError) as caught:
            Envelope(sender, recipients)
        assert caught.value.too_long


@pytest.mark.parametrize("bad", [(b"a\0b", ()), (b"", (b"a", b"\0"))])
def test_a_nul_never_gets_into_an_envelope(bad: tuple[bytes, tuple[bytes, ...]]) -> None:
    with pytest.raises(BadEnvelopeError) as caught:
        Envelope(*bad)
    assert not caught.value.too_long


@pytest.mark.parametrize(
    "packed",
    [
        *(b"", b"F", b"Fa", b"Fa\0", b"Fa\0Tb", b"Fa\0Tb\0", b"Ta\0\0", b"\0\0"),
        *(b"Fa\0Xb\0\0", b"Fa\0Tb\0\0\0", b"Fa\0Tb\0\0x", b"Fa\0\0Tb\0\0"),
    ],
)
def test_queue_4_an_envelope_of_another_form_is_refused(packed: bytes) -> None:
    with pytest.raises(BadEnvelopeError):
        Envelope.unpack(packed)


@given(packed=st.binary(max_size=40))
def test_garbage_raises_nothing_but_bad_envelope(packed: bytes) -> None:
    try:
        envelope = Envelope.unpack(packed)
    except BadEnvelopeError:
        return
    assert envelope.pack() == packed


@given(letter=st.sampled_from(Letter), text=st.binary(max_size=20))
def test_a_result_comes_back_as_it_was_packed(letter: Letter, text: bytes) -> None:
    assert Result.unpack(Result(letter, text).pack()) == Result(letter, text)


@pytest.mark.parametrize("report", [b"", b"k", b"X1", b" K", b"\0"])
def test_delivery_10_a_report_with_another_letter_is_no_result(report: bytes) -> None:
    assert Result.unpack(report) is None


def test_delivery_10_the_three_ends_have_their_letters() -> None:
    assert (delivered(b"a").pack(), deferred(b"b").pack(), failed(b"c").pack()) == (
        b"Ka",
        b"Zb",
        b"Dc",
    )


def test_logging_2_the_channels_have_their_words() -> None:
    assert [channel.word for channel in Channel] == ["local", "remote"]
