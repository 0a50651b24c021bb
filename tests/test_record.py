"""Light records behave as NamedTuple does, which is what the type checker takes them for."""

import pickle

import pytest

from qmail.envelope import BadEnvelopeError, Envelope
from qmail.record import Record


class Point(Record):
    x: int
    y: int = 5

    def total(self) -> int:
        return self.x + self.y


class NamedPoint(Point):
    __slots__ = ()


def test_fields_come_by_position_by_name_and_by_default() -> None:
    assert Point(1, 2) == Point(x=1, y=2) == Point(1, y=2)
    assert (Point(1).x, Point(1).y, Point(1).total()) == (1, 5, 6)
    assert type(NamedPoint(1)) is NamedPoint


@pytest.mark.parametrize(
    ("values", "named"),
    [((), {}), ((1, 2, 3), {}), ((1, 2), {"y": 3}), ((1,), {"z": 3}), ((), {"y": 3})],
)
def test_wrong_fields_are_a_type_error(values: tuple[int, ...], named: dict[str, int]) -> None:
    with pytest.raises(TypeError):
        Point(*values, **named)


def test_nothing_can_be_set() -> None:
    point = Point(1)
    for name in ("x", "other"):
        with pytest.raises(AttributeError):
            setattr(point, name, 2)


def test_records_can_be_shown_hashed_copied_and_pickled() -> None:
    point = Point(1)
    assert repr(point) == "Point(x=1, y=5)"
    assert {point: 1}[Point(1, 5)] == 1
    assert point._replace(y=7) == Point(1, 7)
    envelope = Envelope(b"a", (b"b",))
    assert pickle.loads(pickle.dumps(envelope)) == envelope


def test_an_envelope_is_checked_however_it_is_made() -> None:
    for sender, recipient in ((b"a\0", b"b"), (b"a", b"\0"), (b"x" * 1003, b"b")):
        with pytest.raises(BadEnvelopeError):
            Envelope(sender, (recipient,))
        with pytest.raises(BadEnvelopeError):
            Envelope(sender=sender, recipients=(recipient,))
        with pytest.raises(BadEnvelopeError):
            Envelope(b"", ())._replace(sender=sender, recipients=(recipient,))
    assert Envelope(b"", ()).pack() == b"F\0\0"
    assert Envelope(b"a", (b"b", b"c")).pack() == b"Fa\0Tb\0Tc\0\0"
