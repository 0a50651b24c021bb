"""A bounce in the form that control/bounceformat asks for, ready to be queued."""

from collections.abc import Iterator
from dataclasses import replace

from qmail.core.bounce.report import bounce_report
from qmail.core.bounce.rules import Material, Notice, paragraph
from qmail.core.bounce.text import bounce_text
from qmail.core.settings.programs import BounceFormat


def bounce_parts(notice: Notice, material: Material, token: bytes) -> Iterator[bytes]:
    """Yield a bounce; `token` is what no other message has, in letters and digits."""
    if notice.refusal:
        return _about_refused(notice, material, token)
    if notice.controls.format is BounceFormat.DSN:
        return bounce_report(notice, material, token)
    return bounce_text(notice, material)


def _about_refused(notice: Notice, material: Material, token: bytes) -> Iterator[bytes]:
    """Yield the double bounce that returns a bounce which qmail-queue did not take."""
    refused = replace(notice, recipient=notice.sender, refusal=b"")
    reports = paragraph(notice.sender, notice.refusal)
    # The refused bounce has been cut to size already.
    whole = Material(
        0,
        notice.now,
        lambda: iter((reports,)),
        # Another boundary, and none that begins with the outer one.
        lambda: bounce_parts(refused, material, b"r" + token),
    )
    return bounce_parts(replace(notice, sender=b"", refusal=b""), whole, token)
