"""Between qmail-pspawn and its children: the proof goes to a helper, the mailbox comes back.

To the helper under qmailp: `L`, `C` and `X` as at run/login (`protocol.login_door`), where the tag
is qmail-pspawn's own number of the login. It answers `C` and `N` as there, or
    F tag mailbox                 the proof is good
    P tag name password           whether it is good, somebody else has to say
    T text                        a line for the log: trouble of ours
To the child that is root, which asks the machine's own list of passwords: `P`, answered by F or N.
"""

from dataclasses import dataclass, field
from typing import Final

from qmail.protocol.login_door import (
    LOGIN_FRAME_MAX,
    Challenge,
    Refused,
    tag_of,
)
from qmail.protocol.netstring import FrameError, pack, pack_fields, unpack_fields
from qmail.protocol.queue_door import number

PASSWORD_FRAME_MAX: Final = 2 * LOGIN_FRAME_MAX
"""Longest frame in all of these: a mailbox has two paths of PATH_MAX bytes."""
PATH_BYTES_MAX: Final = 4096
TROUBLE_BYTES_MAX: Final = 500
ID_MAX: Final = (1 << 32) - 2
"""-1 would mean "stay as you are" to the kernel."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Mailbox:
    """Whose mailbox a login opens. Raises: FrameError: it can't be anybody's, or is root's."""

    login: bytes
    """The name that logged in; `user` is that of the account."""
    user: bytes
    uid: int
    gid: int
    home: bytes
    maildir: bytes
    """Its path, from the home or from the root."""

    def __post_init__(self) -> None:
        """Check that a session can run so."""
        if not 0 < self.uid <= ID_MAX or not 0 <= self.gid <= ID_MAX:
            raise FrameError("not a user who has a mailbox")
        if not self.home.startswith(b"/") or not self.user or not self.maildir:
            raise FrameError("not a mailbox")
        fields = (self.login, self.user, self.home, self.maildir)
        if any(b"\0" in text or len(text) > PATH_BYTES_MAX for text in fields):
            raise FrameError("not a mailbox")


@dataclass(frozen=True, slots=True)
class Found:
    """`F`: the proof is good, and this is the mailbox."""

    tag: int
    mailbox: Mailbox

    def pack(self) -> bytes:
        """Return the frame."""
        box = self.mailbox
        return pack(
            b"F"
            + pack_fields(
                b"%d" % self.tag,
                box.login,
                box.user,
                b"%d" % box.uid,
                b"%d" % box.gid,
                box.home,
                box.maildir,
            )
        )

    @classmethod
    def unpack(cls, fields: bytes) -> "Found":
        """Parse what follows the letter. Raises: FrameError: anything else."""
        tag, login, user, uid, gid, home, maildir = unpack_fields(fields, 7)
        mailbox = Mailbox(
            login=login,
            user=user,
            uid=number(uid, digits_max=10),
            gid=number(gid, digits_max=10),
            home=home,
            maildir=maildir,
        )
        return cls(tag_of(tag), mailbox)


@dataclass(frozen=True, slots=True)
class Password:
    """`P`: a name and a password that somebody else has to check."""

    tag: int
    name: bytes
    password: bytes = field(repr=False)

    def pack(self) -> bytes:
        """Return the frame."""
        return pack(b"P" + pack_fields(b"%d" % self.tag, self.name, self.password))

    @classmethod
    def unpack(cls, fields: bytes) -> "Password":
        """Parse what follows the letter. Raises: FrameError: anything else."""
        tag, name, password = unpack_fields(fields, 3)
        return cls(tag_of(tag), name, password)


@dataclass(frozen=True, slots=True)
class Trouble:
    """`T`: what is wrong on our side, for the log."""

    text: bytes

    def pack(self) -> bytes:
        """Return the frame; a long text is cut."""
        return pack(b"T" + pack_fields(self.text[:TROUBLE_BYTES_MAX]))

    @classmethod
    def unpack(cls, fields: bytes) -> "Trouble":
        """Parse what follows the letter. Raises: FrameError: anything else."""
        (text,) = unpack_fields(fields, 1)
        if len(text) > TROUBLE_BYTES_MAX:
            raise FrameError("a long text")
        return cls(text)


Finding = Challenge | Refused | Found | Password | Trouble

_FINDINGS: Final[dict[bytes, type[Finding]]] = {
    b"C": Challenge,
    b"N": Refused,
    b"F": Found,
    b"P": Password,
    b"T": Trouble,
}


def unpack_finding(payload: bytes) -> Finding:
    """Parse the payload of a frame from one of the children.

    Raises: FrameError: none of these frames.
    """
    kind = _FINDINGS.get(payload[:1])
    if kind is None:
        raise FrameError("no such finding")
    return kind.unpack(payload[1:])


def unpack_password(payload: bytes) -> Password:
    """Parse the payload of a frame to the child that is root.

    Raises: FrameError: no such frame.
    """
    if payload[:1] != b"P":
        raise FrameError("not a password")
    return Password.unpack(payload[1:])
