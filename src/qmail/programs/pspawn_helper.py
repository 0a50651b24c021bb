"""The helper of qmail-pspawn, which runs as qmailp: SASL, users/passwd and slow hashes.

It sees names and passwords from the network, and decides whose mailbox they open. Of its answers
qmail-pspawn believes a mailbox of anybody but root and the suite, so nothing here runs as root.
"""

import base64
import os
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from qmail.core.login.passwd_line import PasswdEntry
from qmail.core.login.password_check import PasswordCheck, Verdict
from qmail.edge.machine.wipe import wipe
from qmail.protocol.login_door import (
    Begin,
    Call,
    Challenge,
    GiveUp,
    Mechanism,
    Refusal,
    Refused,
    Response,
    Start,
    unpack_call,
)
from qmail.protocol.netstring import FrameError
from qmail.protocol.password_door import Finding, Found, Password, Trouble
from qmail.protocol.sasl import Credentials, SaslError, read_credentials, read_plain
from qmail.protocol.sasl_scram import ScramServer

NONCE_BYTES: Final = 18


@dataclass(slots=True)
class _Exchange:
    """A SASL exchange that waits for its client. Without `scram` nothing has been said yet."""

    mechanism: Mechanism
    scram: ScramServer | None = None
    entry: PasswdEntry | None = None
    is_proved: bool = False
    """The server's signature is out, and an empty answer is all that is missing."""


class LoginDesk:
    """Answers about logins; several threads call `reply`, each for another login."""

    def __init__(
        self,
        make_check: Callable[[Callable[[str], None]], PasswordCheck],
        *,
        is_external: bool,
        has_system: bool,
    ) -> None:
        """Make it. `is_external`: a program decides; `has_system`: others know more names."""
        self._noted = threading.local()
        self._check = make_check(self._note)
        self._is_external = is_external
        self._has_system = has_system
        self._exchanges: dict[int, _Exchange] = {}

    def _note(self, text: str) -> None:
        self._noted.troubles.append(Trouble(text.encode(errors="replace")))

    def reply(self, payload: bytes) -> bytes:
        """Take a frame of qmail-pspawn; return the frames that answer it.

        Raises: FrameError: it is none, which ends the helper.
        """
        call = unpack_call(payload)
        self._noted.troubles = []
        finding = self._find(call)
        frames = [each.pack() for each in self._noted.troubles]
        if finding is not None:
            frames.append(finding.pack())
        # Nothing keeps them: of an exchange only keys and nonces stay.
        if isinstance(call, Begin):
            wipe(call.login, call.secret)
        elif isinstance(call, Response):
            wipe(call.data)
        wipe(payload)
        return b"".join(frames)

    def _find(self, call: Call) -> Finding | None:
        try:
            match call:
                case Begin():
                    return self._begin(call)
                case Response():
                    return self._carry_on(call)
                case GiveUp(tag):
                    self._exchanges.pop(tag, None)
                    return None
                case Start():
                    raise FrameError("no call of a helper")
        except SaslError:
            return Refused(call.tag, Refusal.AUTH)

    def _begin(self, call: Begin) -> Finding:
        if call.mechanism is Mechanism.USER:
            return self._password(call.tag, read_credentials(call.login, call.secret))
        if call.mechanism is Mechanism.APOP:
            # Only a program that keeps passwords in the clear can say anything to a digest.
            credentials = read_credentials(call.login, call.secret)
            if self._is_external:
                return Password(call.tag, credentials.typed, credentials.password)
            return Refused(call.tag, Refusal.AUTH)
        exchange = _Exchange(call.mechanism)
        if call.login:
            return self._step(call.tag, exchange, call.login)
        self._exchanges[call.tag] = exchange
        return Challenge(call.tag, b"")

    def _carry_on(self, call: Response) -> Finding:
        exchange = self._exchanges.pop(call.tag, None)
        if exchange is None:
            # It was another helper's, which is no more.
            return Refused(call.tag, Refusal.TEMPORARY)
        return self._step(call.tag, exchange, call.data)

    def _step(self, tag: int, exchange: _Exchange, message: bytes) -> Finding:
        """Take the client's next message. Raises: SaslError."""
        if exchange.mechanism is Mechanism.PLAIN:
            return self._password(tag, read_plain(message))
        if self._is_external:
            return Refused(tag, Refusal.AUTH)
        if exchange.scram is None:
            return self._scram_first(tag, exchange, message)
        if exchange.is_proved:
            return self._scram_end(tag, exchange, message)
        final = exchange.scram.finish(message)
        if final is None:
            return Refused(tag, Refusal.AUTH)
        exchange.is_proved = True
        self._exchanges[tag] = exchange
        return Challenge(tag, final)

    def _scram_first(self, tag: int, exchange: _Exchange, message: bytes) -> Finding:
        scram = exchange.scram = ScramServer(base64.b64encode(os.urandom(NONCE_BYTES)))
        found = self._check.keys(scram.begin(message))
        if isinstance(found, Refusal):
            return Refused(tag, found)
        keys, exchange.entry = found
        self._exchanges[tag] = exchange
        return Challenge(tag, scram.challenge(keys))

    def _scram_end(self, tag: int, exchange: _Exchange, message: bytes) -> Finding:
        # RFC 5802 5: the client has checked the server's signature, and has nothing more to say.
        if message or exchange.entry is None:
            return Refused(tag, Refusal.AUTH)
        return _finding(tag, self._check.mailbox(exchange.entry))

    def _password(self, tag: int, credentials: Credentials) -> Finding:
        if self._is_external:
            return Password(tag, credentials.typed, credentials.password)
        verdict = self._check.check(credentials)
        if verdict is None:
            if self._has_system:
                return Password(tag, credentials.name, credentials.password)
            self._check.waste(credentials)
            return Refused(tag, Refusal.AUTH)
        return _finding(tag, verdict)


def _finding(tag: int, verdict: Verdict) -> Finding:
    if isinstance(verdict, Refusal):
        return Refused(tag, verdict)
    return Found(tag, verdict)
