"""What the commands of `.qmail` lines share (spec/programs.md 6)."""

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from qmail.edge.tools import line_tool
from qmail.edge.tools.line_tool import (
    ToolError,
    command_line,
    feed_program,
    message,
    run_program,
    run_tool,
    variable,
)

MESSAGE = b"Subject: x\n\nbody\n"
KEEP = "import sys; open(sys.argv[1], 'wb').write(sys.stdin.buffer.read())"


@pytest.fixture
def on_0() -> Iterator[int]:
    """Descriptor 0 is a message; its own position is in the middle."""
    saved = os.dup(0)
    fd = os.memfd_create("message")
    os.write(fd, MESSAGE)
    os.lseek(fd, 5, os.SEEK_SET)
    os.dup2(fd, 0)
    os.close(fd)
    yield 0
    os.dup2(saved, 0)
    os.close(saved)


@pytest.fixture(autouse=True)
def _usual_path(monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder in PATH that may not be searched would be told of in place of a missing program."""
    monkeypatch.setenv("PATH", "/usr/bin:/bin")


@pytest.fixture
def pipe_on_0() -> Iterator[int]:
    """Descriptor 0 is a pipe, and the test has its other end."""
    saved = os.dup(0)
    reader, writer = os.pipe()
    os.dup2(reader, 0)
    os.close(reader)
    yield writer
    os.close(writer)
    os.dup2(saved, 0)
    os.close(saved)


def python(*words: str) -> list[str]:
    return [sys.executable, "-IS", "-c", *words]


def script(folder: Path, text: str) -> str:
    path = folder / "script"
    path.write_text(text)
    path.chmod(0o755)
    return str(path)


# --- the end of a tool --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wrong", "code", "said"),
    [
        (ToolError("no"), 111, b"tool: fatal: no\n"),
        (ToolError("never", 100), 100, b"tool: fatal: never\n"),
        (OSError(28, "No space left on device"), 111, b"tool: fatal: no space left on device\n"),
    ],
)
def test_the_reason_is_said_and_the_code_returned(
    wrong: Exception, code: int, said: bytes, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    def work() -> int:
        raise wrong

    assert run_tool("tool", work) == code
    assert capfdbinary.readouterr().err == said
    assert run_tool("tool", lambda: 99) == 99


def test_a_variable_may_be_empty_but_not_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SENDER", "")
    assert variable("SENDER") == b""
    monkeypatch.delenv("SENDER")
    with pytest.raises(ToolError, match="SENDER not set") as wrong:
        variable("SENDER")
    assert wrong.value.code == 100


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        ([], b"tool: usage: tool\n"),
        (["-a"], b"tool: usage: tool\n"),
        (["--help"], b"tool: usage: tool\n"),
        (["-z", "x"], b"tool: illegal option -- z\ntool: usage: tool\n"),
    ],
)
def test_a_command_line_without_a_program_is_answered_with_the_usage(
    argv: list[str], said: bytes, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    assert command_line("tool: usage: tool", argv, "a") is None
    assert capfdbinary.readouterr().err == said


def test_options_end_where_the_program_begins() -> None:
    found = command_line("tool: usage: tool", ["-a", "cat", "-z"], "a")
    assert found == ([("a", "")], ["cat", "-z"])


# --- the message --------------------------------------------------------------------------------


@pytest.mark.usefixtures("on_0")
def test_a_message_is_read_from_its_start_each_time() -> None:
    assert b"".join(message()) == b"".join(message()) == MESSAGE
    assert b"".join(line_tool.standard_input()) == b""


def test_a_pipe_is_read_as_it_comes(pipe_on_0: int) -> None:
    os.write(pipe_on_0, MESSAGE)
    parts = message()
    assert next(parts) == MESSAGE
    with pytest.raises(ToolError, match="rewind"):
        line_tool.rewind(pipe_is_fine=False)


@pytest.mark.usefixtures("on_0")
def test_a_message_that_can_not_be_read_is_put_off(tmp_path: Path) -> None:
    folder = os.open(tmp_path, os.O_RDONLY)
    os.dup2(folder, 0)
    os.close(folder)
    with pytest.raises(ToolError, match="is a directory") as wrong:
        list(message())
    assert wrong.value.code == 111


# --- programs -----------------------------------------------------------------------------------


@pytest.mark.usefixtures("on_0")
def test_a_program_gets_the_whole_message(tmp_path: Path) -> None:
    for _ in range(2):
        assert run_program("tool", python(KEEP, str(tmp_path / "kept"))) == 0
        assert (tmp_path / "kept").read_bytes() == MESSAGE
    assert run_program("tool", ["sh", "-c", "exit 42"]) == 42


@pytest.mark.usefixtures("on_0")
@pytest.mark.parametrize("name", ["PIPE", "XFSZ"])
def test_a_program_does_not_ignore_the_signals_that_python_does(name: str) -> None:
    words = ["sh", "-c", f"kill -{name} $$"]
    with pytest.raises(ToolError, match="killed by signal"):
        run_program("tool", words)
    with pytest.raises(ToolError, match="killed by signal"):
        feed_program(words, [])


@pytest.mark.usefixtures("on_0")
@pytest.mark.parametrize(
    ("words", "code", "reason"),
    [(["no-such-program-here"], 100, b"no such file"), ([""], 100, b"empty")],
)
def test_a_program_that_is_not_there_counts_as_100(
    words: list[str], code: int, reason: bytes, *, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    assert run_program("tool", words) == code
    assert reason in capfdbinary.readouterr().err


@pytest.mark.usefixtures("on_0")
def test_a_program_that_can_not_start_now_counts_as_111(tmp_path: Path) -> None:
    busy = script(tmp_path, "#!/bin/sh\nexit 0\n")
    with open(busy, "ab"):
        assert run_program("tool", [busy]) == 111
        with pytest.raises(ToolError, match="text file busy") as wrong:
            feed_program([busy], [])
    assert wrong.value.code == 111


@pytest.mark.usefixtures("on_0")
def test_a_script_without_first_line_is_run_by_the_shell(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = script(tmp_path, 'test "$1" = "a b" && exit 7\n')
    assert run_program("tool", [path, "a b"]) == 7
    monkeypatch.setenv("PATH", f"/nonexistent:{tmp_path}:/usr/bin:/bin")
    assert run_program("tool", ["script", "a b"]) == 7


@pytest.mark.usefixtures("on_0")
def test_a_crash_is_temporary() -> None:
    with pytest.raises(ToolError, match="killed by signal 9") as wrong:
        run_program("tool", ["sh", "-c", "kill -9 $$"])
    assert wrong.value.code == 111


@pytest.mark.usefixtures("on_0")
def test_a_program_that_takes_too_long_is_killed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(line_tool, "PROGRAM_S_MAX", 0.05)
    with pytest.raises(ToolError, match="took too long"):
        run_program("tool", ["sleep", "60"])
    with pytest.raises(ToolError, match="took too long to read"):
        feed_program(["sleep", "60"], [b"x" * 65536] * 20)


@pytest.mark.usefixtures("on_0")
def test_a_program_is_fed_all_parts(tmp_path: Path) -> None:
    parts = [b"head\n", *[b"x" * 100_000] * 20]
    assert feed_program(python(KEEP, str(tmp_path / "kept")), parts) == 0
    assert (tmp_path / "kept").read_bytes() == b"".join(parts)


@pytest.mark.usefixtures("on_0")
def test_a_program_need_not_read_what_it_is_fed() -> None:
    assert feed_program(["sh", "-c", "exit 3"], [b"x" * 100_000] * 20) == 3


@pytest.mark.usefixtures("on_0")
def test_a_program_never_takes_a_part_for_the_whole(tmp_path: Path) -> None:
    def parts() -> Iterator[bytes]:
        yield b"half of it"
        raise ToolError("unable to read the message")

    with pytest.raises(ToolError, match="unable to read"):
        feed_program(python(KEEP, str(tmp_path / "kept")), parts())
    assert not (tmp_path / "kept").exists()


@pytest.mark.usefixtures("on_0")
def test_a_program_to_feed_that_is_not_there_ends_with_100() -> None:
    with pytest.raises(ToolError, match="no-such-program-here: no such file") as wrong:
        feed_program(["no-such-program-here"], [])
    assert wrong.value.code == 100
