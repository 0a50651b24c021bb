"""The bounce that maildirserial sends for one message of a maildir (spec/companion.md 3.1).

It is qmail-send's own bounce, in the form and with the limits that the control files ask for, but
by the name maildirbounce, and about one recipient.
"""

from collections.abc import Callable, Iterator
from typing import Final

from qmail.core.bounce.form import bounce_parts
from qmail.core.bounce.rules import (
    NOBODY,
    BounceControls,
    Material,
    Notice,
    bounce_controls,
    bounce_envelope,
    original_sender,
    paragraph,
)
from qmail.core.fs import Fs
from qmail.core.serial.run import Returned, beginning
from qmail.core.settings.controls import ReadFile, load_one, settings
from qmail.core.settings.programs import SendControls
from qmail.mail import Envelope, Result
from qmail.protocol.stored_top import Top, read_top

PROGRAM: Final = b"maildirbounce"
NAMES: Final = frozenset((
    "bouncefrom",
    "bouncehost",
    "bouncemaxbytes",
    "bounceformat",
    "doublebounceto",
    "doublebouncehost",
))  # fmt: skip
Submit = Callable[[Iterator[bytes], Envelope], tuple[Result | None, int]]
"""Queues a message: None and its qp, or why not."""


def read_bounce_controls(read_file: ReadFile) -> BounceControls:
    """Read what bounces go by, and no other control file.

    Raises: ControlError: a bad line. OSError: a file is there and can't be read.
    """
    wanted = [setting for setting in settings(SendControls) if setting.name in NAMES]
    found = {setting.field: load_one(setting, read_file) for setting in wanted}
    return bounce_controls(SendControls(**found))


class Bouncer:
    """Sends messages of one maildir back."""

    def __init__(
        self, maildir: Fs, prefix: bytes, controls: BounceControls, *, now_s: int, token: bytes
    ) -> None:
        self._maildir = maildir
        self._prefix = prefix
        self._controls = controls
        self._now_s = now_s
        self._token = token

    def send_back(self, path: str, text: bytes, submit: Submit) -> Returned:
        """Queue a bounce for the file `path`; `text` is the report.

        Raises: OSError: the message can't be read.
        """
        top = read_top(beginning(self._maildir, path))
        if top is None:
            return Returned(f"warning: unable to bounce {path}: bad file format", is_over=False)
        envelope = bounce_envelope(top.sender, self._controls)
        if envelope is None:
            what = "triple" if top.sender == NOBODY else "double"
            return Returned(f"info: discarding {path}: {what} bounce", is_over=True)
        notice = Notice(
            sender=original_sender(top.sender),
            recipient=envelope.recipients[0],
            controls=self._controls,
            now=self._now_s,
            program=PROGRAM,
        )
        parts = bounce_parts(notice, self._material(path, top, text), self._token)
        result, qp = submit(parts, envelope)
        if result is None:
            return Returned(f"info: returned {path}: qp {qp}", is_over=True)
        why = result.text.decode("ascii", "replace").strip()
        return Returned(f"warning: unable to bounce {path}: qq failed: {why}", is_over=False)

    def _material(self, path: str, top: Top, text: bytes) -> Material:
        info = self._maildir.info(path)
        if info is None:
            raise FileNotFoundError(path)
        reports = paragraph(top.recipient.removeprefix(self._prefix), text)
        return Material(
            info.size - top.size,
            int(info.mtime),
            lambda: iter((reports,)),
            lambda: after_top(self._maildir.parts(path), top.size),
        )


def after_top(parts: Iterator[bytes], size: int) -> Iterator[bytes]:
    """Yield a message without its first `size` bytes."""
    for part in parts:
        if size < len(part):
            yield part[size:]
        size = max(0, size - len(part))
