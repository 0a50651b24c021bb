"""Log lines of the SMTP server, the same for the resident and the classic one."""

from qmail.protocol.logtext import safe
from qmail.protocol.reply import Reply


def refusal_line(ip: bytes, sender: bytes, recipient: bytes | None, reply: Reply) -> bytes:
    """Say what was refused, to whom and why. `recipient` None: not about one recipient."""
    whom = b"" if recipient is None else b" <%b>" % safe(recipient)
    return b"smtpd: refuse %b <%b>%b: %b" % (safe(ip), safe(sender), whom, reply.line)
