"""One local delivery, line by line, as qmail-local does it (spec/delivery.md 3, steps 6 to 13).

The quick way for many messages to maildirs is `core.local.quick_delivery`; all else comes here.
"""

import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final, Protocol

from qmail.core.fs import RealFs
from qmail.core.local import maildir, mbox
from qmail.core.local.dotqmail import (
    Forward,
    Instruction,
    Maildir,
    Mbox,
    Program,
    Refuse,
    doubt_about,
)
from qmail.core.local.environment import (
    Facts,
    delivered_to,
    environment,
    from_line,
    new_sender,
    return_path,
)
from qmail.core.local.home_files import DotqmailFiles, StoppedError, put_off, reason_of
from qmail.core.local.message_source import FIRST_BYTES, Source, header_has, rest_of
from qmail.core.local.plan import Plan, disk_trouble, find_owner_files, find_plan
from qmail.mail import BadEnvelopeError, Envelope, Letter, Result
from qmail.protocol.exits import Exit
from qmail.protocol.local_door import Target
from qmail.protocol.local_exits import program_exit

LOOP: Final = b"This message has been delivered to this address already: a loop. (#5.4.6)\n"


class Hands(Protocol):
    """What a delivery does outside its own files."""

    def run(self, command: bytes, variables: Mapping[bytes, bytes]) -> int:
        """Run a shell command on the message; return its exit code, negative for a signal."""
        ...

    def submit(self, parts: Iterator[bytes], envelope: Envelope) -> tuple[Result | None, int]:
        """Put a message into the queue; return the trouble (None: queued) and the queue's qp."""
        ...

    def lock(self, fd: int) -> None:
        """Lock an open mbox, as `mbox.Lock`."""
        ...

    def say(self, text: bytes) -> None:
        """Add to the report."""
        ...


@dataclass(frozen=True, slots=True)
class Delivery:
    """One message for one target; the working folder is the target's home, with `files`."""

    target: Target
    sender: bytes
    files: DotqmailFiles
    source: Source
    default_delivery: bytes
    now_s: int
    inherited: Mapping[bytes, bytes]


@dataclass(slots=True)
class _Done:
    files: int = 0
    programs: int = 0
    forwards: list[bytes] = field(default_factory=list)
    is_over: bool = False


def deliver_one(delivery: Delivery, hands: Hands) -> Exit:
    """Make the whole delivery, and say how it went."""
    try:
        return _Attempt(delivery, hands).run()
    except StoppedError as stopped:
        hands.say(stopped.text)
        return stopped.code


def show_plan(delivery: Delivery, say: Callable[[bytes], None]) -> Exit:
    """Say what would be done, and do nothing (qmail-local -n)."""
    done = _Done()
    try:
        plan = find_plan(delivery.files, delivery.target, delivery.default_delivery)
        for instruction in plan.instructions:
            match instruction:
                case Maildir(path) | Mbox(path):
                    kind = b"maildir " if isinstance(instruction, Maildir) else b"mbox "
                    say(kind + path + b"\n")
                    done.files += 1
                case Program(command):
                    say(b"program " + command + b"\n")
                    done.programs += 1
                case Forward(address):
                    say(b"forward " + address + b"\n")
                    done.forwards.append(address)
                case Refuse(reason):
                    raise put_off(reason)
    except StoppedError as stopped:
        say(stopped.text)
        return stopped.code
    say(_summary(done))
    return Exit.OK


def _summary(done: _Done) -> bytes:
    return b"did %d+%d+%d\n" % (done.files, len(done.forwards), done.programs)


def _warning(plan: Plan, done: _Done) -> bytes:
    """Say once a delivery, for the log, that a forward address is hardly what was meant."""
    for address in done.forwards:
        doubt = doubt_about(address)
        if doubt:
            name = plan.name or b"the default delivery"
            return b"warning: %b: %b was taken as it stands, %b\n" % (name, address, doubt)
    return b""


class _Attempt:
    def __init__(self, delivery: Delivery, hands: Hands) -> None:
        self._delivery = delivery
        self._hands = hands
        self._done = _Done()
        self._dtline = delivered_to(delivery.target)
        self._rpline = return_path(delivery.sender)
        self._first = self._read_first()

    def _read_first(self) -> bytes:
        source = self._delivery.source
        try:
            first = source.read(0, FIRST_BYTES)
            if header_has(self._dtline, first, source):
                raise StoppedError(Exit.PERMANENT, LOOP)
        except OSError as trouble:
            raise _unreadable(trouble) from None
        return first

    def run(self) -> Exit:
        """Do every line, then forward."""
        delivery, done = self._delivery, self._done
        plan = find_plan(delivery.files, delivery.target, delivery.default_delivery)
        target, sender = delivery.target, delivery.sender
        has_owner, has_verp = find_owner_files(delivery.files, target, sender)
        sender = new_sender(sender, target, has_owner=has_owner, has_verp=has_verp)
        for instruction in plan.instructions:
            self._do(instruction, plan, sender)
            if done.is_over:
                # Exit 99: what follows is skipped, but all addresses collected so far get it.
                break
        queued = self._forward(sender) if done.forwards else b""
        self._hands.say(_warning(plan, done) + _summary(done) + queued)
        return Exit.OK

    def _do(self, instruction: Instruction, plan: Plan, sender: bytes) -> None:
        match instruction:
            case Maildir(path):
                self._to_maildir(path)
            case Mbox(path):
                self._to_mbox(path)
            case Program(command):
                self._to_program(command, plan, sender)
            case Forward(address):
                self._done.forwards.append(address)
            case Refuse(reason):
                raise put_off(reason)

    def _parts(self) -> Iterator[bytes]:
        yield self._first
        if len(self._first) == FIRST_BYTES:
            yield from rest_of(self._delivery.source, FIRST_BYTES)

    def _to_maildir(self, path: bytes) -> None:
        self._done.files += 1
        try:
            folder = maildir.Folder(*maildir.open_folder(os.fsdecode(path)))
            name = maildir.NameMaker.of_this_process().next()
            maildir.deliver(folder, name, self._rpline + self._dtline, self._parts())
        except OSError as trouble:
            raise put_off(disk_trouble(path, trouble)) from None

    def _to_mbox(self, path: bytes) -> None:
        self._done.files += 1
        head = from_line(self._delivery.sender, self._delivery.now_s)
        head += self._rpline + self._dtline
        try:
            fs, name = _disk_of(os.path.realpath(os.fsdecode(path)))
            mbox.deliver(fs, name, head=head, parts=self._parts(), lock=self._hands.lock)
        except TimeoutError:
            raise put_off(b"Unable to lock " + path + b" in time. (#4.3.0)\n") from None
        except OSError as trouble:
            raise put_off(disk_trouble(path, trouble)) from None

    def _to_program(self, command: bytes, plan: Plan, sender: bytes) -> None:
        self._done.programs += 1
        facts = Facts(
            target=self._delivery.target,
            sender=self._delivery.sender,
            forward_sender=sender,
            default=plan.default,
            now_s=self._delivery.now_s,
        )
        variables = environment(facts, self._delivery.inherited)
        try:
            code = self._hands.run(command, variables)
        except TimeoutError:
            raise put_off(b"The program took too long and was stopped. (#4.3.0)\n") from None
        except (OSError, ValueError) as trouble:
            reason = reason_of(trouble) if isinstance(trouble, OSError) else b"bad command"
            raise put_off(b"Unable to run /bin/sh: " + reason + b". (#4.3.0)\n") from None
        if code < 0:
            raise put_off(b"The program was killed by a signal. (#4.3.0)\n")
        meaning = program_exit(code)
        if meaning in (Exit.PERMANENT, Exit.TEMPORARY):
            # What went wrong is in what the program said.
            raise StoppedError(meaning, b"")
        self._done.is_over = meaning is Exit.STOP

    def _forward(self, sender: bytes) -> bytes:
        """Send the message on. Returns the line that names the new message."""
        try:
            envelope = Envelope(sender, tuple(self._done.forwards))
            trouble, qp = self._hands.submit(self._with_trace(), envelope)
        except BadEnvelopeError:
            raise StoppedError(
                Exit.PERMANENT, b"Unable to forward message: address too long. (#5.1.3)\n"
            ) from None
        except OSError as broken:
            raise _unreadable(broken) from None
        if trouble is None:
            return b"qp %d\n" % qp
        code = Exit.PERMANENT if trouble.letter is Letter.FAILED else Exit.TEMPORARY
        raise StoppedError(code, b"Unable to forward message: " + trouble.text + b".\n")

    def _with_trace(self) -> Iterator[bytes]:
        yield self._dtline
        yield from self._parts()


def _disk_of(path: str) -> tuple[RealFs, str]:
    """Return the disk of an mbox, rooted in its folder, and its name there. Raises: OSError."""
    folder, name = os.path.split(path)
    try:
        return RealFs(folder), name
    except PermissionError:
        # We may be allowed to enter a folder that we may not list. Its disk can't be synced then,
        # but fsync of a new file puts the name on disk as well.
        return RealFs("/"), path


def _unreadable(trouble: OSError) -> StoppedError:
    return put_off(b"Unable to read message: " + reason_of(trouble) + b". (#4.3.0)\n")
