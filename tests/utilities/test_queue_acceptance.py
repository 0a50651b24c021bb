"""A long queue with every kind of fault: checked, repaired, moved elsewhere, and delivered.

2,000 messages here; QMAIL_TEST_MESSAGES=10000 has more of them.
"""

import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.fakes.homes import (
    GID,
    IS_ROOT,
    UID,
    make_home,
    open_folder,
    others_can_run_the_programs,
)
from tests.fakes.planted_queue import SPOILERS, Planted, wanted_messages, whole_messages
from tests.fakes.suite import Suite

from qmail.core.repair.faults import Fault
from qmail.utilities import queue_export, queue_import
from qmail.utilities.queue_check import check, repair

MESSAGES = int(os.environ.get("QMAIL_TEST_MESSAGES", "2000"))
EACH = 8
"""So many messages get each fault."""
PART = 50
LAST = (Fault.SPLIT, Fault.UNFINISHED_REPAIR, Fault.UNFINISHED_IMPORT)
"""Faults of the whole queue, planted once. Who only looks stops at unfinished work."""
OWNER = (UID, GID) if IS_ROOT else None


@pytest.fixture
def folder() -> Iterator[Path]:
    with open_folder() as found:
        if IS_ROOT:
            os.chown(found, UID, GID)
        yield found


def spoil(planted: Planted) -> None:
    """Plant each fault in some messages, no two of them in one."""
    index = 0
    for fault, plant in SPOILERS.items():
        if fault not in LAST:
            for _ in range(EACH):
                plant(planted, planted.messages[index])
                index += 1


def delivered(maildir: Path) -> tuple[Counter[tuple[int, bytes]], int]:
    """Return how often each recipient has each message, and how many bounces there are."""
    found: Counter[tuple[int, bytes]] = Counter()
    bounces = 0
    for path in maildir.iterdir():
        head, _, body = path.read_bytes().partition(b"\n\n")
        if b"\nSubject: failure notice" in head:
            bounces += 1
            continue
        to = next(line for line in head.split(b"\n") if line.startswith(b"Delivered-To: "))
        found[int(body.split(b" ")[2]), to.split(b": ")[1]] += 1
    return found, bounces


@pytest.mark.skipif(
    not others_can_run_the_programs(), reason="another account can't read the programs"
)
def test_a_spoilt_queue_is_repaired_moved_and_all_of_it_delivered_once(folder: Path) -> None:
    old, suite = folder / "old", Suite(folder)
    make_home(old)
    planted = Planted(old / "queue", OWNER)
    for index in range(MESSAGES):
        planted.add(index)
    spoil(planted)
    found = Counter(finding.fault for finding in check(str(old)).findings)
    assert found.keys() == SPOILERS.keys() - set(LAST)
    for fault in LAST:
        SPOILERS[fault](planted, planted.messages[MESSAGES - 1])
    mended = repair(str(old)).findings
    assert {finding.fault for finding in mended} == SPOILERS.keys() - {Fault.UNFINISHED_REPAIR}
    assert all(finding.done for finding in mended)
    assert check(str(old)).findings == []
    assert whole_messages(old / "queue") == wanted_messages(planted)

    archive = str(folder / "queue.tar")
    assert queue_export.main("export", ["--home", str(old), archive]) == 0
    (suite.home / "control/split").write_text("11\n")
    repair(str(suite.home))
    assert queue_import.main("import", ["--home", str(suite.home), archive]) == 0
    assert whole_messages(suite.home / "queue") == wanted_messages(planted)

    default = suite.home / "alias/.qmail-default"
    default.write_text("./Maildir/\n")
    default.chmod(0o644)
    bounces = sum(1 for path in (old / "queue/bounce").iterdir())
    left = len(planted.messages) + bounces
    with suite.start():
        while left:
            # In parts: each of them has a time limit.
            suite.lines_until("end msg", min(left, PART))
            left -= min(left, PART)
    everybody = Counter(
        (message.index, to) for message in planted.messages.values() for to in message.recipients
    )
    assert delivered(suite.home / "alias/Maildir/new") == (everybody, bounces)
    assert check(str(suite.home)).findings == []
