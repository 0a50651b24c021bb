"""The child of qmail-pspawn that stays root: it alone reads the system's passwords.

It takes a name and a password from one bounded frame, and parses nothing else.
"""

import time

from qmail.core.login.password_check import check_system
from qmail.edge.machine.system_passwords import SystemPasswords
from qmail.edge.machine.wipe import wipe
from qmail.protocol.login_door import Refusal, Refused
from qmail.protocol.password_door import Found, unpack_password
from qmail.protocol.sasl import Credentials


class SystemDesk:
    """Answers about passwords of the system."""

    def __init__(self) -> None:
        self._passwords = SystemPasswords()

    def reply(self, payload: bytes) -> bytes:
        """Take a `Password` frame; return the frame that answers it. Raises: FrameError."""
        asked = unpack_password(payload)
        credentials = Credentials(asked.name, asked.password, asked.name)
        verdict = check_system(credentials, self._passwords, int(time.time()))
        wipe(asked.password, payload)
        if isinstance(verdict, Refusal):
            return Refused(asked.tag, verdict).pack()
        return Found(asked.tag, verdict).pack()
