"""Notes of operators: what is kept, what a torn store says, numbers that come back."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.fakes.send_world import MemoryStore

from qmail.core.queue import notes as operator_notes
from qmail.core.queue.engine import EngineError
from qmail.core.queue.notes import NOWHERE, Kind, Note, Notes, Places, bodies, masked
from qmail.mail import Channel

BIRTH = 77
PLACES: Places = ((), (0, 9))


def made(store: MemoryStore, *numbers: int, kind: Kind = Kind.HELD) -> Notes:
    notes = Notes(store)
    operation = notes.begin(kind, 5, 600, b"why")
    for number in numbers:
        notes.put(number, Note(operation, BIRTH, PLACES))
    notes.flush()
    return notes


def loaded(store: MemoryStore, birth: int | None = BIRTH) -> Notes:
    notes = Notes(store)
    notes.load(lambda _: birth)
    return notes


def facts(notes: Notes) -> dict[int, dict[tuple[Channel, int], Kind]]:
    return {number: notes.kinds(number) for number in notes.numbers()}


def test_what_is_kept_is_there_after_a_start() -> None:
    store = MemoryStore()
    notes = made(store, 3, 4, kind=Kind.BOUNCED)
    again = loaded(store)
    assert facts(again) == facts(notes)
    (operation,) = again.operations.values()
    assert (operation.id, operation.final_at, operation.text) == (1, 600, b"why")
    assert operation.messages == {3, 4}
    assert again.begin(Kind.HELD, 1).id == 2


def test_a_removed_note_is_gone_after_a_start() -> None:
    store = MemoryStore()
    notes = made(store, 3, 4)
    (operation,) = notes.operations.values()
    assert notes.remove(3, operation)
    assert not notes.remove(3, operation)
    notes.flush()
    assert set(loaded(store).numbers()) == {4}


def test_the_last_note_takes_the_store_with_it() -> None:
    store = MemoryStore()
    notes = made(store, 3)
    notes.forget(3)
    assert store.raw == b""
    assert not notes.operations


def test_a_number_that_came_back_is_another_message() -> None:
    store = MemoryStore()
    made(store, 3)
    notes = loaded(store, birth=BIRTH + 1)
    assert not len(notes)
    notes.flush()
    assert store.raw == b""
    made(store, 3)
    assert not len(loaded(store, birth=None))


@given(st.data())
def test_a_torn_store_says_what_was_whole(data: st.DataObject) -> None:
    store = MemoryStore()
    made(store, 3, 4, 5)
    whole = list(bodies(store.raw))
    cut = data.draw(st.integers(0, len(store.raw)))
    tail = data.draw(st.sampled_from([b"", b"\0" * 20, b"9:", b"5:abcde,"]))
    found = list(bodies(store.raw[:cut] + tail))
    assert found == whole[: len(found)]
    store.raw = store.raw[:cut] + tail
    assert set(loaded(store).numbers()) <= {3, 4, 5}
    assert loaded(store).of(6) == ()


@given(st.binary(max_size=200))
def test_nonsense_is_no_note(raw: bytes) -> None:
    store = MemoryStore()
    store.raw = raw
    assert not len(loaded(store))


def test_a_changed_byte_ends_it() -> None:
    store = MemoryStore()
    made(store, 3, 4)
    store.raw = store.raw.replace(b"1:4,", b"1:7,")
    assert set(loaded(store).numbers()) == {3}


def test_after_a_failure_all_is_written_anew() -> None:
    store = MemoryStore()
    notes = made(store, 3)
    before = store.raw
    store.is_broken = True
    (operation,) = notes.operations.values()
    notes.put(4, Note(operation, BIRTH, PLACES))
    with pytest.raises(EngineError):
        notes.flush()
    store.is_broken = False
    assert store.raw == before
    notes.flush()
    assert set(loaded(store).numbers()) == {3, 4}


def test_what_is_out_of_date_is_dropped_now_and_then(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(operator_notes, "SPENT_MIN", 5)
    store = MemoryStore()
    notes = made(store, 3)
    (operation,) = notes.operations.values()
    for _ in range(100):
        notes.put(4, Note(operation, BIRTH, PLACES))
        notes.put(4, Note(operation, BIRTH, NOWHERE))
        notes.flush()
    assert len(list(bodies(store.raw))) < 20


def test_what_is_given_up_is_said_before_what_is_held() -> None:
    notes = Notes(MemoryStore())
    for kind in (Kind.HELD, Kind.DELETED, Kind.HELD):
        notes.put(3, Note(notes.begin(kind, 0), BIRTH, ((0,), ())))
    assert notes.kinds(3) == {(Channel.LOCAL, 0): Kind.DELETED}


def test_masked_records_look_done() -> None:
    assert masked(b"Ta\0Db\0Tc\0", {0, 3, 6, 99}) == (b"Da\0Db\0Dc\0", 2)
