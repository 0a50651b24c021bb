"""control/concurrencyhost and control/concurrencyhosts."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qmail.core.settings.controls import ControlError, load, split_lines
from qmail.core.settings.host_limits import HostLimit, HostLimits, host_limits, parse_host_limits
from qmail.core.settings.programs import RemoteControls, SendControls


def parse(text: bytes) -> dict[bytes, HostLimit]:
    return parse_host_limits("concurrencyhosts", split_lines(text))


def test_a_line_has_a_domain_its_connections_and_perhaps_its_rate() -> None:
    assert parse(b"# slow ones\nBig.Example:5\n.small.example:2:30\n\n") == {
        b"big.example": HostLimit(5),
        b".small.example": HostLimit(2, 30),
    }


@pytest.mark.parametrize(
    "line",
    [b"a.ex", b"a.ex:", b"a.ex:x", b"a.ex:1:2:3", b"a.ex:-1", b":5", b"a b:5", b"a@b:5",
     b"a.ex:1:", b"a.ex:1234567", b"a.ex: 5", "a.ex:\u00b2".encode()],
)  # fmt: skip
def test_a_bad_line_is_told_with_its_number(line: bytes) -> None:
    with pytest.raises(ControlError, match="control/concurrencyhosts:2: "):
        parse(b"ok.ex:1\n" + line + b"\n")


@given(st.binary(max_size=60))
def test_no_bytes_do_more_than_raise_control_error(text: bytes) -> None:
    try:
        found = parse(text)
    except ControlError:
        return
    assert all(limit.at_once >= 0 and limit.per_minute >= 0 for limit in found.values())


def test_the_longest_name_that_matches_decides() -> None:
    table = {b"a.ex": HostLimit(1), b".a.ex": HostLimit(2), b".ex": HostLimit(3)}
    limits = HostLimits(HostLimit(9), table)
    found = [limits.of(name).at_once for name in (b"a.ex", b"x.a.ex", b"y.ex", b"ex", b"other")]
    assert found == [1, 2, 3, 9, 9]


@pytest.mark.parametrize(
    ("connections", "channel", "at_once"), [(20, 500, 40), (20, 20, 10), (20, 1, 1), (0, 500, 0)]
)
def test_by_default_one_domain_gets_two_for_a_connection_and_half_the_channel_at_most(
    connections: int, channel: int, at_once: int
) -> None:
    assert host_limits(connections, {}, channel).of(b"a.ex") == HostLimit(at_once)


def test_without_a_file_20_connections_go_to_one_host() -> None:
    def nothing(name: str) -> bytes | None:
        return b"here.ex\n" if name == "me" else None

    assert load(SendControls, nothing).concurrencyhost == 20
    assert load(RemoteControls, nothing).concurrencyhost == 20
