"""control/log: what it may say, and how a wrong line is named."""

import pytest

from qmail.core.settings.controls import ControlError, split_lines
from qmail.core.settings.log import (
    Destination,
    LogFormat,
    LogSettings,
    Stamp,
    Target,
    parse_log,
)


def parsed(*lines: str) -> LogSettings:
    return parse_log("log", split_lines("\n".join(lines).encode()))


def test_without_lines_the_log_is_the_originals() -> None:
    assert parsed() == LogSettings()
    assert not parsed("# nothing", "", "format classic", "to descriptor").needs_logger


def test_every_line_counts() -> None:
    settings = parsed(
        "format both", "time iso", "to file main size 4096 keep 2", "to journal", "to syslog",
        "to descriptor", "trace on", "trace-days 3", "trace-mb 5",
    )  # fmt: skip
    assert settings.format is LogFormat.BOTH
    assert settings.stamp is Stamp.ISO
    assert settings.destinations == (
        Destination(Target.FILE, "main", 4096, 2),
        Destination(Target.JOURNAL),
        Destination(Target.SYSLOG),
        Destination(Target.DESCRIPTOR),
    )
    assert (settings.is_traced, settings.trace_days, settings.trace_mb) == (True, 3, 5)
    assert settings.needs_logger
    assert parsed(*settings.lines) == settings


@pytest.mark.parametrize("line", ["format json", "time tai64n", "to file x", "trace on"])
def test_whatever_differs_from_the_original_needs_the_logger(line: str) -> None:
    assert parsed(line).needs_logger
    assert parsed(line).lines[0].startswith(line)
    assert parsed(line).needs_records is (line in ("format json", "trace on"))


@pytest.mark.parametrize(
    ("line", "wrong"),
    [
        ("fromat json", "begins with none of: format, time, trace, trace-days, trace-mb, to"),
        ("format xml", '"xml" is none of: classic, json, both'),
        ("format", "is not one word and one value"),
        ("time local", '"local" is none of: tai64n, iso, seconds, none'),
        ("to", "to what? descriptor, file, syslog, journal"),
        ("to printer", "to what? descriptor, file, syslog, journal"),
        ("to syslog mail", "is not one word and one value"),
        ("to file", "'to file' needs a folder: to file main"),
        ("to file ../etc", "'to file' needs a folder: to file main"),
        ("to file main size", "is not 'to file DIR size BYTES keep NUMBER'"),
        ("to file main age 5", "is not 'to file DIR size BYTES keep NUMBER'"),
        ("to file main size 9", '"9" is not a number from 4096 to 1099511627776'),
        ("to file main keep -1", '"-1" is not a number from 2 to 100000'),
        ("trace maybe", '"maybe" is neither on nor off'),
        ("trace-days 0", '"0" is not a number from 1 to 36500'),
        ("trace-mb many", '"many" is not a number from 1 to 1000000'),
    ],
)
def test_a_bad_line_is_named_with_its_number(line: str, wrong: str) -> None:
    with pytest.raises(ControlError) as caught:
        parsed("# log", line)
    assert str(caught.value).startswith("control/log:2: ")
    assert wrong in str(caught.value)


def test_only_to_may_stand_twice() -> None:
    with pytest.raises(ControlError, match="time stands there twice"):
        parsed("time iso", "time none")
    with pytest.raises(ControlError, match="the same destination stands there twice"):
        parsed("to file main", "to file main size 5000")
