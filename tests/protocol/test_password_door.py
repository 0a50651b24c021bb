"""The frames between qmail-pspawn and its children, and what a checkpassword program reads."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qmail.protocol.checkpassword import InputError, TooLongError, read_input
from qmail.protocol.netstring import FrameError, FrameReader
from qmail.protocol.password_door import (
    PASSWORD_FRAME_MAX,
    TROUBLE_BYTES_MAX,
    Finding,
    Found,
    Mailbox,
    Password,
    Trouble,
    unpack_finding,
    unpack_password,
)

BOX = Mailbox(login=b"joe", user=b"joe", uid=1000, gid=100, home=b"/home/joe", maildir=b"Maildir")


@pytest.mark.parametrize(
    "frame",
    [
        Found(7, BOX),
        Password(7, b"joe", b"secret"),
        Trouble(b"users/passwd:1"),
        Found(10**9, Mailbox(login=b"x" * 4096, user=b"x" * 4096, uid=2**32 - 2, gid=0,
                             home=b"/" * 4096, maildir=b"x" * 4096)),
    ],
)  # fmt: skip
def test_finding_comes_back_as_it_was(frame: Finding) -> None:
    (payload,) = FrameReader(PASSWORD_FRAME_MAX).feed(frame.pack())
    assert unpack_finding(payload) == frame


@pytest.mark.parametrize(
    "change",
    [
        {"uid": 0}, {"uid": 2**32 - 1}, {"gid": 2**32 - 1}, {"uid": -1}, {"home": b"home"},
        {"home": b""}, {"home": b"/h\0"}, {"maildir": b""}, {"maildir": b"\0"}, {"user": b""},
        {"login": b"a\0"}, {"maildir": b"x" * 4097},
    ],
)  # fmt: skip
def test_mailboxes_that_are_nobodys(change: dict[str, object]) -> None:
    fields: dict[str, object] = {
        "login": b"joe", "user": b"joe", "uid": 1, "gid": 1, "home": b"/", "maildir": b"M",
        **change,
    }  # fmt: skip
    with pytest.raises(FrameError):
        Mailbox(**fields)  # type: ignore[arg-type]


@given(st.sampled_from("FPTCNX"), st.binary(max_size=100))
def test_nonsense_is_a_frame_error_or_a_finding(letter: str, rest: bytes) -> None:
    for unpack in (unpack_finding, unpack_password):
        try:
            assert unpack(letter.encode() + rest).pack()
        except FrameError:
            continue


def test_long_troubles_are_cut_and_not_believed() -> None:
    (payload,) = FrameReader(10000).feed(Trouble(b"x" * 1000).pack())
    assert unpack_finding(payload) == Trouble(b"x" * TROUBLE_BYTES_MAX)
    with pytest.raises(FrameError):
        unpack_finding(b"T1000:" + b"x" * 1000 + b",")


def test_secret_is_not_shown() -> None:
    assert "secret" not in repr(Password(1, b"joe", b"secret"))


# --- checkpassword --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "found"),
    [
        (b"joe\0secret\0<1.2@h>\0", (b"joe", b"secret")),
        (b"joe\0\0\0", (b"joe", b"")),
        (b"joe\0secret\0\0more\0data", (b"joe", b"secret")),
        (b"\0\0\0", (b"", b"")),
        (b"joe\0" + b"x" * 506 + b"\0\0", (b"joe", b"x" * 506)),
    ],
)
def test_input_of_checkpassword(data: bytes, found: tuple[bytes, bytes]) -> None:
    assert read_input(data) == found


@pytest.mark.parametrize("data", [b"", b"joe", b"joe\0", b"joe\0secret", b"joe\0secret\0time"])
def test_input_that_is_cut(data: bytes) -> None:
    with pytest.raises(InputError):
        read_input(data)


def test_input_that_is_too_long() -> None:
    with pytest.raises(TooLongError):
        read_input(b"joe\0" + b"x" * 507 + b"\0\0")
