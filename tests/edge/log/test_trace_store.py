"""The trace index: what is written is found, it stays within its bounds, damage is mended."""

import contextlib
import json
import os
import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from qmail.core.trace_text import lines_of
from qmail.edge.log import trace_writer
from qmail.edge.log.folder import CURRENT
from qmail.edge.log.reading import read_folder, read_line
from qmail.edge.log.trace_reader import NoIndexError, TraceReader
from qmail.edge.log.trace_store import DAY_US, FILE, TraceStore
from qmail.edge.log.trace_writer import TracePlan, TraceWriter
from qmail.protocol.log_page import Page
from qmail.protocol.log_record import json_line, record_of
from qmail.protocol.log_tail import packed_tail
from qmail.protocol.tai64n import iso, tai64n
from qmail.protocol.trace_link import Entry

NOW_US = 1_764_088_046_000_000


def entry(trace_id: str, line: bytes, at_us: int = NOW_US, **tail: bytes) -> Entry:
    return Entry(at_us, trace_id, record_of(line + packed_tail(**tail)))


def told(trace_id: str, number: int, at_us: int = NOW_US) -> list[Entry]:
    """A message from its arrival to its end."""
    lines = (
        b"new msg %d" % number,
        b"info msg %d: bytes 9 from <Joe@far.ex> qp %d uid 0" % (number, number + 1000),
        b"starting delivery 1: msg %d to local ann%d@here.ex" % (number, number),
        b"end msg %d" % number,
    )
    return [entry(trace_id, line, at_us + at) for at, line in enumerate(lines)]


@pytest.fixture
def path(tmp_path: Path) -> str:
    return str(tmp_path / FILE)


@pytest.fixture
def store(path: str) -> Iterator[TraceStore]:
    made = TraceStore(path, days=7, mb=100)
    yield made
    made.close()


def found(path: str, what: str, **options: int) -> list[str]:
    reader = TraceReader(path)
    ids, _ = reader.find(what, **{"count": 100, **options})
    reader.close()
    return ids


def test_a_message_is_found_by_everything_that_is_known_of_it(store: TraceStore, path: str) -> None:
    extra = entry("5f0c1a2b3c4d5e6f70", b"", event=b"queued", message_id=b"<m-1@far.ex>", msg=b"5")
    store.add([*told("5f0c1a2b3c4d5e6f70", 5), extra])
    for what in ("5f0c1a2b3c4d5e6f70", "5", "1005", "joe@FAR.ex", "<joe@far.ex>", "ann5@here.ex",
                 "m-1@far.ex", "<m-1@far.ex>", "*@here.ex", "joe@*"):  # fmt: skip
        assert found(path, what) == ["5f0c1a2b3c4d5e6f70"], what
    for what in ("6", "ann@here.ex", "*@here.e?", "[ann]*", "", "*", "5f0c1a2b3c4d5e6f71"):
        assert what == "*" or found(path, what) == []


def test_a_number_that_was_used_again_gives_the_newest_first(store: TraceStore, path: str) -> None:
    store.add([*told("old", 5), *told("new", 5, NOW_US + 99)])
    reader = TraceReader(path)
    assert reader.find("5") == (["new"], 2)
    assert reader.find("5", since_us=NOW_US + 50, count=9) == (["new"], 1)
    reader.close()


def test_the_story_is_in_order_with_its_connection(store: TraceStore, path: str) -> None:
    session = {"session": b"s1"}
    store.add([
        entry("s1", b"smtpd: connect 192.0.2.7", NOW_US - 9, **session),
        entry("id1", b"smtpd: accept 192.0.2.7 qp 1005 bytes 9", NOW_US - 5, **session),
        *told("id1", 5),
        entry("id2", b"smtpd: refuse 192.0.2.7 <a@b> <c@d>: 550 5.1.1 no", NOW_US, **session),
        entry("s1", b"smtpd: close 192.0.2.7", NOW_US + 50, **session),
    ])  # fmt: skip
    reader = TraceReader(path)
    events = [one.record["event"] for one in reader.story("id1")]
    assert events == ["connect", "accept", "new", "info", "start", "end", "close"]
    events = [one.record["event"] for one in reader.story("id2")]
    assert events == ["connect", "refuse", "close"]
    reader.close()


def test_a_connections_own_id_finds_all_its_messages(store: TraceStore, path: str) -> None:
    session = "5f0c1a2b3c4d5e6f70"
    line = b"smtpd: accept 192.0.2.7 qp 5 bytes 9"
    store.add([
        entry(session, b"smtpd: connect 192.0.2.7", session=session.encode()),
        *(entry(f"id{n}", line, NOW_US + n, session=session.encode()) for n in range(1, 3)),
    ])  # fmt: skip
    assert found(path, session) == ["id2", "id1", session]


def test_bounces_and_forwards_are_named(store: TraceStore, path: str) -> None:
    report = b"delivery 1: success: did_0+1+0/qp_77/"
    store.add([
        *told("first", 5),
        entry("sent-on", b"info msg 6: bytes 9 from <x@y> qp 77 uid 0", NOW_US + 2),
        entry("first", report, NOW_US + 9),
        entry("bounce", b"", NOW_US + 10, event=b"child", parent=b"first"),
        entry("later", b"info msg 7: bytes 9 from <x@y> qp 77 uid 0", NOW_US + 9 * DAY_US),
    ])  # fmt: skip
    reader = TraceReader(path)
    assert reader.others("first", reader.story("first")) == ["sent-on", "bounce"]
    reader.close()


# --- bounds -------------------------------------------------------------------------------------


def test_what_is_too_old_goes(store: TraceStore, path: str) -> None:
    store.add([*told("old", 5), *told("young", 6, NOW_US + 3 * DAY_US)])
    store.expire(NOW_US + 8 * DAY_US)
    assert found(path, "5") == []
    assert found(path, "joe@far.ex") == ["young"]


def test_the_oldest_goes_where_there_is_too_much_and_the_file_stays_small(tmp_path: Path) -> None:
    path = str(tmp_path / FILE)
    store = TraceStore(path, days=7, mb=1)
    for at in range(0, 6000, 500):
        batch = [one for n in range(at, at + 500) for one in told(f"id{n}", n, NOW_US + n * 10)]
        store.add(batch)
        store.expire(NOW_US)
    assert os.path.getsize(path) < 2_000_000
    assert found(path, "5999") == ["id5999"]
    assert found(path, "0") == []
    store.close()


# --- damage -------------------------------------------------------------------------------------


@pytest.mark.parametrize("damage", [b"no database at all" * 99, b"SQLite format 3\0" + b"x" * 999])
def test_a_damaged_index_is_refused_with_what_to_do(path: str, damage: bytes) -> None:
    Path(path).write_bytes(damage)
    with pytest.raises(NoIndexError, match="restart qmail-start"):
        TraceReader(path)


def test_an_index_of_another_version_is_refused(path: str) -> None:
    base = sqlite3.connect(path)
    base.execute("PRAGMA user_version=99")
    base.close()
    with pytest.raises(NoIndexError, match="another version"):
        TraceReader(path)
    with pytest.raises(sqlite3.DatabaseError, match="another version"):
        TraceStore(path, days=1, mb=1)


@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(at=st.integers(0, 30_000), junk=st.binary(min_size=1, max_size=400))
def test_no_damage_gives_more_than_a_clear_refusal(tmp_path: Path, at: int, junk: bytes) -> None:
    path = tmp_path / "fuzzed.db"
    path.unlink(missing_ok=True)
    store = TraceStore(str(path), days=7, mb=100)
    store.add([one for n in range(30) for one in told(f"id{n}", n)])
    store.close()
    raw = bytearray(path.read_bytes())
    raw[at : at + len(junk)] = junk
    path.write_bytes(raw)
    for name in ("fuzzed.db-wal", "fuzzed.db-shm"):
        (tmp_path / name).unlink(missing_ok=True)
    with contextlib.suppress(NoIndexError):
        reader = TraceReader(str(path))
        for what in ("5", "joe@far.ex", "*@here.ex", "id5"):
            for trace_id in reader.find(what, count=9)[0]:
                if story := reader.story(trace_id):
                    list(lines_of(trace_id, story, reader.others(trace_id, story)))
        reader.close()


# --- the thread ---------------------------------------------------------------------------------


@pytest.fixture(autouse=True)
def _patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the end wait for the thread, however busy the machine and its disk are."""
    monkeypatch.setattr(trace_writer, "END_S_MAX", 60.0)


def plan(tmp_path: Path, *sources: str) -> TracePlan:
    return TracePlan(str(tmp_path), 36500, 100, sources)


def page(*lines: bytes, now_us: int = 4_000_000_000_000_000) -> Page:
    return Page(lines, now_us * 1000, "none")


def test_pages_are_in_the_index_at_the_end(tmp_path: Path, path: str) -> None:
    writer = TraceWriter(plan(tmp_path))
    for number in range(50):
        writer.take(page(b"new msg %d" % number + packed_tail(id=b"id%d" % number)))
    writer.end()
    assert found(path, "7") == ["id7"]
    assert found(path, "49") == ["id49"]


def test_the_log_never_waits_for_the_index(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    gate = threading.Event()
    monkeypatch.setattr(trace_writer, "PAGES_MAX", 2)
    monkeypatch.setattr(TraceStore, "add", lambda _self, _entries: gate.wait(20))
    writer = TraceWriter(plan(tmp_path))
    for _ in range(20):
        writer.take(page(b"new msg 5"))
    gate.set()
    writer.end()
    assert "lines: they are not in the trace index" in capfd.readouterr().err


@pytest.mark.parametrize("form", ["json", "tai64n", "iso", "seconds"])
def test_an_index_that_is_gone_is_made_anew_from_the_files(
    tmp_path: Path, path: str, form: str
) -> None:
    now_ns = NOW_US * 1000
    lines = [b"new msg 5", b"info msg 5: bytes 9 from <joe@far.ex> qp 7 uid 0", b"end msg 5"]
    text = b"".join(
        json_line(record_of(line), iso(now_ns)) + b"\n"
        if form == "json"
        else Page([line], now_ns, form).classic()
        for line in lines
    )
    folder = tmp_path / "main"
    folder.mkdir()
    (folder / f"{tai64n(now_ns).decode()}.s").write_bytes(text)
    (folder / CURRENT).write_bytes(text.replace(b"joe@far.ex", b"bob@far.ex") + b"garbage\n{\n")
    writer = TraceWriter(plan(tmp_path, str(folder)))
    writer.take(page(b"new msg 6" + packed_tail(id=b"fresh")))
    writer.end()
    reader = TraceReader(path)
    for what in ("joe@far.ex", "bob@far.ex"):
        ((trace_id,), _) = reader.find(what)
        assert [one.record["event"] for one in reader.story(trace_id)] == ["new", "info", "end"]
        assert reader.story(trace_id)[0].at_us == NOW_US
    assert reader.find("6") == (["fresh"], 1)
    reader.close()


def test_a_damaged_index_is_set_aside_and_made_anew(
    tmp_path: Path, path: str, capfd: pytest.CaptureFixture[str]
) -> None:
    Path(path).write_bytes(b"no database" * 999)
    folder = tmp_path / "main"
    folder.mkdir()
    (folder / CURRENT).write_bytes(Page([b"new msg 5"], NOW_US * 1000, "tai64n").classic())
    writer = TraceWriter(plan(tmp_path, str(folder)))
    writer.end()
    assert len(found(path, "5")) == 1
    assert Path(path + ".bad").read_bytes().startswith(b"no database")
    assert "set aside" in capfd.readouterr().err


def test_trouble_while_writing_leaves_lines_out_or_starts_over(
    tmp_path: Path, path: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    troubles: list[Exception] = [
        sqlite3.OperationalError("database or disk is full"),
        sqlite3.DatabaseError("database disk image is malformed"),
    ]
    add = TraceStore.add

    def failing(self: TraceStore, entries: list[Entry]) -> None:
        if troubles:
            raise troubles.pop(0)
        add(self, entries)

    monkeypatch.setattr(TraceStore, "add", failing)
    monkeypatch.setattr(trace_writer, "BATCH_PAGES", 1)
    writer = TraceWriter(plan(tmp_path))
    for number in range(3):
        writer.take(page(b"new msg %d" % number))
    writer.end()
    said = capfd.readouterr().err
    assert "disk is full: some lines are not in the index" in said
    assert "malformed: set aside" in said
    assert len(found(path, "2")) == 1
    assert found(path, "0") == []


# --- log files read back ------------------------------------------------------------------------


@given(st.binary(max_size=200))
def test_no_line_of_a_file_upsets_the_reader(line: bytes) -> None:
    for text in (line, b"{" + line, tai64n(0) + b" " + line, iso(0).encode() + b" " + line):
        got = read_line(text, 5)
        if got is not None:
            json_line(got[1], iso(got[0]))


@pytest.mark.parametrize(
    "text", ['{"time":1}', "[]", '{"time":"x","event":"new"}', "{", '{"event":"new"}', "{}"]
)
def test_json_that_is_no_record_is_passed_over(text: str) -> None:
    assert read_line(text.encode()) is None


def test_nested_values_do_not_get_in() -> None:
    line = {"time": iso(0), "event": "new", "msg": 5, "odd": {"a": [1]}, "none": None}
    assert read_line(json.dumps(line).encode()) == (
        0,
        {"event": "new", "msg": 5, "program": "any"},
    )


def test_without_stamps_a_line_has_the_time_of_its_file(tmp_path: Path) -> None:
    (tmp_path / f"{tai64n(5).decode()}.s").write_bytes(b"new msg 5\n")
    (tmp_path / CURRENT).write_bytes(b"new msg 6\n")
    assert list(read_folder(str(tmp_path))) == [(5, record_of(b"new msg 5"))]
