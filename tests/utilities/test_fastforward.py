"""fastforward (spec/companion.md 2.1)."""

import os
from pathlib import Path

import pytest
from tests.programs.injection import Ended
from tests.utilities.line_tools import MESSAGE, VARIABLES, Line
from tests.utilities.tables import make_list, make_table

from qmail.mail import Envelope

FORWARDED = VARIABLES["DTLINE"].encode() + MESSAGE
TABLE = """
ann-list@dh.ex: bob@x, carl@y;
owner@: ?boss@dh.ex, bob@x;
prog@: |cat >"$OUT"\\; exit $CODE, bob@x;
lined@: !cat >"$OUT"\\; exit $CODE;
nobody@: ;
"""


@pytest.fixture
def table(line: Line) -> str:
    line.environ |= {"OUT": str(line.home / "out"), "CODE": "0"}
    text = TABLE.replace('cat >"$OUT"', 'cat\\ >"$OUT"').replace("exit $CODE", "\\ exit\\ $CODE")
    return make_table(line, text)


def forward(line: Line, table: str, *options: str, recipient: str = "ann-list@dh.ex") -> Ended:
    line.environ["RECIPIENT"] = recipient
    return line.on_file(["fastforward", *options, table])


def test_a_message_goes_to_the_recipients_of_its_target(line: Line, table: str) -> None:
    ended = forward(line, table)
    assert (ended.code, ended.out) == (0, b"")
    assert ended.err.startswith(b"fastforward: qp ")
    assert line.message == FORWARDED
    assert line.envelope == Envelope(b"joe@far.ex", (b"bob@x", b"carl@y"))


def test_the_owner_becomes_the_sender(line: Line, table: str) -> None:
    assert forward(line, table, recipient="Owner@any.where").code == 0
    assert line.envelope.sender == b"boss@dh.ex"


def test_an_unknown_recipient_bounces(line: Line, table: str) -> None:
    ended = forward(line, table, recipient="nobody@dh.ex")
    assert ended.code == 100
    assert ended.err.endswith(b"(#5.1.1)\n")
    assert not line.is_queued


def test_with_p_an_unknown_recipient_is_for_the_next_line(line: Line, table: str) -> None:
    ended = forward(line, table, "-p", recipient="nobody@dh.ex")
    assert (ended.code, ended.err) == (0, b"")


@pytest.mark.parametrize(
    ("options", "code"), [((), 0), (("-p",), 99), (("-pP",), 0), (("-P", "-p"), 99)]
)
def test_with_p_a_known_one_ends_with_99(
    line: Line, table: str, options: tuple[str], code: int
) -> None:
    assert forward(line, table, *options).code == code
    assert line.is_queued


@pytest.mark.parametrize("options", ["-d", "-Dd", "-nd"])
def test_with_d_the_address_is_what_default_stands_for(
    line: Line, table: str, options: str
) -> None:
    line.environ |= {"DEFAULT": "ANN-list", "EXT": "no", "HOST": "dh.ex"}
    assert forward(line, table, options, recipient="x@y").code == 0
    line.unset("DEFAULT")
    assert forward(line, table, options, recipient="x@y").code == 100
    line.environ["EXT"] = "ann-list"
    assert forward(line, table, options, recipient="x@y").code == 0
    line.unset("HOST")
    ended = forward(line, table, options, recipient="x@y")
    assert (ended.code, ended.err) == (100, b"fastforward: fatal: HOST not set\n")


def test_a_program_gets_the_message_and_then_it_goes_on(line: Line, table: str) -> None:
    assert forward(line, table, recipient="prog@dh.ex").code == 0
    assert (line.home / "out").read_bytes() == MESSAGE
    assert line.message == FORWARDED
    assert line.envelope.recipients == (b"bob@x",)


def test_a_program_with_a_mark_of_exclamation_gets_the_lines_on_top(line: Line, table: str) -> None:
    ended = forward(line, table, recipient="lined@dh.ex")
    assert (ended.code, ended.err) == (0, b"")
    top = "".join(VARIABLES[name] for name in ("UFLINE", "RPLINE", "DTLINE")).encode()
    assert (line.home / "out").read_bytes() == top + MESSAGE
    assert not line.is_queued


@pytest.mark.parametrize("recipient", ["prog@dh.ex", "lined@dh.ex"])
@pytest.mark.parametrize(
    ("code", "ends"),
    [(code, 100) for code in (64, 65, 70, 76, 77, 78, 100, 112)]
    + [(code, 111) for code in (1, 75, 99, 111)],
)
def test_a_programs_exit_code_decides_and_99_is_nothing_special(
    line: Line, table: str, *, recipient: str, code: int, ends: int
) -> None:
    line.environ["CODE"] = str(code)
    assert forward(line, table, recipient=recipient).code == ends
    assert not line.is_queued


def test_a_program_that_crashes_puts_it_off(line: Line) -> None:
    table = make_table(line, "x@: |kill\\ -9\\ $$, bob@x;")
    ended = forward(line, table, recipient="x@dh.ex")
    assert ended.code == 111
    assert b"killed by signal 9" in ended.err
    assert not line.is_queued


def test_with_n_the_plan_is_shown_and_nothing_done(line: Line, table: str) -> None:
    ended = forward(line, table, "-n", recipient="owner@dh.ex")
    assert (ended.code, ended.err) == (0, b"from <boss@dh.ex>\nto <bob@x>\n")
    ended = forward(line, table, "-np", recipient="prog@dh.ex")
    assert ended.code == 99
    shown = b'run |cat >"$OUT"; exit $CODE\nfrom <joe@far.ex>\nto <bob@x>\n'
    assert ended.err == shown
    ended = forward(line, table, "-n", recipient="lined@dh.ex")
    assert ended.err == b'run !cat >"$OUT"; exit $CODE\nno forwarding\n'
    assert not line.is_queued
    assert not (line.home / "out").exists()


def test_with_n_nothing_but_a_recipient_is_needed(line: Line, table: str) -> None:
    line.unset("SENDER", "DTLINE")
    ended = forward(line, table, "-n", recipient="ann-list@dh.ex")
    assert ended.err == b"from <original envelope sender>\nto <bob@x>\nto <carl@y>\n"
    assert forward(line, table).code == 100


def test_what_is_shown_is_fit_for_a_terminal(line: Line) -> None:
    table = make_table(line, "x@: |a\\\nb\\\x1bc;")
    assert forward(line, table, "-n", recipient="x@y").err == b"run |a_b_c\nno forwarding\n"


def test_lists_are_read_from_where_it_runs(line: Line, tmp_path: Path) -> None:
    stored = make_list(line, tmp_path / "l.bin", "ann@x\nbob@x\n")
    table = make_table(line, f"x@: {stored};")
    assert stored.stat().st_mode & 0o777 == 0o644
    assert forward(line, table, recipient="x@y").code == 0
    assert set(line.envelope.recipients) == {b"ann@x", b"bob@x"}


def test_a_list_must_be_there_and_readable_for_all(line: Line, tmp_path: Path) -> None:
    stored = make_list(line, tmp_path / "l.bin", "ann@x\n")
    table = make_table(line, f"x@: {stored}, |touch\\ $HOME/ran;")
    line.environ["HOME"] = str(line.home)
    stored.chmod(0o640)
    ended = forward(line, table, recipient="x@y")
    assert (ended.code, ended.err) == (
        111, f"fastforward: fatal: {stored} is not world-readable\n".encode(),
    )  # fmt: skip
    stored.unlink()
    ended = forward(line, table, recipient="x@y")
    assert ended.code == 111
    assert f"unable to read {stored}: no such file".encode() in ended.err
    stored.mkdir()
    assert forward(line, table, recipient="x@y").code == 111
    # Nothing is done before all of it is known: no program runs once more at every try.
    assert not (line.home / "ran").exists()


def test_a_table_that_is_not_there_or_damaged_puts_it_off(line: Line, tmp_path: Path) -> None:
    path = tmp_path / "none.cdb"
    ended = forward(line, str(path))
    assert ended.code == 111
    assert f"unable to read {path}: no such file".encode() in ended.err
    path.write_bytes(b"x" * 4000)
    ended = forward(line, str(path))
    assert ended.code == 111
    assert b"damaged" in ended.err


@pytest.mark.parametrize("argv", [[], ["-z", "t"], ["-n"], ["a", "b"], ["--help"]])
def test_wrong_usage_ends_with_100(line: Line, argv: list[str]) -> None:
    ended = line.on_file(["fastforward", *argv])
    assert ended.code == 100
    assert b"usage: fastforward" in ended.err


def test_the_queues_refusal_becomes_the_exit_code(line: Line, table: str) -> None:
    line.environ |= {"QUEUE_EXIT": "31"}
    assert forward(line, table, "-p").code == 100
    line.environ |= {"QUEUE_EXIT": "53"}
    assert forward(line, table, "-p").code == 111


def test_the_message_may_come_from_a_pipe(line: Line, table: str) -> None:
    line.environ["RECIPIENT"] = "ann-list@dh.ex"
    assert line.run(["fastforward", table], MESSAGE).code == 0
    assert line.message == FORWARDED
    assert os.path.getsize(table) > 2048
