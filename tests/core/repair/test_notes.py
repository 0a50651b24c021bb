"""What operators have said of messages follows them to other numbers."""

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st
from tests.fakes.queue_world import make_queue

from qmail.core.queue.notes import Kind, Note, Notes
from qmail.core.queue.notes_file import NotesFile
from qmail.core.repair.notes import (
    added,
    entries_of,
    packed,
    prepare,
    put,
    read_notes,
    renumbered,
    take_back,
)

BIRTH = 1_790_000_000


def hold(store: NotesFile, *messages: int) -> None:
    notes = Notes(store)
    notes.load(lambda _number: BIRTH)
    operation = notes.begin(Kind.HELD, 5)
    for message in messages:
        notes.put(message, Note(operation, BIRTH, ((0,), (7,))))
    notes.flush()


def loaded(store: NotesFile) -> Notes:
    notes = Notes(store)
    notes.load(lambda _number: BIRTH)
    return notes


def test_notes_follow_their_messages(tmp_path: Path) -> None:
    fs = make_queue(tmp_path)
    (tmp_path / "repair").mkdir()
    hold(NotesFile(fs), 4, 5, 6)
    prepare(fs, renumbered(read_notes(fs), {4: 5, 5: 4}))
    assert sorted(loaded(NotesFile(fs)).numbers()) == [4, 5, 6]
    prepare(fs, renumbered(read_notes(fs), {4: 5, 5: 44}))
    put(fs)
    notes = loaded(NotesFile(fs))
    assert sorted(notes.numbers()) == [5, 6, 44]
    assert notes.of(44)[0].places == ((0,), (7,))


def test_notes_of_two_queues_keep_their_operations_apart(tmp_path: Path) -> None:
    fs = make_queue(tmp_path)
    (tmp_path / "repair").mkdir()
    hold(NotesFile(fs), 4)
    prepare(fs, added(read_notes(fs), read_notes(fs), {4: 9}))
    put(fs)
    notes = loaded(NotesFile(fs))
    assert sorted(notes.numbers()) == [4, 9]
    assert notes.of(4)[0].operation.id != notes.of(9)[0].operation.id


def test_notes_about_others_do_not_come_along(tmp_path: Path) -> None:
    fs = make_queue(tmp_path)
    hold(NotesFile(fs), 4, 8)
    entries = added([], read_notes(fs), {4: 9})
    assert [fields[1] for letter, fields in entries if letter == b"N"] == [b"9"]


def test_what_was_prepared_can_be_taken_back(tmp_path: Path) -> None:
    fs = make_queue(tmp_path)
    (tmp_path / "repair").mkdir()
    hold(NotesFile(fs), 4)
    prepare(fs, renumbered(read_notes(fs), {4: 5}))
    take_back(fs)
    put(fs)
    assert list(loaded(NotesFile(fs)).numbers()) == [4]


@given(raw=st.binary(max_size=300))
def test_any_bytes_are_notes_or_none(raw: bytes) -> None:
    assert entries_of(packed(entries_of(raw))) == entries_of(raw)
