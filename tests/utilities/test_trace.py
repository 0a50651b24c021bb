"""qmail trace: what it finds, says and how it ends."""

import argparse
import json
import os
import time
from pathlib import Path

import pytest

from qmail.edge.log.trace_store import FILE, TraceStore
from qmail.protocol.log_record import record_of
from qmail.protocol.log_tail import packed_tail
from qmail.protocol.trace_link import Entry
from qmail.utilities import front, trace

NOW_US = 1_764_088_046_000_000


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for folder in ("control", "log", "queue"):
        (tmp_path / folder).mkdir()
    monkeypatch.setenv("QMAIL_HOME", str(tmp_path))
    monkeypatch.setattr(trace, "_become_reader", lambda _home: None)
    return tmp_path


@pytest.fixture
def filled(home: Path) -> Path:
    store = TraceStore(str(home / "log" / FILE), days=7, mb=10)
    for number, trace_id in enumerate(("id1", "id2", "id3")):
        lines = (
            b"info msg 5: bytes 9 from <joe@far.ex> qp 7 uid 0",
            b"starting delivery 3: msg 5 to local ann%d@here.ex" % number,
        )
        store.add(Entry(NOW_US + number, trace_id, record_of(line)) for line in lines)
    refusal = b"smtpd: refuse 192.0.2.7 <bad@far.ex> <no@here.ex>: 550 5.1.1 no mailbox"
    store.add([Entry(NOW_US, "id4", record_of(refusal + packed_tail(id=b"id4")))])
    store.close()
    return home


@pytest.mark.usefixtures("filled")
def test_the_newest_of_a_number_is_shown_and_the_others_are_counted(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert front.main(["trace", "5"]) == 0
    said = capsys.readouterr()
    assert said.out.startswith("id3  2025-11-25 16:27:26.000 UTC\n")
    assert "id1" not in said.out
    assert said.err == "qmail trace: 2 older of 5: --last 3 shows all\n"
    assert front.main(["trace", "5", "--last", "3"]) == 0
    said = capsys.readouterr()
    assert [said.out.index(name) for name in ("id1", "id2", "id3")] == sorted(
        said.out.index(name) for name in ("id1", "id2", "id3")
    )
    assert said.err == ""


@pytest.mark.usefixtures("filled")
def test_a_refused_recipient_is_found(capsys: pytest.CaptureFixture[str]) -> None:
    assert trace.main(["no@here.ex"]) == 0
    assert "refuse  192.0.2.7 from <bad@far.ex> for <no@here.ex>: 550 5.1.1 no mailbox" in (
        capsys.readouterr().out
    )


@pytest.mark.usefixtures("filled")
def test_json_is_an_event_a_line_with_time_and_id(capsys: pytest.CaptureFixture[str]) -> None:
    assert trace.main(["ann1@here.ex", "--json"]) == 0
    first, second = map(json.loads, capsys.readouterr().out.splitlines())
    assert first["time"] == "2025-11-25T16:27:26.000001Z"
    assert (first["id"], first["event"], second["event"]) == ("id2", "info", "start")


@pytest.mark.usefixtures("filled")
def test_nothing_found_ends_with_1(capsys: pytest.CaptureFixture[str]) -> None:
    assert trace.main(["nobody@here.ex"]) == 1
    assert trace.main(["5", "--since", "2h"]) == 1
    assert trace.main(["5", "--since", "2025-11-25"]) == 0
    assert "nothing found of nobody@here.ex" in capsys.readouterr().err


def test_without_an_index_it_says_what_to_do(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert trace.main(["5"]) == 111
    assert "put 'trace on' into control/log, and restart" in capsys.readouterr().err
    (home / "control/log").write_text("trace on\n")
    assert trace.main(["5"]) == 111
    assert f"{home}/log/trace.db: restart qmail-start" in capsys.readouterr().err
    (home / "control/log").write_text("trace maybe\n")
    assert trace.main(["5"]) == 111
    assert "control/log:1: " in capsys.readouterr().err


def test_a_damaged_index_is_said(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (home / "log" / FILE).write_bytes(b"nonsense" * 999)
    assert trace.main(["5"]) == 111
    assert "restart qmail-start, and it is made anew" in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments",
    [[], ["5", "--last", "0"], ["5", "--last", "x"], ["5", "--since", "soon"], ["5", "6"]],
)
def test_wrong_usage_is_100(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert front.main(["trace", *arguments]) == 100
    assert "usage: qmail trace" in capsys.readouterr().err


def test_since_takes_spans_and_dates() -> None:
    now = time.time()
    assert abs(trace.since_us("2h") / 1e6 - (now - 7200)) < 60
    assert abs(trace.since_us("10min") - trace.since_us("10m")) < 60_000_000
    for text in ("2025-11-25T16:27:26", "2025-11-25T16:27:26Z", "2025-11-25T17:27:26+01:00"):
        assert trace.since_us(text) == NOW_US
    assert trace.since_us("2025-11-25") < NOW_US
    with pytest.raises(argparse.ArgumentTypeError):
        trace.since_us("yesterday")


@pytest.mark.skipif(os.getuid() != 0, reason="only root can become another account")
def test_root_becomes_the_account_of_the_home_before_it_reads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "queue").mkdir()
    os.chown(tmp_path / "queue", 54322, 54322)
    became = []
    monkeypatch.setattr(trace, "become", lambda uid, gid: became.append((uid, gid)))
    trace._become_reader(str(tmp_path))
    assert became == [(54322, 54322)]
