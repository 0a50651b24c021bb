"""One message from standard input into the queue: what qmail-inject and sendmail share."""

from __future__ import annotations

from qmail.core.inject.message import (
    Composed,
    InjectError,
    NoRecipientsError,
    Order,
    Request,
    compose,
)
from qmail.core.inject.order import make_moment, read_lists, read_person
from qmail.core.settings.hosts import read_hosts
from qmail.core.settings.lines import ControlError, control_reader
from qmail.envelope import BadEnvelopeError, Envelope
from qmail.protocol.header import HeaderReader, HeaderTooLongError
from qmail.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from typing import Final

    from qmail.mail import Result
    from qmail.protocol.header import Field

    Submit = Callable[[Iterator[bytes], Envelope], Result | None]
    Compose = Callable[[Iterable[Field]], Composed]
    Prepare = Callable[["Request", "World"], Compose]

HEADER_BYTES_MAX: Final = 16 * 1024 * 1024
"""Only the header is held in memory; one that is longer than this is no header."""
PART_BYTES: Final = 65536
DONE: Final = 0
PERMANENT: Final = 100
TEMPORARY: Final = 111


class Codes(Record):
    """The exit codes of a program that injects, by what went wrong."""

    usage: int = PERMANENT
    """Nobody to send to."""
    data: int = PERMANENT
    """An address or a header that can't be understood, or is too long."""
    refused: int = PERMANENT
    """The queue, or a program in its place, refuses the message for good."""
    setup: int = TEMPORARY
    """A control file."""
    reading: int = TEMPORARY
    """The message can't be read to its end."""
    later: int = TEMPORARY
    """Whatever else there is: it may work another time."""


class World(Record):
    """The program's outside, handed in by `main`."""

    name: str
    """As which program it speaks."""
    home: str
    environ: Mapping[bytes, bytes]
    read: Callable[[int], bytes]
    """The message: at most so many bytes, b"" at its end."""
    show: Callable[[bytes], None]
    """Standard output, for `-n`."""
    say: Callable[[str], None]
    """Standard error, a line."""
    submit: Submit
    enter_home: Callable[[], None]
    now: Callable[[], float]
    pid: int
    random: Callable[[int], bytes]
    codes: Codes = Codes()


class _ReadError(Exception):
    """The message can't be read: not to be taken for trouble with what it is written to."""


def inject(request: Request, world: World, prepare: Prepare | None = None) -> int:
    """Complete one message and queue it, or show it. Returns the exit code.

    `prepare` reads everything but the message and returns what composes it; None: as qmail-inject.
    Source: spec/inject.md 1: environment, list file, home, control files, arguments, message.
    """
    codes = world.codes
    try:
        return _inject(request, world, prepare or _prepare)
    except NoRecipientsError as wrong:
        return _fail(world, str(wrong), codes.usage)
    except (InjectError, HeaderTooLongError) as wrong:
        return _fail(world, str(wrong), codes.data)
    except BadEnvelopeError as wrong:
        return _fail(world, f"unable to send: {wrong} (#5.1.3)", codes.data)
    except ControlError as wrong:
        return _fail(world, str(wrong), codes.setup)
    except _ReadError as trouble:
        return _fail(world, f"unable to read the message: {trouble}", codes.reading)
    except OSError as trouble:
        what = f"{trouble.filename}: " if isinstance(trouble.filename, str) else ""
        return _fail(world, f"{what}{(trouble.strerror or str(trouble)).lower()}", codes.later)
    except MemoryError:
        return _fail(world, "out of memory", codes.later)


def _fail(world: World, what: str, code: int) -> int:
    world.say(f"{world.name}: fatal: {what}")
    return code


def _inject(request: Request, world: World, prepare: Prepare) -> int:
    compose_fields = prepare(request, world)
    read = _reading(world.read)
    header = _Header(read)
    composed = compose_fields(header.fields())
    for warning in composed.warnings:
        world.say(f"{world.name}: warning: {warning}")
    parts = _message(composed, header.body, read)
    if request.is_shown:
        for part in parts:
            world.show(part)
        return DONE
    result = world.submit(parts, Envelope(composed.sender, composed.recipients))
    if result is None:
        return DONE
    text = result.text.decode("ascii", "replace").strip()
    codes = world.codes
    return _fail(world, text, codes.refused if result.letter == ord("D") else codes.later)


class _Header:
    """The header of a message as it is read; `body` is then what came along of the rest."""

    def __init__(self, read: Callable[[int], bytes]) -> None:
        self._read = read
        self.body = b""

    def fields(self) -> Iterator[Field]:
        reader = HeaderReader(HEADER_BYTES_MAX)
        body: bytes | None = None
        while body is None:
            part = self._read(PART_BYTES)
            body = reader.feed(part) if part else reader.finish()
            yield from reader.fields
            reader.fields.clear()
        self.body = body


def _reading(read: Callable[[int], bytes]) -> Callable[[int], bytes]:
    def guarded(size: int) -> bytes:
        try:
            return read(size)
        except OSError as trouble:
            raise _ReadError((trouble.strerror or str(trouble)).lower()) from trouble

    return guarded


def _prepare(request: Request, world: World) -> Compose:
    environ = world.environ
    person = read_person(environ)
    letters = environ.get(b"QMAILINJECT", b"")
    lists = read_lists(environ)
    world.enter_home()
    hosts = read_hosts(environ, control_reader(world.home))
    chance = int.from_bytes(world.random(8), "big")
    moment = make_moment(int(world.now()), world.pid, chance)
    order = Order(request, hosts, person, moment, letters, lists)
    return lambda fields: compose(order, fields)


def _message(composed: Composed, body: bytes, read: Callable[[int], bytes]) -> Iterator[bytes]:
    """Yield the message: the new header, then the body as it comes, its last line ended."""
    part = composed.header + body
    while part:
        yield part
        last = part[-1:]
        part = read(PART_BYTES)
    if last != b"\n":
        yield b"\n"
