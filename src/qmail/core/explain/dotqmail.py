"""What qmail-local would do: which `.qmail` file governs, what each line of it means.

`core.local.plan` searches and `core.local.dotqmail` reads; here they are watched, no more.
"""

import os
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Final, Protocol

from qmail.core.explain.command import tell_command
from qmail.core.explain.explanation import Part, Step, printable, sentence
from qmail.core.explain.tools import Command
from qmail.core.local.dotqmail import (
    Forward,
    Instruction,
    Maildir,
    Mbox,
    Program,
    Refuse,
    doubt_about,
    numbered,
)
from qmail.core.local.environment import Facts, delivered_to, environment, new_sender
from qmail.core.local.home_files import PATRN, DotqmailFile, DotqmailFiles, HomeFiles, StoppedError
from qmail.core.local.plan import Plan, enter_home, find_owner_files, find_plan
from qmail.core.local.table_answer import ask_table
from qmail.core.settings.controls import ReadFile
from qmail.protocol.exits import Exit
from qmail.protocol.local_door import Target
from qmail.protocol.local_exits import local_report
from qmail.protocol.verify_door import KNOWN_REPORT

DOTQMAIL: Final = ".qmail"
STEPS_SHOWN_MAX: Final = 200
"""Of lines and what their commands would do; more is counted only."""
FORWARDS_MAX: Final = 1000
"""So many addresses are handed on to be explained too."""


class HomeView(Protocol):
    """A home folder to look at, as its owner."""

    @property
    def files(self) -> DotqmailFiles:
        """Its `.qmail` files, by the rules of a delivery."""
        ...

    def describe(self, name: bytes) -> str:
        """Say what there is of a name, for people."""
        ...

    def has_maildir(self, path: bytes) -> bool:
        """Say whether a maildir is there to take mail."""
        ...


class OpenHome:
    """A home folder on disk, by its open descriptor."""

    def __init__(self, fd: int, patrn: int) -> None:
        self._fd = fd
        self.files = HomeFiles(fd, patrn)

    def describe(self, name: bytes) -> str:
        """Say what there is of a name, for people."""
        try:
            found = os.stat(name, dir_fd=self._fd)
        except FileNotFoundError:
            return "not there"
        except (OSError, ValueError) as trouble:
            reason = trouble.strerror if isinstance(trouble, OSError) else None
            return f"passed over: {(reason or 'not a file name').lower()}"
        if not stat.S_ISREG(found.st_mode):
            return "passed over: not a regular file"
        return f"mode {stat.S_IMODE(found.st_mode):04o}"

    def has_maildir(self, path: bytes) -> bool:
        """Say whether a maildir is there to take mail."""
        return all(self._is_folder(path + part) for part in (b"tmp", b"new"))

    def _is_folder(self, path: bytes) -> bool:
        try:
            return stat.S_ISDIR(os.stat(path, dir_fd=self._fd).st_mode)
        except OSError:
            return False


class WatchedFiles:
    """The `.qmail` files of a home; notes every name that was tried, and what it was."""

    def __init__(self, home: HomeView, path: bytes) -> None:
        self._home = home
        self._path = printable(path)
        self.steps: list[Step] = []
        self.owner_steps: list[Step] = []
        self.governing: tuple[str, DotqmailFile] | None = None
        self.mode = ""

    def read(self, name: bytes) -> DotqmailFile | None:
        """Return the file `name`, None where there is none.

        Raises: StoppedError: it can't be read or trusted now.
        """
        where = f"{self._path}/{printable(name)}"
        try:
            found = self._home.files.read(name)
        except StoppedError as stopped:
            self.steps.append(Step(DOTQMAIL, sentence(stopped.text), where))
            raise
        if found is None:
            self.steps.append(Step(DOTQMAIL, self._home.describe(name), where))
        else:
            self.governing = where, found
            self.mode = self._home.describe(name)
        return found

    def exists(self, name: bytes) -> bool:
        """Say whether there is anything of that name. Raises: StoppedError: no telling now."""
        found = self._home.files.exists(name)
        where = f"{self._path}/{printable(name)}"
        self.owner_steps.append(Step("sender", "is there" if found else "not there", where))
        return found


@dataclass(frozen=True, slots=True)
class LocalQuestion:
    """One recipient with its owner, a sender, and what stands for an empty `.qmail`."""

    target: Target
    sender: bytes
    default_delivery: bytes
    default_source: str
    """Where the default delivery comes from, for people."""
    patrn: int = PATRN
    """Mode bits that neither the home nor a `.qmail` file may have."""


@dataclass(slots=True)
class Told:
    """What the lines so far would do."""

    files: int = 0
    programs: int = 0
    forwards: list[bytes] = field(default_factory=list)
    onward: list[tuple[bytes, bytes]] = field(default_factory=list)
    """Senders and recipients of what programs send on."""
    steps: list[Step] = field(default_factory=list)


def explain_delivery(question: LocalQuestion, read_control: ReadFile) -> Part:
    """Say what a delivery would do; run this as the recipient, in a process of its own.

    The home becomes the working folder. Facts: as `explain_plan`.
    """
    path = question.target.home
    try:
        fd = enter_home(path, patrn=question.patrn)
    except StoppedError as stopped:
        step = Step("home", sentence(stopped.text), printable(path))
        return Part((step,), stopped.code, (local_report(stopped.code, stopped.text),))
    try:
        return explain_plan(question, OpenHome(fd, question.patrn), read_control)
    finally:
        os.close(fd)


def explain_plan(question: LocalQuestion, home: HomeView, read_control: ReadFile) -> Part:
    """Say what a delivery to an open home would do.

    Facts: the report on whether there is a mailbox; then senders and recipients of what goes on.
    """
    files = WatchedFiles(home, question.target.home)
    steps = files.steps
    line = printable(delivered_to(question.target).rstrip())
    steps.append(Step("loop", f'"{line}" is added; a message that has it already bounces'))
    report = KNOWN_REPORT
    try:
        plan = _find_plan(files, question)
        report = _existence(plan, question.target)
        has_owner, has_verp = find_owner_files(files, question.target, question.sender)
    except StoppedError as stopped:
        text = sentence(stopped.text)
        if steps[-1].text != text:
            steps.append(Step(DOTQMAIL, text))
        if files.governing is None:
            report = local_report(stopped.code, stopped.text)
        return Part(tuple(steps), stopped.code, (report,))
    sender = new_sender(question.sender, question.target, has_owner=has_owner, has_verp=has_verp)
    variables = environment(_facts(question, sender, plan), {})
    told = Told()
    walk = _Walk(home, told, lambda line: tell_command(line, variables, read_control))
    verdict = walk.run(list(_lines(files, question)))
    if told.forwards or told.programs:
        steps += files.owner_steps
        steps.append(_sender_step(question.sender, sender))
    steps += told.steps
    if verdict is Exit.OK:
        steps.append(Step("result", _summary(told)))
        told.onward += [(sender, address) for address in told.forwards]
    elif told.forwards:
        steps.append(Step("result", "nothing is forwarded: that comes last"))
    onward = [address for pair in told.onward[:FORWARDS_MAX] for address in pair]
    return Part(tuple(steps), verdict, (report, *onward))


def _existence(plan: Plan, target: Target) -> bytes:
    """Return the report on whether there is a mailbox, where a file governs."""
    try:
        ask_table(plan, target)
    except StoppedError as stopped:
        return local_report(stopped.code, stopped.text)
    return KNOWN_REPORT


def _find_plan(files: WatchedFiles, question: LocalQuestion) -> Plan:
    plan = find_plan(files, question.target, question.default_delivery)
    files.steps.append(_governing_step(files, plan, question))
    return plan


def _facts(question: LocalQuestion, sender: bytes, plan: Plan) -> Facts:
    return Facts(
        target=question.target,
        sender=question.sender,
        forward_sender=sender,
        default=plan.default,
        now_s=0,
    )


def _governing_step(files: WatchedFiles, plan: Plan, question: LocalQuestion) -> Step:
    default = question.default_source
    if files.governing is None:
        return Step(DOTQMAIL, f"no such file: the default delivery, {default}")
    where, found = files.governing
    texts = [f"governs ({files.mode})"]
    if not found.text:
        texts.append(f"is empty: the default delivery, {default}")
    elif found.forward_only:
        texts.append("forwards only, for its owner-execute bit is set")
    if plan.default is not None:
        texts.append(f'DEFAULT is "{printable(plan.default)}"')
    return Step(DOTQMAIL, ", ".join(texts), where)


def _sender_step(before: bytes, after: bytes) -> Step:
    if after == before:
        return Step("sender", f"goes on as {_shown_sender(before)}")
    why = "VERP, each recipient gets its own" if after.endswith(b"-@[]") else "the list's owner"
    return Step("sender", f"goes on as {_shown_sender(after)}: {why}")


def _shown_sender(sender: bytes) -> str:
    return printable(sender) or "<>, the null sender"


def _summary(told: Told) -> str:
    counts = ((told.files, "file"), (told.programs, "program"), (len(told.forwards), "forward"))
    parts = [f"{count} {word}{'s' * (count != 1)}" for count, word in counts if count]
    return ", ".join(parts) or "nothing: taken and thrown away"


@dataclass(frozen=True, slots=True)
class _Line:
    file: str
    number: int
    raw: bytes
    instruction: Instruction


def _lines(files: WatchedFiles, question: LocalQuestion) -> Iterator[_Line]:
    """Yield what governs, line by line."""
    text, forward_only, file = question.default_delivery, False, ""
    if files.governing is not None and files.governing[1].text:
        file, found = files.governing
        text, forward_only = found.text, found.forward_only
    raw = text.split(b"\n")
    for number, instruction in numbered(text, forward_only=forward_only):
        yield _Line(file, number, raw[number - 1], instruction)


class _Walk:
    """Goes through the lines as a delivery does, up to the one that ends it."""

    def __init__(self, home: HomeView, told: Told, tell: Callable[[bytes], Command | None]) -> None:
        self._home = home
        self._told = told
        self._tell = tell

    def run(self, lines: list[_Line]) -> Exit:
        """Tell every line. Returns: whether the delivery could go well."""
        verdict = Exit.OK
        steps = self._told.steps
        hidden = 0
        for position, line in enumerate(lines):
            before = len(steps)
            verdict = self._do(line)
            if verdict is not Exit.OK:
                steps += _counted(len(lines) - position - 1, "that the delivery does not reach")
                break
            if len(steps) > STEPS_SHOWN_MAX:
                del steps[before:]
                hidden += 1
        steps += _counted(hidden, "like these")
        return Exit.OK if verdict is Exit.STOP else verdict

    def _do(self, line: _Line) -> Exit:
        told = self._told
        match line.instruction:
            case Maildir(path):
                told.files += 1
                if not self._home.has_maildir(path):
                    self._say(line, "a maildir that is not there: the mail is put off (#4.2.1)")
                    return Exit.TEMPORARY
                self._say(line, "delivers to this maildir")
            case Mbox():
                told.files += 1
                self._say(line, "appends to this mbox file")
            case Program(command):
                told.programs += 1
                self._say(line, "runs a program: /bin/sh -c, and its exit code counts")
                return self._do_program(command)
            case Forward(address):
                told.forwards.append(address)
                doubt = doubt_about(address)
                warning = f"; {doubt.decode()} is taken for a part of it" if doubt else ""
                self._say(line, f"forwards to {printable(address)}{warning}")
            case Refuse(reason):
                self._say(line, f"put off: {sentence(reason)}")
                return Exit.TEMPORARY
        return Exit.OK

    def _do_program(self, line: bytes) -> Exit:
        command = self._tell(line)
        if command is None:
            return Exit.OK
        self._told.steps += command.steps
        self._told.onward += command.onward
        return command.exit

    def _say(self, line: _Line, text: str) -> None:
        quote = printable(line.raw.rstrip(b" \t"))
        step = Step(f"line {line.number}", text, line.file, line.number, quote, 1)
        self._told.steps.append(step)


def _counted(count: int, what: str) -> list[Step]:
    """Return a step for lines that are not shown."""
    return [Step("...", f"{count} more {what}", depth=1)] if count else []
