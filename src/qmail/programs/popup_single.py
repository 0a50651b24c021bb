"""One POP3 conversation up to its login on descriptors 0 and 1. Blocking, no event loop.

The login program gets `name NUL password NUL challenge NUL` on descriptor 3, and the network as it
is: nothing that the client sent behind its password has been read. It says whether the password is
good by becoming the session, or by its exit code.
Source: spec/smtp.md E.1, E.2; spec/oddities.md 9.
"""

from __future__ import annotations

import fcntl
import os
import time

from qmail.edge.home import home_folder
from qmail.edge.line_tool import start_program
from qmail.edge.line_wire import LineWire
from qmail.edge.standard import say
from qmail.edge.wire import GoneError
from qmail.protocol import pop3
from qmail.protocol import pop3_replies as replies
from qmail.protocol.pop3_login import PLAIN, Login, LoginSession

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Final

    from qmail.protocol.pop3_replies import Reply

NAME: Final = "qmail-popup"
TIMEOUT_S: Final = 1200.0
PROOF_FD: Final = 3
FD_MIN: Final = 10
"""The pipe is kept away from the descriptors that the login program gets."""
FAILURES_MAX: Final = 3
FAILURE_S: Final = 1.0
"""The answer to the first failed login is held back so long, the next one twice that."""
REFUSED_EXIT_CODES: Final[Mapping[int, Reply]] = {
    2: replies.LOGIN_TROUBLE,
    111: replies.LOGIN_TROUBLE,
}
"""What is no word about the password; any other code but 0 refuses it (spec/smtp.md E.2)."""


def converse(host: bytes, command: Sequence[str], environ: Mapping[str, str]) -> None:
    """Hold the conversation to its end, the session that the login program begins included."""
    challenge = b"<%b@%b>" % (os.urandom(12).hex().encode(), host)
    has_apop = offers_apop(environ)
    offer = pop3.Offer(has_user=True, has_apop=has_apop, mechanisms=(PLAIN,))
    session = LoginSession(challenge if has_apop else host, offer)
    failures = 0
    while (login := _next_login(session)) is not None:
        proof = proof_of(login, challenge)
        reply = replies.LOGIN_REFUSED if proof is None else try_login(command, proof)
        if reply is None:
            return
        if reply == replies.LOGIN_REFUSED:
            failures += 1
            time.sleep(FAILURE_S * failures)
        session.answer(reply)
        if failures == FAILURES_MAX or reply == replies.CHILD_CRASHED:
            # What is to be sent still is.
            session.feed(b"")


def offers_apop(environ: Mapping[str, str]) -> bool:
    """Say whether the greeting has a challenge: nobody should be made to use MD5 unasked."""
    return "APOP" in environ or os.path.exists(f"{home_folder()}/control/apop")


def _next_login(session: LoginSession) -> Login | None:
    """Talk to the client until it wants to log in; None: it is gone, or has said QUIT."""
    with LineWire(TIMEOUT_S) as wire:
        try:
            login = _talk(session, wire)
            if login is None:
                wire.finish()
        except (GoneError, TimeoutError):
            return None
        return login


def _talk(session: LoginSession, wire: LineWire) -> Login | None:
    wire.begin_wait()
    while True:
        event = session.next_event()
        out = session.bytes_to_send()
        wire.write(out)
        if isinstance(event, Login):
            return event
        if session.is_closed:
            return None
        if event is None:
            if out:
                wire.begin_wait()
            session.feed(wire.read())


def proof_of(login: Login, challenge: bytes) -> bytes | None:
    """Return what the login program reads on descriptor 3; None: it can't be anybody's."""
    name, secret = login.identity, login.secret
    if login.mechanism == PLAIN:
        # RFC 4616 2: authzid NUL authcid NUL passwd. Nobody logs in for somebody else.
        acts_as, *found = login.identity.split(b"\0")
        if len(found) != 2 or acts_as not in (b"", found[0]) or not found[0]:
            return None
        name, secret = found
    return b"%b\0%b\0%b\0" % (name, secret, challenge)


def try_login(command: Sequence[str], proof: bytes) -> Reply | None:
    """Have the login program look at `proof`; None: it was good, and the session is over."""
    reader, writer = os.pipe()
    try:
        # A pipe holds more than a line can have, so this never waits.
        os.write(writer, proof)
        os.close(writer)
        far = fcntl.fcntl(reader, fcntl.F_DUPFD_CLOEXEC, FD_MIN)
    finally:
        os.close(reader)
    try:
        pid = start_program(command, [(os.POSIX_SPAWN_DUP2, far, PROOF_FD)])
    except OSError as trouble:
        say(f"{NAME}: fatal: unable to run {command[0]}: {trouble.strerror}")
        return replies.NO_SUBPROGRAM
    finally:
        os.close(far)
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    if code < 0:
        say(f"{NAME}: {command[0]} crashed with signal {-code}")
        return replies.CHILD_CRASHED
    return REFUSED_EXIT_CODES.get(code, replies.LOGIN_REFUSED) if code else None
