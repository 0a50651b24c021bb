"""The benchmark's parts for the life of a queued message: the slow name server, the figures."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.bench.parts import part

from qmail.protocol.dns_message import Kind, Rcode, name_to_wire, parse_answer, query, question
from qmail.protocol.lookups import MxRecord

fanout = part("fanout")
fifty = part("fifty")
report = part("report")
slow_dns = part("slow_dns")
values = part("values")
waiting = part("waiting")


def asked_for(name: str, kind: Kind) -> bytes:
    wire = name_to_wire(name)
    assert wire is not None
    return question(wire, kind)


def said(name: str, kind: Kind) -> Any:
    asked = asked_for(name, kind)
    sent = query(77, asked)
    assert slow_dns.question_of(sent) == asked
    answer = slow_dns.answer(sent, asked)
    assert answer[:2] == sent[:2]
    return parse_answer(answer, asked)


def test_each_host_has_one_exchanger_with_one_address() -> None:
    assert said("h7.fan.example", Kind.MX).values == (MxRecord(10, "mx.h7.fan.example"),)
    assert said("mx.h7.fan.example", Kind.A).values == ("198.18.0.8",)
    assert said("mx.H2000.Fan.example", Kind.A).values == ("198.18.8.1",)


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("mx.h7.fan.example", Kind.AAAA),
        ("mx.h7.fan.example", Kind.MX),
        ("h7.fan.example", Kind.A),
    ],
)
def test_what_a_host_has_not_is_no_error(name: str, kind: Kind) -> None:
    answer = said(name, kind)
    assert (answer.rcode, answer.values) == (Rcode.NO_ERROR, ())


@pytest.mark.parametrize("name", ["fan.example", "hx.fan.example", "h7.fan.example.org", "x"])
def test_other_names_do_not_exist(name: str) -> None:
    assert said(name, Kind.MX).rcode == Rcode.NO_SUCH_NAME


def test_all_hosts_have_different_addresses_of_the_net_for_benchmarks() -> None:
    found = {slow_dns.address_of(number) for number in range(1, fanout.HOSTS + 1)}
    assert len(found) == fanout.HOSTS
    assert {address[:2] for address in found} == {bytes((198, 18))}


def test_two_of_a_hundred_questions_are_lost_and_the_others_take_50_to_1000_ms() -> None:
    lots = [slow_dns.fate(1, b"%d" % number, 1) for number in range(5000)]
    answered = [lot for lot in lots if lot is not None]
    assert 60 <= lots.count(None) <= 140
    assert 0.05 <= min(answered) < 0.06
    assert 0.99 < max(answered) <= 1.0


def test_the_same_asking_of_a_question_meets_the_same_fate_and_the_next_another() -> None:
    lots = [slow_dns.fate(seed, b"q", nth) for seed in (1, 2) for nth in (1, 2)]
    assert lots == [slow_dns.fate(seed, b"q", nth) for seed in (1, 2) for nth in (1, 2)]
    assert len(set(lots)) == 4


@given(st.binary(max_size=80))
def test_any_datagram_is_answered_or_left(data: bytes) -> None:
    asked = slow_dns.question_of(data)
    if asked is not None:
        assert slow_dns.answer(data, asked)[:2] == data[:2]


def fan_out(server: str, seconds: float, delivered: int) -> Any:
    return fanout.FanOut(
        server=server, seed=3, seconds=seconds, delivered=delivered, cpu_s=1.25, load=0.5
    )


def test_a_figure_of_the_fan_out_comes_back_as_it_was() -> None:
    one = fan_out("ours", 4.5, 2000)
    assert fanout.parse_fan_out(one.line()) == one
    assert one.line().count("\n") == 1
    assert one.told() == ("bench: fanout: ours, seed 3: 2000 in 4.50 s, 1.25 s of CPU, load 0.5")


@pytest.mark.parametrize("line", ["", "x\n", "{}\n", "[1]\n", '{"server": "ours"}\n'])
def test_other_output_is_no_figure(line: str) -> None:
    with pytest.raises((ValueError, TypeError)):
        fanout.parse_fan_out(line)


def test_the_fan_out_runs_in_a_network_that_ends_with_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fanout, "need", lambda name: name)
    command = fanout.in_own_network("/etc-of-run", ["a", "b"])
    assert {"--net", "--mount", "--pid", "--kill-child"} <= set(command)
    assert command[-3:] == ["/etc-of-run", "a", "b"]


def test_the_fan_out_is_a_median_and_the_least_that_were_delivered() -> None:
    samples = [
        fan_out(server, seconds, delivered)
        for server, seconds, delivered in (
            ("ours", 4.0, 2000), ("Postfix", 30.0, 1999), ("ours", 5.0, 2000),
        )
    ]  # fmt: skip
    single = report.fan_out_single(samples, ["ours", "Postfix"])
    assert single.ours == "4.5 s (4.0 to 5.0), 2000 at first try"
    assert single.postfix == "30.0 s (30.0 to 30.0), 1999 at first try"
    assert report.fan_out_single(samples, ["ours"]).postfix == "-"


def test_a_queue_of_deferred_messages_is_told_in_six_figures() -> None:
    found = waiting.Waiting(
        count=100_000, first_delivery_s=1.84, mb=95.8, processes=8, list_s=0.28, count_s=2.14,
        idle_share=0.004,
    )  # fmt: skip
    sample = [
        values.Sample(
            count=count, seconds=1.0, cpu_s=1, load_cpu_s=0, other_cpu_s=0, wall_s=1, flushes=None
        )
        for count in (95, 100)
    ]
    singles = report.waiting_singles(found, sample[:1], sample[1:])
    assert [single.ours for single in singles] == [
        "1.8 s", "96 MB, 8 processes", "0.28 s", "2.14 s",
        "0.95 (0.95 to 0.95)", "0.4% of a core",
    ]  # fmt: skip
    assert all(single.target != "-" for single in singles)


def test_memory_for_each_recipient_is_the_growth_by_their_number() -> None:
    found = fifty.Fifty(
        recipients=50_000, before_mb=86.0, peak_mb=90.0, alone_s=0.02, behind_s=0.04
    )
    assert round(found.bytes_each) == 84
    memory, small = report.fifty_singles(found)
    assert memory.ours == "84 bytes (86 to 90 MB)"
    assert (small.ours, small.target) == ("0.04 s (0.02 s alone)", "-")


def test_the_envelope_has_an_address_for_each_recipient() -> None:
    text = fifty.envelope(3)
    assert text.startswith(b"Fsender@bench.example\0Tqmbench-many-0@bench.example\0T")
    assert text.count(b"\0") == 5
    assert text.endswith(b"\0\0")
