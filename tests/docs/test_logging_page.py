"""docs/logging.md says what the code writes."""

import re
from pathlib import Path
from typing import Final

from qmail.core.settings.lines import split_lines
from qmail.core.settings.log import LogFormat, Stamp, Target, parse_log
from qmail.protocol.log_record import EVENTS, NUMBERS

PAGE: Final = (Path(__file__).resolve().parents[2] / "docs/logging.md").read_text(encoding="utf-8")


def test_every_event_and_its_fields_are_in_the_table() -> None:
    rows = re.findall(r"^\| `([a-z]+)` \| ([a-z-]+) \| (.*) \| (.*) \|$", PAGE, re.MULTILINE)
    assert rows == [
        (event.name, event.program, ", ".join(f"`{name}`" for name in event.fields), event.doc)
        for event in EVENTS
    ]


def test_every_field_is_explained() -> None:
    table = PAGE.partition("\nThe fields:\n")[2].partition("\n## ")[0]
    explained = {name for row in table.split("\n") for name in re.findall(r"`(\w+)`", row[:60])}
    used = {name for event in EVENTS for name in event.fields} - {"program"}
    assert used <= explained
    assert used >= NUMBERS


def test_every_word_of_control_log_is_explained_and_the_example_is_right() -> None:
    table = PAGE.partition("\n## control/log\n")[2].partition("\n```\n")[0]
    for word in (*LogFormat, *Stamp, *(f"to {target}" for target in Target)):
        assert word in table
    example = PAGE.partition("\n```\n")[2].partition("```")[0]
    settings = parse_log("log", split_lines(example.encode()))
    assert settings.lines == example.split("\n")[:-1]
