"""Frames between qmail-lspawn and its children, and the tables of exit codes."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qmail.protocol.exits import Exit
from qmail.protocol.local_door import LOCAL_FRAME_MAX, Answer, Look, Owner, Target, Task
from qmail.protocol.local_exits import CRASHED, LocalExit, local_report, program_exit
from qmail.protocol.netstring import FrameError, FrameReader

TARGET = Target(b"joe", b"/home/joe", b"joe-x", b"-", b"x", b"example.net")


def payload_of(frame: bytes) -> bytes:
    (payload,) = FrameReader(LOCAL_FRAME_MAX).feed(frame)
    return payload


def test_frames_come_back_as_they_were() -> None:
    task = Task(5, b"s@t", TARGET.pack())
    assert Task.unpack(payload_of(task.pack())) == task
    assert Target.unpack(task.target) == TARGET
    look = Look(6, TARGET.pack())
    assert Look.unpack(payload_of(look.pack())) == look
    for answer in (
        Answer(b"joe", 0, Owner(b"joe", 1, 2, b"/h", b"-", b"x")),
        Answer(b"joe", LocalExit.NO_ALIAS),
    ):
        assert Answer.unpack(payload_of(answer.pack())) == answer


def test_getpw_prints_six_fields_ended_by_nul() -> None:
    assert Owner(b"joe", 1, 2, b"/h", b"-", b"x").pack() == b"joe\x001\x002\0/h\0-\0x\0"


@pytest.mark.parametrize("home", [b"", b"relative", b"/a\0b"])
def test_answer_with_a_bad_home_is_refused(home: bytes) -> None:
    answer = Answer(b"joe", 0, Owner(b"joe", 1, 2, home, b"", b""))
    with pytest.raises(FrameError):
        Answer.unpack(payload_of(answer.pack()))


@settings(max_examples=200)
@given(st.binary(max_size=60), st.sampled_from([b"", b"J", b"L", b"V"]))
def test_nonsense_is_a_frame_error_or_a_value(rest: bytes, letter: bytes) -> None:
    for kind in (Task, Target, Answer, Look):
        try:
            kind.unpack(letter + rest)
        except FrameError:
            continue


@pytest.mark.parametrize(
    ("code", "report"),
    [
        (0, b"Kx"),
        (100, b"Dx"),
        (1, b"Dx"),
        (111, b"Zx"),
        (71, b"Zx"),
        (74, b"Zx"),
        (75, b"Zx"),
        (-9, CRASHED),
    ],
)
def test_letter_for_an_exit(code: int, report: bytes) -> None:
    assert local_report(code, b"x\0y") == report


@pytest.mark.parametrize("code", list(LocalExit))
def test_exits_before_qmail_local_have_texts_of_their_own(code: LocalExit) -> None:
    report = local_report(code, b"output")
    assert b"output" not in report
    assert report[:1] == (b"D" if code == LocalExit.EXEC_HARD else b"Z")


def test_long_output_is_cut_with_a_notice() -> None:
    assert local_report(0, b"x" * 3000) == b"K" + b"x" * 3000
    cut = local_report(0, b"x" * 3001)
    assert cut.startswith(b"K" + b"x" * 2966 + b"\n[")
    assert len(cut) <= 3001


@pytest.mark.parametrize(
    ("codes", "meaning"),
    [
        ((0,), Exit.OK),
        ((99,), Exit.STOP),
        ((100, 64, 65, 70, 76, 77, 78, 112), Exit.PERMANENT),
        ((111, 1, 2, 66, 71, 126, 127, 255), Exit.TEMPORARY),
    ],
)
def test_exit_codes_of_delivery_programs(codes: tuple[int, ...], meaning: Exit) -> None:
    assert {program_exit(code) for code in codes} == {meaning}
