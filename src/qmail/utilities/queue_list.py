"""qmail queue list, show, count: what is in the queue, by asking qmail-send."""

import argparse
import json
import os
import sys
from collections.abc import Iterator, Sequence
from typing import Any, Final

from qmail.edge.doors.control_call import CallError, ControlCall
from qmail.edge.machine.home import home_folder
from qmail.edge.tools.plain_text import (
    plural,
    short_age,
    short_size,
    shown,
    table,
    terminal_width,
    text_of,
)
from qmail.protocol.control_door import COUNT_KEYS, Answer, Question, RecipientRow, Row, tally_of
from qmail.protocol.exits import Exit
from qmail.protocol.queue_filter import code_of
from qmail.utilities.queue_options import add_filter, filter_of, parse

LIST_HEAD: Final = ("number", "state", "age", "size", "next", "from", "to", "reason")
LIST_RIGHTS: Final = frozenset((0, 2, 3, 4))
ROWS_AT_A_TIME: Final = 500
LIMIT_MAX: Final = 10**9
ABOUT: Final = {
    "list": "List messages, one a line, in the order of their numbers.",
    "show": "Show messages with each of their recipients.",
    "count": "Count messages, the most frequent first.",
}


def main(name: str, argv: Sequence[str]) -> int:
    """Ask and print. Returns: 0; 1 where there is nothing of the kind.

    Raises: CallError.
    """
    parser = argparse.ArgumentParser(prog=f"qmail queue {name}", description=ABOUT[name])
    if name == "count":
        parser.add_argument("--by", choices=COUNT_KEYS, default="domain", help="default: domain")
    add_filter(parser)
    parser.add_argument("--limit", type=_limit, default=0, metavar="N", help="no more than N")
    parser.add_argument("--json", action="store_true", help="for programs: one object a line")
    chosen = parse(parser, argv)
    text = chosen.by.encode() if name == "count" else b""
    question = Question(tag=1, verb=name, filter=filter_of(chosen), text=text, limit=chosen.limit)
    call = ControlCall(home_folder())
    try:
        answers = call.ask(question)
        if chosen.json:
            return print_json(name, answers)
        if name == "count":
            return print_counts(chosen.by, answers)
        return print_list(answers) if name == "list" else print_messages(answers)
    except BrokenPipeError:
        # The reader has seen enough; nothing may be written when the interpreter ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return Exit.OK
    finally:
        call.close()


def _limit(text: str) -> int:
    if not (text.isascii() and text.isdigit() and 0 < int(text[:12]) <= LIMIT_MAX):
        raise argparse.ArgumentTypeError(f"{text!r} is no number above 0")
    return int(text)


def totals(answer: Answer) -> tuple[int, int]:
    """Return messages and recipients of the last answer. Raises: CallError: it is no such thing."""
    if len(answer.fields) < 2 or not (answer.fields[0].isdigit() and answer.fields[1].isdigit()):
        raise CallError("nonsense from qmail-send: no totals")
    return int(answer.fields[0]), int(answer.fields[1])


# --- for people -----------------------------------------------------------------------------------


def print_list(answers: Iterator[Answer]) -> int:
    """Print a table, a part at a time, and the totals."""
    rows: list[tuple[str, ...]] = [LIST_HEAD]
    width = terminal_width()
    for answer in answers:
        if answer.kind == "row":
            rows.append(list_cells(Row.of(answer)))
            if len(rows) > ROWS_AT_A_TIME:
                print("\n".join(table(rows, LIST_RIGHTS, width)))
                rows = [LIST_HEAD]
        elif answer.kind == "done":
            messages, recipients = totals(answer)
            if len(rows) > 1:
                print("\n".join(table(rows, LIST_RIGHTS, width)))
            return print_totals(messages, recipients)
    return Exit.OK


def print_totals(messages: int, recipients: int) -> int:
    """Print the last line. Returns: 0, or 1 where there is nothing."""
    sys.stdout.flush()
    print(f"{plural(messages, 'message')}, {plural(recipients, 'recipient')}", file=sys.stderr)
    return Exit.OK if messages else 1


def list_cells(row: Row) -> tuple[str, ...]:
    """Return the cells of one line."""
    more = f" +{row.recipients - 1}" if row.recipients > 1 else ""
    return (
        str(row.number),
        row.state,
        short_age(row.age_s),
        short_size(row.size),
        "-" if row.due_s is None else short_age(row.due_s),
        shown(row.sender) or "<>",
        shown(row.recipient) + more,
        shown(row.reason),
    )


def print_messages(answers: Iterator[Answer]) -> int:
    """Print each message with its recipients."""
    for answer in answers:
        if answer.kind == "row":
            row = Row.of(answer)
            due = "" if row.due_s is None else f", next try in {short_age(row.due_s)}"
            print(f"message {row.number}  {row.state}")
            print(f"  from   {shown(row.sender) or '<>'}")
            print(f"  age    {short_age(row.age_s)}{due}")
            print(f"  size   {row.size} bytes")
        elif answer.kind == "recipient":
            person = RecipientRow.of(answer)
            print(f"  to     {shown(person.address)}  ({person.channel}, {person.state})")
            if person.reason:
                print(f"         {shown(person.reason)}")
        elif answer.kind == "done":
            return print_totals(*totals(answer))
    return Exit.OK


def print_counts(word: str, answers: Iterator[Answer]) -> int:
    """Print a table of how often, and the totals."""
    rows: list[tuple[str, ...]] = [("messages", "recipients", word)]
    for answer in answers:
        if answer.kind == "tally":
            key, messages, recipients = tally_of(answer)
            rows.append((f"{messages:,}", f"{recipients:,}", shown(key)))
        elif answer.kind == "done":
            if len(rows) > 1:
                print("\n".join(table(rows, frozenset((0, 1)), terminal_width())))
            return print_totals(*totals(answer))
    return Exit.OK


# --- for programs ---------------------------------------------------------------------------------


def print_json(name: str, answers: Iterator[Answer]) -> int:
    """Print one object a line."""
    open_row: dict[str, Any] | None = None
    count = 0
    for answer in answers:
        if answer.kind == "recipient" and open_row is not None:
            open_row["recipients"].append(recipient_object(RecipientRow.of(answer)))
            continue
        if open_row is not None:
            print(json.dumps(open_row))
            open_row = None
        if answer.kind == "row":
            made = row_object(Row.of(answer))
            if name == "show":
                open_row = {**made, "recipients": []}
            else:
                print(json.dumps(made))
            count += 1
        elif answer.kind == "tally":
            key, messages, recipients = tally_of(answer)
            made = {"key": text_of(key), "messages": messages, "recipients": recipients}
            print(json.dumps(made))
            count += 1
    return Exit.OK if count else 1


def row_object(row: Row) -> dict[str, Any]:
    """Return a message under the names that stay."""
    return {
        "number": row.number,
        "state": row.state,
        "age_s": row.age_s,
        "size_bytes": row.size,
        "due_s": row.due_s,
        "sender": text_of(row.sender),
        "recipient_count": row.recipients,
        "recipient": text_of(row.recipient),
        "code": text_of(code_of(row.reason)),
        "reason": text_of(row.reason),
    }


def recipient_object(person: RecipientRow) -> dict[str, Any]:
    """Return a recipient under the names that stay."""
    return {
        "address": text_of(person.address),
        "channel": person.channel,
        "state": person.state,
        "code": text_of(code_of(person.reason)),
        "reason": text_of(person.reason),
    }
