"""qmail queue check finds and mends every kind of fault; no whole message is lost by it."""

import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.fakes.homes import GID, IS_ROOT, UID, make_home, open_folder
from tests.fakes.planted_queue import (
    SPOILERS,
    Planted,
    copy_queue,
    wanted_messages,
    whole_messages,
)

from qmail.core.repair.faults import Fault, Finding
from qmail.edge.machine.accounts import Accounts, MissingAccountError, separate_accounts
from qmail.edge.tools.progress import Progress
from qmail.utilities import init, queue_check
from qmail.utilities.queue_check import check, repair
from qmail.utilities.queue_stop import RunningError, stopped

OWNER = (UID, GID) if IS_ROOT else None


@pytest.fixture
def home() -> Iterator[Path]:
    with open_folder() as folder:
        make_home(folder / "home")
        yield folder / "home"


def plant(home: Path, count: int) -> Planted:
    planted = Planted(home / "queue", OWNER)
    for index in range(count):
        planted.add(index)
    return planted


def words(findings: list[Finding]) -> set[str]:
    return {finding.fault.word for finding in findings}


def test_a_sound_queue_has_no_faults(home: Path) -> None:
    plant(home, 9)
    outcome = check(str(home))
    assert (outcome.findings, outcome.messages, outcome.running) == ([], 9, False)


def test_every_fault_is_planted_somewhere() -> None:
    elsewhere = {Fault.ABANDONED, Fault.PID_LEFTOVER, Fault.UNREADABLE}
    assert SPOILERS.keys() | elsewhere == set(Fault)


@pytest.mark.parametrize("fault", SPOILERS, ids=lambda fault: fault.word)
def test_each_fault_is_found_named_and_mended(home: Path, fault: Fault) -> None:
    planted = plant(home, 6)
    for index in (3, 4):
        SPOILERS[fault](planted, planted.messages[index])
    found = check(str(home))
    assert fault.word in words(found.findings)
    assert not any(finding.done for finding in found.findings)
    mended = repair(str(home))
    assert fault.word in words(mended.findings)
    assert [finding for finding in mended.findings if not finding.done] == []
    assert check(str(home)).findings == []
    assert whole_messages(home / "queue") == wanted_messages(planted)


@settings(max_examples=25, deadline=None)
@given(
    faults=st.lists(
        st.tuples(st.sampled_from(sorted(SPOILERS, key=lambda f: f.word)), st.integers(0, 11)),
        max_size=8,
        unique_by=lambda each: each[1],
    )
)
def test_after_any_faults_a_check_finds_nothing_and_whole_messages_are_there(
    faults: list[tuple[Fault, int]],
) -> None:
    with open_folder() as folder:
        make_home(folder / "home")
        planted = plant(folder / "home", 12)
        for fault, index in faults:
            SPOILERS[fault](planted, planted.messages[index])
        outcome = repair(str(folder / "home"))
        assert [finding for finding in outcome.findings if not finding.done] == []
        assert check(str(folder / "home")).findings == []
        assert whole_messages(folder / "home/queue") == wanted_messages(planted)


def test_a_copied_queue_gets_the_numbers_of_its_inodes(home: Path) -> None:
    planted = plant(home, 40)
    (home / "queue").rename(home / "old")
    copy_queue(home / "old", home / "queue")
    found = check(str(home)).findings
    assert sum(finding.fault is Fault.WRONG_NUMBER for finding in found) > 30
    repair(str(home))
    assert check(str(home)).findings == []
    assert whole_messages(home / "queue") == wanted_messages(planted)


def test_two_messages_with_each_others_numbers_are_both_kept(home: Path) -> None:
    planted = plant(home, 2)
    one, two = planted.messages[0], planted.messages[1]
    paths = planted.path("mess", one.number), planted.path("mess", two.number)
    paths[0].rename(home / "queue/pid/x")
    paths[1].rename(paths[0])
    (home / "queue/pid/x").rename(paths[1])
    # What they hold goes with the number, as after a restore: the envelope decides.
    todo = planted.path("todo", one.number)
    todo.unlink()
    one.queued = False
    planted.write_info(one)
    outcome = repair(str(home))
    assert words(outcome.findings) == {"wrong-number"}
    found = whole_messages(home / "queue")
    assert {index: open_ones for index, (_, open_ones) in found.items()} == {
        0: b"".join(b"T%b\0" % each for each in two.recipients),
        1: b"".join(b"T%b\0" % each for each in one.recipients),
    }
    assert check(str(home)).findings == []


def test_times_and_marks_stay(home: Path) -> None:
    planted = plant(home, 2)
    message = planted.messages[1]
    local = planted.path("local", message.number)
    local.write_bytes(b"Da@me.ex\0Tb@me.ex\0")
    os.utime(local, (5, 1_234_567))
    SPOILERS[Fault.WRONG_NUMBER](planted, message)
    repair(str(home))
    (found,) = (home / "queue/local").glob("*/*")
    assert found.read_bytes() == b"Da@me.ex\0Tb@me.ex\0"
    assert found.stat().st_mtime == 1_234_567


def test_the_split_can_be_changed_and_changed_back(home: Path) -> None:
    planted = plant(home, 30)
    for split in (7, 51):
        (home / "control/split").write_text(f"{split}\n")
        assert "split" in words(repair(str(home)).findings)
        assert check(str(home)).findings == []
        names = {path.name for path in (home / "queue/mess").iterdir()}
        assert names == {str(number) for number in range(split)}
        assert whole_messages(home / "queue") == wanted_messages(planted)


def test_nothing_that_holds_a_message_is_deleted(home: Path) -> None:
    planted = plant(home, 12)
    for fault, index in (
        (Fault.TORN, 3), (Fault.BAD_SENDER, 4), (Fault.NO_SENDER, 5), (Fault.BAD_RECIPIENTS, 7),
    ):  # fmt: skip
        SPOILERS[fault](planted, planted.messages[index])
    repair(str(home))
    lost = [path.read_bytes() for path in (home / "queue/lost").glob("*.mess")]
    assert {int(text.split(b"index ")[1].split(b"\n")[0]) for text in lost} == {3, 4, 5, 7}
    notes = (home / "queue/lost/NOTES").read_text()
    assert "bad-sender: was info/" in notes
    assert "it is empty" in notes


def test_a_running_system_is_not_repaired(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    plant(home, 3)
    with stopped(str(home)):
        assert check(str(home)).running
        with pytest.raises(RunningError):
            repair(str(home))
        assert queue_check.main("check", ["--home", str(home), "--repair"]) == 111
    assert "qmail-start runs" in capsys.readouterr().err


def test_what_a_running_system_is_doing_is_in_motion(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    planted = plant(home, 3)
    path = planted.path("info", planted.messages[1].number)
    moves = iter([(path, home / "info"), (home / "info", path)])
    real = queue_check._look

    def look(home: str, accounts: Accounts, progress: Progress) -> queue_check.Outcome:
        source, target = next(moves)
        source.rename(target)
        return real(home, accounts, progress)

    monkeypatch.setattr(queue_check, "_look", look)
    with stopped(str(home)):
        outcome = check(str(home))
    assert outcome.findings == []
    assert [finding.fault for finding in outcome.moving] == [Fault.NO_SENDER]


def test_json_has_stable_names(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    planted = plant(home, 3)
    SPOILERS[Fault.FILE_OWNER](planted, planted.messages[1])
    assert queue_check.main("check", ["--home", str(home), "--json"]) == 1
    found = json.loads(capsys.readouterr().out)
    assert found["counts"] == {"file-owner": 1}
    assert found["faults"][0].keys() == {"fault", "path", "why", "done"}
    assert queue_check.main("check", ["--home", str(home), "--repair", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["faults"][0]["done"] == "set"


def test_a_repair_can_be_told_to_the_reader(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    planted = plant(home, 3)
    SPOILERS[Fault.UNKNOWN_NAME](planted, planted.messages[1])
    (home / "queue/todo/a\nb").write_bytes(b"")
    assert queue_check.main("check", ["--home", str(home)]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("unknown-name mess/")
    assert "unknown-name todo/a?b: no file of the queue is called so" in lines
    assert queue_check.main("check", ["--home", str(home), "--repair"]) == 0
    assert queue_check.main("check", ["--home", str(home)]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == f"{home}/queue is in order: 3 messages"


def test_a_home_without_queue_is_told(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.rmtree(home / "queue")
    assert queue_check.main("check", ["--home", str(home)]) == 111
    assert f"{home}/queue: No such file or directory: run 'qmail init'" in capsys.readouterr().err


def test_no_home_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert queue_check.main("check", ["--home", str(tmp_path / "none")]) == 111
    assert "No such file" in capsys.readouterr().err


@pytest.mark.skipif(not IS_ROOT, reason="needs root: it gives files to other accounts")
def test_wrong_owners_are_set(home: Path) -> None:
    planted = plant(home, 6)
    for path in (home / "queue").rglob("*"):
        os.chown(path, 0, 0, follow_symlinks=False)
    os.chown(home / "queue", 0, 0)
    assert words(check(str(home)).findings) == {"file-owner", "folder-owner"}
    repair(str(home))
    assert check(str(home)).findings == []
    assert {path.stat().st_uid for path in (home / "queue/mess").rglob("*")} == {UID}
    assert whole_messages(home / "queue") == wanted_messages(planted)


def test_what_operators_hold_is_no_fault(home: Path) -> None:
    plant(home, 2)
    notes = home / "queue/info/notes"
    notes.write_bytes(b"x")
    owner = (home / "queue/info").stat()
    os.chown(notes, owner.st_uid, owner.st_gid)
    notes.chmod(0o600)
    assert check(str(home)).findings == []
    repair(str(home))
    assert notes.read_bytes() == b"x"


@pytest.mark.skipif(not IS_ROOT, reason="needs root: a file of another account is linked")
def test_a_hard_link_to_a_file_of_root_is_not_given_away(home: Path) -> None:
    plant(home, 2)
    secret = home.parent / "secret"
    secret.write_bytes(b"of root")
    secret.chmod(0o600)
    os.link(secret, home / "queue/mess/0/23")
    (home / "queue/info/0/46").symlink_to(secret)
    repair(str(home))
    found = secret.stat()
    assert (found.st_uid, found.st_mode & 0o777) == (0, 0o600)
    assert check(str(home)).findings == []


@pytest.mark.skipif(not IS_ROOT, reason="needs root: a folder is swapped for a link")
def test_a_folder_that_is_a_link_leads_root_nowhere(home: Path) -> None:
    planted = plant(home, 2)
    victim = home.parent / "victim"
    victim.mkdir(mode=0o700)
    (victim / "17").write_bytes(b"of root")
    shutil.rmtree(home / "queue/local/17")
    (home / "queue/local/17").symlink_to(victim)
    repair(str(home))
    assert (victim.stat().st_uid, (victim / "17").stat().st_uid) == (0, 0)
    assert (victim / "17").read_bytes() == b"of root"
    assert check(str(home)).findings == []
    del planted


def test_what_is_parked_is_named_until_somebody_mends_it(home: Path) -> None:
    planted = plant(home, 4)
    message = planted.messages[3]
    SPOILERS[Fault.PARKED](planted, message)
    todo = home / f"queue/parked/{message.number}.todo"
    whole = todo.read_bytes()
    for broken, why in (
        (whole[:-1], "its last record has no end"),
        (whole.replace(b"Ts", b"Xs").replace(b"Tu", b"Xu"), "a record that is not T"),
        (whole.replace(b"Fs", b"Fx"), "size or sum of the message is another"),
    ):
        planted.write(todo, broken)
        for findings in (check(str(home)).findings, repair(str(home)).findings):
            (finding,) = findings
            assert (finding.fault, finding.done) == (Fault.PARKED, "")
            assert finding.path == f"parked/{message.number}.todo"
            assert why in finding.why
    todo.unlink()
    (finding,) = repair(str(home)).findings
    assert finding.why == f"it has no envelope: make parked/{message.number}.todo"
    planted.write(todo, b"u0\0p0\0Fs@me.ex\0" + whole[whole.index(b"Tu") :])
    (finding,) = repair(str(home)).findings
    assert finding.done == "put back into the queue"
    assert whole_messages(home / "queue") == wanted_messages(planted)


def test_a_parked_message_of_a_copied_queue_is_put_back_under_its_new_number(home: Path) -> None:
    planted = plant(home, 7)
    for index in (3, 6):
        SPOILERS[Fault.PARKED](planted, planted.messages[index])
    (home / "queue").rename(home / "old")
    copy_queue(home / "old", home / "queue")
    repair(str(home))
    assert check(str(home)).findings == []
    assert whole_messages(home / "queue") == wanted_messages(planted)


def test_a_parked_message_whose_number_is_taken_waits(home: Path) -> None:
    planted = plant(home, 4)
    message = planted.messages[3]
    SPOILERS[Fault.PARKED](planted, message)
    planted.write(planted.path("mess", message.number), b"another one")
    findings = repair(str(home)).findings
    assert "its number is another message's now" in {finding.why for finding in findings}
    assert (home / f"queue/parked/{message.number}.mess").exists()


def test_a_parked_envelope_without_its_message_goes_to_lost(home: Path) -> None:
    planted = plant(home, 1)
    planted.write(home / "queue/parked/77.todo", b"u0\0")
    (finding,) = repair(str(home)).findings
    assert (finding.fault, finding.why) == (Fault.LEFTOVER, "its message is gone")
    assert check(str(home)).findings == []


def test_other_names_in_parked_are_unknown(home: Path) -> None:
    planted = plant(home, 1)
    for name in ("7.todo~", "7", "07.mess", "7.info"):
        planted.write(home / "queue/parked" / name, b"x")
    assert [finding.fault for finding in check(str(home)).findings] == [Fault.UNKNOWN_NAME] * 4


def test_a_name_as_long_as_can_be_is_moved_too(home: Path) -> None:
    (home / "queue/todo" / ("é" * 127)).write_bytes(b"")
    repair(str(home))
    assert check(str(home)).findings == []


@pytest.mark.skipif(not IS_ROOT, reason="needs root: a home with an account for each program")
def test_with_separate_accounts_each_file_gets_its_own() -> None:
    try:
        accounts = separate_accounts()
    except MissingAccountError as missing:
        pytest.skip(str(missing))
    with open_folder() as folder:
        home = folder / "home"
        init.make_home(str(home), host="me.ex", listeners=(), say=lambda _line: None)
        planted = Planted(home / "queue", (0, 0))
        for index in range(6):
            planted.add(index)
        assert words(check(str(home)).findings) == {"file-owner"}
        repair(str(home))
        assert check(str(home)).findings == []
        owners = {
            kind: {path.stat().st_uid for path in (home / "queue" / kind).rglob("*")}
            for kind in ("mess", "todo", "info", "local")
        }
        q, s = {accounts["qmailq"].uid}, {accounts["qmails"].uid}
        assert owners == {"mess": q, "todo": q, "info": s, "local": s}
        assert (home / "queue/lost").stat().st_uid == 0
        assert whole_messages(home / "queue") == wanted_messages(planted)
