"""ofmipd: takes outgoing mail from simple clients, completes it, and puts it into the queue.

One conversation on descriptors 0 and 1, as under tcpserver, which decides who may talk to it: it
sends mail anywhere for anybody. It does not run as root. Source: spec/companion.md 7.
"""

import os
import time
from collections.abc import Sequence
from typing import Final

from qmail.core.cdb import Cdb, CdbError
from qmail.core.settings.controls import load_one, settings
from qmail.core.settings.host_rules import read_rewriting
from qmail.core.settings.lines import ControlError, control_reader
from qmail.core.settings.programs import SmtpdControls
from qmail.core.smtp.policy import message_limit
from qmail.edge.log.lines import complain
from qmail.edge.machine.home import home_folder
from qmail.edge.submit.queue import submit
from qmail.edge.wires.timed_wire import Limits, TimedWire, WireError
from qmail.programs.ofmipd_talk import LINGER_S, Conversation, Policy, received_start
from qmail.protocol import ofmip
from qmail.protocol.exits import Exit
from qmail.protocol.options import asks_for_help
from qmail.protocol.reply import Reply

NAME: Final = "ofmipd"
USAGE: Final = "usage: ofmipd [ name.cdb ]"
TIMEOUT_S: Final = 1200
FAILED: Final = 1
"""How a conversation ends that has no QUIT."""


def main(argv: Sequence[str]) -> int:
    """Hold one conversation."""
    if len(argv) > 1 or asks_for_help(argv):
        complain(NAME, USAGE)
        return Exit.PERMANENT
    home = home_folder()
    with TimedWire(0, 1, Limits(TIMEOUT_S, TIMEOUT_S)) as wire:
        if os.geteuid() == 0:
            complain(NAME, "fatal: this does not run as root: have tcpserver -u and -g change that")
            return turn_away(wire, ofmip.AS_ROOT, Exit.TEMPORARY)
        try:
            policy = read_policy(home, argv[0] if argv else None)
        except (ControlError, CdbError) as wrong:
            complain(NAME, f"fatal: {wrong}")
            return turn_away(wire, ofmip.NO_CONFIGURATION, FAILED)
        except OSError as trouble:
            where = trouble.filename or home
            complain(NAME, f"fatal: {where}: {(trouble.strerror or str(trouble)).lower()}")
            return turn_away(wire, ofmip.NO_CONFIGURATION, FAILED)
        conversation = Conversation(
            wire, policy, lambda parts, to: submit(home, parts, to, os.environ), time.time
        )
        return Exit.OK if conversation.run() else FAILED


def turn_away(wire: TimedWire, reply: Reply, code: int) -> int:
    """Say one thing and no more. Returns the exit code."""
    try:
        wire.write(reply.wire)
        wire.linger(LINGER_S)
    except WireError:
        return code
    return code


def read_policy(home: str, names: str | None) -> Policy:
    """Read the table of names and the control files.

    Raises: ControlError, CdbError: one that can't be used. OSError: one that can't be read.
    """
    table = None if names is None else Cdb(names)
    os.chdir(home)
    read_file = control_reader(home)
    limits = [setting for setting in settings(SmtpdControls) if setting.name == "databytes"]
    return Policy(
        read_rewriting(os.environb, read_file),
        table,
        received_start(os.environb),
        message_limit(load_one(limits[0], read_file), os.environ.get("DATABYTES")),
        f"{os.getpid()}{int.from_bytes(os.urandom(8), 'big') % 10**12:012}.qmail".encode(),
    )
