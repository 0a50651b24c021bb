"""One message from standard input into the queue: what qmail-inject and sendmail share."""

from __future__ import annotations

from qmail.core.control_hosts import read_hosts
from qmail.core.control_lines import ControlError, control_reader
from qmail.core.inject import Composed, InjectError, Order, Request, compose
from qmail.core.inject_order import make_moment, read_lists, read_person
from qmail.envelope import BadEnvelopeError, Envelope
from qmail.protocol.header import HeaderReader, HeaderTooLongError
from qmail.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from typing import Final

    from qmail.mail import Result

    Submit = Callable[[Iterator[bytes], Envelope], Result | None]

HEADER_BYTES_MAX: Final = 16 * 1024 * 1024
"""Only the header is held in memory; one that is longer than this is no header."""
PART_BYTES: Final = 65536
DONE: Final = 0
PERMANENT: Final = 100
TEMPORARY: Final = 111


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


def inject(request: Request, world: World) -> int:
    """Complete one message and queue it, or show it. Returns the exit code.

    Source: spec/inject.md 1: environment, list file, home, control files, arguments, message.
    """
    try:
        return _inject(request, world)
    except (InjectError, HeaderTooLongError) as wrong:
        return _fail(world, str(wrong), PERMANENT)
    except BadEnvelopeError as wrong:
        return _fail(world, f"unable to send: {wrong} (#5.1.3)", PERMANENT)
    except ControlError as wrong:
        return _fail(world, str(wrong), TEMPORARY)
    except OSError as trouble:
        what = f"{trouble.filename}: " if isinstance(trouble.filename, str) else ""
        return _fail(world, f"{what}{(trouble.strerror or str(trouble)).lower()}", TEMPORARY)
    except MemoryError:
        return _fail(world, "out of memory", TEMPORARY)


def _fail(world: World, what: str, code: int) -> int:
    world.say(f"{world.name}: fatal: {what}")
    return code


def _inject(request: Request, world: World) -> int:
    order = _order(request, world)
    reader = HeaderReader(HEADER_BYTES_MAX)
    body: bytes | None = None
    while body is None:
        part = world.read(PART_BYTES)
        body = reader.feed(part) if part else reader.finish()
    composed = compose(order, reader.fields)
    for warning in composed.warnings:
        world.say(f"{world.name}: warning: {warning}")
    parts = _message(composed, body, world.read)
    if request.is_shown:
        for part in parts:
            world.show(part)
        return DONE
    result = world.submit(parts, Envelope(composed.sender, composed.recipients))
    if result is None:
        return DONE
    text = result.text.decode("ascii", "replace").strip()
    return _fail(world, text, PERMANENT if result.letter == ord("D") else TEMPORARY)


def _order(request: Request, world: World) -> Order:
    environ = world.environ
    person = read_person(environ)
    letters = environ.get(b"QMAILINJECT", b"")
    lists = read_lists(environ)
    world.enter_home()
    hosts = read_hosts(environ, control_reader(world.home))
    chance = int.from_bytes(world.random(8), "big")
    moment = make_moment(int(world.now()), world.pid, chance)
    return Order(request, hosts, person, moment, letters, lists)


def _message(composed: Composed, body: bytes, read: Callable[[int], bytes]) -> Iterator[bytes]:
    """Yield the message: the new header, then the body as it comes, its last line ended."""
    part = composed.header + body
    while part:
        yield part
        last = part[-1:]
        part = read(PART_BYTES)
    if last != b"\n":
        yield b"\n"
