"""The door run/login: a client's proof goes in, whose mailbox it is comes out, a session begins.

From the program that has the client (qmaild) to qmail-pspawn. Tags are the caller's numbers, one
for each login that is under way:
    L tag service mechanism login secret challenge client   a login begins
    C tag response                                          the client's answer to a challenge
    X tag                                                   given up; ends a session's tag as well
    S tag, with one descriptor beside it                    start the session on this descriptor
answered by
    O mechanisms                        what is offered: the first frame, and again when it changes
    C tag challenge                     for the client; its answer is awaited
    K tag login proof                   accepted: `S` or `X` is awaited
    N tag reason                        refused, and the tag is free again: after `L`, `C` or `S`
    B tag                               the session's process has the descriptor; close yours
    E tag code                          the session's process has ended, and the tag is free again

What `login` and `secret` are, the mechanism decides:

mechanism      login                 secret     challenge       follows
-------------  --------------------  ---------  --------------  -----------------------------
USER           name                  password   the greeting's  K or N
APOP           name                  digest     the greeting's  K or N
PLAIN          initial response      -          the greeting's  K or N; `C` first where empty
SCRAM-SHA-256  initial response      -          -               C C C K or N; the same

Responses and challenges are plain bytes: base64 belongs to the client's protocol. An empty initial
response counts as none, and is answered by an empty challenge. The last challenge of SCRAM is the
server's signature; the client's answer to it is empty.

`proof` says whether the password was checked. Where control/checkpassword names a program, that
runs only at `S`: `claimed` then, and whether the login is good is told by the session's first
bytes, or by the exit code in `E` (spec/smtp.md E.2: 1 refused, 111 temporary).

A tag is good from `L` until `N`, `E` or `X`. Nothing here belongs to one service but `S`, so SMTP
AUTH is the same without it: `K`, then `X`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import ClassVar, Final, Self, TypeVar

from qmail.protocol.netstring import FrameError, pack, pack_fields, unpack_fields
from qmail.protocol.queue_door import number

LOGIN_FRAME_MAX: Final = 16384
"""Longest frame in both directions."""
RESPONSE_BYTES_MAX: Final = 4096
"""Longest name, password, response or challenge; callers refuse longer ones themselves."""
CHALLENGE_BYTES_MAX: Final = 512
CLIENT_BYTES_MAX: Final = 64
SERVICE_BYTES_MAX: Final = 16
TAG_DIGITS_MAX: Final = 10

_Word = TypeVar("_Word", bound=Enum)


class Mechanism(Enum):
    """How a client proves who it is."""

    USER = b"USER"
    """Name and password, as POP3's USER and PASS or SASL's LOGIN give them."""
    APOP = b"APOP"
    PLAIN = b"PLAIN"
    SCRAM_SHA_256 = b"SCRAM-SHA-256"


class Refusal(Enum):
    """Why a login came to nothing."""

    AUTH = b"auth"
    """Wrong name, password or proof: which of them is never told."""
    TEMPORARY = b"temporary"
    """There is no telling now, or no session can be started."""
    IN_USE = b"in-use"
    """Somebody else has the mailbox."""
    LIMIT = b"limit"
    """Too many sessions, in all or of this login."""


class Proof(Enum):
    """What an accepted login rests on."""

    PROVED = b"proved"
    CLAIMED = b"claimed"
    """Nothing was checked yet: the program that checks is the one that `S` starts."""


def _check(value: bytes, bytes_max: int) -> None:
    if len(value) > bytes_max:
        raise FrameError(f"a field of more than {bytes_max} bytes")


def tag_of(digits: bytes) -> int:
    """Parse a tag. Raises: FrameError: it is none."""
    return number(digits, digits_max=TAG_DIGITS_MAX)


@dataclass(frozen=True, slots=True)
class _TagAlone:
    """A frame of a letter and a tag."""

    LETTER: ClassVar[bytes]
    tag: int

    def pack(self) -> bytes:
        """Return the frame."""
        return pack(self.LETTER + pack_fields(b"%d" % self.tag))

    @classmethod
    def unpack(cls, fields: bytes) -> Self:
        """Parse what follows the letter. Raises: FrameError: anything else."""
        (tag,) = unpack_fields(fields, 1)
        return cls(tag_of(tag))


@dataclass(frozen=True, slots=True)
class _SaslStep:
    """`C`: the next word of a SASL dialogue, to either side."""

    tag: int
    data: bytes = field(repr=False)

    def __post_init__(self) -> None:
        """Check the length."""
        _check(self.data, RESPONSE_BYTES_MAX)

    def pack(self) -> bytes:
        """Return the frame."""
        return pack(b"C" + pack_fields(b"%d" % self.tag, self.data))

    @classmethod
    def unpack(cls, fields: bytes) -> Self:
        """Parse what follows the letter. Raises: FrameError: anything else."""
        tag, data = unpack_fields(fields, 2)
        return cls(tag_of(tag), data)


@dataclass(frozen=True, slots=True, kw_only=True)
class Begin:
    """`L`: a login begins. Raises: FrameError: a field is too long."""

    tag: int
    service: bytes
    """`pop3`; what the limits on sessions and the log call it."""
    mechanism: Mechanism
    login: bytes = field(repr=False)
    secret: bytes = field(default=b"", repr=False)
    challenge: bytes = b""
    """What the greeting offered for APOP; handed on to an external checkpassword."""
    client: bytes = b""
    """The client's address, as text."""

    def __post_init__(self) -> None:
        """Check the lengths."""
        _check(self.service, SERVICE_BYTES_MAX)
        _check(self.login, RESPONSE_BYTES_MAX)
        _check(self.secret, RESPONSE_BYTES_MAX)
        _check(self.challenge, CHALLENGE_BYTES_MAX)
        _check(self.client, CLIENT_BYTES_MAX)

    def pack(self) -> bytes:
        """Return the frame."""
        return pack(
            b"L"
            + pack_fields(
                b"%d" % self.tag,
                self.service,
                self.mechanism.value,
                self.login,
                self.secret,
                self.challenge,
                self.client,
            )
        )

    @classmethod
    def unpack(cls, fields: bytes) -> "Begin":
        """Parse what follows the letter. Raises: FrameError: anything else."""
        tag, service, word, login, secret, challenge, client = unpack_fields(fields, 7)
        return cls(
            tag=tag_of(tag),
            service=service,
            mechanism=_one_of(Mechanism, word),
            login=login,
            secret=secret,
            challenge=challenge,
            client=client,
        )


@dataclass(frozen=True, slots=True)
class Response(_SaslStep):
    """`C` from the client's side: its answer to the last challenge."""


@dataclass(frozen=True, slots=True)
class GiveUp(_TagAlone):
    """`X`: forget this tag. What runs for it is told to end; no frame follows."""

    LETTER = b"X"


@dataclass(frozen=True, slots=True)
class Start(_TagAlone):
    """`S`: start the session of an accepted login on the descriptor that comes with this frame.

    Each goes out in a `sendmsg` of its own, so that descriptors arrive in the order of the frames.
    """

    LETTER = b"S"


@dataclass(frozen=True, slots=True)
class Offer:
    """`O`: the mechanisms that can work here, in the order of preference."""

    mechanisms: tuple[Mechanism, ...]

    def pack(self) -> bytes:
        """Return the frame."""
        return pack(b"O" + pack_fields(b" ".join(each.value for each in self.mechanisms)))

    @classmethod
    def unpack(cls, fields: bytes) -> "Offer":
        """Parse what follows the letter. Raises: FrameError: anything else."""
        (words,) = unpack_fields(fields, 1)
        return cls(tuple(_one_of(Mechanism, word) for word in words.split()))


@dataclass(frozen=True, slots=True)
class Challenge(_SaslStep):
    """`C` from the server's side: what the client has to answer."""


@dataclass(frozen=True, slots=True)
class Accepted:
    """`K`: the client is who it says, or `proof` says that this is still to be seen."""

    tag: int
    login: bytes
    proof: Proof = Proof.PROVED

    def __post_init__(self) -> None:
        """Check the length."""
        _check(self.login, RESPONSE_BYTES_MAX)

    def pack(self) -> bytes:
        """Return the frame."""
        return pack(b"K" + pack_fields(b"%d" % self.tag, self.login, self.proof.value))

    @classmethod
    def unpack(cls, fields: bytes) -> "Accepted":
        """Parse what follows the letter. Raises: FrameError: anything else."""
        tag, login, word = unpack_fields(fields, 3)
        return cls(tag_of(tag), login, _one_of(Proof, word))


@dataclass(frozen=True, slots=True)
class Refused:
    """`N`: no. The tag is free again."""

    tag: int
    reason: Refusal

    def pack(self) -> bytes:
        """Return the frame."""
        return pack(b"N" + pack_fields(b"%d" % self.tag, self.reason.value))

    @classmethod
    def unpack(cls, fields: bytes) -> "Refused":
        """Parse what follows the letter. Raises: FrameError: anything else."""
        tag, word = unpack_fields(fields, 2)
        return cls(tag_of(tag), _one_of(Refusal, word))


@dataclass(frozen=True, slots=True)
class Begun(_TagAlone):
    """`B`: the session's process runs and has the descriptor."""

    LETTER = b"B"


@dataclass(frozen=True, slots=True)
class Ended:
    """`E`: the session's process has ended. `code`: its exit code, or 128 and the signal."""

    tag: int
    code: int

    def pack(self) -> bytes:
        """Return the frame."""
        return pack(b"E" + pack_fields(b"%d" % self.tag, b"%d" % self.code))

    @classmethod
    def unpack(cls, fields: bytes) -> "Ended":
        """Parse what follows the letter. Raises: FrameError: anything else."""
        tag, code = unpack_fields(fields, 2)
        return cls(tag_of(tag), number(code, digits_max=3))


def _one_of(kind: type[_Word], word: bytes) -> _Word:
    try:
        return kind(word)
    except ValueError:
        raise FrameError(f"no such {kind.__name__.lower()}") from None


Call = Begin | Response | GiveUp | Start
Answer = Offer | Challenge | Accepted | Refused | Begun | Ended

_CALLS: Final[Mapping[bytes, type[Call]]] = {b"L": Begin, b"C": Response, b"X": GiveUp, b"S": Start}
_ANSWERS: Final[Mapping[bytes, type[Answer]]] = {
    b"O": Offer,
    b"C": Challenge,
    b"K": Accepted,
    b"N": Refused,
    b"B": Begun,
    b"E": Ended,
}


def unpack_call(payload: bytes) -> Call:
    """Parse the payload of a frame to qmail-pspawn.

    Raises: FrameError: none of these frames.
    """
    kind = _CALLS.get(payload[:1])
    if kind is None:
        raise FrameError("no such call")
    return kind.unpack(payload[1:])


def unpack_answer(payload: bytes) -> Answer:
    """Parse the payload of a frame from qmail-pspawn.

    Raises: FrameError: none of these frames.
    """
    kind = _ANSWERS.get(payload[:1])
    if kind is None:
        raise FrameError("no such answer")
    return kind.unpack(payload[1:])
