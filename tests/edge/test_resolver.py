"""Look-ups, with a name server of the test's own."""

import asyncio
import contextlib
import socket
import subprocess
import sys
import threading
from collections.abc import Sequence
from types import TracebackType

import dns.flags
import dns.message
import dns.rcode
import dns.rdatatype
import dns.rrset
import pytest

from qmail.edge import resolver
from qmail.edge.resolver import NOTHING, TEMPORARY, DnsResolver, split_server
from qmail.protocol.lookups import Answer, Finding, MxRecord

SOA = ". 60 IN SOA . . 1 1 1 1 60"


def record(line: str) -> dns.rrset.RRset:
    name, ttl, kind, of, data = line.split(" ", 4)
    return dns.rrset.from_text(name, int(ttl), kind, of, data)


class NameServer:
    """Answers from `zone`: (name, type) to records; a name that is not there does not exist.

    The records may be a response code instead, or None for no answer at all.
    """

    def __init__(self, zone: dict[tuple[str, str], Sequence[str] | dns.rcode.Rcode | None]) -> None:
        self._zone = zone
        self.asked: list[tuple[str, str]] = []
        self.lost = 0
        """So many queries are not heard."""

    def __enter__(self) -> "NameServer":
        self._sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._sock.bind(("127.0.0.1", 0))
        self.where = f"127.0.0.1:{self._sock.getsockname()[1]}"
        threading.Thread(target=self._serve, daemon=True).start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        with contextlib.suppress(OSError):
            self._sock.shutdown(socket.SHUT_RDWR)
        self._sock.close()

    def _serve(self) -> None:
        while True:
            try:
                data, caller = self._sock.recvfrom(4096)
            except OSError:
                return
            if not data:
                return
            query = dns.message.from_wire(data)
            question = query.question[0]
            key = question.name.to_text().lower(), dns.rdatatype.to_text(question.rdtype)
            self.asked.append(key)
            if self.lost:
                self.lost -= 1
                continue
            response = self._response(query, key)
            if response is not None:
                self._sock.sendto(response.to_wire(), caller)

    def _response(
        self, query: dns.message.Message, key: tuple[str, str]
    ) -> dns.message.Message | None:
        response = dns.message.make_response(query)
        response.flags |= dns.flags.RA
        records = self._zone.get(key, ())
        if records is None:
            return None
        if isinstance(records, dns.rcode.Rcode):
            response.set_rcode(records)
        elif records:
            response.answer += [record(line) for line in records]
        else:
            if not any(name == key[0] for name, _ in self._zone):
                response.set_rcode(dns.rcode.NXDOMAIN)
            response.authority.append(record(SOA))
        return response


ZONE: dict[tuple[str, str], Sequence[str] | dns.rcode.Rcode | None] = {
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
}


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resolver, "TRY_S", 0.05)
    monkeypatch.setattr(resolver, "LOOKUP_S_MAX", 0.3)


def ask_mx(server: NameServer, *domains: bytes) -> list[Answer[MxRecord]]:
    async def ask() -> list[Answer[MxRecord]]:
        asking = DnsResolver(server.where)
        return [await asking.mx(domain) for domain in domains]

    return asyncio.run(ask())


def ask_addresses(server: NameServer, *hosts: str) -> list[Answer[str]]:
    return asyncio.run(DnsResolver(server.where).addresses(hosts))


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


@pytest.mark.usefixtures("quick")
def test_a_silent_name_server_is_temporary_after_a_bounded_time() -> None:
    with NameServer(ZONE) as server:
        assert ask_mx(server, b"silent.ex") == [TEMPORARY]
    assert len(server.asked) > 1


@pytest.mark.usefixtures("quick")
def test_a_lost_query_is_sent_again() -> None:
    with NameServer(ZONE) as server:
        server.lost = 1
        assert ask_mx(server, b"far.ex")[0].finding is Finding.FOUND


@pytest.mark.parametrize(
    "domain", [b"", b"a..b", b"x" * 64 + b".ex", b"\xff.ex", b".", b"a b\\.ex"]
)
def test_a_name_that_can_not_exist_is_nothing(domain: bytes) -> None:
    with NameServer(ZONE) as server:
        assert ask_mx(server, domain) == [NOTHING]


def test_answers_are_remembered_as_long_as_they_say() -> None:
    async def ask(server: NameServer) -> None:
        asking = DnsResolver(server.where)
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
        asking = DnsResolver(server.where)
        answers = await asyncio.gather(*[asking.mx(b"far.ex") for _ in range(20)])
        assert {answer.finding for answer in answers} == {Finding.FOUND}

    with NameServer(ZONE) as server:
        asyncio.run(ask(server))
    assert len(server.asked) == 1


def test_the_cache_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resolver, "CACHE_ENTRIES_MAX", 2)

    async def ask(server: NameServer) -> None:
        asking = DnsResolver(server.where)
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


def test_dnspython_is_not_needed_before_the_first_look_up() -> None:
    lines = "import sys, qmail.edge.resolver; print([n for n in sys.modules if n[:4] == 'dns.'])"
    done = subprocess.run([sys.executable, "-c", lines], capture_output=True, check=True)
    assert done.stdout == b"[]\n"
