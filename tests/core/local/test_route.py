"""What qmail-lspawn makes of a recipient (spec/delivery.md 2 and 10)."""

import pytest

from qmail.core.local.route import (
    BAD_ADDRESS,
    NO_DOMAIN,
    TRASH,
    local_route,
    wrong_with_recipient,
)
from qmail.protocol.local_door import Answer, Owner, Target
from qmail.protocol.local_exits import LOOKUP_CRASHED

JOE = Owner(b"joe", 1001, 1002, b"/home/joe", b"-", b"list")


@pytest.mark.parametrize(
    ("recipient", "wrong"),
    [
        (b"joe", NO_DOMAIN),
        (b"j\0e@here.ex", BAD_ADDRESS),
        (b"@here.ex", TRASH),
        (b"joe@here.ex", None),
        (b"@far.ex@here.ex", None),
    ],
)
def test_delivery_10_what_is_wrong_with_a_recipient(recipient: bytes, wrong: bytes | None) -> None:
    assert wrong_with_recipient(recipient) == wrong


def test_delivery_2_the_owner_gets_it_with_the_domain_as_it_came() -> None:
    found = local_route(Answer(b"joe-list", 0, JOE), b"joe-list@Here.EX")
    target = Target(b"joe", b"/home/joe", b"joe-list", b"-", b"list", b"Here.EX")
    assert found == ((1001, 1002), target.pack())


def test_delivery_2_root_never_gets_mail() -> None:
    root = Owner(b"r", 0, 0, b"/root", b"", b"")
    found = local_route(Answer(b"r", 0, root), b"r@here.ex")
    assert isinstance(found, bytes)
    assert found[:1] == b"Z"
    assert b"root" in found


def test_without_an_answer_the_mail_waits() -> None:
    assert local_route(None, b"joe@here.ex") == LOOKUP_CRASHED
    assert local_route(Answer(b"joe", 118), b"joe@here.ex")[:1] == b"Z"
