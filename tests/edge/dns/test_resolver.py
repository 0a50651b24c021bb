"""Look-ups, with a name server of the test's own."""

import asyncio
import os
import socket
from collections.abc import Sequence
from pathlib import Path

import dns.flags
import dns.message
import dns.rcode
import dns.rdatatype
import dns.rrset
import pytest
from tests.fakes.door import wait_until
from tests.fakes.name_server import NameServer, Zone

from qmail.edge.dns import client as dns_client
from qmail.edge.dns import resolver
from qmail.edge.dns.client import WAITS_S, DnsClient
from qmail.edge.dns.resolver import NOTHING, TEMPORARY, DnsResolver, find_servers, split_server
from qmail.protocol.lookups import Answer, Finding, MxRecord

ZONE: Zone = {
    ("far.ex.", "MX"): ["far.ex. 60 IN MX 10 a.far.ex.", "far.ex. 60 IN MX 20 b.far.ex."],
    ("null.ex.", "MX"): ["null.ex. 60 IN MX 0 ."],
    ("a.far.ex.", "A"): ["a.far.ex. 60 IN A 192.0.2.10"],
    ("a.far.ex.", "AAAA"): ["a.far.ex. 60 IN AAAA 2001:db8::10"],
    ("b.far.ex.", "A"): ["b.far.ex. 60 IN A 192.0.2.20"],
    ("alias.ex.", "A"): ["alias.ex. 60 IN CNAME a.far.ex.", "a.far.ex. 60 IN A 192.0.2.10"],
    ("broken.ex.", "MX"): dns.rcode.SERVFAIL,
    ("refused.ex.", "MX"): dns.rcode.REFUSED,
    ("half.ex.", "A"): ["half.ex. 60 IN A 192.0.2.30"],
    ("half.ex.", "AAAA"): dns.rcode.SERVFAIL,
    ("worse.ex.", "A"): [],
    ("worse.ex.", "AAAA"): dns.rcode.SERVFAIL,
    ("silent.ex.", "MX"): None,
    ("once.ex.", "A"): ["once.ex. 0 IN A 192.0.2.40"],
    ("long.ex.", "MX"): [f"long.ex. 60 IN MX 10 host-{i}.of.long.ex." for i in range(100)],
}


PATIENT = (60.0,)
"""Asked once, and the answer waited for, however busy the machine is."""


def asking_of(server: NameServer, waits_s: Sequence[float] = PATIENT) -> DnsResolver:
    return DnsResolver(client=DnsClient([server.server], waits_s))


def ask_mx(
    server: NameServer, *domains: bytes, waits_s: Sequence[float] = PATIENT
) -> list[Answer[MxRecord]]:
    async def ask() -> list[Answer[MxRecord]]:
        asking = asking_of(server, waits_s)
        return [await asking.mx(domain) for domain in domains]

    return asyncio.run(ask())


def ask_addresses(server: NameServer, *hosts: str) -> list[Answer[str]]:
    async def ask() -> list[Answer[str]]:
        return await asking_of(server).addresses(hosts)

    return asyncio.run(ask())


def test_mx_records_are_found() -> None:
    with NameServer(ZONE) as server:
        far, null = ask_mx(server, b"Far.ex", b"null.ex")
    assert far == Answer(Finding.FOUND, (MxRecord(10, "a.far.ex"), MxRecord(20, "b.far.ex")))
    assert null == Answer(Finding.FOUND, (MxRecord(0, ""),))


def test_ipv4_and_ipv6_are_asked_for_together() -> None:
    with NameServer(ZONE) as server:
        a, b, alias = ask_addresses(server, "a.far.ex", "b.far.ex", "alias.ex")
    assert a == Answer(Finding.FOUND, ("2001:db8::10", "192.0.2.10"))
    assert b == Answer(Finding.FOUND, ("192.0.2.20",))
    assert alias.values == ("192.0.2.10",)


def test_oddities_4_only_nxdomain_and_nodata_are_nothing() -> None:
    with NameServer(ZONE) as server:
        answers = ask_mx(server, b"none.ex", b"a.far.ex", b"broken.ex", b"refused.ex")
    assert answers == [NOTHING, NOTHING, TEMPORARY, TEMPORARY]


def test_one_kind_of_address_is_enough_but_none_is_not_nothing_while_one_is_unknown() -> None:
    with NameServer(ZONE) as server:
        half, worse = ask_addresses(server, "half.ex", "worse.ex")
    assert half == Answer(Finding.FOUND, ("192.0.2.30",))
    assert worse == TEMPORARY


def test_a_silent_name_server_is_temporary_after_a_bounded_time() -> None:
    with NameServer(ZONE) as server:
        assert ask_mx(server, b"silent.ex", waits_s=(0.02, 0.02, 0.02)) == [TEMPORARY]
        wait_until(lambda: len(server.asked) == 3)


def test_a_lost_query_is_sent_again() -> None:
    with NameServer(ZONE) as server:
        server.lost = 2
        (answer,) = ask_mx(server, b"far.ex", waits_s=(0.02, 0.02, 60))
    assert answer.finding is Finding.FOUND


def test_the_first_waits_allow_an_answer_a_second_and_what_was_lost_twice_comes_soon() -> None:
    assert all(1.0 < wait_s <= 1.2 for wait_s in WAITS_S[:2])
    assert sum(WAITS_S[:4]) < 4
    assert 15 <= sum(WAITS_S) <= 20


def test_rfc8305_3_late_ipv6_addresses_are_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    zone: Zone = {**ZONE, ("b.far.ex.", "AAAA"): None}

    async def ask(server: NameServer) -> list[Answer[str]]:
        client = DnsClient([server.server], (60.0,))
        async with asyncio.timeout(30):
            return await DnsResolver(client=client).addresses(["a.far.ex", "b.far.ex"])

    monkeypatch.setattr(resolver, "IPV6_PATIENCE_S", 0.01)
    with NameServer(zone) as server:
        a, b = asyncio.run(ask(server))
    assert "192.0.2.10" in a.values
    assert b == Answer(Finding.FOUND, ("192.0.2.20",))


def test_without_an_ipv4_address_ipv6_addresses_are_waited_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    zone: Zone = {("only6.ex.", "AAAA"): ["only6.ex. 60 IN AAAA 2001:db8::66"]}

    async def ask(server: NameServer) -> list[Answer[str]]:
        client = DnsClient([server.server], (0.05, 0.05, 60.0))
        return await DnsResolver(client=client).addresses(["only6.ex"])

    monkeypatch.setattr(resolver, "IPV6_PATIENCE_S", 0.0)
    with NameServer(zone) as server:
        server.lost = 3
        assert asyncio.run(ask(server)) == [Answer(Finding.FOUND, ("2001:db8::66",))]


def test_the_second_server_is_asked_when_the_first_is_broken_or_nobody_listens() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind(("127.0.0.1", 0))
        nobody = taken.getsockname()
    with NameServer({("far.ex.", "MX"): dns.rcode.SERVFAIL}) as broken, NameServer(ZONE) as server:
        for first in (nobody, broken.server):
            client = DnsClient([first, server.server], (60.0, 60.0))
            answer = asyncio.run(DnsResolver(client=client).mx(b"far.ex"))
            assert answer.finding is Finding.FOUND


def test_an_answer_longer_than_a_datagram_comes_by_tcp() -> None:
    with NameServer(ZONE) as server:
        (answer,) = ask_mx(server, b"long.ex")
    assert len(answer.values) == 100
    assert server.asked == [("long.ex.", "MX"), ("long.ex.", "TCP")]


def test_rfc5452_3_what_does_not_answer_the_question_is_not_believed() -> None:
    other = dns.message.make_response(dns.message.make_query("other.ex.", "MX"))
    with NameServer(ZONE) as server:
        server.forgeries = [b"", b"junk", other.to_wire()[2:]]
        (answer,) = ask_mx(server, b"far.ex")
    assert len(answer.values) == 2


def test_rfc5452_9_ports_are_many_and_do_not_live_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dns_client, "LINES", 4)
    monkeypatch.setattr(dns_client, "QUESTIONS_PER_LINE", 5)

    async def ask(server: NameServer) -> int:
        asking = asking_of(server)
        before = set(os.listdir("/proc/self/fd"))
        for number in range(100):
            await asking.mx(b"x%d.ex" % number)
        return len(set(os.listdir("/proc/self/fd")) - before)

    with NameServer(ZONE) as server:
        assert asyncio.run(ask(server)) <= 4
    assert len(server.ports) >= 10


@pytest.mark.parametrize(
    "domain", [b"", b"a..b", b"x" * 64 + b".ex", b"\xff.ex", b".", b"x." * 130 + b"ex"]
)
def test_a_name_that_can_not_exist_is_nothing(domain: bytes) -> None:
    with NameServer(ZONE) as server:
        assert ask_mx(server, domain) == [NOTHING]


def test_answers_are_remembered_as_long_as_they_say() -> None:
    async def ask(server: NameServer) -> None:
        asking = asking_of(server)
        for _ in range(3):
            await asking.mx(b"far.ex")
            await asking.mx(b"FAR.ex")
            await asking.mx(b"none.ex")
            await asking.addresses(["once.ex"])

    with NameServer(ZONE) as server:
        asyncio.run(ask(server))
    assert server.asked.count(("far.ex.", "MX")) == 1
    assert server.asked.count(("none.ex.", "MX")) == 1
    assert server.asked.count(("once.ex.", "A")) == 3


def test_the_same_question_asked_twice_at_once_is_sent_once() -> None:
    async def ask(server: NameServer) -> None:
        asking = asking_of(server)
        answers = await asyncio.gather(*[asking.mx(b"far.ex") for _ in range(20)])
        assert {answer.finding for answer in answers} == {Finding.FOUND}

    with NameServer(ZONE) as server:
        asyncio.run(ask(server))
    assert len(server.asked) == 1


def test_the_cache_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resolver, "CACHE_ENTRIES_MAX", 2)

    async def ask(server: NameServer) -> None:
        asking = asking_of(server)
        for domain in (b"far.ex", b"null.ex", b"none.ex", b"far.ex"):
            await asking.mx(domain)

    with NameServer(ZONE) as server:
        asyncio.run(ask(server))
    assert server.asked.count(("far.ex.", "MX")) == 2


@pytest.mark.parametrize(
    ("text", "server"),
    [
        ("127.0.0.1:5353", ("127.0.0.1", 5353)),
        ("127.0.0.1", ("127.0.0.1", 53)),
        ("[::1]:5353", ("::1", 5353)),
        ("[::1]", ("::1", 53)),
        ("::1", ("::1", 53)),
    ],
)
def test_qmail_resolver_names_a_server(text: str, server: tuple[str, int]) -> None:
    assert split_server(text) == server


def test_a_server_that_is_none_is_temporary() -> None:
    assert asyncio.run(DnsResolver("not a server").mx(b"far.ex")) == TEMPORARY


def test_resolv_conf_names_the_servers(tmp_path: Path) -> None:
    conf = tmp_path / "resolv.conf"
    assert find_servers("", str(conf)) == [("127.0.0.1", 53)]
    conf.write_text("search x.ex\nnameserver 192.0.2.1\n# no\nnameserver ::1 # two\nnameserver\n")
    assert find_servers("", str(conf)) == [("192.0.2.1", 53), ("::1", 53)]
    assert find_servers("127.0.0.1:99", str(conf)) == [("127.0.0.1", 99)]
