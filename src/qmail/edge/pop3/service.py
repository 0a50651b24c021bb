"""A POP3 session with an open mailbox, from its first `+OK ` to its end. Blocking, small.

qmail-pop3d runs it on descriptors 0 and 1, the session process of qmail-pspawn on the descriptor
that it was given:

    serve(fd, fd, lambda: open_maildrop("Maildir"))         # core/pop3/maildrop.py

Source: spec/smtp.md E.3; spec/oddities.md 9.
"""

from __future__ import annotations

from qmail.edge.machine.standard import say
from qmail.edge.wires.wire import GoneError, Wire
from qmail.protocol import pop3_replies as replies
from qmail.protocol.pop3_mailbox import MailboxSession, Quit, Retrieve

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Sequence
    from typing import Final, Protocol

    from qmail.protocol.pop3_replies import Reply

    class Maildrop(Protocol):
        """A mailbox as POP3 sees it; numbers of messages are counted from 1."""

        @property
        def sizes(self) -> Sequence[int]:
            """Size of each message on the wire, in bytes."""
            ...

        @property
        def uids(self) -> Sequence[bytes]:
            """Unique id of each message."""
            ...

        def parts(self, number: int) -> Iterator[bytes]:
            """Yield a message in parts, as it is stored.

            Raises: FileNotFoundError: it is gone. OSError.
            """
            ...

        def end(self, deleted: Collection[int]) -> int:
            """Remove these messages, and take the others for seen. Returns: how many are left."""
            ...


TIMEOUT_S: Final = 1200.0
NAME: Final = "qmail-pop3d"


def serve(
    fd_in: int,
    fd_out: int,
    open_maildrop: Callable[[], Maildrop],
    timeout_s: float = TIMEOUT_S,
) -> None:
    """Hold a session to its end; trouble is told the client, and on descriptor 2.

    `open_maildrop` raises FileNotFoundError or NotADirectoryError where there is no maildir, any
    other OSError where it can't be read now. The descriptors stay open.
    """
    with Wire(timeout_s, fd_in, fd_out) as wire:
        try:
            _serve(wire, open_maildrop)
        except GoneError:
            return
        except Exception as trouble:
            # Nothing is deleted but by QUIT, so there is nothing to be taken back.
            say(f"{NAME}: session: {trouble!r}")


def _serve(wire: Wire, open_maildrop: Callable[[], Maildrop]) -> None:
    try:
        maildrop = open_maildrop()
    except (FileNotFoundError, NotADirectoryError) as missing:
        say(f"{NAME}: {missing.filename}: {missing.strerror}")
        wire.write(replies.NO_MAILDIR.wire)
        wire.finish()
        return
    except OSError as trouble:
        say(f"{NAME}: {trouble.filename}: {trouble.strerror}")
        wire.write(replies.MAILDIR_TROUBLE.wire)
        wire.finish()
        return
    _Conversation(wire, maildrop).run()


class _Conversation:
    def __init__(self, wire: Wire, maildrop: Maildrop) -> None:
        self._wire = wire
        self._maildrop = maildrop
        self._session = MailboxSession(maildrop.sizes, maildrop.uids)

    def run(self) -> None:
        session, wire = self._session, self._wire
        wire.hasten()
        wire.begin_wait()
        was_sent_away = False
        while True:
            while (event := session.next_event()) is not None:
                if isinstance(event, Retrieve):
                    self._retrieve(event)
                elif isinstance(event, Quit):
                    session.answer(self._quit(event))
                else:
                    was_sent_away = session.is_closed
            is_full = session.is_full
            out = session.bytes_to_send()
            if out:
                wire.write(out)
                wire.begin_wait()
            if session.is_closed:
                if was_sent_away:
                    wire.linger()
                else:
                    wire.finish()
                return
            if not is_full:
                self._read()

    def _read(self) -> None:
        try:
            self._session.feed(self._wire.read())
        except TimeoutError:
            self._session.close(replies.TIMED_OUT)

    def _retrieve(self, event: Retrieve) -> None:
        """Send a message, or say why not; once it has begun there is no way to say so."""
        session = self._session
        try:
            parts = self._maildrop.parts(event.number)
            first = next(parts, b"")
        except FileNotFoundError:
            session.answer(replies.GONE)
            return
        except OSError as trouble:
            say(f"{NAME}: {trouble.filename}: {trouble.strerror}")
            session.answer(replies.UNREADABLE)
            return
        session.begin_message()
        part = first
        while part and session.add(part):
            if session.is_full:
                self._wire.write(session.bytes_to_send())
            part = next(parts, b"")
        session.end_message()

    def _quit(self, event: Quit) -> Reply:
        left = self._maildrop.end(event.deleted)
        return replies.SOME_NOT_REMOVED if left else replies.OK
