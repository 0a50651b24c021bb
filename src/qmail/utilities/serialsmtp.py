"""serialsmtp: send files by SMTP over the connection on descriptors 6 and 7.

Source: spec/companion.md 3.2.
"""

import os
from collections.abc import Sequence
from typing import Final

from qmail.edge.machine.standard import say
from qmail.edge.smtp.serial_smtp import SerialSmtp
from qmail.edge.tools.line_tool import DONE, PERMANENT, ToolError, run_tool
from qmail.edge.tools.serial_input import open_stored, tell, told_names
from qmail.edge.wires.timed_wire import Limits, TimedWire
from qmail.protocol.options import asks_for_help
from qmail.protocol.serial_reports import smtp_report

NAME: Final = "serialsmtp"
USAGE: Final = "serialsmtp: usage: serialsmtp prefix helohost"
LIMITS: Final = Limits(read_s=81, write_s=73)
READ_FD: Final = 6
WRITE_FD: Final = 7


def main(argv: Sequence[str]) -> int:
    """Send each file whose name comes on descriptor 0, and report on 1."""
    if len(argv) != 2 or asks_for_help(argv):
        say(USAGE)
        return PERMANENT
    prefix, helohost = map(os.fsencode, argv)
    if not helohost or any(byte <= 32 or byte == 127 for byte in helohost):
        say(f"{NAME}: '{argv[1]}' is not a host name\n{USAGE}")
        return PERMANENT
    return run_tool(NAME, lambda: send_files(prefix, helohost))


def send_files(prefix: bytes, helohost: bytes) -> int:
    """Send all. Returns the exit code.

    Raises: ToolError, OSError: the connection can't be used any more.
    """
    ip = os.environb.get(b"TCPREMOTEIP", b"")
    with TimedWire(READ_FD, WRITE_FD, LIMITS) as wire:
        smtp = SerialSmtp(wire, ip or b"server", helohost)
        try:
            smtp.greet()
            for name in told_names():
                stored = open_stored(NAME, name, prefix)
                if stored is None:
                    continue
                if not smtp.is_open:
                    os.close(stored.fd)
                    raise ToolError("the server has closed the connection")
                tell(smtp_report(name, smtp.send(stored), ip))
        finally:
            smtp.say_goodbye()
    return DONE
