"""From qmail-remote's reports to the one that qmail-send gets."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qmail.mail import Result, deferred, delivered, failed
from qmail.protocol.remote_reports import Outcome, combine


@pytest.mark.parametrize(
    ("output", "report"),
    [
        (b"r\0K1.2.3.4 accepted message.\n\0", b"K1.2.3.4 accepted message.\n"),
        (b"hno such user\n\0DGiving up\n\0", b"Dno such user\nGiving up\n"),
        (b"slater\n\0DGiving up\n\0", b"Zlater\nGiving up\n"),
        (b"ZConnected but\n\0", b"ZConnected but\n"),
        (b"Dno host\n\0", b"Dno host\n"),
        (b"r\0Zfailed on DATA\n\0", b"Zfailed on DATA\n"),
        (b"slater\n\0Kaccepted\n\0", b"Zlater\n"),
        (b"hnever\n\0", b"Dnever\n"),
        (b"r\0", b"D"),
        (b"no report at all", b"D"),
        (b"Kcut of", b"D"),
    ],
)
def test_delivery_10_one_report_is_made_of_several(output: bytes, report: bytes) -> None:
    assert combine(output) == report


def test_delivery_10_no_output_is_temporary() -> None:
    assert combine(b"")[:1] == b"Z"


@settings(max_examples=100)
@given(
    output=st.lists(st.sampled_from([b"r", b"h", b"s", b"K", b"Z", b"D", b"\0", b"x"])).map(
        b"".join
    )
)
def test_any_output_makes_a_report_with_a_letter(output: bytes) -> None:
    assert Result.unpack(combine(output)) is not None


@pytest.mark.parametrize(
    "outcome",
    [
        Outcome((b"r",), delivered(b"ok\n")),
        Outcome((b"hno\n",), failed(b"Giving up\n")),
        Outcome((b"sno\n",), failed(b"Giving up\n")),
        Outcome((), deferred(b"no\n")),
        Outcome((b"r",), deferred(b"no\n")),
    ],
)
def test_the_short_way_gives_what_the_long_one_gives(outcome: Outcome) -> None:
    assert outcome.spawn_report() == combine(outcome.reports())
