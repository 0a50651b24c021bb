"""qmail queue undo: take back what was deleted or bounced in the last ten minutes."""

import argparse
import json
import sys
from collections.abc import Sequence

from qmail.edge.doors.control_call import ControlCall
from qmail.edge.machine.home import home_folder
from qmail.edge.tools.plain_text import plural, short_age
from qmail.protocol.control_door import Question
from qmail.protocol.exits import Exit
from qmail.utilities.queue_acts import amount, counts


def main(name: str, argv: Sequence[str]) -> int:
    """Do it. Returns: 0; 1 where there is nothing to undo or to list.

    Raises: CallError.
    """
    parser = argparse.ArgumentParser(
        prog=f"qmail queue {name}",
        description="Take back a delete or bounce of the last ten minutes; the messages are due.",
    )
    parser.add_argument(
        "operation", nargs="?", type=_operation, default=b"", help="default: the last one"
    )
    parser.add_argument("--list", action="store_true", help="list what can be undone")
    parser.add_argument("--json", action="store_true", help="for programs: one object a line")
    chosen = parser.parse_args(argv)
    call = ControlCall(home_folder())
    try:
        return _list(call, chosen) if chosen.list else _undo(call, chosen)
    finally:
        call.close()


def _operation(text: str) -> bytes:
    if not (text.isascii() and text.isdigit() and len(text) < 19):
        raise argparse.ArgumentTypeError(f"{text!r} is no number of an operation")
    return b"%d" % int(text)


def _undo(call: ControlCall, chosen: argparse.Namespace) -> int:
    (*_, answer) = call.ask(Question(tag=1, verb="undo", text=chosen.operation))
    operation, messages, recipients = counts(answer)[:3]
    if chosen.json:
        made = {"operation": operation or None, "messages": messages, "recipients": recipients}
        print(json.dumps(made))
    elif operation:
        print(f"{amount(messages, recipients)}: back in the queue")
    else:
        print("there is nothing of that to undo (any more)", file=sys.stderr)
    return Exit.OK if operation else 1


def _list(call: ControlCall, chosen: argparse.Namespace) -> int:
    count = 0
    for answer in call.ask(Question(tag=1, verb="operations")):
        if answer.kind != "operation" or len(answer.fields) != 4:
            continue
        count += 1
        id_, word, messages, left_s = (field.decode() for field in answer.fields)
        if chosen.json:
            made = {"operation": int(id_), "state": word, "messages": int(messages)}
            print(json.dumps({**made, "left_s": int(left_s)}))
        else:
            many = plural(int(messages), "message")
            print(f"{id_}  {many} {word}, final in {short_age(int(left_s))}")
    return Exit.OK if count else 1
