"""One remote delivery, with name servers and hosts of the test's own."""

import asyncio
from collections.abc import Mapping, Sequence
from random import Random

import pytest

from qmail.core.remote.delivery import Deliverer
from qmail.core.settings.programs import Route
from qmail.mail import Letter, deferred, delivered, failed
from qmail.protocol.lookups import Answer, Finding, LocalAddresses, MxRecord
from qmail.protocol.remote_reports import NO_CONNECTION, Ending, Outcome

HERE = LocalAddresses(frozenset({"192.0.2.1"}), has_global_ipv6=False)
LATER: Answer[str] = Answer(Finding.TEMPORARY)
TAKEN = Outcome((b"r",), delivered(b"ok\n"))
REFUSED = Outcome((b"hno\n",), failed(b"Giving up\n"))
BUSY = Outcome((), deferred(b"421\n"), Ending.NEXT_HOST)
CLOSED = Outcome((), failed(b"554\n"), Ending.NEXT_HOST)


class Names:
    """A name server. A host that is not there does not exist."""

    def __init__(
        self,
        mx: Mapping[bytes, Answer[MxRecord]] | None = None,
        hosts: Mapping[str, Answer[str]] | None = None,
    ) -> None:
        self._mx = mx or {}
        self._hosts = hosts or {}
        self.asked: list[object] = []

    async def mx(self, domain: bytes) -> Answer[MxRecord]:
        self.asked.append(domain)
        return self._mx.get(domain, Answer(Finding.NOTHING))

    async def addresses(self, hosts: Sequence[str]) -> list[Answer[str]]:
        self.asked += hosts
        return [self._hosts.get(host, Answer(Finding.NOTHING)) for host in hosts]


class Hosts:
    """The servers: what each says, by address and port."""

    def __init__(self, says: Mapping[tuple[str, int], Outcome] | None = None) -> None:
        self._says = says or {}
        self.tried: list[tuple[str, int]] = []

    async def exchange(self, address: str, port: int, message: str) -> Outcome:
        assert message == "the message"
        self.tried.append((address, port))
        return self._says.get((address, port), NO_CONNECTION)


def deliver(
    host: bytes, names: Names, hosts: Hosts, routes: Mapping[bytes, Route] | None = None
) -> Outcome:
    deliverer: Deliverer[str] = Deliverer(
        routes or {}, names, hosts, local=lambda: HERE, random=Random(1)
    )
    return asyncio.run(deliverer.deliver(host, "the message"))


def found(*values: str) -> Answer[str]:
    return Answer(Finding.FOUND, values)


def mx(*values: MxRecord) -> Answer[MxRecord]:
    return Answer(Finding.FOUND, values)


TWO = Names(
    {b"far.ex": mx(MxRecord(20, "b.ex"), MxRecord(10, "a.ex"))},
    {"a.ex": found("192.0.2.10"), "b.ex": found("192.0.2.20")},
)
A = "192.0.2.10", 25
B = "192.0.2.20", 25


def test_b3_exchangers_are_tried_by_preference_and_the_first_to_take_it_ends_it() -> None:
    hosts = Hosts({A: TAKEN, B: TAKEN})
    assert deliver(b"far.ex", TWO, hosts) is TAKEN
    assert hosts.tried == [A]


@pytest.mark.parametrize("first", [NO_CONNECTION, BUSY, CLOSED])
def test_oddities_4_the_next_host_is_tried_when_one_says_nothing_of_the_message(
    first: Outcome,
) -> None:
    hosts = Hosts({A: first, B: TAKEN})
    assert deliver(b"far.ex", TWO, hosts) is TAKEN
    assert hosts.tried == [A, B]


def test_a_refusal_is_final() -> None:
    hosts = Hosts({A: REFUSED, B: TAKEN})
    assert deliver(b"far.ex", TWO, hosts) is REFUSED
    assert hosts.tried == [A]


@pytest.mark.parametrize(
    ("first", "second", "letter", "text"),
    [
        (NO_CONNECTION, NO_CONNECTION, Letter.DEFERRED, b"4.4.1"),
        (CLOSED, CLOSED, Letter.FAILED, b"554"),
        (CLOSED, BUSY, Letter.DEFERRED, b"421"),
        (BUSY, CLOSED, Letter.DEFERRED, b"554"),
        (CLOSED, NO_CONNECTION, Letter.DEFERRED, b"554"),
    ],
)
def test_oddities_5_it_fails_for_good_only_if_all_hosts_say_so(
    first: Outcome, second: Outcome, letter: Letter, text: bytes
) -> None:
    outcome = deliver(b"far.ex", TWO, Hosts({A: first, B: second}))
    assert outcome.result.letter is letter
    assert text in outcome.result.text
    assert outcome.ending is Ending.FINAL


@pytest.mark.parametrize(
    ("names", "letter", "code"),
    [
        (Names({b"far.ex": Answer(Finding.TEMPORARY)}), Letter.DEFERRED, b"#4.1.2"),
        (Names(), Letter.FAILED, b"#5.1.2"),
        (Names(hosts={"far.ex": LATER}), Letter.DEFERRED, b"#4.1.2"),
        (Names({b"far.ex": mx(MxRecord(0, ""))}), Letter.FAILED, b"#5.1.10"),
        (Names({b"far.ex": mx(MxRecord(5, "a.ex"))}), Letter.FAILED, b"#5.4.4"),
        (Names({b"far.ex": mx(MxRecord(5, "a.ex"))}, {"a.ex": LATER}), Letter.DEFERRED, b"#4.1.2"),
        (
            Names({b"far.ex": mx(MxRecord(5, "a.ex"))}, {"a.ex": found("192.0.2.1")}),
            Letter.FAILED,
            b"#5.4.6",
        ),
        (
            Names(
                {b"far.ex": mx(MxRecord(5, "a.ex"), MxRecord(1, "b.ex"))},
                {"a.ex": found("192.0.2.1"), "b.ex": LATER},
            ),
            Letter.DEFERRED,
            b"#4.1.2",
        ),
    ],
)
def test_b3_what_the_name_servers_say_decides(names: Names, letter: Letter, code: bytes) -> None:
    hosts = Hosts()
    outcome = deliver(b"far.ex", names, hosts)
    assert outcome.result.letter is letter
    assert code in outcome.result.text
    assert not hosts.tried


def test_b3_without_mx_the_host_itself_is_tried() -> None:
    hosts = Hosts({A: TAKEN})
    assert deliver(b"far.ex", Names(hosts={"far.ex": found("192.0.2.10")}), hosts) is TAKEN


def test_an_exchanger_that_is_not_known_yet_does_not_stop_the_others() -> None:
    names = Names(
        {b"far.ex": mx(MxRecord(5, "x.ex"), MxRecord(9, "b.ex"))},
        {"x.ex": LATER, "b.ex": found("192.0.2.20")},
    )
    assert deliver(b"far.ex", names, Hosts({B: TAKEN})) is TAKEN


def test_4_5_a_route_to_an_address_asks_no_name_server() -> None:
    names, hosts = Names(), Hosts({("127.0.0.1", 2525): TAKEN})
    assert deliver(b"far.ex", names, hosts, {b"": Route(b"127.0.0.1", 2525)}) is TAKEN
    assert not names.asked


def test_4_5_a_relay_is_looked_up_by_address_only() -> None:
    names, hosts = (
        Names(hosts={"relay.ex": found("192.0.2.10")}),
        Hosts({("192.0.2.10", 26): TAKEN}),
    )
    assert deliver(b"far.ex", names, hosts, {b"far.ex": Route(b"relay.ex", 26)}) is TAKEN
    assert names.asked == ["relay.ex"]


@pytest.mark.parametrize(
    ("names", "code"), [(Names(), b"#5.1.2"), (Names(hosts={"relay.ex": LATER}), b"#4.1.2")]
)
def test_a_relay_without_address(names: Names, code: bytes) -> None:
    outcome = deliver(b"far.ex", names, Hosts(), {b"far.ex": Route(b"relay.ex", 26)})
    assert code in outcome.result.text
    assert b"relay.ex" in outcome.result.text


def test_4_5_an_empty_relay_means_mx_at_the_port_of_the_route() -> None:
    hosts = Hosts({("192.0.2.10", 26): TAKEN})
    assert deliver(b"far.ex", TWO, hosts, {b"far.ex": Route(b"", 26)}) is TAKEN


def test_b3_an_address_literal_asks_no_name_server() -> None:
    names, hosts = Names(), Hosts({("192.0.2.10", 25): TAKEN})
    assert deliver(b"[192.0.2.10]", names, hosts) is TAKEN
    assert not names.asked
    assert b"#5.4.6" in deliver(b"[127.0.0.1]", names, hosts).result.text


def test_odd_bytes_of_a_host_are_not_repeated_in_the_report() -> None:
    text = deliver(b"f\nr\xff.ex", Names(), Hosts()).result.text
    assert text == b"There is no host named f?r?.ex. (#5.1.2)\n"
