"""The queue on disk at a start, at a sweep, and when the clock was set (spec/queue.md 7.1, 7.7)."""

from pathlib import Path

from tests.fakes.queue_world import (
    ENTRY,
    INFO,
    LAYOUT,
    LOCAL,
    LOCAL_FILE,
    REMOTE,
    REMOTE_FILE,
    START,
    FakeClock,
    arrive,
    files_of,
    keep,
    put,
)

from qmail.core.queue.read import DiskQueue
from qmail.core.queue.schedule import HERD_MAX, HERD_PER_S
from qmail.mail import Channel

# --- start and sweep ------------------------------------------------------------------------------


def test_queue_7_1_at_start_what_is_in_todo_is_preprocessed_again(
    queue: DiskQueue, tmp_path: Path
) -> None:
    arrive(tmp_path)
    for path in (INFO, LOCAL_FILE, "bounce/7"):
        put(tmp_path, path, b"half")
    (found,) = queue.scan()
    assert found.message == 7
    assert files_of(tmp_path) == {"mess/1/7", "todo/7"}
    assert queue.wait(Channel.LOCAL) is None


def test_oddities_6_after_a_start_no_herd_is_due_at_once(
    queue: DiskQueue, clock: FakeClock, tmp_path: Path
) -> None:
    count = HERD_MAX + 2 * HERD_PER_S
    for number in range(1, count + 1):
        put(tmp_path, LAYOUT.mess(number), b"")
        put(tmp_path, LAYOUT.info(number), b"Fjoe@a.ex\0")
        put(tmp_path, LAYOUT.channel("remote", number), b"Tx@a.ex\0", START - number)
    assert list(queue.scan()) == []

    def due() -> list[int]:
        found = []
        while (ticket := queue.due(Channel.REMOTE)) is not None:
            found.append(ticket.message)
        return found

    first = due()
    assert len(first) == HERD_MAX + 1
    assert first == sorted(first, reverse=True)
    clock.time += 1
    assert len(due()) == HERD_PER_S
    clock.time += 1
    assert len(due()) == HERD_PER_S - 1


def test_a_time_of_another_clock_holds_no_message_up_after_a_start(
    queue: DiskQueue, tmp_path: Path
) -> None:
    for number, due in ((7, START + 10**8), (8, START + 1000)):
        put(tmp_path, LAYOUT.mess(number), b"")
        put(tmp_path, LAYOUT.info(number), b"Fjoe@a.ex\0")
        put(tmp_path, LAYOUT.channel("local", number), b"Tx@a.ex\0", due)
    assert list(queue.scan()) == []
    assert queue.due(Channel.LOCAL) == (7, Channel.LOCAL)
    assert queue.wait(Channel.LOCAL) == 1000


def test_a_file_in_the_folder_of_other_numbers_is_none_of_its_message(
    queue: DiskQueue, tmp_path: Path
) -> None:
    keep(queue, tmp_path)
    put(tmp_path, "info/2/7", b"Fnobody@a.ex\0")
    before = files_of(tmp_path)
    assert list(queue.scan()) == []
    assert files_of(tmp_path) == before
    assert queue.notes == []


def test_queue_7_1_at_start_a_message_with_nobody_left_is_ended_now(
    queue: DiskQueue, tmp_path: Path
) -> None:
    put(tmp_path, "mess/1/7", b"")
    put(tmp_path, INFO, b"Fjoe@a.ex\0")
    assert list(queue.scan()) == []
    ticket = queue.due(Channel.LOCAL)
    assert ticket == LOCAL
    assert queue.claim(LOCAL).records == b""
    assert queue.close(LOCAL)


def test_at_start_what_is_left_of_a_finished_message_is_removed(
    queue: DiskQueue, tmp_path: Path
) -> None:
    for path in (INFO, LOCAL_FILE, REMOTE_FILE, "bounce/7"):
        put(tmp_path, path, b"")
    assert list(queue.scan()) == []
    assert files_of(tmp_path) == set()
    assert queue.notes == ["warning: message 7 is gone; removed what was left of it"]


def test_at_start_recipients_without_a_sender_are_told_of_and_left(
    queue: DiskQueue, tmp_path: Path
) -> None:
    put(tmp_path, "mess/1/7", b"")
    put(tmp_path, LOCAL_FILE, b"Tann@b.ex\0")
    assert list(queue.scan()) == []
    assert queue.notes == ["alert: message 7 has recipients and no sender: left"]
    assert files_of(tmp_path) == {"mess/1/7", LOCAL_FILE}


def test_queue_7_7_the_sweep_finds_what_was_never_accepted_after_36_hours(
    queue: DiskQueue, clock: FakeClock, tmp_path: Path
) -> None:
    put(tmp_path, "mess/1/7", b"", START - 10**6)
    put(tmp_path, "mess/2/8", b"")
    put(tmp_path, "todo/8", ENTRY)
    put(tmp_path, "mess/0/9", b"")
    put(tmp_path, "info/0/9", b"F\0")
    born = (tmp_path / "mess/1/7").stat().st_ctime
    clock.time = born + 129600
    assert [number for number in queue.sweep() if number] == []
    clock.time = born + 129601
    assert [number for number in queue.sweep() if number] == [7]


def test_the_sweep_breathes_after_every_folder_and_believes_no_old_look(
    queue: DiskQueue, clock: FakeClock, tmp_path: Path
) -> None:
    put(tmp_path, "mess/1/7", b"")
    put(tmp_path, "mess/2/8", b"")
    clock.time = (tmp_path / "mess/2/8").stat().st_ctime + 129601
    sweep = queue.sweep()
    assert [next(sweep) for _ in range(3)] == [None, 7, None]
    put(tmp_path, "todo/8", ENTRY)
    assert list(sweep) == [None]


# --- the clock ------------------------------------------------------------------------------------


def test_oddities_6_the_lock_remembers_when_qmail_send_last_ran(
    queue: DiskQueue, clock: FakeClock, tmp_path: Path
) -> None:
    assert queue.since_last_run() is None
    queue.note_run()
    put(tmp_path, "lock/sendmutex", b"", START - 1000)
    assert queue.since_last_run() == 1000
    queue.note_run()
    clock.time += 5
    assert queue.since_last_run() == 5


def test_a_schedule_is_moved_as_a_whole(queue: DiskQueue, clock: FakeClock, tmp_path: Path) -> None:
    keep(queue, tmp_path)
    queue.renew(LOCAL, 100)
    queue.renew(REMOTE, 400)
    clock.time -= 10**6
    queue.shift(-(10**6))
    assert (queue.wait(Channel.LOCAL), queue.wait(Channel.REMOTE)) == (100, 400)
