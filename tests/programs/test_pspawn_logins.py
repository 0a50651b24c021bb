"""The logins of qmail-pspawn in any order, with children, sessions and a clock of the tests."""

import os
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qmail.programs import pspawn_logins
from qmail.programs.pspawn_logins import (
    ACCEPTED_S_MAX,
    ASKED_S_MAX,
    CLIENT_S_MAX,
    LOGINS_MAX,
    REFUSAL_EVERY_S,
    Desks,
    Logins,
    Stage,
)
from qmail.programs.pspawn_sessions import Places, Sessions
from qmail.protocol.login_door import (
    LOGIN_FRAME_MAX,
    Accepted,
    Answer,
    Begin,
    Begun,
    Challenge,
    Ended,
    GiveUp,
    Mechanism,
    Proof,
    Refusal,
    Refused,
    Response,
    Start,
    unpack_answer,
    unpack_call,
)
from qmail.protocol.netstring import FrameError, FrameReader
from qmail.protocol.password_door import Found, Mailbox, Password, unpack_password

BOX = Mailbox(login=b"joe", user=b"joe", uid=1000, gid=100, home=b"/home/joe", maildir=b"Maildir")
PLACES = Places(
    sessions_max=3, login_max=2, words=(), daemon=("qmail-pop3d", "Maildir"), environ={},
    descriptors=(100, 100),
)  # fmt: skip


def payload_of(frame: bytes) -> bytes:
    (payload,) = FrameReader(2 * LOGIN_FRAME_MAX).feed(frame)
    return payload


class FakeDesk:
    """A child that is asked, and whose answers the test gives."""

    def __init__(self, hear: Callable[[bytes], None], lost: Callable[[], None]) -> None:
        self.hear = hear
        self.lost = lost
        self.asked: list[bytes] = []
        self.is_up = True
        self.restarts = 0

    def ask(self, frame: bytes) -> bool:
        if self.is_up:
            # Who asks overwrites what it was given.
            self.asked.append(bytes(bytearray(payload_of(frame))))
        return self.is_up

    def restart(self) -> None:
        self.restarts += 1
        self.lost()

    def say(self, finding: Any) -> None:
        """Answer."""
        self.hear(payload_of(finding.pack()))


class FakeDoor:
    """A caller, seen from inside."""

    def __init__(self) -> None:
        self.is_open = True
        self.said: list[Answer] = []

    def send(self, frame: bytes) -> None:
        self.said.append(unpack_answer(payload_of(frame)))

    def take_descriptor(self) -> int:
        return os.open(os.devnull, os.O_RDONLY)


class FakeSessions(Sessions):
    """Sessions without processes."""

    def __init__(self, places: Places) -> None:
        super().__init__(places)
        self.pid = 0
        self.told: list[int] = []
        self.has_room = True

    def start(self, fd: int, whose: Any, login: bytes, on_end: Callable[[int], None]) -> int:
        if not self.has_room:
            raise OSError(11, "no process")
        os.fstat(fd)
        self.pid += 1
        self._by_pid[self.pid] = (login, on_end)
        return self.pid

    def end(self, pid: int) -> None:
        self.told.append(pid)

    @property
    def pids(self) -> list[int]:
        return list(self._by_pid)


class World:
    def __init__(self, places: Places = PLACES, barred: frozenset[int] = frozenset()) -> None:
        self.now = 1000.0
        self.door = FakeDoor()
        self.sessions = FakeSessions(places)
        self.made: list[FakeDesk] = []

        def make(hear: Callable[[bytes], None], lost: Callable[[], None]) -> Any:
            self.made.append(FakeDesk(hear, lost))
            return self.made[-1]

        self.logins = Logins(Desks(make, make), self.sessions, barred, lambda: self.now)
        self.helper, self.system = self.made

    def take(self, call: Any) -> None:
        door: Any = self.door
        self.logins.take(door, unpack_call(payload_of(call.pack())), self.now)

    def begin(self, tag: int, service: bytes = b"pop3") -> int:
        """Begin a login; return its number inside."""
        mechanism = Mechanism.PLAIN
        self.take(Begin(tag=tag, service=service, mechanism=mechanism, login=b"\0joe\0secret"))
        asked = unpack_call(self.helper.asked[-1])
        assert isinstance(asked, Begin)
        return asked.tag

    def accept(self, tag: int) -> None:
        self.helper.say(Found(self.begin(tag), BOX))

    def later(self, seconds: float) -> None:
        self.now += seconds
        self.logins.pass_refusals(self.now)
        self.logins.tick(self.now)

    def said(self) -> list[Answer]:
        said, self.door.said = self.door.said, []
        return said

    def check(self) -> None:
        """What holds at every moment."""
        inside = list(self.logins._by_serial.values())
        running = [login for login in inside if login.stage is Stage.RUNNING]
        assert self.logins._under_way == len(inside) - len(running)
        counted = sum(login.is_counted for login in inside)
        assert len(self.sessions) == counted + len(self.sessions.pids)
        assert len(self.logins._by_tag) == len(inside)
        assert len(self.sessions) <= self.sessions.places.sessions_max


# --- refusals are even ----------------------------------------------------------------------------


@pytest.mark.parametrize(("took_s", "told_s"), [(0.0, 0.5), (0.1, 0.5), (0.49, 0.5), (0.6, 1.0)])
def test_refusal_is_told_at_a_multiple_of_half_a_second(took_s: float, told_s: float) -> None:
    world = World()
    serial = world.begin(1)
    world.now += took_s
    world.helper.say(Refused(serial, Refusal.AUTH))
    left = 1000.0 + told_s - world.now
    assert world.logins.wait_s(world.now) == pytest.approx(left)
    world.later(left - 0.01)
    assert world.said() == []
    world.later(0.011)
    assert world.said() == [Refused(1, Refusal.AUTH)]
    world.check()


def test_refusal_of_the_system_is_told_at_the_same_time_as_one_of_the_helper() -> None:
    world = World()
    mine, systems = world.begin(1), world.begin(2)
    world.helper.say(Password(systems, b"joe", b"secret"))
    assert unpack_password(world.system.asked[-1]) == Password(systems, b"joe", b"secret")
    world.now += 0.1
    world.helper.say(Refused(mine, Refusal.AUTH))
    world.now += 0.3
    world.system.say(Refused(systems, Refusal.AUTH))
    world.later(REFUSAL_EVERY_S - 0.4)
    assert world.said() == [Refused(1, Refusal.AUTH), Refused(2, Refusal.AUTH)]


def test_time_of_a_response_is_what_counts() -> None:
    world = World()
    serial = world.begin(1)
    world.helper.say(Challenge(serial, b"x"))
    world.now += 7.3
    world.take(Response(1, b"y"))
    world.helper.say(Refused(serial, Refusal.AUTH))
    assert world.logins.wait_s(world.now) == pytest.approx(REFUSAL_EVERY_S)


# --- time, limits, trouble ------------------------------------------------------------------------


def test_what_waits_too_long_is_temporary() -> None:
    world = World()
    world.begin(1)
    world.later(ASKED_S_MAX + 1)
    assert world.said() == [Refused(1, Refusal.TEMPORARY)]
    assert world.helper.restarts == 1
    world.helper.say(Challenge(world.begin(2), b"x"))
    world.later(CLIENT_S_MAX + 1)
    assert world.said() == [Challenge(2, b"x"), Refused(2, Refusal.TEMPORARY)]
    world.accept(3)
    world.later(ACCEPTED_S_MAX + 1)
    assert world.said() == [Accepted(3, b"joe"), Refused(3, Refusal.TEMPORARY)]
    assert world.helper.restarts == 1
    serial = world.begin(4)
    world.helper.say(Password(serial, b"joe", b"secret"))
    world.later(ASKED_S_MAX + 1)
    assert (world.helper.restarts, world.system.restarts) == (1, 1)
    world.check()
    assert len(world.sessions) == 0


def test_logins_under_way_are_limited() -> None:
    world = World()
    for tag in range(LOGINS_MAX):
        world.begin(tag)
    world.take(Begin(tag=LOGINS_MAX, service=b"pop3", mechanism=Mechanism.USER, login=b"joe"))
    assert world.said() == [Refused(LOGINS_MAX, Refusal.LIMIT)]
    world.take(GiveUp(0))
    world.begin(0)


def test_no_process_for_a_session_is_temporary() -> None:
    world = World()
    world.sessions.has_room = False
    world.accept(1)
    world.take(Start(1))
    assert world.said() == [Accepted(1, b"joe"), Refused(1, Refusal.TEMPORARY)]
    world.check()
    assert len(world.sessions) == 0


def test_children_that_can_t_be_asked_make_it_temporary() -> None:
    world = World()
    world.system.is_up = False
    world.helper.say(Password(world.begin(1), b"joe", b"secret"))
    world.helper.is_up = False
    world.take(Begin(tag=2, service=b"pop3", mechanism=Mechanism.USER, login=b"joe"))
    assert world.said() == [Refused(1, Refusal.TEMPORARY), Refused(2, Refusal.TEMPORARY)]
    world.check()


def test_user_that_is_barred_is_not_believed() -> None:
    world = World(barred=frozenset({1000}))
    world.accept(1)
    assert world.said() == [Refused(1, Refusal.TEMPORARY)]


@pytest.mark.parametrize("is_system", [False, True])
def test_answers_that_nobody_asked_for_are_an_error(is_system: bool) -> None:
    world = World()
    serial = world.begin(1)
    if not is_system:
        world.helper.say(Challenge(serial, b"x"))
    with pytest.raises(FrameError):
        (world.system if is_system else world.helper).say(Found(serial, BOX))
    with pytest.raises(FrameError):
        world.system.say(Challenge(serial, b"x"))


def test_claim_goes_to_the_program_with_what_it_needs() -> None:
    world = World(Places(**{**_fields(PLACES), "words": (b"vchkpw",)}))
    world.helper.say(Password(world.begin(1), b"Joe", b"secret"))
    assert world.said() == [Accepted(1, b"Joe", Proof.CLAIMED)]
    (login,) = world.logins._by_serial.values()
    assert login.whose is not None
    assert "secret" not in repr(login)
    assert world.system.asked == []
    world.helper.say(Password(world.begin(2), b"Joe", b"x" * 600))
    world.later(REFUSAL_EVERY_S)
    assert world.said() == [Refused(2, Refusal.AUTH)]


def _fields(places: Places) -> dict[str, Any]:
    return {name: getattr(places, name) for name in Places.__dataclass_fields__}


def test_same_trouble_is_not_logged_again_and_again(monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    clock = SimpleNamespace(monotonic=lambda: 50.0)
    monkeypatch.setattr(pspawn_logins, "time", clock)
    monkeypatch.setattr(pspawn_logins, "complain", lambda _name, text: said.append(text))
    troubles = pspawn_logins._Troubles()
    for text in (b"one\n\x1b", b"one\n\x1b", b"two", b"one\n\x1b"):
        troubles.say(text)
    assert said == ["warning: one??", "warning: two"]


# --- any order ------------------------------------------------------------------------------------

MOVES = ["begin", "begin", "smtp", "respond", "give up", "start", "start", "challenge", "refuse",
         "find", "find", "pass on", "find by system", "refuse by system", "lose", "lose system",
         "later", "much later", "end", "end"]  # fmt: skip


TAGS = range(1, 9)
WILD = 16
"""So a pick says that the tag is any, be it one that may be named now or not."""
PICKS = st.integers(1, 20)


def likely_tag(world: World, move: str, pick: int) -> int:
    """Return the tag of a frame: mostly one for which it may come now."""
    door: Any = world.door
    stages = {tag: login.stage for (at, tag), login in world.logins._by_tag.items() if at is door}
    wanted = {"respond": Stage.CHALLENGED, "start": Stage.ACCEPTED}.get(move)
    fits = [tag for tag in TAGS if stages.get(tag) is wanted] if move != "give up" else []
    if pick >= WILD or not fits:
        return TAGS[pick % len(TAGS)]
    return fits[pick % len(fits)]


def tag_move(world: World, move: str, tag: int) -> None:
    """Make a move of the caller."""
    calls = {
        "begin": Begin(tag=tag, service=b"pop3", mechanism=Mechanism.PLAIN, login=b"x"),
        "smtp": Begin(tag=tag, service=b"smtp", mechanism=Mechanism.PLAIN, login=b"x"),
        "respond": Response(tag, b"answer"),
        "give up": GiveUp(tag),
        "start": Start(tag),
    }
    world.take(calls[move])


def child_move(world: World, move: str, pick: int) -> None:
    """Make a move of a child about one of the logins that it works at."""
    at_system = move.endswith("system")
    asked = [
        login.serial
        for login in world.logins._by_serial.values()
        if login.stage is Stage.ASKED and (login.serial in world.logins._at_system) == at_system
    ]
    if not asked:
        return
    serial = asked[pick % len(asked)]
    findings = {
        "challenge": Challenge(serial, b"x"),
        "refuse": Refused(serial, Refusal.AUTH),
        "refuse by system": Refused(serial, Refusal.AUTH),
        "find": Found(serial, BOX),
        "find by system": Found(serial, BOX),
        "pass on": Password(serial, b"joe", b"secret"),
    }
    (world.system if at_system else world.helper).say(findings[move])


def other_move(world: World, move: str, pick: int) -> None:
    """Lose a child, let time pass, or end a session."""
    if move == "lose":
        world.helper.lost()
    elif move == "lose system":
        world.system.lost()
    elif move == "end" and world.sessions.pids:
        world.sessions.reaped(world.sessions.pids[pick % len(world.sessions.pids)], 0)
    elif "later" in move:
        world.later(REFUSAL_EVERY_S if move == "later" else 100.0)


@given(st.lists(st.tuples(st.sampled_from(MOVES), PICKS), min_size=40, max_size=120))
def test_any_order_of_frames_keeps_count(moves: list[tuple[str, int]]) -> None:
    world = World()
    for move, pick in moves:
        try:
            if move in ("begin", "smtp", "respond", "give up", "start"):
                tag_move(world, move, likely_tag(world, move, pick))
            elif move in ("lose", "lose system", "later", "much later", "end"):
                other_move(world, move, pick)
            else:
                child_move(world, move, pick)
        except FrameError:
            # So the connection ends; nothing is left of it but its sessions.
            assert move in ("begin", "smtp", "respond", "start")
            door: Any = world.door
            world.door.is_open = False
            world.logins.forget(door)
            world.door = FakeDoor()
        world.check()
    door = world.door
    world.logins.forget(door)
    for pid in world.sessions.pids:
        world.sessions.reaped(pid, 0)
    assert not world.logins._by_serial
    assert not world.logins._at_system
    assert len(world.sessions) == 0


@given(st.lists(st.tuples(st.sampled_from(MOVES), PICKS), min_size=40, max_size=120))
def test_each_login_gets_answers_in_the_order_of_the_door(
    moves: list[tuple[str, int]],
) -> None:
    world = World()
    open_tags: dict[int, str] = {}
    follows = {
        Challenge: ("asked", "asked"), Accepted: ("asked", "accepted"), Refused: ("", "over"),
        Begun: ("accepted", "running"), Ended: ("running", "over"),
    }  # fmt: skip
    for move, pick in moves:
        try:
            if move in ("begin", "smtp", "respond", "give up", "start"):
                tag = likely_tag(world, move, pick)
                tag_move(world, move, tag)
                if move in ("begin", "smtp"):
                    open_tags.setdefault(tag, "asked")
                elif move == "give up":
                    open_tags.pop(tag, None)
            elif move in ("lose", "lose system", "later", "much later", "end"):
                other_move(world, move, pick)
            else:
                child_move(world, move, pick)
        except FrameError:
            return
        for answer in world.said():
            assert answer is not None
            wanted, then = follows[type(answer)]
            about: int = answer.tag  # type: ignore[union-attr]
            assert open_tags[about] == (wanted or open_tags[about])
            open_tags[about] = then
            if then == "over":
                del open_tags[about]
