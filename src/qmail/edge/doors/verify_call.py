"""The question to qmail-verify by a server of one conversation: it blocks, for a limited time."""

import errno
from typing import Final

from qmail.edge.doors.doorway import knock
from qmail.protocol.doors import REPORT_FRAME_MAX, Report
from qmail.protocol.netstring import FrameError, FrameReader
from qmail.protocol.verify_door import Question, Verdict, verdict_of

WAIT_S_MAX: Final = 4
"""Longest wait for qmail-verify to take the question, and again for its answer."""
NO_SERVICE: Final = (errno.ENOENT, errno.EACCES, errno.EPERM)
"""There is no such door here, or it is not for this account: nothing is asked."""
TAG: Final = 1


def ask_verifier(home: str, recipient: bytes) -> Verdict:
    """Return what qmail-verify knows of `recipient`."""
    try:
        sock = knock(home, "verify", WAIT_S_MAX)
    except OSError as trouble:
        return Verdict.KNOWN if trouble.errno in NO_SERVICE else Verdict.UNSURE
    reader = FrameReader(REPORT_FRAME_MAX)
    try:
        sock.sendall(Question(TAG, recipient).pack())
        while data := sock.recv(REPORT_FRAME_MAX):
            for payload in reader.feed(data):
                return verdict_of(Report.unpack(payload).text)
    except (OSError, FrameError):
        pass
    finally:
        sock.close()
    return Verdict.UNSURE
