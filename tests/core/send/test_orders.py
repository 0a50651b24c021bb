"""Orders to qmail-clean: each is answered once, and none is lost with the connection."""

from functools import partial

from qmail.core.send.orders import Orders


def hear(heard: list[tuple[str, bool]], name: str, is_gone: bool) -> None:
    heard.append((name, is_gone))


def test_answers_belong_to_the_orders_in_their_order() -> None:
    orders, heard = Orders(), list[tuple[str, bool]]()
    for name in ("a", "b", "c"):
        orders.give(name.encode(), partial(hear, heard, name))
    assert orders.take_new() == [b"a", b"b", b"c"]
    assert orders.answered(b"+!")
    assert heard == [("a", True), ("b", False)]
    assert len(orders) == 1


def test_more_answers_than_orders_are_noticed() -> None:
    orders = Orders()
    orders.give(b"a", lambda _: None)
    assert not orders.answered(b"++")


def test_an_order_given_again_while_sending_fails_is_sent_later() -> None:
    orders, heard = Orders(), list[bool]()
    orders.give(b"todo/7", heard.append)
    for text in orders.take_new():
        # The connection turns out to be gone while this is written to it.
        for lost in orders.take_lost():
            orders.give(lost.text, lost.done)
        assert text == b"todo/7"
    assert orders.take_new() == [b"todo/7"]
    assert len(orders) == 1
    assert orders.answered(b"+")
    assert heard == [True]
