"""docs/bounces.md shows what qmail-send writes, to the letter."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from qmail.core.bounce.form import bounce_parts
from qmail.core.bounce.rules import BounceControls, Material, Notice, paragraph
from qmail.core.settings.programs import BounceFormat

PAGE: Final = Path(__file__).resolve().parents[2] / "docs/bounces.md"
BLOCK: Final = re.compile(r"^```text\n(.*?)^```$", re.MULTILINE | re.DOTALL)
MESSAGE: Final = b"""\
Received: (qmail 4711 invoked by uid 1000); 25 Nov 2026 17:00:00 -0000
From: joe@example.com
To: ann@example.org, typo@mail.example.com
Subject: lunch

At noon?
"""
REPORTS: Final = paragraph(
    b"ann@example.org",
    b"192.0.2.25 does not like recipient.\n550 5.2.1 mailbox closed\nGiving up on 192.0.2.25.\n",
) + paragraph(b"typo@mail.example.com", b"There is no mailbox of this name here. (#5.1.1)\n")
ARRIVED: Final = 1795626000


def shown(form: BounceFormat) -> str:
    """Return what the page's message comes back as."""
    host = b"mail.example.com"
    controls = BounceControls(b"MAILER-DAEMON", host, b"postmaster", host, format=form)
    sender = b"joe@example.com"
    notice = Notice(sender=sender, recipient=sender, controls=controls, now=ARRIVED + 1)

    def once(text: bytes) -> Iterator[bytes]:
        yield text

    material = Material(len(MESSAGE), ARRIVED, lambda: once(REPORTS), lambda: once(MESSAGE))
    return b"".join(bounce_parts(notice, material, b"5c2f0e91a7d34b68c0de42f7")).decode()


def test_the_page_shows_both_forms_as_they_are_written() -> None:
    assert BLOCK.findall(PAGE.read_text()) == [shown(form) for form in BounceFormat]
