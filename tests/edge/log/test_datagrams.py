"""Lines on their way to syslog and to the journal."""

import socket
from pathlib import Path

import pytest
from tests.corpus.mess822_ours import time_zone

from qmail.edge.log.datagrams import (
    TEXT_BYTES_MAX,
    Datagrams,
    journal_datagram,
    priority,
    syslog_datagram,
)


def listener(path: Path) -> socket.socket:
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    sock.settimeout(60)
    sock.bind(str(path))
    return sock


@pytest.mark.parametrize(
    ("text", "level"), [(b"alert: oh no!", 1), (b"warning: x", 4), (b"new msg 5", 6), (b"", 6)]
)
def test_logging_5_the_first_word_says_how_grave_it_is(text: bytes, level: int) -> None:
    assert priority(text) == level


@pytest.mark.parametrize(
    ("zone", "date"), [("UTC", b"Nov 25 16:27:26"), ("XXT-13", b"Nov 26 05:27:26")]
)
def test_a_syslog_message_has_priority_local_date_and_tag(zone: str, date: bytes) -> None:
    with time_zone(zone):
        found = syslog_datagram(b"warning: x\0y", 1_764_088_046.5)
    assert found == b"<20>" + date + b" qmail: warning: x?y"
    assert len(syslog_datagram(b"x" * 99999, 0.0)) < TEXT_BYTES_MAX + 100


def test_a_journal_message_has_a_field_for_each_of_the_record() -> None:
    found = journal_datagram(b"new msg 5", {"event": "new", "msg": 5, "text": "a\nb"})
    assert b"MESSAGE=new msg 5\nPRIORITY=6\n" in found
    assert b"QMAIL_EVENT=new\nQMAIL_MSG=5\n" in found
    assert b"QMAIL_TEXT\n\x03\0\0\0\0\0\0\0a\nb\n" in found


def test_lines_arrive_and_a_daemon_that_is_started_again_gets_the_rest(tmp_path: Path) -> None:
    path = tmp_path / "log"
    first = listener(path)
    datagrams = Datagrams(str(path))
    datagrams.send([b"one"])
    assert first.recv(100) == b"one"
    first.close()
    path.unlink()
    second = listener(path)
    datagrams.send([b"two"])
    assert second.recv(100) == b"two"
    assert datagrams.lost == 0
    second.close()
    datagrams.close()


def test_without_a_daemon_lines_are_counted_and_the_next_look_waits(tmp_path: Path) -> None:
    now = [100.0]
    datagrams = Datagrams(str(tmp_path / "log"), lambda: now[0])
    datagrams.send([b"one", b"two"])
    assert datagrams.lost == 2
    sock = listener(tmp_path / "log")
    datagrams.send([b"three"])
    assert datagrams.lost == 3
    now[0] += 2
    datagrams.send([b"four"])
    assert sock.recv(100) == b"four"
    sock.close()
    datagrams.close()
