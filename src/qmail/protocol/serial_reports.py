"""What maildirserial and its client say to each other: file names, and what became of each file.

Names go to the client's descriptor 0, each ended by NUL. It answers on descriptor 1: a name, NUL,
a letter (K sent, Z not now, D never), a text, LF. Source: spec/companion.md 3.1.
"""

from typing import Final, NamedTuple

from qmail.protocol.remote_reports import Outcome

NAME_BYTES_MAX: Final = 4096
TEXT_BYTES_MAX: Final = 65536
SAID_BYTES_MAX: Final = 2000
"""Of what a server said a report has no more than this."""
_SAID: Final = b"Remote host said: "
_PRINTABLE: Final = bytes(byte if 32 <= byte < 127 else ord("?") for byte in range(256))
_LETTERS: Final = {b"h": b"D", b"s": b"Z"}


class ReportError(ValueError):
    """Bytes that are no report."""


class Report(NamedTuple):
    """What became of one file."""

    name: bytes
    letter: bytes
    text: bytes

    def pack(self) -> bytes:
        """Return it as the client prints it."""
        return self.name + b"\0" + self.letter + self.text + b"\n"


class NameReader:
    """Cuts what comes from maildirserial into file names."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> list[bytes]:
        """Take the next bytes; return the names that are whole now.

        Raises: ReportError: a name without end.
        """
        *names, self._rest = (self._rest + data).split(b"\0")
        if len(self._rest) > NAME_BYTES_MAX:
            raise ReportError(f"a file name of more than {NAME_BYTES_MAX} bytes")
        return names


class ReportReader:
    """Cuts what a client prints into reports."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> list[Report]:
        """Take the next bytes; return the reports that are whole now.

        Raises: ReportError: one that never ends.
        """
        rest = self._rest + data
        found = []
        while True:
            name, _, after = rest.partition(b"\0")
            text, lf, later = after[1:].partition(b"\n")
            if not lf:
                break
            found.append(Report(name, after[:1], text))
            rest = later
        if len(name) > NAME_BYTES_MAX or len(after) > TEXT_BYTES_MAX:
            raise ReportError("no report: a name, NUL, a letter, a text and LF")
        self._rest = rest
        return found


def smtp_report(name: bytes, outcome: Outcome, ip: bytes) -> Report:
    """Make the report of a message that was offered to one recipient by SMTP.

    `ip` b"": nobody told us the server's address.
    """
    refused = [report for report in outcome.recipients if report != b"r"]
    if refused:
        letter, text = _LETTERS[refused[0][:1]], refused[0][1:]
    else:
        letter, text = outcome.result.pack()[:1], outcome.result.text
    return Report(name, letter, said(ip, text.rpartition(_SAID)[2]))


def said(ip: bytes, text: bytes) -> bytes:
    """Return what a server said as the text of a report, on one line."""
    text = text.rstrip(b"\n").replace(b"\n", b" ")
    text = ip + b" said: " + text if ip else text
    return text[:SAID_BYTES_MAX].translate(_PRINTABLE)
