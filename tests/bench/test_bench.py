"""The benchmark's pure parts: what it reads out of the kernel's and the tools' output, its sums."""

import collections
import dataclasses
import os
from pathlib import Path
from typing import Any

import pytest
from tests.bench.parts import part

counters = part("counters")
crowd = part("crowd")
extras = part("extras")
load = part("load")
machine = part("machine")
plan = part("plan")
report = part("report")
values = part("values")

needs_root = pytest.mark.skipif(os.getuid() != 0, reason="only root can make homes of others")

DISKSTATS = (
    " 254       0 vda 91864 28980 3644722 55745 7758 21624 612216 5455 0 21988 61779 3989 73 89280"
    " 537 523 39\n"
    " 253       0 zram0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0\n"
    "   8       1 sda1 1 2 3 4 5 6 7 8 9 10 11\n"
)


@pytest.mark.parametrize(
    ("device", "flushes"), [("254:0", 523), ("253:0", 0), ("8:1", None), ("25:4", None)]
)
def test_flushes_are_the_19th_column_of_the_device(device: str, flushes: int | None) -> None:
    assert counters.parse_flushes(DISKSTATS, device) == flushes


def test_a_process_name_may_hold_blanks_and_parentheses() -> None:
    text = "77 (a) S 1 (b) S 9 77 77 0 -1 4194560 1 2 3 4 100 20 3 4 20 0 1 0"
    assert counters.parse_stat(text) == counters.ProcessTimes(9, 127)


def test_a_tree_holds_all_below_its_root_and_nothing_else() -> None:
    parents = {1: 0, 5: 1, 6: 5, 7: 6, 8: 1}
    processes = {pid: counters.ProcessTimes(parent, 1) for pid, parent in parents.items()}
    assert sorted(counters.tree_of(5, processes)) == [5, 6, 7]
    assert counters.tree_of(99, processes) == []


def test_the_own_process_is_in_the_tree_of_its_parent() -> None:
    assert os.getpid() in counters.tree_of(os.getppid(), counters.read_processes())


def test_pss_is_read_and_missing_pss_is_nothing() -> None:
    assert counters.parse_pss_kb("Rss:    9 kB\nPss:     1234 kB\nPss_Anon:  5 kB\n") == 1234
    assert counters.parse_pss_kb("") == 0


def test_busy_time_leaves_idle_and_waiting_out() -> None:
    text = "cpu  100 20 30 9999 8888 4 5 6 77 88\ncpu0 1 1 1 1 1 1 1 1 1 1\n"
    assert counters.parse_busy_s(text) * counters.TICKS_PER_SECOND == 165


@pytest.mark.parametrize(
    ("tail", "count"),
    [
        (b"", 0),
        (b"sess=0 quit=0 mesg=1\rsess=0 quit=0 mesg=2\r", 2),
        (b"esg=7\rsess=3 quit=2 mesg=812\rsess=3 quit=3 mesg=81", 812),
        (b"mesg=9 \n", 9),
    ],
)
def test_the_sink_counter_is_the_last_complete_one(tail: bytes, count: int) -> None:
    assert load.parse_sink_count(tail) == count


@pytest.mark.parametrize("is_kept", [True, False])
def test_smtp_source_keeps_connections_only_when_told(
    is_kept: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(load, "need", lambda name: name)
    one = load.Load(port=1, recipient="a@b", count=7, size_bytes=9, is_kept=is_kept)
    command = one.command()
    assert ("-d" in command) is is_kept
    assert command[command.index("-s") + 1] == "7"
    assert command[-1] == "127.0.0.1:1"


def test_smtp_source_numbers_recipients_only_when_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(load, "need", lambda name: name)
    one = load.Load(port=1, recipient="a@b", count=7, size_bytes=9, is_kept=True, is_numbered=True)
    assert "-N" in one.command()
    assert "-N" not in dataclasses.replace(one, is_numbered=False).command()


def test_the_list_has_ten_thousand_members_and_each_user_ten_of_them() -> None:
    members = crowd.list_members()
    assert len(set(members)) == len(members) == 10_000
    assert members[:2] == ["1user-0@bench.example", "2user-0@bench.example"]
    assert collections.Counter(one.split("-")[0] for one in members)["1000user"] == 10


@needs_root
def test_root_the_crowd_has_homes_of_its_own_and_nothing_else_changes(tmp_path: Path) -> None:
    before = Path("/etc/passwd").read_text()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(crowd, "USERS", 3)
        patch.setattr(crowd, "LIST_MEMBERS", 6)
        made = crowd.make_crowd(part("ground").Ground(str(tmp_path)))
        assert made.count() == 0
        Path(made.new_folders[2], "m").write_text("x")
        assert made.count() == 1
        assert made.last_arrival() == os.stat(made.new_folders[2]).st_mtime
        assert Path(made.members).read_text().count("\n") == 6
    assert os.stat(made.new_folders[1]).st_uid == crowd.FIRST_UID + 2
    assert Path(made.passwd).read_text().startswith(before)
    assert Path("/etc/passwd").read_text() == before


def test_strace_counts_are_read_in_either_order_of_columns() -> None:
    text = "syscall            calls\n---- ---\nfsync   12\nsyncfs   3\n---- ---\ntotal  15\n"
    assert extras.parse_strace_counts(text) == {"fsync": 12, "syncfs": 3}
    assert extras.parse_strace_counts("  12 fdatasync\n 12 total\n") == {"fdatasync": 12}


def test_the_file_system_is_that_of_the_longest_mount_point() -> None:
    mounts = (
        "/dev/a / ext4 rw,relatime,discard 0 0\n"
        "tmpfs /var/tm tmpfs rw 0 0\n"
        "/dev/b /var/tmp xfs rw,noatime,attr2 0 0\n"
    )
    assert machine.parse_file_system(mounts, "/var/tmp/x") == "xfs noatime"
    assert machine.parse_file_system(mounts, "/var/tmpx") == "ext4 relatime discard"
    assert machine.parse_file_system("", "/") == "unknown"


def test_the_cpu_model_is_read() -> None:
    assert machine.parse_cpu_model("model\t: 1\nmodel name\t: Some CPU\n") == "Some CPU"


@pytest.mark.parametrize(("rate", "count"), [(3.0, 100), (1000.0, 3500), (1e9, 40_000)])
def test_the_number_of_messages_follows_the_rate_within_bounds(rate: float, count: int) -> None:
    assert plan.count_for(rate, 3.5) == count


def test_users_in_turn_get_whole_rounds() -> None:
    assert plan.count_for(800.0, 3.0, crowd.USERS) == 2000
    assert plan.count_for(1.0, 3.0, crowd.USERS) == 1000


def sample(rate: float, *, flushes: int | None = 50) -> Any:
    return values.Sample(
        count=100, seconds=100 / rate, cpu_s=0.1, load_cpu_s=0.02, other_cpu_s=0.5, wall_s=1.0,
        flushes=flushes,
    )  # fmt: skip


def row(ours: list[float], postfix: list[float], **variant: object) -> Any:
    chosen = {"kind": values.Kind.LOCAL, "size_bytes": 4096, "is_kept": True, **variant}
    return report.Row(
        values.Variant(**chosen), [sample(one) for one in ours], [sample(one) for one in postfix]
    )


def test_a_ratio_is_the_median_of_pairs_and_not_the_ratio_of_medians() -> None:
    _, lines = report.rate_table([row([100, 200, 900], [100, 50, 300])])
    assert lines[0][:7] == ("local, 4 KB, kept", "200", "100", "3.00", "1.00 to 4.00", "4", "no")


@pytest.mark.parametrize(("ours", "reached"), [(400.0, "yes"), (399.0, "no")])
def test_a_target_is_reached_at_its_value(ours: float, reached: str) -> None:
    assert report.rate_table([row([ours], [100])])[1][0][6] == reached


def test_only_small_messages_have_a_target() -> None:
    _, lines = report.rate_table([row([1], [1], size_bytes=102400, is_kept=False)])
    assert lines[0][0] == "local, 100 KB, one a message"
    assert lines[0][5:7] == ("-", "-")


def test_ours_alone_leaves_dashes() -> None:
    _, lines = report.rate_table([row([100], [])])
    assert lines[0] == (
        "local, 4 KB, kept", "100", "-", "-", "-", "4", "-", "100 to 100", "-"
    )  # fmt: skip


def test_share_of_the_rate_to_one_user_is_taken_in_each_round() -> None:
    one, many = [[sample(100), sample(400)]], [[sample(80), sample(200)]]
    single = report.share_single(many, one)
    assert (single.ours, single.postfix) == ("0.65 (0.50 to 0.80)", "-")


def test_a_list_is_named_without_connections() -> None:
    title = row([1], [1], kind=values.Kind.LIST).variant.title
    assert title == "one message to a list of 10,000, 4 KB"


def test_costs_are_by_message() -> None:
    _, lines = report.cost_table([row([100], [100])])
    assert lines[0] == (
        "local, 4 KB, kept", "1.000", "1.000", "1.00", "0.200", "0.200", "0.500", "0.500", "100",
        "100", "0.50",
    )  # fmt: skip


@pytest.mark.parametrize(("share", "is_said"), [(0.5, False), (0.9, True)])
def test_a_busy_machine_is_told(share: float, is_said: bool) -> None:
    one = values.Sample(
        count=1, seconds=1, cpu_s=1, load_cpu_s=1, other_cpu_s=share, wall_s=1.0, flushes=None
    )
    rows = [report.Row(values.Variant(values.Kind.LOCAL, 4096, is_kept=True), [one], [])]
    assert (report.busy_note(rows) is not None) is is_said
    assert report.busy_note([]) is None


def test_uncounted_flushes_are_no_zero() -> None:
    assert report.median([sample(1, flushes=None).flushes_each]) is None


def test_plain_columns_line_up_and_markdown_has_its_rule() -> None:
    table = (("what", "n"), [("a", "1"), ("longer", "123")])
    assert report.aligned(table) == "what      n\na         1\nlonger  123"
    assert report.markdown(table).split("\n") == [
        "| what   | n   |",
        "| ------ | --: |",
        "| a      | 1   |",
        "| longer | 123 |",
    ]


def test_emptying_a_folder_moves_its_files_aside_until_the_end(tmp_path: Path) -> None:
    ground = part("ground").Ground(str(tmp_path))
    folder = ground.folder()
    for name in ("a", "b"):
        Path(folder, name).write_text(name)
    ground.empty(folder)
    assert os.listdir(folder) == []
    assert sorted(path.name for path in Path(ground.path).glob("*/*")) == ["a", "b"]
    ground.remove()
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_is_not_filled_further(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(part("ground"), "FREE_BYTES_MIN", 1 << 80)
    ground = part("ground").Ground(str(tmp_path))
    folder = ground.folder()
    Path(folder, "a").write_text("a")
    ground.empty(folder)
    assert list(Path(ground.path).glob("*/*")) == []
    ground.leave(folder)
    assert not os.path.exists(folder)


def test_the_document_names_machine_targets_and_method() -> None:
    facts = machine.Machine(
        cores=2, cpu="Some CPU", memory_gb=8.0, kernel="Linux 6.1", file_system="ext4 relatime",
        python="3.11.2", postfix="3.7.11",
    )  # fmt: skip
    found = report.Report(facts, rows=[row([400], [100])], notes=["A note."])
    text = part("document").document(found, date="2030-01-02", options="--quick")
    assert "- 2 cores (Some CPU), 8 GB, Linux 6.1\n" in text
    assert "| local, 4 KB, kept | 400    | 100       | 4.00  |" in text
    assert "- A note." in text
    assert "--quick" in text
