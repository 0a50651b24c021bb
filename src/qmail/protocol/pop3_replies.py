"""Every reply of the POP3 server but those that hold data, in one table.

Positive replies without data are `+OK ` with its blank, as in the original (spec/oddities.md 9).
A reply code in brackets says what kind of refusal it is: RFC 2449 8 (RESP-CODES), RFC 3206 4 and 5
(SYS/TEMP, SYS/PERM, AUTH). One reply line has at most 512 bytes (RFC 2449 4).
"""

from __future__ import annotations

from qmail.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final


class Reply(Record):
    """One line. `code` stands in brackets, b"" is none."""

    is_ok: bool
    text: bytes = b""
    code: bytes = b""

    @property
    def wire(self) -> bytes:
        """The reply as it is sent, with its line end."""
        if self.is_ok:
            return b"+OK %b\r\n" % self.text
        if self.code:
            return b"-ERR [%b] %b\r\n" % (self.code, self.text)
        return b"-ERR %b\r\n" % self.text


AUTH: Final = b"AUTH"
IN_USE: Final = b"IN-USE"
TEMPORARY: Final = b"SYS/TEMP"
PERMANENT: Final = b"SYS/PERM"

# --- in every state -----------------------------------------------------------------------------

OK: Final = Reply(is_ok=True)
SYNTAX: Final = Reply(False, b"syntax error")
LINE_TOO_LONG: Final = Reply(False, b"command line too long")
UNIMPLEMENTED: Final = Reply(False, b"unimplemented")
NO_LANGUAGE: Final = Reply(False, b"no language but i-default")
TOO_MANY_MISTAKES: Final = Reply(False, b"too many mistakes", TEMPORARY)
TIMED_OUT: Final = Reply(False, b"timed out", TEMPORARY)
UNFORESEEN: Final = Reply(False, b"unforeseen trouble, try again later", TEMPORARY)
SHUTTING_DOWN: Final = Reply(False, b"shutting down, try again later", TEMPORARY)

# --- before the login ---------------------------------------------------------------------------

AUTHORIZE_FIRST: Final = Reply(False, b"authorization first")
USER_FIRST: Final = Reply(False, b"USER first")
NO_APOP: Final = Reply(False, b"no APOP here")
NO_MECHANISM: Final = Reply(False, b"no such mechanism")
NO_STLS: Final = Reply(False, b"no STLS here")
TLS_ALREADY: Final = Reply(False, b"TLS is on already")
TLS_GO_AHEAD: Final = Reply(True, b"begin TLS")
TLS_FIRST: Final = Reply(False, b"no clear passwords without TLS: use TLS", AUTH)
BAD_BASE64: Final = Reply(False, b"not base64")
CANCELLED: Final = Reply(False, b"cancelled")
LOGIN_REFUSED: Final = Reply(False, b"authorization failed", AUTH)
LOGIN_TROUBLE: Final = Reply(False, b"unable to look at the password, try again later", TEMPORARY)
LOGIN_LIMIT: Final = Reply(False, b"too many sessions of this mailbox", IN_USE)
TOO_MANY_LOGINS: Final = Reply(False, b"too many failures", AUTH)
TOO_MANY_SESSIONS: Final = Reply(False, b"too many connections, try again later", TEMPORARY)
CHILD_CRASHED: Final = Reply(False, b"child crashed", TEMPORARY)
NO_SUBPROGRAM: Final = Reply(False, b"unable to start the login program", PERMANENT)

# --- after the login ----------------------------------------------------------------------------

LOGGED_IN_ALREADY: Final = Reply(False, b"logged in already")
NO_MAILDIR: Final = Reply(False, b"this user has no maildir", PERMANENT)
MAILDIR_TROUBLE: Final = Reply(False, b"unable to read the maildir, try again later", TEMPORARY)
COUNTED_FROM_ONE: Final = Reply(False, b"messages are counted from 1")
NOT_THAT_MANY: Final = Reply(False, b"not that many messages")
ALREADY_DELETED: Final = Reply(False, b"already deleted")
GONE: Final = Reply(False, b"this message is gone: another program has removed it")
UNREADABLE: Final = Reply(False, b"unable to open this message", TEMPORARY)
SOME_NOT_REMOVED: Final = Reply(False, b"some deleted messages not removed", TEMPORARY)
