"""How qmail-send queues its bounces (spec/bounces.md 3 and 5); what they say is core's business."""

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from qmail.core.bounce.rules import BounceControls, Notice
from qmail.core.send.values import Bounce, Message, Stage
from qmail.edge.doors.station import Station, listen_door
from qmail.mail import Envelope
from qmail.programs.send_bounces import BounceDesk, new_token
from qmail.protocol.doors import FRAME_BYTES_MAX, Receipt, Submission
from qmail.protocol.netstring import FrameReader

WAIT_S = 60.0
TOLD = b"<ann@far.ex>:\nno\n\n"
BREAK = b"--- Below this line is a copy of the message.\n\n"
HEAD = TOLD + BREAK + b"Return-Path: <joe@a.ex>\n"
"""What is certain of a bounce's text, between its intro and the message."""
KEEP = """#!/bin/sh
cat >"$KEPT"
cat <&1 >"$KEPT.envelope"
exit ${KEEP_EXIT:-0}
"""


class World:
    """A home with one message, the desk, and what it said of each bounce."""

    def __init__(self, home: Path) -> None:
        self.home = home
        for name in ("run", "queue/mess/0", "queue/bounce"):
            (home / name).mkdir(parents=True)
        self.station = Station()
        self.said: list[tuple[int, int | None]] = []
        self.refusals: list[bytes] = []
        self.desk = BounceDesk(self.station, str(home), os.getuid(), self._bounced)

    def _bounced(
        self, message: Message, qp: int | None, trace_id: bytes = b"", *, refusal: bytes = b""
    ) -> None:
        self.said.append((message.number, qp))
        self.refusals.append(refusal)

    def bounce(self, number: int, text: bytes | None, *, bytes_max: int = 1 << 20) -> None:
        """Have message `number` bounced; None: its file is missing."""
        if text is not None:
            (self.home / f"queue/mess/0/{number}").write_bytes(text)
        (self.home / f"queue/bounce/{number}").write_bytes(TOLD)
        message = Message(number, b"joe@a.ex", None, Stage.ENDING)
        envelope = Envelope(b"", (b"joe@a.ex",))
        controls = BounceControls(b"MAILER-DAEMON", b"h.ex", b"postmaster", b"h.ex", bytes_max)
        notice = Notice(sender=b"joe@a.ex", recipient=b"joe@a.ex", controls=controls, now=0)
        reports, body = b"bounce/%d" % number, b"0/%d" % number
        self.desk.submit(Bounce(message, envelope, notice, reports, body))

    def settle(self) -> None:
        """Serve until the fate of every bounce is known."""
        while self.desk.is_busy:
            assert self.station.turn(WAIT_S)


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    monkeypatch.delenv("QMAILQUEUE", raising=False)
    made = World(tmp_path)
    yield made
    made.station.close()


def take(sock: socket.socket, count: int) -> list[Submission]:
    sock.settimeout(WAIT_S)
    reader, found = FrameReader(FRAME_BYTES_MAX), list[Submission]()
    while len(found) < count:
        data = sock.recv(1 << 20)
        assert data
        found += map(Submission.unpack, reader.feed(data))
    return found


def test_a_small_bounce_crosses_in_one_frame_head_first(world: World) -> None:
    with listen_door(str(world.home), "queue") as door:
        world.bounce(7, b"Received: x\n\nbody\n")
        queue, _ = door.accept()
        (frame,) = take(queue, 1)
        assert frame.data.startswith(b"Date: ")
        assert frame.data.endswith(HEAD + b"Received: x\n\nbody\n")
        assert frame.envelope == b"F\0Tjoe@a.ex\0\0"
        assert world.desk.is_busy
        queue.sendall(Receipt(frame.tag, 0, 4711).pack())
        world.settle()
        queue.close()
    assert world.said == [(7, 4711)]


def test_oddities_1_a_bounce_always_ends_with_a_line_feed(world: World) -> None:
    with listen_door(str(world.home), "queue") as door:
        world.bounce(7, b"no line feed")
        queue, _ = door.accept()
        assert take(queue, 1)[0].data.endswith(HEAD + b"no line feed\n")
        queue.close()


def test_bounces_5_a_refused_bounce_is_told_of(world: World) -> None:
    with listen_door(str(world.home), "queue") as door:
        world.bounce(7, b"x\n")
        world.bounce(8, b"y\n")
        queue, _ = door.accept()
        first, second = take(queue, 2)
        queue.sendall(Receipt(second.tag, 53, 0, b"disk full").pack())
        queue.sendall(Receipt(first.tag, 0, 12).pack())
        world.settle()
        queue.close()
    assert world.said == [(8, None), (7, 12)]


def test_bounces_5_without_qmail_queue_it_is_tried_later(world: World) -> None:
    world.bounce(7, b"x\n")
    assert world.said == [(7, None)]
    assert not world.desk.is_busy


def test_bounces_5_when_qmail_queue_goes_what_it_had_is_tried_later(world: World) -> None:
    with listen_door(str(world.home), "queue") as door:
        world.bounce(7, b"x\n")
        world.bounce(8, b"x\n")
        door.accept()[0].close()
        world.settle()
    assert sorted(world.said) == [(7, None), (8, None)]


def test_bounces_5_qmail_queue_may_refuse_for_good(world: World) -> None:
    with listen_door(str(world.home), "queue") as door:
        world.bounce(7, b"x\n")
        world.bounce(8, b"x\n")
        queue, _ = door.accept()
        first, second = take(queue, 2)
        queue.sendall(Receipt(first.tag, 31, 0).pack() + Receipt(second.tag, 71, 0).pack())
        world.settle()
        queue.close()
    assert world.said == [(7, None), (8, None)]
    assert world.refusals == [b"mail server permanently rejected message (#5.3.0)", b""]


def test_bouncemaxbytes_the_header_of_a_long_message_needs_no_child(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "fork", lambda: pytest.fail("a child"))
    with listen_door(str(world.home), "queue") as door:
        world.bounce(7, b"Subject: long\n\n" + b"x" * 300_000, bytes_max=65536)
        queue, _ = door.accept()
        assert take(queue, 1)[0].data.endswith(b"Return-Path: <joe@a.ex>\nSubject: long\n\n")
        queue.close()


def test_no_two_bounces_have_the_same_boundary() -> None:
    tokens = {new_token() for _ in range(100)}
    assert len(tokens) == 100
    assert all(token.isalnum() for token in tokens)


def test_a_receipt_for_nothing_is_nothing(world: World) -> None:
    with listen_door(str(world.home), "queue") as door:
        world.bounce(7, b"x\n")
        queue, _ = door.accept()
        (frame,) = take(queue, 1)
        queue.sendall(Receipt(frame.tag + 1, 0, 1).pack() + Receipt(frame.tag, 0, 2).pack())
        world.settle()
        queue.close()
    assert world.said == [(7, 2)]


@pytest.mark.parametrize("size", [65536, 300_000])
def test_a_long_bounce_is_streamed_by_a_child(world: World, size: int) -> None:
    text = b"x" * size
    with listen_door(str(world.home), "queue") as door:
        world.bounce(7, text)
        queue, _ = door.accept()
        frames: list[Submission] = []
        reader = FrameReader(FRAME_BYTES_MAX)
        queue.settimeout(WAIT_S)
        while not frames or frames[-1].kind != b"E":
            frames += map(Submission.unpack, reader.feed(queue.recv(1 << 20)))
        assert b"".join(frame.data for frame in frames).endswith(HEAD + text + b"\n")
        assert frames[-1].envelope == b"F\0Tjoe@a.ex\0\0"
        queue.sendall(Receipt(frames[-1].tag, 0, 99).pack())
        world.settle()
        queue.close()
    assert world.said == [(7, 99)]


def test_bounces_5_an_unreadable_message_is_tried_later(world: World) -> None:
    with listen_door(str(world.home), "queue"):
        world.bounce(7, None)
        world.settle()
    assert world.said == [(7, None)]


@pytest.mark.parametrize(("code", "is_queued"), [("0", True), ("31", False), ("53", False)])
def test_bounces_5_qmailqueue_applies_to_bounces(
    world: World, monkeypatch: pytest.MonkeyPatch, code: str, is_queued: bool
) -> None:
    program = world.home / "keep"
    program.write_text(KEEP)
    program.chmod(0o755)
    kept = world.home / "kept"
    for name, value in (("QMAILQUEUE", program), ("KEPT", kept), ("KEEP_EXIT", code)):
        monkeypatch.setenv(name, str(value))
    for number in range(7, 13):
        world.bounce(number, b"x\n")
    world.settle()
    assert sorted(number for number, _ in world.said) == list(range(7, 13))
    assert {qp is not None for _, qp in world.said} == {is_queued}
    assert kept.read_bytes().endswith(HEAD + b"x\n")
    # Exit 31 is for good, 53 may be better another time.
    assert [refusal != b"" for refusal in world.refusals] == [code == "31"] * 6
    assert Path(f"{kept}.envelope").read_bytes() == b"F\0Tjoe@a.ex\0\0"


def test_a_child_holds_nothing_of_qmail_send(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its lock and its doors are free as soon as qmail-send is gone."""
    program = world.home / "list"
    program.write_text(
        '#!/bin/sh\nls -l /proc/$PPID/fd >"$KEPT"\ncat >/dev/null\ncat <&1 >/dev/null\n'
    )
    program.chmod(0o755)
    monkeypatch.setenv("QMAILQUEUE", str(program))
    monkeypatch.setenv("KEPT", str(world.home / "kept"))
    with open(world.home / "sendmutex", "wb"):
        world.bounce(7, b"x\n")
        world.settle()
    text = (world.home / "kept").read_text()
    assert "sendmutex" not in text
    assert "eventpoll" not in text
