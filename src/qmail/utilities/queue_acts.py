"""qmail queue hold, release, retry, delete, bounce: asks how many, asks back, then has it done."""

import argparse
import json
import os
import sys
from collections.abc import Sequence
from typing import Any, Final

from qmail.edge.doors.control_call import CallError, ControlCall
from qmail.edge.machine.home import home_folder
from qmail.edge.tools.plain_text import plural
from qmail.protocol.control_door import TEXT_BYTES_MAX, Answer, Question
from qmail.protocol.exits import Exit
from qmail.utilities.queue_options import add_filter, filter_of, parse

ABOUT: Final = {
    "hold": "Try messages no more until they are released.",
    "release": "Try held messages again, at once.",
    "retry": "Try waiting recipients at once; others of a message wait on.",
    "delete": "Give messages up and tell nobody. 'qmail queue undo' works for ten minutes.",
    "bounce": "Give messages up and tell their senders. 'qmail queue undo' works for ten minutes.",
}
DONE: Final = {
    "hold": "held",
    "release": "released",
    "retry": "due now",
    "delete": "set aside, to be deleted in ten minutes",
    "bounce": "set aside, to be bounced in ten minutes",
}


def main(name: str, argv: Sequence[str]) -> int:
    """Do it. Returns: 0; 1 where there is nothing of the kind, or the answer was no; 100.

    Raises: CallError.
    """
    parser = argparse.ArgumentParser(prog=f"qmail queue {name}", description=ABOUT[name])
    add_filter(parser)
    if name == "bounce":
        parser.add_argument("--reason-text", type=_reason, default=b"", metavar="TEXT",
                            help="what the senders are told")  # fmt: skip
    parser.add_argument("--all", action="store_true", help="all messages, where no filter is given")
    parser.add_argument("--yes", action="store_true", help="do not ask back")
    parser.add_argument("--json", action="store_true", help="for programs: one object")
    chosen = parse(parser, argv)
    wanted = filter_of(chosen)
    if wanted.is_empty and not chosen.all:
        return _refused(name, "say which: numbers, a filter, or --all")
    if not (chosen.yes or sys.stdin.isatty()):
        return _refused(name, "there is no terminal to ask back on: write --yes to go on")
    text = chosen.reason_text if name == "bounce" else b""
    question = Question(tag=1, verb=name, filter=wanted, text=text)
    call = ControlCall(home_folder())
    try:
        return run(call, question, chosen)
    finally:
        call.close()


def _reason(text: str) -> bytes:
    told = os.fsencode(text)
    if len(told) > TEXT_BYTES_MAX or not all(byte >= 32 or byte == 10 for byte in told):
        raise argparse.ArgumentTypeError(f"longer than {TEXT_BYTES_MAX} bytes, or not plain text")
    return told


def _refused(name: str, why: str) -> int:
    print(f"qmail queue {name}: {why}", file=sys.stderr)
    return Exit.PERMANENT


def run(call: ControlCall, question: Question, chosen: argparse.Namespace) -> int:
    """Ask how many, ask back, do it, say what was done. Raises: CallError."""
    call.send(question)
    messages, recipients = counts(call.receive())[:2]
    if not messages:
        say(chosen, {"messages": 0, "recipients": 0}, "nothing of the kind")
        return 1
    if not chosen.yes and not is_confirmed(question, messages, recipients):
        print("nothing was done", file=sys.stderr)
        return 1
    (*_, last) = call.ask(Question(tag=question.tag, verb="yes"))
    done = counts(last)
    operation, messages, recipients, busy = (*done, 0, 0, 0, 0)[:4]
    made = {"messages": messages, "recipients": recipients, "busy": busy}
    words = f"{amount(messages, recipients)}: {DONE[question.verb]}"
    if operation and question.verb in ("delete", "bounce"):
        made["operation"] = operation
        words += f"; 'qmail queue undo {operation}' takes it back"
    if busy:
        words += f"\n{plural(busy, 'message')} left alone: tried for the first time now, ask again"
    say(chosen, made, words)
    return Exit.OK


def counts(answer: Answer) -> tuple[int, ...]:
    """Return the numbers in an answer. Raises: CallError: there is something else in it."""
    if len(answer.fields) < 2 or not all(field.isdigit() for field in answer.fields):
        raise CallError("nonsense from qmail-send: no numbers")
    return tuple(int(field) for field in answer.fields)


def say(chosen: argparse.Namespace, made: dict[str, Any], words: str) -> None:
    """Tell what was done, to a program or to people."""
    print(json.dumps(made) if chosen.json else words)


def amount(messages: int, recipients: int) -> str:
    """Return how many, in words."""
    return f"{plural(messages, 'message')}, {plural(recipients, 'recipient')}"


def is_confirmed(question: Question, messages: int, recipients: int) -> bool:
    """Ask back on the terminal."""
    only = ""
    if question.filter.names_recipients:
        only = " (these recipients only; others of the messages stay)"
    print(f"{amount(messages, recipients)}{only}: {question.verb}? [y/N] ", end="", flush=True)
    return sys.stdin.readline().strip().lower() in ("y", "yes")
