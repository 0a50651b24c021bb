"""Dates in nearly any form (spec/inject.md 9; RFC 5322 3.3, 4.3)."""

import calendar
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qmail.core.dates import mail_date
from qmail.protocol.date_field import When, days_to, read_date, when_of


@pytest.mark.parametrize(
    ("text", "written"),
    [
        (b"Sat, 15 aug 1998 13:32:12 cdt", b"15 Aug 1998 13:32:12 -0500"),
        (b"1 jan 0 0:0:0 jst", b"1 Jan 2000 00:00:00 +0900"),
        (b"1 jan 10 0:0 met dst", b"1 Jan 2010 00:00:00 +0200"),
        (b"1 jan 70 0:0:0 pst", b"1 Jan 1970 00:00:00 -0800"),
        (b"1 jan 100 0:0:0 gmt", b"1 Jan 2000 00:00:00 +0000"),
        (b"29 feb 2000 0:0:0 -0000", b"29 Feb 2000 00:00:00 -0000"),
        (b"Fri, 31 Dec 1999 23 : 59 : 60 -0330 (NST)", b"31 Dec 1999 23:59:60 -0330"),
        (b"from a by b; 5 May 2024 1:2:3 UTC", b"5 May 2024 01:02:03 +0000"),
        (b"1 jan 10000 0:0:0 Z", b"1 Jan 10000 00:00:00 +0000"),
    ],
)
def test_dates_are_written_in_one_form(text: bytes, written: bytes) -> None:
    when = read_date(text)
    assert when is not None
    assert when.field() == written


@pytest.mark.parametrize(
    "text",
    [
        b"", b"junk", b"15 Aug 1998", b"15 Aug 1998 13:32:12", b"15 Aug 1998 13:32:12 XYZ",
        b"31 feb 2020 0:0:0 gmt", b"0 jan 2020 0:0:0 gmt", b"1 jan 2020 24:0:0 gmt",
        b"1 jan 2020 0:60:0 gmt", b"1 jan 2020 0:0:61 gmt", b"1 jan 2020 0:0:0 +2400",
        b"1 jan 99999999999 0:0:0 gmt", b"-1 jan 2020 0:0:0 gmt", b"1 jan 2020 0:0:0 +99999999999",
        b"1 x 2020 0:0:0 gmt", b"1 jan 2020 0:0: gmt", b"1 jan 2020 0:0:0 gmt, later",
    ],
)  # fmt: skip
def test_what_is_no_date_is_none(text: bytes) -> None:
    assert read_date(text) is None


@given(st.integers(-(10**10), 10**11))
def test_points_in_time_go_there_and_back(unix_s: int) -> None:
    when = when_of(unix_s)
    assert when.unix_s() == unix_s
    assert when[:6] == time.gmtime(unix_s)[:6]


@given(st.integers(0, 10**10), st.integers(-1439, 1439))
def test_what_is_written_is_read_back(unix_s: int, offset: int) -> None:
    when = when_of(unix_s)._replace(offset=offset, has_zone=True)
    assert read_date(when.field()) == when
    assert read_date(mail_date(unix_s)) == when_of(unix_s)


@given(st.binary(max_size=60))
def test_no_text_is_too_odd(text: bytes) -> None:
    read_date(text)
    read_date(b"1 jan 2020 " + text)


def test_the_days_of_a_year_are_counted_as_the_library_does() -> None:
    for year in (1900, 1970, 2000, 2023, 2024, 2100):
        for month in range(1, 13):
            assert days_to(year, month, 1) * 86400 == calendar.timegm((year, month, 1, 0, 0, 0))


def test_the_forms_for_other_places() -> None:
    when = When(1998, 8, 15, 13, 32, 12, -330, has_zone=True)
    assert when.iso() == b"1998-08-15 13:32:12 -0530"
    assert when.digits() == b"19980815133212"
