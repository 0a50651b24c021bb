"""The helper of qmail-pspawn, called with whatever a client may say: one finding for each call."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qmail.core.login.passwd_file import PasswdFile
from qmail.core.login.password_check import Household, PasswordCheck
from qmail.edge.machine.system_passwords import SystemPasswords
from qmail.programs.pspawn_helper import LoginDesk
from qmail.programs.pspawn_system import SystemDesk
from qmail.protocol.login_door import (
    RESPONSE_BYTES_MAX,
    Begin,
    Challenge,
    GiveUp,
    Mechanism,
    Refusal,
    Refused,
    Response,
    Start,
)
from qmail.protocol.netstring import FrameError, FrameReader
from qmail.protocol.password_door import (
    PASSWORD_FRAME_MAX,
    Finding,
    Found,
    Password,
    Trouble,
    unpack_finding,
)
from qmail.protocol.scram_keys import make_keys

SECRET = b"{SCRAM-SHA-256}" + make_keys(b"secret", b"salt", 4096).text()


def desk(folder: Path, *, is_external: bool = False, has_system: bool = False) -> LoginDesk:
    (folder / "users").mkdir(exist_ok=True)
    (folder / "users/passwd").write_bytes(
        b"joe:" + SECRET + b":1:1::/h\nodd:{X}y\nhash:$6$rounds=1000$x$y:1:1::/h\n"
    )
    kept = Household(sole=None, secret=b"s" * 32)
    return LoginDesk(
        lambda say: PasswordCheck(PasswdFile(str(folder)), SystemPasswords(), kept, say),
        is_external=is_external,
        has_system=has_system,
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("home")


def ask(desk: LoginDesk, call: Begin | Response | GiveUp | Start) -> list[Finding]:
    (payload,) = FrameReader(PASSWORD_FRAME_MAX).feed(call.pack())
    said = desk.reply(payload)
    return [unpack_finding(each) for each in FrameReader(PASSWORD_FRAME_MAX).feed(said)]


NAMES = [b"joe", b"odd", b"hash", b"nobody", b"", b"\0", b"n,,n=joe,r=abc", b"\0joe\0secret"]
TEXTS = st.one_of(
    st.sampled_from(NAMES),
    st.binary(max_size=60),
    st.builds(lambda head, tail: head + tail, st.sampled_from(NAMES), st.binary(max_size=20)),
    st.just(b"x" * RESPONSE_BYTES_MAX),
)
CALLS = st.one_of(
    st.builds(
        Begin,
        tag=st.integers(1, 3),
        service=st.just(b"pop3"),
        mechanism=st.sampled_from(Mechanism),
        login=TEXTS,
        secret=TEXTS,
    ),
    st.builds(Response, st.integers(1, 3), TEXTS),
    st.builds(GiveUp, st.integers(1, 3)),
)


@settings(max_examples=100, deadline=None)
@given(st.lists(CALLS, min_size=5, max_size=20), st.booleans(), st.booleans())
def test_whatever_is_said_there_is_one_finding_about_it(
    folder: Path, calls: list[Begin | Response | GiveUp], is_external: bool, has_system: bool
) -> None:
    asked = desk(folder, is_external=is_external, has_system=has_system)
    for call in calls:
        said = ask(asked, call)
        if isinstance(call, GiveUp):
            assert said == []
            continue
        *troubles, last = said
        assert all(isinstance(each, Trouble) for each in troubles)
        assert isinstance(last, Challenge | Refused | Found | Password)
        assert last.tag == call.tag
        if isinstance(last, Found):
            assert (last.mailbox.login, is_external) == (b"joe", False)
        if isinstance(last, Password):
            assert is_external or has_system


def test_frames_that_are_not_for_it_are_an_error(folder: Path) -> None:
    with pytest.raises(FrameError):
        ask(desk(folder), Start(1))
    with pytest.raises(FrameError):
        desk(folder).reply(b"nonsense")


def test_response_to_another_helper_is_temporary(folder: Path) -> None:
    assert ask(desk(folder), Response(7, b"x")) == [Refused(7, Refusal.TEMPORARY)]


def test_bad_line_is_told_for_the_log(folder: Path) -> None:
    begin = Begin(tag=1, service=b"pop3", mechanism=Mechanism.USER, login=b"odd", secret=b"pw12")
    trouble, refused = ask(desk(folder), begin)
    assert isinstance(trouble, Trouble)
    assert trouble.text.startswith(b"users/passwd:2: field 2 (password)")
    assert b"pw12" not in trouble.text
    assert refused == Refused(1, Refusal.TEMPORARY)


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 10**9), st.binary(max_size=20), st.binary(max_size=20))
def test_the_system_knows_nobody_of_such_a_name(tag: int, name: bytes, password: bytes) -> None:
    (payload,) = FrameReader(PASSWORD_FRAME_MAX).feed(
        Password(tag, b"no-such-" + name, password).pack()
    )
    (said,) = FrameReader(PASSWORD_FRAME_MAX).feed(SystemDesk().reply(payload))
    assert unpack_finding(said) == Refused(tag, Refusal.AUTH)


def test_the_system_takes_one_kind_of_frame() -> None:
    with pytest.raises(FrameError):
        SystemDesk().reply(b"L1:1,")
