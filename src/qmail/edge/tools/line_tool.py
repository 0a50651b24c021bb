"""What the commands of `.qmail` lines share: their variables, the message, a program, the queue.

Others that feed a program use it too. Such a command starts once for every message, so this imports
little: `_signal` has the numbers that are needed, and the module `signal` on it costs more than the
work. Source: spec/programs.md 6.
"""

from __future__ import annotations

import _signal
import errno
import os
import select

from qmail.edge.machine.home import command_path, home_folder
from qmail.edge.machine.standard import read_input, say
from qmail.edge.submit.queue import submit
from qmail.edge.wires.feeding import LATE, feed, is_ready
from qmail.envelope import BadEnvelopeError, Envelope
from qmail.protocol.errnos import is_temporary
from qmail.protocol.options import OptionError, asks_for_help, split_options

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from typing import Final

DONE: Final = 0
STOP: Final = 99
PERMANENT: Final = 100
TEMPORARY: Final = 111
"""How the tools end: the numbers of `protocol.exits.Exit`, which takes longer to import."""
PART_BYTES: Final = 65536
PROGRAM_S_MAX: Final = 86400
"""A program that takes longer to read the message, or to end after that, is killed."""
SHELL: Final = "/bin/sh"
_RESET: Final = (_signal.SIGPIPE, _signal.SIGXFSZ)
"""Python ignores these; a program that is started may count on them."""


class ToolError(Exception):
    """The tool ends here: why, and with which exit code."""

    def __init__(self, why: str, code: int = TEMPORARY) -> None:
        super().__init__(why)
        self.code = code


def run_tool(name: str, work: Callable[[], int]) -> int:
    """Do the work of a tool; tell on descriptor 2 why it ended early. Returns the exit code."""
    try:
        return work()
    except ToolError as wrong:
        say(f"{name}: fatal: {wrong}")
        return wrong.code
    except OSError as trouble:
        where = f"{os.fsdecode(trouble.filename)}: " if trouble.filename else ""
        say(f"{name}: fatal: {where}{reason_of(trouble)}")
        return TEMPORARY


def command_line(
    usage: str, argv: Sequence[str], letters: str
) -> tuple[list[tuple[str, str]], list[str]] | None:
    """Split the options from the program and its arguments.

    Returns: None where it can't be done, or help was asked for; then `usage` has been told.
    """
    options: list[tuple[str, str]] = []
    program: list[str] = []
    try:
        if not asks_for_help(argv):
            options, program = split_options(argv, letters)
    except OptionError as wrong:
        say(f"{usage.partition(':')[0]}: {wrong}")
    if not program:
        say(usage)
        return None
    return options, program


def reason_of(trouble: OSError) -> str:
    """Return what the system says about an error."""
    return (trouble.strerror or str(trouble)).lower()


def variable(name: str) -> bytes:
    """Return a variable that qmail-local sets for every program (spec/delivery.md 7).

    Raises: ToolError: it is not set.
    """
    value = os.environb.get(name.encode())
    if value is None:
        raise ToolError(f"{name} not set", PERMANENT)
    return value


def command(name: str) -> str:
    """Return the path of another command of the suite.

    Raises: ToolError: there is none.
    """
    path = command_path(name)
    if path is None:
        raise ToolError(f"unable to find {name}")
    return path


# --- the message --------------------------------------------------------------------------------


def rewind(*, pipe_is_fine: bool = True) -> None:
    """Let descriptor 0 begin with the message's first byte; a pipe begins where it is.

    Raises: ToolError: it can't be.
    """
    try:
        os.lseek(0, 0, os.SEEK_SET)
    except OSError as trouble:
        if trouble.errno != errno.ESPIPE or not pipe_is_fine:
            raise ToolError(f"unable to rewind the message: {reason_of(trouble)}") from None


def message() -> Iterator[bytes]:
    """Yield the message on descriptor 0, from its start.

    Raises: ToolError: it can't be read.
    """
    rewind()
    yield from standard_input()


def standard_input() -> Iterator[bytes]:
    """Yield what is on descriptor 0, from where it is.

    Raises: ToolError: it can't be read.
    """
    while True:
        try:
            part = read_input(PART_BYTES)
        except OSError as trouble:
            raise ToolError(f"unable to read the message: {reason_of(trouble)}") from None
        if not part:
            return
        yield part


def queue_message(
    name: str, sender: bytes, recipients: Iterable[bytes], parts: Iterable[bytes]
) -> None:
    """Put a message into the queue, and say on descriptor 2 which number it has there.

    Raises: ToolError: it is not queued.
    """
    try:
        envelope = Envelope(sender, tuple(recipients))
    except BadEnvelopeError as wrong:
        raise ToolError(f"unable to send: {wrong} (#5.1.3)", PERMANENT) from None
    outcome = submit(home_folder(), parts, envelope, os.environ)
    if outcome.result is None:
        say(f"{name}: qp {outcome.qp}")
        return
    is_final = outcome.result.letter == ord("D")
    text = outcome.result.text.decode("ascii", "replace").strip()
    raise ToolError(text, PERMANENT if is_final else TEMPORARY)


# --- a program ----------------------------------------------------------------------------------


def run_program(name: str, words: Sequence[str]) -> int:
    """Run a program on the message; return its exit code.

    One that can't be started counts as one that ended with 111 if trying again may help, else with
    100. Raises: ToolError: it crashed, or took too long.
    """
    rewind()
    try:
        pid = start_program(words)
    except OSError as trouble:
        say(f"{name}: warning: unable to run {words[0]}: {reason_of(trouble)}")
        return code_of(trouble)
    return end_of_program(pid, words[0])


def feed_program(words: Sequence[str], parts: Iterable[bytes]) -> int:
    """Run a program with `parts` on its descriptor 0; return its exit code.

    It need not read all of it. Raises: ToolError: not started, crashed, took too long; whatever
    iterating `parts` raises (the program is killed then: it has not seen the whole message).
    """
    reader, writer = os.pipe()
    if reader == 0:
        raise ToolError("descriptor 0 is closed")
    try:
        pid = start_program(words, [(os.POSIX_SPAWN_DUP2, reader, 0)])
    except OSError as trouble:
        what = f"unable to run {words[0]}: {reason_of(trouble)}"
        raise ToolError(what, code_of(trouble)) from None
    os.close(reader)
    fed = LATE
    try:
        # What it did not read it need not: its exit code says the rest.
        fed = feed(writer, parts, PROGRAM_S_MAX)
    finally:
        if fed == LATE:
            kill_program(pid)
        os.close(writer)
    if fed == LATE:
        raise ToolError("the program took too long to read the message")
    return end_of_program(pid, words[0])


def code_of(trouble: OSError) -> int:
    """Return the exit code for a program that can't be started."""
    return TEMPORARY if is_temporary(trouble) else PERMANENT


def start_program(words: Sequence[str], actions: Sequence[tuple[int, int, int]] = ()) -> int:
    """Start a program found along PATH; return its process id.

    `actions`: what is to be done with its descriptors, as os.posix_spawn takes it.
    Raises: OSError: it can't be started.
    """
    argv = tuple(words)
    if not words[0]:
        raise FileNotFoundError(errno.ENOENT, "its name is empty")
    try:
        return os.posix_spawnp(words[0], argv, os.environ, file_actions=actions, setsigdef=_RESET)
    except OSError as trouble:
        if trouble.errno != errno.ENOEXEC:
            raise
    # A script that does not say by what it is run: the shell runs it, as with C's execvp.
    argv = (SHELL, _path_of(words[0]), *words[1:])
    return os.posix_spawn(SHELL, argv, os.environ, file_actions=actions, setsigdef=_RESET)


def _path_of(program: str) -> str:
    if "/" not in program:
        for folder in os.environ.get("PATH", os.defpath).split(":"):
            path = f"{folder or '.'}/{program}"
            if os.access(path, os.X_OK):
                return path
    return program


def end_of_program(pid: int, program: str) -> int:
    """Wait for a program's end; return its exit code.

    Raises: ToolError: a signal killed it, or it took too long.
    """
    watch = os.pidfd_open(pid)
    try:
        if not is_ready(watch, select.POLLIN, PROGRAM_S_MAX):
            kill_program(pid)
            raise ToolError(f"{program} took too long and was stopped")
    finally:
        os.close(watch)
    _, status = os.waitpid(pid, 0)
    if os.WIFSIGNALED(status):
        raise ToolError(f"{program} was killed by signal {os.WTERMSIG(status)}")
    return os.WEXITSTATUS(status)


def kill_program(pid: int) -> None:
    """End a program at once."""
    os.kill(pid, _signal.SIGKILL)
    os.waitpid(pid, 0)
