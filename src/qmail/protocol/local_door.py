"""Between qmail-lspawn and its children: who owns an address, and one local delivery to make.

lookup (qmail-lspawn to its helper under qmailp): a netstring with the local part;
    answered by L local, code, uid, gid, user, home, dash, ext (code as qmail-getpw exits)
local (qmail-lspawn to a resident qmail-local): J serial, sender, target, with the open message as a
    descriptor beside it; V serial, target, with nothing beside it, asks whether there is such a
    mailbox; both are answered by `doors.Report` with the serial
"""

from dataclasses import dataclass
from typing import Final, NamedTuple

from qmail.protocol.doors import number
from qmail.protocol.netstring import FrameError, pack, pack_fields, unpack_fields

LOCAL_FRAME_MAX: Final = 16384
"""Longest frame in both: an address, a sender, and a home folder of PATH_MAX bytes."""


@dataclass(frozen=True, slots=True)
class Owner:
    """Who controls a local address: the six fields of qmail-getpw (spec/delivery.md 2)."""

    user: bytes
    uid: int
    gid: int
    home: bytes
    dash: bytes
    ext: bytes

    def pack(self) -> bytes:
        """Return what qmail-getpw prints: six fields, each ended by NUL."""
        fields = (self.user, b"%d" % self.uid, b"%d" % self.gid, self.home, self.dash, self.ext)
        return b"\0".join(fields) + b"\0"


@dataclass(frozen=True, slots=True)
class Answer:
    """What the helper found for one local part; `owner` is None where `code` is not 0."""

    local: bytes
    code: int
    owner: Owner | None = None

    def pack(self) -> bytes:
        """Return the frame."""
        owner = self.owner or Owner(b"", 0, 0, b"", b"", b"")
        return pack(
            b"L"
            + pack_fields(
                self.local,
                b"%d" % self.code,
                b"%d" % owner.uid,
                b"%d" % owner.gid,
                owner.user,
                owner.home,
                owner.dash,
                owner.ext,
            )
        )

    @classmethod
    def unpack(cls, payload: bytes) -> "Answer":
        """Parse a frame's payload.

        Raises: FrameError: not an answer.
        """
        if payload[:1] != b"L":
            raise FrameError("not an answer")
        local, code, uid, gid, user, home, dash, ext = unpack_fields(payload[1:], 8)
        exit_code = number(code, digits_max=3)
        if exit_code:
            return cls(local, exit_code)
        if not home.startswith(b"/") or b"\0" in user + home + dash + ext:
            raise FrameError("not an owner")
        owner = Owner(user, number(uid, digits_max=10), number(gid, digits_max=10), home, dash, ext)
        return cls(local, 0, owner)


@dataclass(frozen=True, slots=True)
class Target:
    """The recipient as qmail-local gets it on its command line."""

    user: bytes
    home: bytes
    local: bytes
    dash: bytes
    ext: bytes
    domain: bytes

    def pack(self) -> bytes:
        """Return the fields, unwrapped: one field of a task."""
        return pack_fields(self.user, self.home, self.local, self.dash, self.ext, self.domain)

    @classmethod
    def unpack(cls, packed: bytes) -> "Target":
        """Parse what `pack` made.

        Raises: FrameError: not a target.
        """
        user, home, local, dash, ext, domain = unpack_fields(packed, 6)
        return cls(user, home, local, dash, ext, domain)


def pack_task(serial: int, sender: bytes, target: bytes) -> bytes:
    """Return the frame of a `Task`."""
    digits = b"%d" % serial
    fields = b"J%d:%b,%d:%b,%d:%b," % (
        len(digits), digits, len(sender), sender, len(target), target,
    )  # fmt: skip
    return b"%d:%b," % (len(fields), fields)


class Task(NamedTuple):
    """One delivery for a resident qmail-local. `target` is packed: it repeats, and is cached."""

    serial: int
    sender: bytes
    target: bytes

    def pack(self) -> bytes:
        """Return the frame."""
        return pack_task(self.serial, self.sender, self.target)

    @classmethod
    def unpack(cls, payload: bytes) -> "Task":
        """Parse a frame's payload.

        Raises: FrameError: not a task.
        """
        if payload[:1] != b"J":
            raise FrameError("not a task")
        serial, sender, target = unpack_fields(payload[1:], 3)
        return cls(number(serial), sender, target)


@dataclass(frozen=True, slots=True)
class Look:
    """The question to a resident qmail-local whether its home has a mailbox for a packed target."""

    serial: int
    target: bytes

    def pack(self) -> bytes:
        """Return the frame."""
        return pack(b"V" + pack_fields(b"%d" % self.serial, self.target))

    @classmethod
    def unpack(cls, payload: bytes) -> "Look":
        """Parse a frame's payload.

        Raises: FrameError: not a look-up.
        """
        if payload[:1] != b"V":
            raise FrameError("not a look-up")
        serial, target = unpack_fields(payload[1:], 2)
        return cls(number(serial), target)
