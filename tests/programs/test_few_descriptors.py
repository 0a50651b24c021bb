"""The whole suite where a process may have few files open: less at once, nothing in vain."""

import socket
from collections.abc import Iterator

import pytest
from tests.fakes.homes import HOST, open_folder
from tests.fakes.smtp_server import FakeServer
from tests.fakes.suite import WAIT_S, Suite

from qmail.edge.machine.descriptors import local_slots, remote_slots, room
from qmail.edge.smtp.body import PART_BYTES

LIMIT = 256
HOSTS = 3 * remote_slots(LIMIT)
LONG = "a line of text\n" * (PART_BYTES // 10)
"""Not held in memory: each delivery has the file open."""


@pytest.fixture
def suite() -> Iterator[Suite]:
    with open_folder() as folder, Suite(folder) as made:
        made.descriptors = LIMIT
        made.control("concurrencyremote", "2000\n")
        made.control("concurrencylocal", "20\n")
        made.control("concurrencyhost", "0\n")
        yield made


def test_a_message_to_many_hosts_goes_out_in_as_many_turns_as_it_takes(suite: Suite) -> None:
    # Nobody is greeted before there are as many connections as there is room for.
    with FakeServer(greets_with=remote_slots(LIMIT)) as server:
        suite.control("smtproutes", f":127.0.0.1:{server.port}\n")
        suite.start()
        line = suite.wait_for("concurrencyremote")
        assert line == (
            "warning: control/concurrencyremote is 2000, but qmail-rspawn makes"
            f" {remote_slots(LIMIT)} deliveries at once at most: see 'qmail check'"
        )
        suite.send(*(f"x@host{number}.example" for number in range(HOSTS)), text=LONG)
        log = suite.lines_until(": success: ", HOSTS)
        assert len(server.taken) == HOSTS
        assert server.connections == remote_slots(LIMIT)
    assert not [line for line in log if "deferral" in line or "failure" in line]
    assert f"status: local 0/20 remote {remote_slots(LIMIT)}/{remote_slots(LIMIT)}" in log


def test_clients_beyond_what_there_is_room_for_are_told_to_come_back(suite: Suite) -> None:
    suite.start()
    suite.wait_for(f"no more than {room(LIMIT)} clients at once")
    clients: list[socket.socket] = []
    try:
        greetings = []
        for _ in range(room(LIMIT) + 3):
            client = socket.create_connection(("127.0.0.1", suite.port), WAIT_S)
            client.settimeout(WAIT_S)
            clients.append(client)
            greetings.append(client.recv(512)[:3])
        assert greetings == [b"220"] * room(LIMIT) + [b"421"] * 3
        # The others are served all the same: there is room for their messages.
        clients.pop(0).close()
        suite.wait_for("close 127.0.0.1")
        suite.send_by_smtp(f"postmaster@{HOST}", sender="joe@far.example", text=LONG)
        suite.wait_for("success: ")
    finally:
        for client in clients:
            client.close()


def test_qmail_check_says_what_is_cut_down_and_what_to_do(suite: Suite) -> None:
    suite.control("concurrencylocal", "1000\n")
    suite.start()
    suite.wait_for_each("concurrencyremote", "concurrencylocal")
    done = suite.qmail("check", "--home", str(suite.home))
    for name, wanted, program, slots in (
        ("concurrencyremote", 2000, "qmail-rspawn", remote_slots(LIMIT)),
        ("concurrencylocal", 1000, "qmail-lspawn", local_slots(LIMIT)),
    ):
        assert (
            f"warning: control/{name} is {wanted}, and the limit of open files, {LIMIT}, leaves"
            f" {program} room for {slots} deliveries at once: raise it" in done.stdout
        )
    assert f"room for {room(LIMIT)} clients" in done.stdout
    assert done.returncode == 1
