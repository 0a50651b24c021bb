"""maildir2mbox: move a maildir's messages to an mbox file, for readers that know no maildir.

Source: spec/programs.md 7.
"""

import errno
import os
import sys
import time
from collections.abc import Sequence

from qmail.core.fs import RealFs
from qmail.core.local.maildir_sweep import remove_stale
from qmail.core.local.mbox import LOCK_S_MAX
from qmail.core.local.mbox_filling import Mailbox, fill
from qmail.edge.children.shell import lock_exclusively
from qmail.protocol.exits import Exit
from qmail.protocol.options import asks_for_help

NAME = "maildir2mbox"


def main(argv: Sequence[str]) -> int:
    """Run the command; MAILDIR, MAIL and MAILTMP say what and where to."""
    if argv or asks_for_help(argv):
        print("maildir2mbox: usage: maildir2mbox", file=sys.stderr)
        return Exit.PERMANENT
    os.umask(0o077)
    try:
        maildir, mail, new = (os.environ[name] for name in ("MAILDIR", "MAIL", "MAILTMP"))
        for path in move(maildir, mail, new):
            say(f"warning: {maildir}/{path} stays: it is in {mail}, and will be there twice")
    except KeyError as missing:
        return fail(f"{missing.args[0]} not set")
    except TimeoutError:
        return fail(f"{mail} is locked by another program")
    except OSError as trouble:
        where = f"{trouble.filename}: " if isinstance(trouble.filename, str) else ""
        reason = (trouble.strerror or "unknown error").lower()
        return fail(f"unable to move mail from {maildir} to {mail}: {where}{reason}")
    return Exit.OK


def move(maildir: str, mail: str, new: str) -> list[str]:
    """Move the messages. Returns the files that could not be removed.

    Raises: OSError: no message has left the maildir. TimeoutError: the mbox is in use.
    """
    folder = RealFs(maildir)
    remove_stale(folder, time.time())
    # Links are followed: the file is replaced, not the link to it.
    mail, new = os.path.realpath(mail), os.path.realpath(new)
    if mail == new or (
        os.path.exists(new) and os.path.exists(mail) and os.path.samefile(mail, new)
    ):
        raise FileExistsError(errno.EEXIST, "the new file is the mailbox itself", new)
    place, name = os.path.split(mail)
    mailbox = Mailbox(RealFs(place), name, new)
    return fill(mailbox, folder, lambda fd: lock_exclusively(fd, LOCK_S_MAX))


def fail(why: str) -> int:
    """Say why nothing was done. Returns the exit code."""
    say(f"fatal: {why}")
    return Exit.TEMPORARY


def say(line: str) -> None:
    """Write to standard error."""
    print(f"{NAME}: {line}", file=sys.stderr)
