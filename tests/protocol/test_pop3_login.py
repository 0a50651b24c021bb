"""AUTHORIZATION of POP3: spec/smtp.md E.1, spec/oddities.md 9, RFC 2449, 2595, 5034."""

from base64 import b64encode
from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qmail.protocol import pop3
from qmail.protocol import pop3_replies as replies
from qmail.protocol.pop3 import Offer
from qmail.protocol.pop3_login import (
    CHALLENGE_BYTES_MAX,
    MISTAKES_MAX,
    AuthCancelled,
    AuthContinue,
    Login,
    LoginSession,
    Mistake,
    StartTls,
)

ALL = Offer(has_user=True, has_apop=True, mechanisms=(b"PLAIN", b"SCRAM-SHA-256"), has_stls=True)
TLS = Offer(has_user=True, mechanisms=(b"PLAIN", b"SCRAM-SHA-256"), has_tls=True)
CLEAR = Offer(has_user=False, mechanisms=(b"SCRAM-SHA-256",), has_stls=True)
OK = b"+OK \r\n"


def begin(offer: Offer = ALL) -> LoginSession:
    session = LoginSession(b"<x@mail.example>", offer)
    assert session.bytes_to_send() == b"+OK <x@mail.example>\r\n"
    return session


def say(session: LoginSession, *lines: bytes) -> bytes:
    """Send lines that the session answers by itself; return what it says."""
    session.feed(b"".join(line + b"\r\n" for line in lines))
    while (event := session.next_event()) is not None:
        assert isinstance(event, Mistake | AuthCancelled)
    return session.bytes_to_send()


def ask(session: LoginSession, *lines: bytes) -> object:
    """Send lines; return the event behind the replies to them."""
    session.feed(b"".join(line + b"\r\n" for line in lines))
    return session.next_event()


@pytest.mark.parametrize(
    ("line", "reply"),
    [
        (b"NOOP", replies.OK),
        (b"noop", replies.OK),
        (b"UTF8", replies.OK),
        (b"USER joe", replies.OK),
        (b"USER", replies.SYNTAX),
        (b"USER  ", replies.SYNTAX),
        (b"PASS x", replies.USER_FIRST),
        (b"APOP joe", replies.SYNTAX),
        (b"APOP", replies.SYNTAX),
        (b"STAT", replies.AUTHORIZE_FIRST),
        (b"RETR 1", replies.AUTHORIZE_FIRST),
        (b"XYZ", replies.AUTHORIZE_FIRST),
        (b"", replies.AUTHORIZE_FIRST),
        (b"LANG de", replies.NO_LANGUAGE),
        (b"AUTH NTLM", replies.NO_MECHANISM),
        (b"AUTH PLAIN a b", replies.SYNTAX),
        (b"AUTH PLAIN !", replies.BAD_BASE64),
        (b"AUTH PLAIN *", replies.CANCELLED),
        (b"STLS now", replies.SYNTAX),
        (b"USER jo\0e", replies.SYNTAX),
        (b"USER " + b"x" * 508, replies.LINE_TOO_LONG),
    ],
)
def test_e1_what_is_answered_without_asking_anybody(line: bytes, reply: replies.Reply) -> None:
    assert say(begin(), line) == reply.wire


def test_e1_quit_is_ok_and_closes() -> None:
    session = begin()
    assert say(session, b"QUIT", b"NOOP") == OK
    assert session.has_quit
    assert session.is_closed


def test_e1_blanks_belong_to_the_password() -> None:
    session = begin()
    assert ask(session, b"USER  joe ", b"PASS  a b ") == Login(b"USER", b"joe", b" a b ")


def test_e1_apop_has_name_and_digest() -> None:
    assert ask(begin(), b"apop joe ABCD") == Login(b"APOP", b"joe", b"abcd")


def test_without_an_offer_apop_and_clear_passwords_are_refused() -> None:
    assert say(begin(CLEAR), b"APOP joe abcd") == replies.NO_APOP.wire
    assert say(begin(CLEAR), b"USER joe") == replies.TLS_FIRST.wire
    assert say(begin(CLEAR), b"AUTH PLAIN AA==") == replies.TLS_FIRST.wire
    assert replies.TLS_FIRST.wire.startswith(b"-ERR [AUTH] ")


def test_oddities_9_after_a_refusal_the_client_may_try_again() -> None:
    session = begin()
    assert isinstance(ask(session, b"USER joe", b"PASS wrong", b"USER joe", b"PASS x"), Login)
    assert session.bytes_to_send() == OK
    session.answer(replies.LOGIN_REFUSED)
    assert session.next_event() == Login(b"USER", b"joe", b"x")
    assert session.bytes_to_send() == b"-ERR [AUTH] authorization failed\r\n" + OK
    session.answer(replies.LOGIN_REFUSED)
    assert say(session, b"PASS x") == replies.LOGIN_REFUSED.wire + replies.USER_FIRST.wire


def test_what_is_behind_the_login_belongs_to_the_mailbox() -> None:
    session = begin()
    assert isinstance(ask(session, b"USER joe", b"PASS x", b"STAT", b"QUIT"), Login)
    session.bytes_to_send()
    assert session.accept() == b"STAT\r\nQUIT\r\n"
    assert session.is_closed
    assert session.next_event() is None
    assert session.bytes_to_send() == b""


# --- CAPA ---------------------------------------------------------------------------------------


def capa(offer: Offer) -> list[bytes]:
    return say(begin(offer), b"CAPA").split(b"\r\n")


def test_rfc2449_5_capa_says_what_can_be_had_now() -> None:
    assert capa(ALL) == [
        b"+OK ", b"TOP", b"UIDL", b"RESP-CODES", b"AUTH-RESP-CODE", b"PIPELINING", b"UTF8",
        b"EXPIRE NEVER", b"IMPLEMENTATION qmail", b"USER", b"SASL PLAIN SCRAM-SHA-256", b"STLS",
        b".", b"",
    ]  # fmt: skip
    assert b"STLS" not in capa(TLS)
    assert b"USER" in capa(TLS)
    assert b"USER" not in capa(CLEAR)
    assert b"SASL SCRAM-SHA-256" in capa(CLEAR)
    assert not [line for line in capa(Offer(has_user=True)) if line.startswith(b"SASL")]


# --- STLS ---------------------------------------------------------------------------------------


def test_rfc2595_4_stls_forgets_what_came_in_the_clear() -> None:
    session = begin(CLEAR)
    assert ask(session, b"STLS", b"USER joe", b"PASS x") == StartTls()
    assert session.bytes_to_send() == replies.TLS_GO_AHEAD.wire
    assert session.next_event() is None
    session.tls_started(TLS)
    assert session.has_tls
    assert session.next_event() is None
    assert say(session, b"STLS", b"PASS x") == replies.TLS_ALREADY.wire + replies.USER_FIRST.wire
    assert ask(session, b"USER joe", b"PASS y") == Login(b"USER", b"joe", b"y")


def test_a_name_from_before_tls_is_forgotten() -> None:
    session = begin()
    assert ask(session, b"USER joe", b"STLS") == StartTls()
    session.tls_started(TLS)
    session.bytes_to_send()
    assert say(session, b"PASS x") == replies.USER_FIRST.wire


def test_stls_is_refused_where_there_is_no_certificate() -> None:
    assert say(begin(Offer(has_user=True)), b"STLS") == replies.NO_STLS.wire


# --- SASL ---------------------------------------------------------------------------------------


def test_rfc5034_4_an_initial_response_in_the_line_or_after_an_empty_challenge() -> None:
    encoded = b64encode(b"\0joe\0secret")
    expected = Login(b"PLAIN", b"\0joe\0secret")
    assert ask(begin(), b"auth plain " + encoded) == expected
    session = begin()
    assert say(session, b"AUTH PLAIN") == b"+ \r\n"
    assert ask(session, encoded) == expected
    assert ask(begin(), b"AUTH PLAIN =") == Login(b"PLAIN", b"")


def test_rfc5034_4_challenges_go_to_and_fro() -> None:
    session = begin()
    assert ask(session, b"AUTH SCRAM-SHA-256 " + b64encode(b"n,,n=joe")) == Login(
        b"SCRAM-SHA-256", b"n,,n=joe"
    )
    session.challenge(b"r=1")
    assert session.bytes_to_send() == b"+ " + b64encode(b"r=1") + b"\r\n"
    assert ask(session, b64encode(b"c=2")) == AuthContinue(b"c=2")
    session.challenge(b"v=3")
    session.bytes_to_send()
    assert ask(session, b"") == AuthContinue(b"")
    assert session.accept() == b""


@pytest.mark.parametrize("line", [b"*", b"!!!!", b"QUIT", b"x" * 20000])
def test_rfc5034_4_a_broken_exchange_ends_and_whoever_waits_is_told(line: bytes) -> None:
    session = begin()
    assert isinstance(ask(session, b"AUTH SCRAM-SHA-256 AAAA"), Login)
    session.challenge(b"r=1")
    session.bytes_to_send()
    if line == b"QUIT":
        # Good base64: inside an exchange there are no commands.
        assert ask(session, line) == AuthContinue(b"\x41\x42\x13")
        return
    assert isinstance(ask(session, line), AuthCancelled)
    assert session.bytes_to_send().startswith(b"-ERR ")
    assert say(session, b"NOOP") == OK


def test_rfc5034_4_lines_of_an_exchange_may_have_12288_bytes() -> None:
    session = begin()
    assert say(session, b"AUTH PLAIN") == b"+ \r\n"
    assert ask(session, b"A" * 12288) == Login(b"PLAIN", b"\0" * 9216)
    session = begin()
    assert say(session, b"AUTH PLAIN", b"A" * 12292) == b"+ \r\n" + replies.LINE_TOO_LONG.wire


def test_auth_alone_lists_the_mechanisms() -> None:
    assert say(begin(), b"AUTH") == b"+OK \r\nPLAIN\r\nSCRAM-SHA-256\r\n.\r\n"
    assert say(begin(Offer(has_user=True)), b"AUTH") == b"+OK \r\n.\r\n"


# --- bounds -------------------------------------------------------------------------------------


def test_a_client_with_too_many_mistakes_is_sent_away() -> None:
    session = begin()
    said = say(session, *[b"HELO"] * MISTAKES_MAX)
    assert said.endswith(replies.TOO_MANY_MISTAKES.wire)
    assert session.is_closed


def test_cancelled_exchanges_count_as_mistakes() -> None:
    session = begin()
    for _ in range(MISTAKES_MAX):
        assert isinstance(ask(session, b"AUTH SCRAM-SHA-256 AAAA"), Login)
        session.challenge(b"r=1")
        assert isinstance(ask(session, b"*"), AuthCancelled)
    assert session.is_closed


def test_a_client_that_reads_nothing_is_not_listened_to() -> None:
    session = begin()
    session.feed(b"CAPA\r\n" * 2000)
    assert session.next_event() is None
    assert len(session.bytes_to_send()) < 70_000
    assert session.bytes_pending > 0
    while session.bytes_pending:
        assert session.next_event() is None
        assert session.bytes_to_send()


def test_a_line_without_end_takes_no_memory() -> None:
    session = begin()
    for _ in range(100):
        session.feed(b"x" * 1000)
        session.next_event()
        assert session.bytes_pending <= 13_000
    assert say(session, b"", b"NOOP") == replies.LINE_TOO_LONG.wire + OK


def test_the_end_of_input_closes_whatever_waits() -> None:
    session = begin()
    assert isinstance(ask(session, b"USER joe", b"PASS x"), Login)
    session.feed(b"")
    assert session.is_closed
    assert not session.has_quit


def test_answers_are_given_once_and_only_to_events() -> None:
    session = begin()
    with pytest.raises(AssertionError):
        session.answer(replies.LOGIN_REFUSED)
    assert isinstance(ask(session, b"AUTH PLAIN AAAA"), Login)
    with pytest.raises(AssertionError):
        session.challenge(b"x" * (CHALLENGE_BYTES_MAX + 1))


def test_every_reply_fits_in_a_line_and_has_no_control_bytes() -> None:
    table = [value for value in vars(replies).values() if isinstance(value, replies.Reply)]
    assert len(table) > 30
    for reply in table:
        assert len(reply.wire) <= 512
        assert reply.wire.endswith(b"\r\n")
        assert reply.wire[:-2].isascii()
        assert reply.wire[:-2].decode().isprintable()


# --- any input, cut anywhere --------------------------------------------------------------------

WORDS = [
    b"USER", b"PASS", b"APOP", b"AUTH", b"PLAIN", b"SCRAM-SHA-256", b"STLS", b"CAPA", b"NOOP",
    b"QUIT", b"UTF8", b"LANG", b"STAT", b"joe", b"*", b"=", b"AGpvZQB4", b"\0", b"\xff", b"",
]  # fmt: skip
LINES = st.lists(st.lists(st.sampled_from(WORDS), max_size=4).map(b" ".join), max_size=12)
ENDS = st.sampled_from([b"\r\n", b"\n"])


def play(chunks: Iterable[bytes]) -> tuple[list[object], bytes]:
    """Feed chunks; every second login is refused, the others get one challenge and go on."""
    session = LoginSession(b"x", ALL)
    events: list[object] = []
    out = session.bytes_to_send()
    for chunk in chunks:
        session.feed(chunk)
        while (event := session.next_event()) is not None:
            events.append(event)
            if isinstance(event, StartTls):
                # What came with it is thrown away, and that depends on how it came.
                session.answer(replies.NO_STLS)
            elif isinstance(event, Login) and event.mechanism == b"SCRAM-SHA-256":
                session.challenge(b"r=1")
            elif isinstance(event, Login | AuthContinue):
                session.answer(replies.LOGIN_REFUSED)
            out += session.bytes_to_send()
        out += session.bytes_to_send()
    return events, out


@given(lines=LINES, end=ENDS, size=st.integers(1, 40))
def test_any_split_of_the_input_gives_the_same_events(
    lines: list[bytes], end: bytes, size: int
) -> None:
    script = b"".join(line + end for line in lines if line != b"STLS")
    chunks = [script[at : at + size] for at in range(0, len(script), size)]
    assert play(chunks) == play([script] if script else [])


@given(chunks=st.lists(st.binary(min_size=1, max_size=200), max_size=8))
def test_no_input_breaks_the_session(chunks: list[bytes]) -> None:
    _, out = play(chunks)
    assert out.endswith(b"\r\n")


def test_the_states_of_the_table_are_those_of_the_session() -> None:
    states = {state for row in pop3.LOGIN_NEXT.values() for state in row.values()}
    assert states <= pop3.LOGIN_NEXT.keys()
