"""QMTP, the client's side: packages out, one answer a recipient back (spec/smtp.md C).

Messages go out as they are stored, with lines that end in LF. Nothing is waited for between two
packages.
"""

from typing import Final

from qmail.protocol.netstring import FrameReader, pack

ANSWER_BYTES_MAX: Final = 65536
LF_LINES: Final = b"\n"
"""The first byte of a message: its lines end in LF."""


def package_start(body_bytes: int) -> bytes:
    """Return what comes before a message of that size."""
    return b"%d:" % (len(LF_LINES) + body_bytes) + LF_LINES


def package_end(sender: bytes, recipient: bytes) -> bytes:
    """Return what comes after it: the envelope."""
    return b"," + pack(sender) + pack(pack(recipient))


class AnswerReader:
    """Cuts what the server says into answers."""

    def __init__(self) -> None:
        self._frames = FrameReader(ANSWER_BYTES_MAX)

    def feed(self, data: bytes) -> list[tuple[bytes, bytes]]:
        """Take the next bytes; return letter (K, Z or D) and text of each answer that is whole.

        Raises: ValueError: no QMTP.
        """
        found = [(answer[:1], answer[1:]) for answer in self._frames.feed(data)]
        for letter, _ in found:
            if letter not in (b"K", b"Z", b"D"):
                raise ValueError("an answer that is neither K, Z nor D")
        return found
