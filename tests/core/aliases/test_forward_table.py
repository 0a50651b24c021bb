"""What fastforward does with a recipient (spec/companion.md 2.1)."""

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qmail.core.aliases.forward_table import (
    ALIAS,
    LIST,
    OWNER,
    PROGRAM,
    RECIPIENT,
    UNKNOWN,
    Forward,
    ForwardError,
    plan_forward,
    wildcard_keys,
)


def plan(
    table: dict[bytes, bytes],
    address: bytes = b"list@h",
    sender: bytes = b"joe@far",
    lists: dict[bytes, bytes] | None = None,
) -> Forward:
    files = lists or {}

    def read_list(path: bytes) -> bytes:
        if path not in files:
            raise ForwardError(f"unable to read {os.fsdecode(path)}")
        return files[path]

    return plan_forward(address, sender, table.get, read_list)


@pytest.mark.parametrize(
    ("address", "keys"),
    [
        (b"Joe@Far.EX", (b":joe@far.ex", b":@far.ex", b":joe@")),
        (b"a@b@c", (b":a@b@c", b":@c", b":a@b@")),
        (b"joe", (b":joe",)),
    ],
)
def test_an_address_is_tried_whole_then_by_host_then_by_user(
    address: bytes, keys: tuple[bytes, ...]
) -> None:
    assert wildcard_keys(b":", address) == keys
    for at, key in enumerate(keys):
        table = dict.fromkeys(keys[at:], b"&other@x\0") | {key: b"&found@x\0"}
        assert plan(table, address).recipients == (b"found@x",)


def test_an_unknown_recipient_is_not_known() -> None:
    found = plan({b":other@": b"&a\0"})
    assert not found.is_known
    assert (found.programs, found.recipients) == ((), ())
    assert [step.kind for step in found.steps] == [UNKNOWN]


@pytest.mark.parametrize("key", [b"?list@h", b"?@h", b"?list@"])
def test_the_owner_becomes_the_sender(key: bytes) -> None:
    found = plan({key: b"owner-list@h", b":list@": b"&a@x\0"}, b"List@H")
    assert found.sender == b"owner-list@h"
    assert found.steps[0] == (OWNER, b"owner-list@h", key)


@pytest.mark.parametrize("sender", [b"", b"#@[]"])
def test_bounces_keep_their_sender(sender: bytes) -> None:
    found = plan({b"?list@": b"owner-list@h", b":list@": b"&a@x\0"}, sender=sender)
    assert found.sender == sender


def test_without_an_owner_the_sender_stays() -> None:
    assert plan({b":list@": b"&a@x\0"}).sender == b"joe@far"


def test_programs_come_in_order_and_recipients_as_they_were_stacked() -> None:
    found = plan({b":list@": b"|p one\0&a@x\0!p two\0&b@x\0"})
    assert found.programs == (b"|p one", b"!p two")
    # The last one of the table is looked at first and sent to last.
    assert found.recipients == (b"a@x", b"b@x")


def test_a_recipient_that_is_a_target_is_expanded_in_place() -> None:
    found = plan({b":list@": b"&a@x\0&B@x\0", b":b@x": b"&c@x\0|p\0"})
    assert found.recipients == (b"a@x", b"c@x")
    assert found.programs == (b"|p",)


def test_a_recipient_is_looked_up_without_wildcards() -> None:
    found = plan({b":list@": b"&a@x\0", b":a@": b"&no@x\0", b":@x": b"&no@x\0"})
    assert found.recipients == (b"a@x",)


def test_a_recipient_with_an_owner_is_forwarded_to_and_not_expanded() -> None:
    table = {b":list@": b"&a@x\0", b"?a@x": b"owner-a@x", b":a@x": b"&b@x\0"}
    assert plan(table).recipients == (b"a@x",)
    # A wildcard owner does not count here.
    del table[b"?a@x"]
    assert plan(table | {b"?a@": b"owner-a@x"}).recipients == (b"b@x",)


def test_each_item_is_taken_once_and_loops_end() -> None:
    table = {b":list@h": b"&a@h\0&a@h\0&list@h\0|p\0", b":a@h": b"&list@h\0&z@x\0&LIST@h\0"}
    found = plan(table)
    assert found.recipients == (b"z@x",)
    assert found.programs == (b"|p",)


def test_lists_are_read_and_lists_in_lists() -> None:
    lists = {b"./l.bin": b"&a@x\0/m.bin\0|no program\0", b"/m.bin": b"&b@x\0./l.bin\0&a@x\0"}
    found = plan({b":list@": b"./l.bin\0"}, lists=lists)
    assert set(found.recipients) == {b"a@x", b"b@x"}
    assert len(found.recipients) == 2
    assert found.programs == ()
    assert (LIST, b"/m.bin", b"./l.bin") in found.steps


def test_a_list_that_can_not_be_read_stops_everything() -> None:
    with pytest.raises(ForwardError, match=r"unable to read \./l\.bin"):
        plan({b":list@": b"./l.bin\0|p\0"})


def test_a_text_file_is_no_list() -> None:
    with pytest.raises(ForwardError, match="/etc/list is no list that newinclude"):
        plan({b":list@": b"/etc/list\0"}, lists={b"/etc/list": b"a@x\nb@x\n"})
    assert plan({b":list@": b"/empty\0"}, lists={b"/empty": b""}).recipients == ()


@pytest.mark.parametrize(("size", "is_taken"), [(898, True), (899, False)])
def test_an_address_of_900_bytes_with_its_mark_is_left_out(size: int, is_taken: bool) -> None:
    address = b"a" * size
    found = plan({b":list@": b"&" + address + b"\0&b@x\0"})
    assert (address in found.recipients) is is_taken
    assert b"b@x" in found.recipients


def test_what_has_no_end_and_what_is_no_command_is_left_out() -> None:
    assert plan({b":list@": b"\0zz\0&\0&a@x\0&b@x"}).recipients == (b"a@x",)


def test_steps_say_by_which_record() -> None:
    found = plan({b"?list@": b"o@h", b":list@": b"|p\0&a@x\0"})
    assert [tuple(step) for step in found.steps] == [
        (OWNER, b"o@h", b"?list@"),
        (ALIAS, b"list@h", b":list@"),
        (PROGRAM, b"|p", b":list@"),
        (RECIPIENT, b"a@x", b":list@"),
    ]


NAMES = st.sampled_from([b"a@h", b"b@h", b"c@h", b"d@x", b"B@H"])
COMMANDS = st.one_of(
    NAMES.map(lambda name: b"&" + name), st.sampled_from([b"|p", b"!q", b"./l", b"/m"])
)
DATA = st.lists(COMMANDS, max_size=6).map(lambda all_: b"".join(one + b"\0" for one in all_))
TABLES = st.dictionaries(
    st.tuples(st.sampled_from([b":", b"?"]), NAMES).map(lambda pair: pair[0] + pair[1].lower()),
    DATA,
)


@given(TABLES, NAMES, DATA, DATA)
def test_every_table_ends_and_nothing_is_sent_to_twice(
    table: dict[bytes, bytes], address: bytes, one: bytes, two: bytes
) -> None:
    found = plan(table, address, lists={b"./l": one, b"/m": two})
    assert len(set(found.recipients)) == len(found.recipients)
    for recipient in found.recipients:
        name = recipient.lower()
        assert b"?" + name in table or b":" + name not in table


@given(st.dictionaries(st.binary(), st.binary()), st.binary(), st.binary())
def test_any_table_is_planned_or_put_off(
    table: dict[bytes, bytes], address: bytes, data: bytes
) -> None:
    table = table | {b":" + address.lower(): data}
    try:
        assert plan(table, address).is_known
    except ForwardError:
        assert (
            b"." in data
            or b"/" in data
            or any(b"." in one or b"/" in one for one in table.values())
        )
