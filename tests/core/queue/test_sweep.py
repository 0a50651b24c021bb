"""Recovery is total: all 128 combinations of a message's files, against the table in the docs."""

from itertools import product
from pathlib import Path

import pytest

from qmail.core.queue.sweep import Action, Files, action_for

DOCUMENT = Path(__file__).resolve().parents[3] / "docs/INTERNALS.md"
BEGIN, END = "<!-- recovery table -->", "<!-- end of recovery table -->"
FILES = ("mess", "todo", "info", "local", "remote", "bounce", "parked")
Row = tuple[str, str, str, str, str, str]


def documented_rows() -> list[Row]:
    """Return the rows of the table: mess, todo, info, others, parked, action."""
    with DOCUMENT.open(encoding="utf-8") as document:
        table = document.read().partition(BEGIN)[2].partition(END)[0]
    rows = []
    for line in table.splitlines():
        cells = [cell.strip() for cell in line.strip().strip("|").split("|")]
        if len(cells) >= 6 and cells[0] in ("+", "-", "*"):
            rows.append((cells[0], cells[1], cells[2], cells[3], cells[4], cells[5]))
    return rows


def fits(mark: str, is_there: bool) -> bool:
    return mark == "*" or (mark == "+") == is_there


@pytest.mark.parametrize("present", list(product((False, True), repeat=len(FILES))))
def test_every_combination_of_files_has_the_answer_of_the_document(
    present: tuple[bool, ...],
) -> None:
    files = Files(*present)
    others = files.local or files.remote or files.bounce
    state = (files.mess, files.todo, files.info, others, files.parked)
    answers = {row[5] for row in documented_rows() if all(map(fits, row[:5], state))}
    assert answers == {action_for(files).name}


def test_the_document_names_every_action_and_no_other() -> None:
    assert {row[5] for row in documented_rows()} == {action.name for action in Action}


def test_what_is_in_todo_is_never_dropped() -> None:
    for info, local, remote, bounce in product((False, True), repeat=4):
        files = Files(mess=True, todo=True, info=info, local=local, remote=remote, bounce=bounce)
        assert action_for(files) is Action.PREPROCESS


def test_a_message_with_an_envelope_is_never_swept() -> None:
    for present in product((False, True), repeat=len(FILES)):
        files = Files(*present)
        if files.mess and (files.todo or files.info):
            assert action_for(files) in (Action.PREPROCESS, Action.DELIVER)
