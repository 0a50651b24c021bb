"""What qmail-inject learns before it reads the message: environment, list file, control files.

Source: spec/inject.md 1 and 2.
"""

from __future__ import annotations

from time import gmtime

from qmail.core.dates import mail_date
from qmail.core.inject.message import Moment, Person
from qmail.core.settings.hosts import TAME
from qmail.core.settings.lines import read_named_file, split_lines

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    Environ = Mapping[bytes, bytes]


def read_person(environ: Environ) -> Person:
    """Find out who sends. A variable that is set but empty counts."""
    user = _first(environ, b"QMAILUSER", b"MAILUSER", b"USER", b"LOGNAME")
    host = _first(environ, b"QMAILHOST", b"MAILHOST")
    name = _first(environ, b"QMAILNAME", b"MAILNAME", b"NAME")
    sender_user = _first(environ, b"QMAILSUSER")
    sender_host = _first(environ, b"QMAILSHOST")
    user = b"anonymous" if user is None else user
    return Person(
        user,
        host,
        name,
        user if sender_user is None else sender_user,
        host if sender_host is None else sender_host,
    )


def _first(environ: Environ, *names: bytes) -> bytes | None:
    for name in names:
        value = environ.get(name)
        if value is not None:
            return value.translate(TAME)
    return None


def read_lists(environ: Environ) -> frozenset[bytes] | None:
    """Read the mailing lists the user is on, from the file QMAILMFTFILE; None without one.

    Raises: OSError: it can't be read. ControlError: it is too long.
    """
    raw = read_named_file(environ, b"QMAILMFTFILE")
    if raw is None:
        return None
    lines = [line.text for line in split_lines(raw)]
    return frozenset(line.lower() for line in lines if line and not line.startswith(b"#"))


def make_moment(when_s: int, pid: int, chance: int) -> Moment:
    """Return date and names for a message of `when_s` (seconds since 1970).

    The Message-ID keeps its old shape, time and one number; the number is the process id followed
    by twelve digits of `chance`: ids come again after a restart and in every container.
    """
    at = gmtime(when_s)
    unique = (
        f"{at.tm_year:04}{at.tm_mon:02}{at.tm_mday:02}{at.tm_hour:02}{at.tm_min:02}{at.tm_sec:02}"
        f".{pid}{chance % 10**12:012}.qmail"
    )
    return Moment(mail_date(when_s), unique.encode(), b"%d.%d" % (when_s, pid))
