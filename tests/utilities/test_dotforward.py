"""dot-forward (spec/companion.md 1)."""

from pathlib import Path

import pytest
from tests.programs.injection import Ended
from tests.utilities.line_tools import MESSAGE, VARIABLES, Line

from qmail.mail import Envelope

TOP = "".join(VARIABLES[name] for name in ("UFLINE", "RPLINE", "DTLINE")).encode()


@pytest.fixture
def dot(line: Line, tmp_path: Path) -> Path:
    """The .forward file of ann."""
    return tmp_path / ".forward"


def run(line: Line, *files: Path, options: tuple[str, ...] = ()) -> Ended:
    return line.on_file(["dot-forward", *options, *map(str, files)])


def test_mail_goes_on_with_the_new_sender_and_the_rest_is_skipped(line: Line, dot: Path) -> None:
    dot.write_text("bob, Carl <carl@far>\n")
    (line.home / "control/defaultdomain").write_text("dd.ex\n")
    ended = run(line, dot)
    assert (ended.code, ended.out) == (99, b"")
    assert ended.err.startswith(b"dot-forward: info: qp ")
    assert line.message == VARIABLES["DTLINE"].encode() + MESSAGE
    assert line.envelope == Envelope(b"list-owner@dh.ex", (b"carl@far.dd.ex", b"bob@dh.ex"))


def test_the_caller_does_not_choose_the_hosts(line: Line, dot: Path) -> None:
    dot.write_text("bob\n")
    line.environ["QMAILDEFAULTHOST"] = "other.ex"
    assert run(line, dot).code == 99
    assert line.envelope.recipients == (b"bob@dh.ex",)


@pytest.mark.parametrize("own", ["ann", "\\ann", "ANN@dh.ex"])
def test_a_copy_stays_where_the_user_is_named(line: Line, dot: Path, own: str) -> None:
    dot.write_text(f"{own}, bob@far\n")
    assert run(line, dot).code == 0
    assert line.envelope.recipients == (b"bob@far.dh.ex",)


def test_without_a_file_the_mail_stays(line: Line, dot: Path) -> None:
    ended = run(line, dot)
    assert (ended.code, ended.out, ended.err) == (0, b"", b"")
    dot.write_text("# on holiday\n\n")
    assert run(line, dot).code == 0
    assert not line.is_queued


def test_the_next_file_is_read_where_one_says_nothing(line: Line, dot: Path) -> None:
    dot.write_text("#\n")
    other = dot.with_name("other")
    other.write_text("bob@x.y\n")
    assert run(line, dot, dot.with_name("none"), other).code == 99
    assert line.envelope.recipients == (b"bob@x.y",)


@pytest.mark.parametrize(
    "text", ['"|cat >\\"$OUT\\"; exit $CODE"', '|"cat >\\"$OUT\\"; exit $CODE"']
)
@pytest.mark.parametrize(
    ("code", "ends"),
    [(0, 99)]
    + [(code, 100) for code in (64, 65, 70, 76, 77, 78, 100, 112)]
    + [(code, 111) for code in (1, 75, 99, 111)],
)
def test_a_program_gets_the_message_with_the_lines_on_top(
    line: Line, dot: Path, *, text: str, code: int, ends: int
) -> None:
    line.environ |= {"OUT": str(line.home / "out"), "CODE": str(code)}
    dot.write_text(text)
    assert run(line, dot).code == ends
    assert (line.home / "out").read_bytes() == TOP + MESSAGE
    assert not line.is_queued


def test_after_a_program_that_refuses_nothing_is_sent(line: Line, dot: Path) -> None:
    dot.write_text('bob@x.y\n"|exit 100"\n')
    assert run(line, dot).code == 100
    assert not line.is_queued


def test_a_program_that_crashes_puts_it_off(line: Line, dot: Path) -> None:
    dot.write_text('"|kill -9 $$"\n')
    assert run(line, dot).code == 111


def test_variables_that_are_not_set_are_empty(line: Line, dot: Path) -> None:
    line.unset("UFLINE", "RPLINE", "DTLINE", "NEWSENDER", "USER", "HOST")
    dot.write_text("ann\n")
    assert run(line, dot).code == 99
    assert line.message == MESSAGE
    assert line.envelope == Envelope(b"", (b"ann@dh.ex",))


def test_with_n_it_is_shown_and_nothing_done(line: Line, dot: Path) -> None:
    dot.write_text('"|touch x"\nbob\n')
    ended = run(line, dot, options=("-n",))
    assert (ended.code, ended.err) == (99, b"pipe through touch x\nforward bob@dh.ex\n")
    dot.write_text("ann, bob\n")
    ended = run(line, dot, options=("-Nn",))
    assert (ended.code, ended.err) == (0, b"forward bob@dh.ex\ndirect delivery\n")
    dot.write_text("#\n")
    ended = run(line, dot, options=("-n",))
    shown = f"skipping empty file {dot}\ndirect delivery\n".encode()
    assert (ended.code, ended.err) == (0, shown)
    assert not line.is_queued


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("/var/mail/ann", "write this line into .qmail instead"),
        (":include:/etc/l", ":include: is not supported"),
        ("a: b;", "a colon inside"),
        ("|prog x", "needs quotes"),
        ("(", "does not end"),
    ],
)
def test_what_is_not_understood_puts_it_off(line: Line, dot: Path, text: str, why: str) -> None:
    dot.write_text(f'# mine\n{text}\n"|touch $HOME/ran"\n')
    line.environ["HOME"] = str(line.home)
    ended = run(line, dot)
    assert ended.code == 111
    assert ended.err.startswith(f"dot-forward: fatal: {dot}:2: ".encode())
    assert why in ended.err.decode()
    assert not (line.home / "ran").exists()


def test_a_file_that_others_may_write_to_is_not_believed(line: Line, dot: Path) -> None:
    dot.write_text("bob\n")
    dot.chmod(0o666)
    ended = run(line, dot)
    assert ended.code == 111
    assert f"others may write to {dot}".encode() in ended.err


def test_a_file_that_can_not_be_read_puts_it_off(line: Line, dot: Path) -> None:
    dot.mkdir()
    ended = run(line, dot)
    assert ended.code == 111
    assert f"unable to read {dot}: not a file".encode() in ended.err


def test_a_bad_control_file_puts_it_off(line: Line, dot: Path) -> None:
    dot.write_text("bob\n")
    (line.home / "control/defaulthost").write_text("\n")
    ended = run(line, dot)
    assert ended.code == 111
    assert b"control/defaulthost:1: empty" in ended.err


@pytest.mark.parametrize("argv", [[], ["-n"], ["-x", "f"], ["--help"]])
def test_wrong_usage_ends_with_100(line: Line, argv: list[str]) -> None:
    ended = line.on_file(["dot-forward", *argv])
    assert ended.code == 100
    assert b"usage: dot-forward" in ended.err
