"""maildirsmtp and maildirqmtp: what they start (spec/companion.md 3.2)."""

from pathlib import Path

import pytest
from tests.utilities.serial_world import Serial

SHOW = '#!/bin/sh\nprintf "%s\\n" "$@" >"$QUEUED.words"\ntr "\\0" "\\n" >"$QUEUED.names"\n'


@pytest.fixture
def world(tmp_path: Path) -> Serial:
    return Serial(tmp_path)


@pytest.mark.parametrize(
    ("words", "port", "client"),
    [
        (["maildirsmtp", "BOX", "far-", "host.ex", "me.ex"], "25", ["serialsmtp", "far-", "me.ex"]),
        (["maildirqmtp", "BOX", "far-", "host.ex"], "209", ["serialqmtp", "far-"]),
    ],
)
def test_they_start_maildirserial_with_a_client_over_tcpclient(
    world: Serial, words: list[str], port: str, client: list[str]
) -> None:
    world.deliver(1)
    world.add("tcpclient", SHOW)
    words = [str(world.maildir) if word == "BOX" else word for word in words]
    assert world.run(words).code == 111
    told = world.queued.with_suffix(".words").read_text().split("\n")[:-1]
    client = [str(world.home / "bin" / client[0]), *client[1:]]
    assert told == ["-RHl0", "--", "host.ex", port, *client]
    assert world.queued.with_suffix(".names").read_text() == "new/1.x\n"


def test_messages_older_than_two_weeks_bounce(world: Serial) -> None:
    world.deliver(1)
    world.add("tcpclient", '#!/bin/sh\nread -r name\nprintf "new/1.x\\0Zbusy\\n"\n')
    assert world.run(["maildirsmtp", str(world.maildir), "far-", "host.ex", "me.ex"]).code == 0
    assert world.envelope.recipients == (b"joe@a.ex",)
    assert world.left == []


@pytest.mark.parametrize("name", ["maildirsmtp", "maildirqmtp"])
def test_wrong_usage_is_told(world: Serial, name: str) -> None:
    ended = world.run([name, "a", "b"])
    assert ended.code == 100
    assert ended.err.startswith(f"{name}: usage: {name} dir prefix host".encode())
