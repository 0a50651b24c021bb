"""TRANSACTION: a POP3 conversation with one mailbox. Bytes in, events out; the caller does the I/O.

    session.feed(data)                      what the client sent; b"" is the end of its input
    while (event := session.next_event()) is not None:
        Retrieve                            answered: answer(reply) where it can't be had, else
                                            begin_message(), add(part)..., end_message()
        Quit                                answered: the messages are removed, then answer(reply)
        Mistake                             told, not answered
    send(session.bytes_to_send())           once, before waiting again

What is in the mailbox is fixed for the session: sizes and ids are handed in at its start. Sizes are
those on the wire, without the dots that are doubled (RFC 1939 11).

A message is sent as it is stored, whether the client has said UTF8 or not. RFC 6856 lets a server
refuse one that needs it ([UTF8]); clients that know nothing of UTF8 have always been sent such
headers, and most of them stop for good at a message that is refused.
Source: RFC 1939 5 to 7; RFC 2449; RFC 6856; spec/smtp.md E.3; spec/oddities.md 9.
"""

from __future__ import annotations

from qmail.protocol import pop3
from qmail.protocol import pop3_replies as replies
from qmail.protocol.conversation import Conversation, LineTooLongError
from qmail.protocol.dotstuffing import DotStuffer
from qmail.protocol.pop3_replies import Reply
from qmail.protocol.pop3_top import TopCutter
from qmail.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import ClassVar, Final

MISTAKES_MAX: Final = 100
OUT_BYTES_MAX: Final = 65536
"""With more than this to be sent the session takes no further command."""
NUMBER_DIGITS_MAX: Final = 10


class Retrieve(Record):
    """RETR or TOP of message `number`, counted from 1; TOP also wants `lines` of its body."""

    number: int
    lines: int | None


class Quit(Record):
    """QUIT: the messages that are to be removed, by number."""

    deleted: frozenset[int]


class Mistake(Record):
    """A command that the session refused by itself. Not answered."""

    reply: Reply


if TYPE_CHECKING:
    Event = Retrieve | Quit | Mistake


class MailboxSession(Conversation):
    """One conversation with a mailbox of `len(sizes)` messages; `uids` are their unique ids.

    At the end of the client's input nothing is deleted.
    """

    __slots__ = ("_cutter", "_deleted", "_last", "_mistakes", "_out", "_out_bytes", "_sizes",
                 "_state", "_stuffer", "_uids")  # fmt: skip

    def __init__(self, sizes: Sequence[int], uids: Sequence[bytes]) -> None:
        super().__init__()
        self._sizes = sizes
        self._uids = uids
        self._state: str = pop3.OPEN
        self._out: list[bytes] = []
        self._out_bytes = 0
        self._deleted: set[int] = set()
        self._last = 0
        self._mistakes = 0
        self._waiting: Retrieve | Quit | None = None
        self._stuffer: DotStuffer | None = None
        self._cutter: TopCutter | None = None
        self._send(replies.OK.wire)

    def bytes_to_send(self) -> bytes:
        """Return what is to be sent to the client, once."""
        out = self._out[0] if len(self._out) == 1 else b"".join(self._out)
        self._out = []
        self._out_bytes = 0
        return out

    @property
    def is_full(self) -> bool:
        """So much is to be sent that nothing more should be added before it is."""
        return self._out_bytes > OUT_BYTES_MAX

    def next_event(self) -> Event | None:
        """Return what happened next; None: needs bytes, an answer, or its output to be taken."""
        while not (self.is_closed or self._waiting or self._out_bytes > OUT_BYTES_MAX):
            try:
                line = self._lines.take(pop3.COMMAND_BYTES_MAX)
            except LineTooLongError:
                return self._mistake(replies.LINE_TOO_LONG)
            if line is None:
                return None
            event = self._command(line)
            if event is not None:
                return event
        return None

    def close(self, reply: Reply) -> None:
        """End the session from this side: say why, and read nothing more."""
        if not self.is_closed:
            self._send(reply.wire)
            self._close()

    # --- answers --------------------------------------------------------------------------------

    def answer(self, reply: Reply) -> None:
        """Answer QUIT, or refuse a message."""
        event, self._waiting = self._waiting, None
        if event is None or self._stuffer is not None:
            raise AssertionError("nothing waits for an answer")
        self._send(reply.wire)
        if isinstance(event, Quit):
            self._close()

    def begin_message(self) -> None:
        """Begin to send the message that is waited for."""
        assert isinstance(self._waiting, Retrieve)
        lines = self._waiting.lines
        self._send(replies.OK.wire)
        self._stuffer = DotStuffer()
        self._cutter = None if lines is None else TopCutter(lines)

    def add(self, part: bytes) -> bool:
        """Send the next part of the message in stored form. False: no more of it is wanted."""
        stuffer, cutter = self._stuffer, self._cutter
        if stuffer is None:
            raise AssertionError("no message is being sent")
        if cutter is None:
            self._send(stuffer.feed(part))
            return True
        self._send(stuffer.feed(cutter.feed(part)))
        return not cutter.is_done

    def end_message(self) -> None:
        """End the message that is being sent."""
        if self._stuffer is None:
            raise AssertionError("no message is being sent")
        self._send(self._stuffer.finish())
        self._waiting = self._stuffer = self._cutter = None

    def _send(self, data: bytes) -> None:
        self._out.append(data)
        self._out_bytes += len(data)

    def _close(self) -> None:
        self._state = pop3.CLOSED
        self._waiting = self._stuffer = self._cutter = None
        super()._close()

    # --- commands -------------------------------------------------------------------------------

    def _command(self, line: bytes) -> Event | None:
        verb, _, argument = line.partition(b" ")
        verb = verb.upper()
        if verb not in pop3.MAILBOX_NEXT[self._state]:
            is_login = verb in pop3.LOGIN_NEXT[pop3.NAMED]
            return self._mistake(replies.LOGGED_IN_ALREADY if is_login else replies.UNIMPLEMENTED)
        return self.HANDLERS[verb](self, argument.split())

    def _mistake(self, reply: Reply) -> Mistake:
        self._mistakes += 1
        if self._mistakes >= MISTAKES_MAX:
            reply = replies.TOO_MANY_MISTAKES
            self.close(reply)
        else:
            self._send(reply.wire)
        return Mistake(reply)

    def _number(self, words: list[bytes]) -> int | Reply:
        """Return the message that the first word names; what follows it is no business of ours."""
        if not words or not words[0].isdigit():
            return replies.SYNTAX
        number = int(words[0]) if len(words[0].lstrip(b"0")) <= NUMBER_DIGITS_MAX else 1 << 62
        if number == 0:
            return replies.COUNTED_FROM_ONE
        if number > len(self._sizes):
            return replies.NOT_THAT_MANY
        return replies.ALREADY_DELETED if number in self._deleted else number

    def _on_stat(self, _words: list[bytes]) -> None:
        left = [size for number, size in enumerate(self._sizes, 1) if number not in self._deleted]
        self._send(b"+OK %d %d\r\n" % (len(left), sum(left)))

    def _on_list(self, words: list[bytes]) -> Event | None:
        return self._listing(words, self._sizes, b"%d %d\r\n")

    def _on_uidl(self, words: list[bytes]) -> Event | None:
        return self._listing(words, self._uids, b"%d %b\r\n")

    def _listing(
        self, words: list[bytes], values: Sequence[int] | Sequence[bytes], form: bytes
    ) -> Event | None:
        if not words:
            deleted = self._deleted
            pairs = enumerate(values, 1)
            if deleted:
                lines = [form % pair for pair in pairs if pair[0] not in deleted]
            else:
                lines = [form % pair for pair in pairs]
            self._send(b"+OK \r\n%b.\r\n" % b"".join(lines))
            return None
        number = self._number(words)
        if isinstance(number, Reply):
            return self._mistake(number)
        self._send(b"+OK " + form % (number, values[number - 1]))
        return None

    def _on_retr(self, words: list[bytes]) -> Event:
        return self._retrieve(words, None)

    def _on_top(self, words: list[bytes]) -> Event:
        # Without a second number it is RETR, as in the original.
        lines = words[1] if len(words) > 1 else b""
        if lines and not lines.isdigit():
            return self._mistake(replies.SYNTAX)
        return self._retrieve(words, int(lines[:NUMBER_DIGITS_MAX]) if lines else None)

    def _retrieve(self, words: list[bytes], lines: int | None) -> Event:
        number = self._number(words)
        if isinstance(number, Reply):
            return self._mistake(number)
        return self._ask(Retrieve(number, lines))

    def _on_dele(self, words: list[bytes]) -> Event | None:
        number = self._number(words)
        if isinstance(number, Reply):
            return self._mistake(number)
        self._deleted.add(number)
        self._last = max(self._last, number)
        self._send(replies.OK.wire)
        return None

    def _on_last(self, _words: list[bytes]) -> None:
        self._send(b"+OK %d\r\n" % self._last)

    def _on_rset(self, _words: list[bytes]) -> None:
        self._deleted.clear()
        self._last = 0
        self._send(replies.OK.wire)

    def _on_noop(self, _words: list[bytes]) -> None:
        self._send(replies.OK.wire)

    def _on_capa(self, _words: list[bytes]) -> None:
        self._send(pop3.capabilities(None))

    def _on_lang(self, _words: list[bytes]) -> Event:
        return self._mistake(replies.NO_LANGUAGE)

    def _on_quit(self, _words: list[bytes]) -> Event:
        return self._ask(Quit(frozenset(self._deleted)))

    HANDLERS: ClassVar[Mapping[bytes, Callable[[MailboxSession, list[bytes]], Event | None]]] = {
        pop3.STAT: _on_stat,
        pop3.LIST: _on_list,
        pop3.UIDL: _on_uidl,
        pop3.RETR: _on_retr,
        pop3.TOP: _on_top,
        pop3.DELE: _on_dele,
        pop3.LAST: _on_last,
        pop3.RSET: _on_rset,
        pop3.NOOP: _on_noop,
        pop3.CAPA: _on_capa,
        pop3.UTF8: _on_noop,
        pop3.LANG: _on_lang,
        pop3.QUIT: _on_quit,
    }


assert {verb for row in pop3.MAILBOX_NEXT.values() for verb in row} == (
    MailboxSession.HANDLERS.keys()
)
