"""Spare files: used only after a sync, of two kinds, emptied when idle."""

import os
from pathlib import Path

from qmail.core.fs import RealFs
from qmail.core.spares import SPARES_MAX, Spares


def make(tmp_path: Path, *names: str) -> Spares:
    (tmp_path / "pid").mkdir()
    for name in names:
        (tmp_path / "pid" / name).write_bytes(b"old mail\n")
    return Spares(RealFs(str(tmp_path)))


def test_a_spare_is_not_used_before_a_sync_came_after_it_was_seen(tmp_path: Path) -> None:
    spares = make(tmp_path, "spare.7")
    assert spares.take_message() is None
    spares.look()
    assert spares.take_message() is None
    spares.synced()
    file = spares.take_message()
    assert file is not None
    assert (file.path, file.size) == ("pid/spare.7", 9)
    os.close(file.fd)


def test_messages_and_envelopes_are_kept_apart(tmp_path: Path) -> None:
    spares = make(tmp_path, "spare.7", "spare.7.todo")
    spares.look()
    spares.synced()
    envelope = spares.take_envelope()
    assert envelope is not None
    assert envelope.path == "pid/spare.7.todo"
    assert spares.take_envelope() is None
    os.close(envelope.fd)


def test_a_spare_that_is_gone_is_skipped(tmp_path: Path) -> None:
    spares = make(tmp_path, "spare.7")
    spares.look()
    spares.synced()
    (tmp_path / "pid" / "spare.7").unlink()
    assert spares.take_message() is None


def test_other_names_in_pid_are_not_spares(tmp_path: Path) -> None:
    spares = make(tmp_path, "123.456.1")
    spares.look()
    spares.synced()
    assert spares.take_message() is None


def test_when_idle_they_are_emptied_and_stay(tmp_path: Path) -> None:
    spares = make(tmp_path, "spare.7", "spare.7.todo")
    spares.blank()
    assert [p.stat().st_size for p in (tmp_path / "pid").iterdir()] == [0, 0]


def test_there_are_never_more_than_the_limit(tmp_path: Path) -> None:
    spares = make(tmp_path, *(f"spare.{number}" for number in range(SPARES_MAX + 10)))
    spares.look()
    assert len(list((tmp_path / "pid").iterdir())) == SPARES_MAX
