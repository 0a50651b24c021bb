"""TRANSACTION of POP3: spec/smtp.md E.3, spec/oddities.md 9, RFC 1939, 2449, 6856."""

from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qmail.protocol import pop3
from qmail.protocol import pop3_replies as replies
from qmail.protocol.pop3_mailbox import MISTAKES_MAX, MailboxSession, Mistake, Quit, Retrieve

MESSAGES = (b"Subject: a\n\none\n.two\nthree\n", b"X: y\n\n", b"no end")
SIZES = (100, 20, 3)
UIDS = (b"1.a", b"2.b", b"3.c")
OK = b"+OK \r\n"


def begin() -> MailboxSession:
    session = MailboxSession(SIZES, UIDS)
    assert session.bytes_to_send() == OK
    return session


def say(session: MailboxSession, *lines: bytes) -> bytes:
    """Send lines; messages come from MESSAGES in parts of 7 bytes. Returns what is said."""
    return talk(session, [b"".join(line + b"\r\n" for line in lines)])[1]


def talk(session: MailboxSession, chunks: Iterable[bytes]) -> tuple[list[object], bytes]:
    events: list[object] = []
    out = b""
    for chunk in chunks:
        session.feed(chunk)
        while (event := session.next_event()) is not None:
            events.append(event)
            if isinstance(event, Retrieve):
                send(session, MESSAGES[event.number - 1])
            elif isinstance(event, Quit):
                session.answer(replies.OK)
            out += session.bytes_to_send()
        out += session.bytes_to_send()
    return events, out


def send(session: MailboxSession, message: bytes, size: int = 7) -> None:
    session.begin_message()
    for at in range(0, len(message), size):
        if not session.add(message[at : at + size]):
            break
    session.end_message()


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (b"STAT", b"+OK 3 123\r\n"),
        (b"stat", b"+OK 3 123\r\n"),
        (b"LIST", b"+OK \r\n1 100\r\n2 20\r\n3 3\r\n.\r\n"),
        (b"LIST 2", b"+OK 2 20\r\n"),
        (b"UIDL", b"+OK \r\n1 1.a\r\n2 2.b\r\n3 3.c\r\n.\r\n"),
        (b"UIDL 3", b"+OK 3 3.c\r\n"),
        (b"RETR 2", OK + b"X: y\r\n\r\n.\r\n"),
        (b"RETR 1 1", OK + b"Subject: a\r\n\r\none\r\n..two\r\nthree\r\n.\r\n"),
        (b"RETR 3", OK + b"no end\r\n.\r\n"),
        (b"TOP 1 0", OK + b"Subject: a\r\n\r\n.\r\n"),
        (b"TOP 1 2", OK + b"Subject: a\r\n\r\none\r\n..two\r\n.\r\n"),
        (b"TOP 1 99", OK + b"Subject: a\r\n\r\none\r\n..two\r\nthree\r\n.\r\n"),
        (b"TOP 1", OK + b"Subject: a\r\n\r\none\r\n..two\r\nthree\r\n.\r\n"),
        (b"DELE 1", OK),
        (b"LAST", b"+OK 0\r\n"),
        (b"RSET", OK),
        (b"NOOP", OK),
        (b"UTF8", OK),
        (b"QUIT", OK),
    ],
)
def test_e3_commands(line: bytes, said: bytes) -> None:
    assert say(begin(), line) == said


@pytest.mark.parametrize("verb", [b"LIST", b"UIDL", b"RETR", b"TOP", b"DELE"])
@pytest.mark.parametrize(
    ("number", "reply"),
    [
        (b"0", replies.COUNTED_FROM_ONE),
        (b"000", replies.COUNTED_FROM_ONE),
        (b"4", replies.NOT_THAT_MANY),
        (b"99999999999999999999999999", replies.NOT_THAT_MANY),
        (b"2", replies.ALREADY_DELETED),
        (b"x", replies.SYNTAX),
        (b"-1", replies.SYNTAX),
        (b"1x", replies.SYNTAX),
        (b"\xb2", replies.SYNTAX),
    ],
)
def test_e3_errors(verb: bytes, number: bytes, reply: replies.Reply) -> None:
    session = begin()
    assert say(session, b"DELE 2") == OK
    assert say(session, verb + b" " + number) == reply.wire


@pytest.mark.parametrize("line", [b"RETR", b"TOP", b"DELE", b"TOP 1 x", b"TOP 1 -1", b"TOP x 1"])
def test_e3_syntax_errors(line: bytes) -> None:
    assert say(begin(), line) == replies.SYNTAX.wire


@pytest.mark.parametrize(
    ("line", "reply"),
    [
        (b"XYZ", replies.UNIMPLEMENTED),
        (b"", replies.UNIMPLEMENTED),
        (b"USER joe", replies.LOGGED_IN_ALREADY),
        (b"AUTH PLAIN", replies.LOGGED_IN_ALREADY),
        (b"STLS", replies.LOGGED_IN_ALREADY),
        (b"LANG de", replies.NO_LANGUAGE),
        (b"NOOP " + b"x" * 508, replies.LINE_TOO_LONG),
    ],
)
def test_e3_other_commands(line: bytes, reply: replies.Reply) -> None:
    assert say(begin(), line, b"NOOP") == reply.wire + OK


def test_leading_zeros_and_extra_words_do_no_harm() -> None:
    assert say(begin(), b"LIST 0000000000000002", b"LIST 2 3") == b"+OK 2 20\r\n" * 2


def test_oddities_9_stat_list_and_uidl_leave_deleted_messages_out() -> None:
    session = begin()
    assert say(session, b"DELE 1", b"STAT") == OK + b"+OK 2 23\r\n"
    assert say(session, b"LIST") == b"+OK \r\n2 20\r\n3 3\r\n.\r\n"
    assert say(session, b"UIDL") == b"+OK \r\n2 2.b\r\n3 3.c\r\n.\r\n"


def test_e3_last_is_the_highest_deleted_and_rset_takes_all_back() -> None:
    session = begin()
    assert say(session, b"RETR 3", b"LAST").endswith(b"\r\n.\r\n+OK 0\r\n")
    assert say(session, b"DELE 2", b"DELE 1", b"LAST") == OK + OK + b"+OK 2\r\n"
    assert say(session, b"RSET", b"LAST", b"STAT") == OK + b"+OK 0\r\n+OK 3 123\r\n"


def test_quit_names_what_is_to_be_removed_and_gets_one_reply() -> None:
    session = begin()
    session.feed(b"DELE 3\r\nDELE 1\r\nQUIT\r\nNOOP\r\n")
    assert session.next_event() == Quit(frozenset({1, 3}))
    assert session.next_event() is None
    session.answer(replies.SOME_NOT_REMOVED)
    assert session.bytes_to_send() == OK + OK + replies.SOME_NOT_REMOVED.wire
    assert session.is_closed
    assert session.next_event() is None


def test_the_end_of_input_is_no_quit() -> None:
    session = begin()
    session.feed(b"DELE 1\r\nQUIT")
    assert session.next_event() is None
    session.feed(b"")
    assert session.next_event() is None
    assert session.is_closed
    assert session.bytes_to_send() == OK


def test_a_message_that_is_gone_is_refused_and_the_session_goes_on() -> None:
    session = begin()
    session.feed(b"RETR 1\r\nNOOP\r\n")
    assert session.next_event() == Retrieve(1, None)
    session.answer(replies.GONE)
    assert session.next_event() is None
    assert session.bytes_to_send() == replies.GONE.wire + OK


def test_rfc2449_capa_after_the_login_has_nothing_to_log_in_with() -> None:
    assert say(begin(), b"CAPA").split(b"\r\n") == [
        b"+OK ", b"TOP", b"UIDL", b"RESP-CODES", b"AUTH-RESP-CODE", b"PIPELINING", b"UTF8",
        b"EXPIRE NEVER", b"IMPLEMENTATION qmail", b".", b"",
    ]  # fmt: skip


def test_an_empty_mailbox() -> None:
    session = MailboxSession((), ())
    said = say(session, b"STAT", b"LIST", b"UIDL", b"LIST 1", b"QUIT")
    empty = b"+OK \r\n.\r\n"
    assert said == OK + b"+OK 0 0\r\n" + empty + empty + replies.NOT_THAT_MANY.wire + OK


# --- bounds -------------------------------------------------------------------------------------


def test_a_client_that_reads_nothing_is_not_listened_to() -> None:
    session = MailboxSession([1] * 1000, [b"%d" % number for number in range(1000)])
    session.feed(b"LIST\r\n" * 1000)
    assert session.next_event() is None
    assert session.is_full
    assert len(session.bytes_to_send()) < 100_000
    assert session.next_event() is None
    assert session.is_full


def test_a_client_with_too_many_mistakes_is_sent_away() -> None:
    session = begin()
    said = say(session, *[b"HELO"] * (MISTAKES_MAX + 1))
    assert said.count(b"-ERR") == MISTAKES_MAX
    assert said.endswith(replies.TOO_MANY_MISTAKES.wire)
    assert session.is_closed


def test_answers_are_given_only_to_events() -> None:
    session = begin()
    for wrong in (session.begin_message, session.end_message, lambda: session.answer(replies.OK)):
        with pytest.raises(AssertionError):
            wrong()
    with pytest.raises(AssertionError):
        session.add(b"x")


# --- any input, cut anywhere --------------------------------------------------------------------

VERBS = [*pop3.MAILBOX_NEXT[pop3.OPEN], b"XYZ", b"USER"]
LINE = st.builds(
    b"%b %b %b".__mod__,
    st.tuples(
        st.sampled_from(VERBS),
        st.sampled_from([b"", b"0", b"1", b"2", b"3", b"4", b"x"]),
        st.sampled_from([b"", b"0", b"1", b"x"]),
    ),
)


@given(lines=st.lists(LINE, max_size=12), size=st.integers(1, 40))
def test_any_split_of_the_input_gives_the_same_replies(lines: list[bytes], size: int) -> None:
    script = b"".join(line + b"\r\n" for line in lines)
    chunks = [script[at : at + size] for at in range(0, len(script), size)]
    assert talk(begin(), chunks) == talk(begin(), [script] if script else [])


@given(chunks=st.lists(st.binary(min_size=1, max_size=200), max_size=8))
def test_no_input_breaks_the_session(chunks: list[bytes]) -> None:
    events, _ = talk(begin(), chunks)
    assert all(isinstance(event, Mistake | Retrieve | Quit) for event in events)


@given(
    message=st.lists(st.sampled_from([b"\n", b"\r\n", b"a", b".", b"x: y", b"\r"])).map(b"".join),
    lines=st.integers(0, 4),
    size=st.integers(1, 9),
)
def test_top_is_a_beginning_of_retr_by_lines(message: bytes, lines: int, size: int) -> None:
    whole = fetched(b"RETR 1", message, 1000)
    top = fetched(b"TOP 1 %d" % lines, message, size)
    assert fetched(b"RETR 1", message, size) == whole
    assert whole[: len(top)] == top or top == [*whole[: len(top) - 1], b""]
    if b"\r" not in message.replace(b"\r\n", b""):
        head = whole.index(b"") if b"" in whole else len(whole)
        assert len(top) == min(len(whole), head + 1 + lines)


def fetched(command: bytes, message: bytes, size: int) -> list[bytes]:
    """Return the lines of a message as a client reads them."""
    session = begin()
    session.feed(command + b"\r\n")
    assert isinstance(session.next_event(), Retrieve)
    send(session, message, size)
    first, *lines, last, nothing = session.bytes_to_send().split(b"\r\n")
    assert (first, last, nothing) == (b"+OK ", b".", b"")
    # No line of the message spells its end (RFC 1939 3).
    assert not any(line == b"." or (line[:1] == b"." and line[:2] != b"..") for line in lines)
    return [line[1:] if line.startswith(b"..") else line for line in lines]
