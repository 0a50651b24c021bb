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

from qmail.edge.machine.home import home_folder
from qmail.edge.machine.standard import say
from qmail.edge.tls.certificate import certificate_files
from qmail.edge.tools.line_tool import start_program
from qmail.edge.wires.line_wire import LineWire
from qmail.edge.wires.wire import GoneError
from qmail.protocol import pop3
from qmail.protocol import pop3_replies as replies
from qmail.protocol.pop3_login import PLAIN, Login, LoginSession, StartTls

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
    offer = offer_of(environ)
    session = LoginSession(challenge if offer.has_apop else host, offer)
    failures = 0
    while (event := _next_event(session)) is not None:
        if isinstance(event, StartTls):
            if not start_tls():
                return
            session.tls_started(offer._replace(has_tls=True))
            continue
        proof = proof_of(event, challenge)
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


def offer_of(environ: Mapping[str, str]) -> pop3.Offer:
    """Return what clients may log in with. APOP is not among it unasked: it rests on MD5."""
    home = home_folder()
    return pop3.Offer(
        has_user=True,
        has_apop="APOP" in environ or os.path.exists(f"{home}/control/apop"),
        mechanisms=(PLAIN,),
        has_stls=certificate_files(home) is not None,
    )


def start_tls() -> bool:
    """Speak TLS with the client from now on. False: it can't be had, and it is too late to say."""
    # Few connections come here, and the library takes longer to import than all the rest.
    from qmail.edge.tls.relay import put_tls_in_front  # noqa: PLC0415
    from qmail.edge.tls.session import TlsError, server_context  # noqa: PLC0415

    files = certificate_files(home_folder())
    try:
        if files is not None:
            put_tls_in_front(server_context(*files), NAME)
    except (TlsError, OSError) as trouble:
        say(f"{NAME}: fatal: no TLS: {trouble}")
        return False
    return files is not None


def _next_event(session: LoginSession) -> Login | StartTls | None:
    """Talk until the client wants to log in, or TLS; None: it is gone, or has said QUIT."""
    with LineWire(TIMEOUT_S) as wire:
        try:
            event = _talk(session, wire)
            if event is None:
                wire.finish()
        except (GoneError, TimeoutError):
            return None
        return event


def _talk(session: LoginSession, wire: LineWire) -> Login | StartTls | None:
    wire.begin_wait()
    while True:
        event = session.next_event()
        out = session.bytes_to_send()
        wire.write(out)
        if isinstance(event, Login | StartTls):
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
