"""What qmail-smtpd answers to MAIL and RCPT: the settings of one moment, ready for use.

The resident and the classic server use the same object; a re-read of the controls makes a new one.
"""

from collections.abc import Mapping
from typing import Final

from qmail.core.cdb import CdbFile
from qmail.core.settings.controls import ControlError, ReadFile, load
from qmail.core.settings.programs import SmtpdControls, Verify
from qmail.core.smtp.relay import OwnAddresses, Recipients, Refusal, RelayClients
from qmail.protocol import reply as replies
from qmail.protocol.reply import Reply
from qmail.protocol.smtp_server import MailFrom, RcptTo, SessionSettings
from qmail.protocol.verify_door import Verdict

DATABYTES_MAX: Final = 4294967294

REFUSALS: Final[Mapping[Refusal, Reply]] = {
    Refusal.EMPTY: replies.RECIPIENT_EMPTY,
    Refusal.NO_DOMAIN: replies.NO_DOMAIN,
    Refusal.NOT_OURS: replies.NOT_RELAYING,
    Refusal.NO_TELLING: replies.NOT_SET_UP,
    Refusal.TOO_LONG: replies.RECIPIENT_TOO_LONG,
}
assert REFUSALS.keys() == set(Refusal)


class SmtpPolicy:
    """The rules of one server."""

    def __init__(
        self,
        controls: SmtpdControls,
        environ: Mapping[str, str],
        own_addresses: OwnAddresses,
        more_hosts: CdbFile | None = None,
    ) -> None:
        greeting = controls.smtpgreeting
        if greeting is None:
            raise ControlError("smtpgreeting", 1, "neither this file nor control/me is there")
        databytes = message_limit(controls.databytes, environ.get("DATABYTES"))
        self.session_settings = SessionSettings(greeting, databytes)
        self.host_name = controls.me or greeting.partition(b" ")[0]
        self.timeout_s = max(1, controls.timeoutsmtpd)
        self.clients = RelayClients(controls.relayclients)
        self._verify = controls.verifyrcpt
        self.verifies = controls.verifyrcpt is not Verify.OFF
        """Whether a recipient that `judge` takes is to be verified."""
        self._recipients = Recipients(
            controls.rcpthosts, controls.localiphost, own_addresses, more_hosts
        )

    def judge(self, event: MailFrom | RcptTo, relay_suffix: bytes | None) -> tuple[Reply, bytes]:
        """Return the answer to MAIL or RCPT, and the address that goes with it."""
        if isinstance(event, MailFrom):
            return replies.SENDER_OK, self._recipients.localised(event.sender)
        verdict = self._recipients.judge(event.recipient, relay_suffix)
        if isinstance(verdict, Refusal):
            return REFUSALS[verdict], event.recipient
        return replies.RECIPIENT_OK, verdict

    def verified(self, verdict: Verdict, relay_suffix: bytes | None) -> Reply:
        """Return the answer to a recipient that `judge` took and of whom `verdict` is known.

        What is not sure is never refused for good. Who may relay is the wrong one to hold a message
        back for: a mail program shows its user an error.
        """
        if verdict is Verdict.KNOWN:
            return replies.RECIPIENT_OK
        if verdict is Verdict.UNKNOWN:
            return replies.NO_SUCH_MAILBOX
        if relay_suffix is not None or self._verify is Verify.ACCEPT:
            return replies.RECIPIENT_OK
        return replies.CANNOT_VERIFY


def message_limit(control: int, override: str | None) -> int:
    """Return how large a message may be, in bytes; 0 is no limit.

    `control`: control/databytes. `override`: DATABYTES, which without digits is no limit.
    Source: spec/control-files.md 4.2.
    """
    if override is None:
        return control
    digits = override[: len(override) - len(override.lstrip("0123456789"))]
    return min(int(digits[:10]), DATABYTES_MAX) if digits else 0


def read_policy(
    read_file: ReadFile,
    environ: Mapping[str, str],
    own_addresses: OwnAddresses,
    more_hosts: CdbFile | None = None,
) -> SmtpPolicy:
    """Read the control files and make the rules.

    `more_hosts`: control/morercpthosts.cdb, which counts only beside a rcpthosts.
    Raises: ControlError: a bad line, or no name to greet with. OSError: a file can't be read.
    """
    controls = load(SmtpdControls, read_file)
    counting = more_hosts if has_more_hosts(read_file) else None
    return SmtpPolicy(controls, environ, own_addresses, counting)


def has_more_hosts(read_file: ReadFile) -> bool:
    """Say whether control/morercpthosts.cdb counts. Raises: OSError: no telling."""
    return read_file("rcpthosts") is not None
