"""SMTP replies: the value, its bytes on the wire, and the one table of every reply of the server.

Each reply but the greeting and those to HELO and EHLO carries an enhanced status code, because the
server announces ENHANCEDSTATUSCODES (RFC 2034 4); its class is that of the reply's first digit.
"""

import re
from dataclasses import dataclass, field
from typing import Final

from qmail.mail import Letter, Result

# What can't stand in a reply line: controls and 8-bit bytes become a question mark. The line feed
# stays: it divides the lines of one reply.
_PRINTABLE: Final = bytes(
    byte if 32 <= byte < 127 or byte == 10 else ord("?") for byte in range(256)
)
_CODE_AT_END: Final = re.compile(rb"\s*\(#([245]\.\d{1,3}\.\d{1,3})\)\s*$")


@dataclass(frozen=True, slots=True)
class Reply:
    """One reply. `text` may have several lines, divided by LF; `enhanced` b"" is none."""

    code: int
    enhanced: bytes
    text: bytes
    wire: bytes = field(init=False, repr=False, compare=False)
    """The reply as it is sent, with its line ends."""

    def __post_init__(self) -> None:
        text = self.text.translate(_PRINTABLE)
        mark = self.enhanced + b" " if self.enhanced else b""
        if 10 in text:
            *first, last = text.split(b"\n")
            wire = b"".join([b"%d-%b%b\r\n" % (self.code, mark, line) for line in first])
            wire += b"%d %b%b\r\n" % (self.code, mark, last)
        else:
            wire = b"%d %b%b\r\n" % (self.code, mark, text)
        object.__setattr__(self, "wire", wire)

    @property
    def line(self) -> bytes:
        """The reply as one line for a log, without line end."""
        return self.wire[:-2].replace(b"\r\n", b" / ")


# --- replies to commands ------------------------------------------------------------------------

SENDER_OK: Final = Reply(250, b"2.1.0", b"ok")
RECIPIENT_OK: Final = Reply(250, b"2.1.5", b"ok")
DATA_GO_AHEAD: Final = Reply(354, b"", b"go ahead")
RESET_OK: Final = Reply(250, b"2.0.0", b"flushed")
NOOP_OK: Final = Reply(250, b"2.0.0", b"ok")
VRFY_UNSURE: Final = Reply(252, b"2.1.5", b"not verified; mail for it will be tried")
HELP_TEXT: Final = Reply(
    214, b"2.0.0", b"qmail\nHELO EHLO MAIL RCPT DATA RSET NOOP VRFY HELP QUIT\nsee RFC 5321"
)

# --- the client broke a rule --------------------------------------------------------------------

LINE_TOO_LONG: Final = Reply(500, b"5.5.2", b"command line too long")
NUL_IN_COMMAND: Final = Reply(500, b"5.5.2", b"NUL byte in a command")
UNIMPLEMENTED: Final = Reply(502, b"5.5.1", b"unimplemented")
MAIL_FIRST: Final = Reply(503, b"5.5.1", b"MAIL first")
RCPT_FIRST: Final = Reply(503, b"5.5.1", b"RCPT first")
NO_RECIPIENTS: Final = Reply(554, b"5.5.1", b"no valid recipients")
SENDER_SYNTAX: Final = Reply(501, b"5.1.7", b"syntax error in the sender's address")
SENDER_TOO_LONG: Final = Reply(501, b"5.1.7", b"sender's address too long")
RECIPIENT_SYNTAX: Final = Reply(501, b"5.1.3", b"syntax error in the recipient's address")
RECIPIENT_TOO_LONG: Final = Reply(553, b"5.1.3", b"recipient's address too long")
RECIPIENT_EMPTY: Final = Reply(553, b"5.1.3", b"nobody is named in this recipient")
NOT_ASCII: Final = Reply(553, b"5.6.7", b"address with 8-bit bytes; this needs SMTPUTF8")
PARAMETER_UNKNOWN: Final = Reply(555, b"5.5.4", b"parameter not known here")
PARAMETER_SYNTAX: Final = Reply(501, b"5.5.4", b"syntax error in a parameter")
BARE_LINE_END: Final = Reply(521, b"5.5.2", b"bare LF or CR in the message; lines end in CR LF")
TOO_MANY_ERRORS: Final = Reply(421, b"4.7.0", b"too many errors")

# --- policy and limits --------------------------------------------------------------------------

NOT_RELAYING: Final = Reply(553, b"5.7.1", b"not a domain that this server takes mail for")
NO_DOMAIN: Final = Reply(553, b"5.1.3", b"recipient without a domain")
NO_SUCH_MAILBOX: Final = Reply(550, b"5.1.1", b"no mailbox of this name here")
TOO_MANY_UNKNOWN: Final = Reply(421, b"4.7.0", b"too many unknown recipients")
TOO_MANY_RECIPIENTS: Final = Reply(452, b"4.5.3", b"too many recipients")
MESSAGE_TOO_BIG: Final = Reply(552, b"5.3.4", b"message too big")
TOO_MANY_HOPS: Final = Reply(554, b"5.4.6", b"too many hops, this message is looping")
TOO_MANY_SESSIONS: Final = Reply(421, b"4.7.0", b"too many connections, come back later")

# --- trouble here -------------------------------------------------------------------------------

TIMED_OUT: Final = Reply(451, b"4.4.2", b"timeout")
SHUTTING_DOWN: Final = Reply(421, b"4.3.2", b"shutting down, come back later")
NOT_SET_UP: Final = Reply(421, b"4.3.0", b"unable to read controls")
CANNOT_VERIFY: Final = Reply(451, b"4.3.0", b"unable to verify this recipient now, try again")
QUEUE_DOWN: Final = Reply(451, b"4.3.0", b"the queue is not available")
UNFORESEEN: Final = Reply(421, b"4.3.0", b"internal trouble")

# --- replies made of what a host is called, or of what the queue said ---------------------------


def greeting_reply(greeting: bytes) -> Reply:
    """Make the first reply of a session (RFC 5321 4.3.1)."""
    return Reply(220, b"", greeting + b" ESMTP")


def helo_reply(greeting: bytes) -> Reply:
    """Make the reply to HELO."""
    return Reply(250, b"", greeting)


def ehlo_reply(greeting: bytes, databytes: int) -> Reply:
    """Make the reply to EHLO: what the server can (RFC 5321 4.1.1.1). `databytes` 0: any size."""
    lines = (greeting, b"PIPELINING", b"8BITMIME", b"SIZE %d" % databytes, b"ENHANCEDSTATUSCODES")
    return Reply(250, b"", b"\n".join(lines))


def quit_reply(greeting: bytes) -> Reply:
    """Make the reply to QUIT."""
    return Reply(221, b"2.0.0", greeting)


def queued_reply(when_s: int, qp: int) -> Reply:
    """Make the reply to a message that is safe in the queue (spec/smtp.md A.6)."""
    return Reply(250, b"2.0.0", b"ok %d qp %d" % (when_s, qp))


def refused_reply(result: Result) -> Reply:
    """Make the reply to a message that the queue did not take: D is 554, anything else 451.

    A code at the end of its text, `(#4.3.0)`, moves to the place of the enhanced status code.
    """
    code, enhanced = (554, b"5.3.0") if result.letter == Letter.FAILED else (451, b"4.3.0")
    found = _CODE_AT_END.search(result.text)
    text = result.text[: found.start()] if found else result.text
    if found and found[1][0] == enhanced[0]:
        enhanced = found[1]
    return Reply(code, enhanced, text.strip().replace(b"\n", b" ")[:400])
