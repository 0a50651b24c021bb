"""What `qmail explain` says of the way by domain (spec/delivery.md 1)."""

from collections.abc import Callable
from typing import Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qmail.core.addresses.routing import route, routes_from
from qmail.core.explain.explanation import Part, Question
from qmail.core.explain.route import explain_route
from qmail.core.settings.controls import load
from qmail.core.settings.programs import SendControls
from qmail.protocol.exits import Exit

FILES: Final = {
    "me": b"mx.here.example\n",
    "locals": b"# ours\nhere.example\n",
    "percenthack": b"p.example\nq.example\n",
    "virtualdomains": (
        b"v.example:no\nu@x.example:joe-u\n.w.example:joe-w\ns.w.example:\nV.Example:joe-v\n"
    ),
}


def reader(files: dict[str, bytes]) -> Callable[[str], bytes | None]:
    return files.get


def routed(address: bytes, files: dict[str, bytes] | None = None, sender: bytes = b"") -> Part:
    return explain_route(Question(address, sender), reader(FILES | (files or {})))


def said(part: Part) -> list[tuple[str, str]]:
    return [(step.where, step.text) for step in part.steps]


@pytest.mark.parametrize(
    ("address", "where", "text"),
    [
        (b"joe@Here.Example", "control/locals:2", "here.example is local: joe@Here.Example"),
        (
            b"info@V.example",
            "control/virtualdomains:5",
            'v.example -> prepend "joe-v": joe-v-info@V.example, local',
        ),
        (
            b"u@x.example",
            "control/virtualdomains:2",
            'the address u@x.example -> prepend "joe-u": joe-u-u@x.example, local',
        ),
        (
            b"a@b.w.example",
            "control/virtualdomains:3",
            'the wildcard .w.example -> prepend "joe-w": joe-w-a@b.w.example, local',
        ),
        (
            b"a@s.w.example",
            "control/virtualdomains:4",
            "s.w.example -> an exception, nothing to prepend: remote",
        ),
        (
            b"o@x.example",
            "control/virtualdomains",
            "no entry for o@x.example, x.example, .example, no catch-all: remote, o@x.example",
        ),
    ],
)
def test_delivery_1_the_entry_that_decides_is_named(address: bytes, where: str, text: str) -> None:
    part = routed(address)
    assert said(part)[-1] == (where, text)
    assert part.verdict is Exit.OK


def test_control_files_2_of_equal_keys_the_last_line_is_named() -> None:
    assert "control/virtualdomains:5" in dict(said(routed(b"a@v.example")))


def test_control_files_4_6_the_catch_all_is_called_so() -> None:
    part = routed(b"a@far.example", {"virtualdomains": b":all\n"})
    text = 'the catch-all -> prepend "all": all-a@far.example, local'
    assert said(part)[-1] == ("control/virtualdomains:1", text)


def test_a_domain_that_is_not_local_says_so_before_what_comes_next() -> None:
    assert said(routed(b"o@x.example"))[0] == ("control/locals", "x.example is not local")


def test_without_virtual_domains_nothing_is_looked_for() -> None:
    files = {name: raw for name, raw in FILES.items() if name != "virtualdomains"}
    part = explain_route(Question(b"o@x.example", b""), reader(files))
    assert said(part)[-1][1] == "no virtual domains: remote, o@x.example"


def test_control_files_3_a_missing_locals_is_control_me() -> None:
    files = {"me": b"mx.here.example\n"}
    part = explain_route(Question(b"joe@mx.here.example", b""), reader(files))
    assert said(part)[-1][0] == "control/me:1"


def test_without_me_the_name_of_the_file_is_added() -> None:
    part = explain_route(Question(b"joe", b""), reader({"locals": b"here.example\n"}))
    text = "no @ in the address: @envnoathost is added"
    assert said(part)[0] == ("control/envnoathost", text)


def test_of_very_many_keys_the_first_are_named() -> None:
    part = routed(b"a@" + b"x." * 300 + b"example")
    assert said(part)[-1][1].count("x.x") < 3000
    assert "and 294 more, no catch-all: remote" in said(part)[-1][1]


def test_delivery_1_percenthack_shows_every_turn() -> None:
    part = routed(b"a%b.example%q.example@p.example")
    assert said(part)[:2] == [
        (
            "control/percenthack:1",
            "p.example is listed: what follows the last % is the domain: q.example",
        ),
        (
            "control/percenthack:2",
            "q.example is listed: what follows the last % is the domain: b.example",
        ),
    ]
    assert part.facts[1] == b"a@b.example"


def test_delivery_1_percenthack_ends_without_a_percent() -> None:
    text = "p.example is listed: but there is no % in the local part"
    assert said(routed(b"a@p.example"))[0] == ("control/percenthack:1", text)


def test_delivery_1_envnoathost_is_added() -> None:
    text = "no @ in the address: @mx.here.example is added"
    assert said(routed(b"joe"))[0] == ("control/me:1", text)
    files = {"envnoathost": b"here.example\n"}
    assert said(routed(b"joe", files))[0][0] == "control/envnoathost:1"


def test_delivery_11_verp_shows_the_sender_of_this_recipient() -> None:
    part = routed(b"bob@far.example", sender=b"list-owner-@l.example-@[]")
    assert part.facts[2] == b"list-owner-bob=far.example@l.example"
    assert part.steps[-1].part == "sender"
    assert part.steps[-1].text.startswith("list-owner-bob=far.example@l.example: VERP")


@pytest.mark.parametrize(
    ("files", "where"),
    [
        ({"virtualdomains": b"ok.example:joe\nnonsense\n"}, "control/virtualdomains:2"),
        ({"locals": b"a b\n"}, "control/locals:1"),
        ({"envnoathost": b"\n"}, "control/envnoathost:1"),
    ],
)
def test_a_bad_line_is_named_and_there_is_no_telling(files: dict[str, bytes], where: str) -> None:
    part = routed(b"joe@here.example", files)
    assert part.verdict is Exit.TEMPORARY
    assert part.steps[0].where == where
    assert "qmail-send goes on with what it read before" in part.steps[0].text
    assert part.facts == ()


def test_without_locals_and_me_there_is_no_telling() -> None:
    part = explain_route(Question(b"joe@here.example", b""), reader({}))
    assert part.verdict is Exit.TEMPORARY
    assert "neither control/locals nor control/me" in part.steps[0].text


def test_a_file_that_is_closed_is_named() -> None:
    def closed(name: str) -> bytes | None:
        raise PermissionError(13, "Permission denied", f"/home/control/{name}")

    part = explain_route(Question(b"joe@here.example", b""), closed)
    assert part.verdict is Exit.TEMPORARY
    assert part.steps[0].file == "control/me"
    assert part.steps[0].text.startswith("permission denied")


NAMES = st.sampled_from([b"a", b"x", b"u", b"here", b"w", b"p", b"q", b"example", b"V", b"s"])
LABELS = st.lists(NAMES, max_size=3).map(b".".join)
ADDRESSES = st.one_of(
    st.binary(max_size=20),
    st.builds(b"%".join, st.lists(LABELS, min_size=1, max_size=3)),
    st.builds(lambda local, domain: local + b"@" + domain, LABELS, LABELS),
)
PREPENDS = st.sampled_from([b"", b"joe", b"joe-v"])
MAPS = st.lists(st.tuples(st.one_of(LABELS, LABELS.map(lambda d: b"." + d)), PREPENDS), max_size=4)
LISTS = st.lists(LABELS.filter(len), max_size=3)


@settings(max_examples=200, deadline=None)
@given(address=ADDRESSES, ours=LISTS, hacked=LISTS, virtual=MAPS)
def test_the_way_told_is_the_way_taken(
    address: bytes, ours: list[bytes], hacked: list[bytes], virtual: list[tuple[bytes, bytes]]
) -> None:
    files = {
        "me": b"here.example",
        "locals": b"\n".join(ours),
        "percenthack": b"\n".join(hacked),
        "virtualdomains": b"\n".join(b"%b:%b" % entry for entry in virtual),
    }
    channel, result = route(address, routes_from(load(SendControls, reader(files))))
    part = explain_route(Question(address, b""), reader(files))
    assert part.facts[:2] == (channel.word.encode(), result)
    assert Part.unpack(part.pack()) == part
