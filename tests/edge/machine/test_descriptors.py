"""How much work a limit of open files is room for."""

import resource
from collections.abc import Iterator

import pytest

from qmail.edge.machine.descriptors import (
    WANTED,
    descriptor_limit,
    local_slots,
    raise_descriptor_limit,
    remote_slots,
    room,
)


@pytest.fixture
def limits() -> Iterator[tuple[int, int]]:
    found = resource.getrlimit(resource.RLIMIT_NOFILE)
    yield found
    resource.setrlimit(resource.RLIMIT_NOFILE, found)


@pytest.mark.parametrize(
    ("limit", "sessions", "remote", "by_program", "local"),
    [
        (WANTED, 65280, 32640, 16320, 32512),
        (4096, 3840, 1920, 960, 1792),
        (1024, 768, 384, 192, 256),
        (256, 128, 64, 32, 64),
        (10, 5, 2, 1, 3),
        (1, 1, 1, 1, 1),
        (0, 1, 1, 1, 1),
    ],
)
def test_room(limit: int, sessions: int, remote: int, by_program: int, local: int) -> None:
    assert room(limit) == sessions
    assert remote_slots(limit) == remote
    assert remote_slots(limit, by_program=True) == by_program
    assert local_slots(limit) == local


@pytest.mark.parametrize("limit", [0, 1, 7, 100, 511, 512, 513, 1024, 65536])
def test_all_that_may_run_has_its_descriptors(limit: int) -> None:
    if limit >= 8:
        assert 2 * remote_slots(limit) < limit
        assert 4 * remote_slots(limit, by_program=True) <= limit


def test_the_limit_is_raised_as_far_as_allowed(limits: tuple[int, int]) -> None:
    _, hard = limits
    resource.setrlimit(resource.RLIMIT_NOFILE, (200, hard))
    assert descriptor_limit() == 200
    wanted = WANTED if hard == resource.RLIM_INFINITY else min(WANTED, hard)
    assert raise_descriptor_limit() == wanted
    assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] == wanted


def test_a_limit_is_never_lowered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _: (10 * WANTED, 10 * WANTED))
    monkeypatch.setattr(resource, "setrlimit", lambda *_: pytest.fail("it was changed"))
    assert raise_descriptor_limit() == 10 * WANTED


def test_without_a_limit_there_is_as_much_as_ever_is_wanted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    infinite = (resource.RLIM_INFINITY, resource.RLIM_INFINITY)
    monkeypatch.setattr(resource, "getrlimit", lambda _: infinite)
    monkeypatch.setattr(resource, "setrlimit", lambda *_: pytest.fail("it was changed"))
    assert raise_descriptor_limit() == WANTED
