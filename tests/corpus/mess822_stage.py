"""What recording and playing the cases of mess822 share: a queue that keeps, and evening out."""

import re
from pathlib import Path

QUEUE = """#!/bin/sh
at=$(ls "$QUEUED" | grep -c message)
cat >"$QUEUED/$at.message"; cat <&1 >"$QUEUED/$at.envelope"
"""
"""Stands in qmail-queue's place and keeps what it gets, each message by its number."""
_NOW = re.compile(r"^Date: \d+ \w{3} (\d{4}) \d\d:\d\d:\d\d -0000$", re.MULTILINE)
_ID_NOW = re.compile(r"^Message-ID: <20(?:2[5-9]|[3-9]\d)\d{10}", re.MULTILINE)
_UNIQUE = re.compile(r"^(Message-ID: <\w+(?:\.\d)?)\.\d+\.qmail@", re.MULTILINE)
_STAMP = re.compile(r"-\d{10}\.\d+(?=[-@\"\n])")
_RECEIVED = re.compile(r"^(Received: \(ofmipd [^;\n]*\); ).*$", re.MULTILINE)
FIRST_YEAR_NOW = 2025
"""No date in a case is as late as this."""


def even(text: str) -> str:
    """Return a message or an envelope with everything that is new each time made equal."""
    text = _NOW.sub(lambda found: _even_date(found[0], int(found[1])), text)
    text = _UNIQUE.sub(r"\1.UNIQUE.qmail@", text)
    return _RECEIVED.sub(r"\1NOW", _STAMP.sub("-STAMP", _ID_NOW.sub("Message-ID: <NOW", text)))


def _even_date(line: str, year: int) -> str:
    return "Date: NOW" if year >= FIRST_YEAR_NOW else line


def queued_in(folder: Path) -> list[tuple[str, str]]:
    """Return messages and envelopes that QUEUE kept."""
    paths = sorted(folder.glob("*.message"))
    return [
        (
            path.read_bytes().decode("latin-1"),
            path.with_suffix(".envelope").read_bytes().decode("latin-1"),
        )
        for path in paths
    ]
