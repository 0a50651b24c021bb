"""The server's side of SMTP: every rule as a short dialogue, cut everywhere."""

from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qmail.protocol import reply as replies
from qmail.protocol.reply import Reply
from qmail.protocol.smtp_server import (
    BAD_COMMANDS_MAX,
    NEXT,
    OUT_BYTES_MAX,
    Body,
    DataBegins,
    Dropped,
    MailFrom,
    MessageEnds,
    Mistake,
    RcptTo,
    Session,
    SessionSettings,
)
from qmail.protocol.trace import HOPS_MAX

QUEUED = Reply(250, b"2.0.0", b"ok 1 qp 2")
REFUSED = replies.NOT_RELAYING
OPENING = b"EHLO client\r\nMAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nDATA\r\n"


@dataclass
class Talk:
    """A session with a policy that takes all but recipients at refused.example."""

    databytes: int = 0
    at_data: Reply = replies.DATA_GO_AHEAD
    said: bytes = b""
    messages: list[tuple[bytes, tuple[bytes, ...], bytes]] = field(default_factory=list)
    dropped: list[Reply] = field(default_factory=list)
    mistakes: list[Reply] = field(default_factory=list)
    parts: list[bytes] = field(default_factory=list)
    answers_messages: bool = True

    def __post_init__(self) -> None:
        self.session = Session(SessionSettings(b"mx.example", self.databytes))
        self.said = self.session.bytes_to_send()

    def send(self, *pieces: bytes) -> list[int]:
        """Feed the pieces; return the codes of the replies."""
        start = len(self.said)
        for piece in pieces:
            self.session.feed(piece)
            self.go_on()
        return [int(line[:3]) for line in self.said[start:].splitlines() if line[3:4] == b" "]

    def go_on(self) -> None:
        """Answer events until there are no more."""
        while True:
            self.take_events()
            out = self.session.bytes_to_send()
            self.said += out
            if not out:
                return

    def take_events(self) -> None:
        session = self.session
        while (event := session.next_event()) is not None:
            match event:
                case MailFrom(address):
                    session.answer(replies.SENDER_OK, address)
                case RcptTo(address):
                    is_refused = address.endswith(b"@refused.example")
                    session.answer(REFUSED if is_refused else replies.RECIPIENT_OK, address)
                case DataBegins():
                    self.parts.clear()
                    session.answer(self.at_data)
                case Body(part):
                    self.parts.append(part)
                case MessageEnds(part):
                    self.parts.append(part)
                    sender, recipients = session.envelope()
                    self.messages.append((sender, recipients, b"".join(self.parts)))
                    if not self.answers_messages:
                        return
                    session.answer(QUEUED)
                case Dropped(reply):
                    self.dropped.append(reply)
                case Mistake(reply):
                    self.mistakes.append(reply)


# --- the dialogue -------------------------------------------------------------------------------


def test_a_whole_session() -> None:
    talk = Talk()
    assert talk.said == b"220 mx.example ESMTP\r\n"
    script = OPENING + b"Subject: x\r\n\r\n..hi\r\n.\r\nQUIT\r\n"
    assert talk.send(script) == [250, 250, 250, 354, 250, 221]
    assert talk.messages == [(b"a@b", (b"c@d",), b"Subject: x\n\n.hi\n")]
    assert talk.session.is_closed
    assert talk.session.has_quit


def test_ehlo_announces_what_the_server_can() -> None:
    talk = Talk(databytes=5000)
    talk.send(b"EHLO client.example\r\n")
    assert talk.said.endswith(
        b"250-mx.example\r\n250-PIPELINING\r\n250-8BITMIME\r\n250-SIZE 5000\r\n"
        b"250 ENHANCEDSTATUSCODES\r\n"
    )
    assert talk.session.is_esmtp
    assert talk.session.helo == b"client.example"
    talk.send(b"HELO other\r\n")
    assert not talk.session.is_esmtp


def test_smtp_a3_replies_of_the_small_commands() -> None:
    codes = Talk().send(b"NOOP\r\nNOOP x\r\nRSET\r\nVRFY joe\r\nHELP\r\nquit now\r\nNOOP\r\n")
    assert codes == [250, 250, 250, 252, 214, 221]


@pytest.mark.parametrize("line", [b"", b"EXPN x", b"AUTH PLAIN", b"STARTTLS", b"\xff\xfe", b"MAI"])
def test_any_other_command_is_502(line: bytes) -> None:
    assert Talk().send(line + b"\r\n") == [502]


def test_smtp_a3_mail_before_helo_is_taken() -> None:
    assert Talk().send(b"MAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nDATA\r\n.\r\n") == [250, 250, 354, 250]


def test_smtp_a3_commands_out_of_order_are_503() -> None:
    talk = Talk()
    assert talk.send(b"RCPT TO:<c@d>\r\nDATA\r\nMAIL FROM:<a@b>\r\nDATA\r\n") == [
        503,
        503,
        250,
        503,
    ]
    assert talk.send(b"RCPT TO:<c@d>\r\nRSET\r\nRCPT TO:<c@d>\r\nDATA\r\n") == [250, 250, 503, 503]


def test_rfc2920_3_1_data_without_valid_recipients_is_554() -> None:
    talk = Talk()
    assert talk.send(b"MAIL FROM:<a@b>\r\nRCPT TO:<x@refused.example>\r\nDATA\r\n") == [
        250, 553, 554]  # fmt: skip
    assert talk.send(b"RCPT TO:<c@d>\r\nDATA\r\n.\r\n") == [250, 354, 250]
    assert talk.messages[0][1] == (b"c@d",)


def test_smtp_a3_a_second_mail_discards_the_first() -> None:
    talk = Talk()
    talk.send(b"MAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nMAIL FROM:<e@f>\r\n")
    assert talk.send(b"DATA\r\n") == [503]
    talk.send(b"RCPT TO:<g@h>\r\nDATA\r\n.\r\n")
    assert talk.messages == [(b"e@f", (b"g@h",), b"")]


def test_helo_and_a_message_end_the_transaction() -> None:
    talk = Talk()
    assert talk.send(b"MAIL FROM:<a@b>\r\nHELO x\r\nRCPT TO:<c@d>\r\n") == [250, 250, 503]
    assert talk.send(OPENING + b".\r\nRCPT TO:<c@d>\r\n")[-1] == 503


def test_a_refused_data_ends_the_transaction() -> None:
    talk = Talk(at_data=replies.QUEUE_DOWN)
    assert talk.send(OPENING) == [250, 250, 250, 451]
    assert talk.send(b"DATA\r\n") == [503]


def test_a_421_answer_closes() -> None:
    talk = Talk(at_data=replies.UNFORESEEN)
    assert talk.send(OPENING + b"NOOP\r\n") == [250, 250, 250, 421]
    assert talk.session.is_closed


def test_the_table_names_every_state_and_leads_nowhere_else() -> None:
    assert {target for row in NEXT.values() for target in row.values()} <= NEXT.keys()


# --- bad input ----------------------------------------------------------------------------------


def test_a_line_over_4096_bytes_is_one_500() -> None:
    talk = Talk()
    assert talk.send(b"NOOP " + b"x" * 10000, b"x" * 10000 + b"\r\nNOOP\r\n") == [500, 250]
    assert talk.mistakes == [replies.LINE_TOO_LONG]


def test_oddities_1_nul_in_a_command_is_refused() -> None:
    talk = Talk()
    assert talk.send(b"NOOP\0\r\nMAIL FROM:<a\0b@c>\r\nNOOP\r\n") == [500, 500, 250]
    assert talk.mistakes == [replies.NUL_IN_COMMAND] * 2


def test_8_bit_bytes_in_commands_are_refused_or_harmless() -> None:
    script = b"\xc8ELO x\r\nHELO \xff\xfe\r\nMAIL FROM:<\xe9@b>\r\nMAIL FROM:<a@b>\r\n"
    assert Talk().send(script + b"RCPT TO:<a@\xe9>\r\nVRFY \xe9\r\n") == [
        502, 250, 553, 250, 553, 252]  # fmt: skip


def test_an_address_of_1100_bytes_is_refused() -> None:
    talk = Talk()
    long = b"x" * 1100 + b"@b"
    assert talk.send(b"MAIL FROM:<%b>\r\nMAIL FROM:<a@b>\r\nRCPT TO:<%b>\r\n" % (long, long)) == [
        501, 250, 553]  # fmt: skip


def test_after_100_bad_commands_421_and_the_end() -> None:
    talk = Talk()
    codes = talk.send(b"BAD\r\n" * (BAD_COMMANDS_MAX + 5))
    assert codes == [502] * (BAD_COMMANDS_MAX - 1) + [421]
    assert talk.session.is_closed
    assert not talk.session.has_quit


def test_ten_thousand_recipients_are_taken() -> None:
    talk = Talk()
    script = b"MAIL FROM:<a@b>\r\n" + b"".join(b"RCPT TO:<u%d@d>\r\n" % n for n in range(10000))
    assert set(talk.send(script + b"DATA\r\n.\r\n")) == {250, 354}
    assert len(talk.messages[0][1]) == 10000


def test_more_recipients_than_an_envelope_holds_are_452(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("qmail.protocol.smtp_server.RECIPIENTS_MAX", 2)
    talk = Talk()
    assert talk.send(b"MAIL FROM:<a@b>\r\n" + b"RCPT TO:<c@d>\r\n" * 3) == [250, 250, 250, 452]
    assert talk.send(b"DATA\r\n.\r\n") == [354, 250]


def test_more_address_bytes_than_an_envelope_holds_are_452(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("qmail.protocol.smtp_server.RECIPIENT_BYTES_MAX", 5)
    talk = Talk()
    assert talk.send(b"MAIL FROM:<a@b>\r\n" + b"RCPT TO:<c@d>\r\n" * 3) == [250, 250, 452, 452]


def test_rfc1870_6_1_a_size_over_databytes_is_refused_at_mail() -> None:
    talk = Talk(databytes=1000)
    assert talk.send(b"MAIL FROM:<a@b> SIZE=1001\r\nMAIL FROM:<a@b> SIZE=1000\r\n") == [552, 250]
    assert Talk().send(b"MAIL FROM:<a@b> SIZE=99999999999\r\n") == [250]


def test_control_files_4_2_a_message_of_exactly_databytes_passes_one_more_does_not() -> None:
    talk = Talk(databytes=10)
    assert talk.send(OPENING + b"12345678\r\n\r\n.\r\n")[-1] == 250
    assert talk.send(OPENING + b"123456789\r\n\r\n.\r\n")[-1] == 552
    # Counted as stored: the doubled dots and the CRs are not in it.
    assert talk.send(OPENING + b"..2345678\r\n.\r\n")[-1] == 250
    assert talk.dropped == [replies.MESSAGE_TOO_BIG]


def test_a_message_over_databytes_is_told_at_once_and_answered_at_its_end() -> None:
    talk = Talk(databytes=1000)
    assert talk.send(OPENING, b"x" * 2000) == [250, 250, 250, 354]
    assert talk.dropped == [replies.MESSAGE_TOO_BIG]
    assert talk.send(b"x" * 100000, b"\r\n.\r\nNOOP\r\n") == [552, 250]
    assert talk.messages == []


def test_a_looping_message_is_554() -> None:
    talk = Talk()
    fine = b"Received: x\r\n" * (HOPS_MAX - 1) + b"\r\n" + b"Received: x\r\n" * 50
    assert talk.send(OPENING + fine + b".\r\n")[-1] == 250
    assert talk.send(OPENING + b"Received: x\r\n" * HOPS_MAX + b"\r\n.\r\n")[-1] == 554
    assert talk.dropped == [replies.TOO_MANY_HOPS]


@pytest.mark.parametrize(
    "text",
    [
        b"a\n.\r\nb",
        b"a\r\n.\nb",
        b"a\r.\r\nb",
        b"a\rb",
        b"a\nb",
        b"\n.\n",
        b"\r.\r",
        b".\n",
        b"\r\r\n",
    ],
)
def test_a_bare_line_end_is_521_and_nothing_behind_it_counts(text: bytes) -> None:
    script = text + b"\r\n.\r\nMAIL FROM:<evil@example>\r\nRCPT TO:<x@y>\r\nDATA\r\nevil\r\n.\r\n"
    for pieces in ([script], [script[at : at + 1] for at in range(len(script))]):
        talk = Talk()
        assert talk.send(OPENING, *pieces) == [250, 250, 250, 354, 521]
        assert talk.session.is_closed
        assert talk.messages == []
        assert talk.dropped == [replies.BARE_LINE_END]


def test_long_lines_and_8_bit_bytes_in_a_message_pass() -> None:
    talk = Talk()
    line = b"\x00\xff" * 5000
    assert talk.send(OPENING + line + b"\r\n.\r\n")[-1] == 250
    assert talk.messages[0][2] == line + b"\n"


def test_a_header_of_10_mb_is_not_kept() -> None:
    talk = Talk()
    talk.send(OPENING)
    for _ in range(160):
        talk.send(b"X-Long: " + b"x" * 65000 + b"\r\n")
        assert talk.session.bytes_pending == 0
    talk.parts.clear()
    assert talk.send(b"\r\n.\r\n") == [250]


# --- order and amounts --------------------------------------------------------------------------


def test_rfc2920_3_2_commands_behind_a_message_wait_for_its_answer() -> None:
    talk = Talk(answers_messages=False)
    assert talk.send(OPENING + b".\r\nNOOP\r\nQUIT\r\n") == [250, 250, 250, 354]
    assert talk.session.is_waiting
    assert talk.session.bytes_pending == len(b"NOOP\r\nQUIT\r\n")
    assert talk.send(b"NOOP\r\n") == []
    talk.session.answer(QUEUED)
    assert talk.send(b"NOOP\r\n") == [250, 250, 221]


def test_replies_to_many_commands_are_not_gathered_without_limit() -> None:
    session = Session(SessionSettings(b"mx.example"))
    session.feed(b"HELP\r\n" * 20000)
    largest = 0
    total = 0
    while True:
        assert session.next_event() is None
        out = session.bytes_to_send()
        if not out:
            break
        largest = max(largest, len(out))
        total += out.count(b"\r\n214 ")
    assert total == 20000
    assert largest <= OUT_BYTES_MAX + 1000


def test_the_end_of_input_closes_without_a_word() -> None:
    talk = Talk()
    assert talk.send(OPENING + b"half a message") == [250, 250, 250, 354]
    assert talk.send(b"") == []
    assert talk.session.is_closed
    assert talk.messages == []


def test_an_answer_that_comes_after_the_end_is_ignored() -> None:
    talk = Talk(answers_messages=False)
    talk.send(OPENING + b".\r\n")
    talk.session.close(replies.SHUTTING_DOWN)
    talk.session.answer(QUEUED)
    assert talk.session.bytes_to_send() == replies.SHUTTING_DOWN.wire


LINES = st.sampled_from(
    [
        b"EHLO x\r\n", b"HELO y\n", b"MAIL FROM:<a@b>\r\n", b"MAIL FROM:<a@b> SIZE=999\r\n",
        b"RCPT TO:<c@d>\r\n", b"RCPT TO:<e@refused.example>\r\n", b"DATA\r\n", b"RSET\r\n",
        b"NOOP\r\n", b"BAD\r\n", b"text\r\n", b"..dots\r\n", b".\r\n", b"\r\n", b"Received: x\r\n",
        b"bare\n", b"bare\rcr\r\n", b"QUIT\r\n", b"\0\r\n", b"z" * 5000 + b"\r\n",
        OPENING, b"x" * 60 + b"\r\n.\r\n",
    ]
)  # fmt: skip


@given(script=st.lists(LINES, max_size=16).map(b"".join), cuts=st.lists(st.integers(1, 60)))
@settings(max_examples=200)
def test_any_split_of_the_input_gives_the_same_replies_and_messages(
    script: bytes, cuts: list[int]
) -> None:
    script += b"NOOP\r\n"
    pieces, start = [], 0
    for size in cuts:
        pieces.append(script[start : start + size])
        start += size
    whole, split = Talk(databytes=100), Talk(databytes=100)
    whole.send(script)
    split.send(*[piece for piece in [*pieces, script[start:]] if piece])
    assert split.said == whole.said
    assert split.messages == whole.messages
    # A message may be too big before its bare line end comes; it is dropped once for each.
    assert split.dropped[-1:] == whole.dropped[-1:]
    assert split.mistakes == whole.mistakes
    assert split.session.is_closed == whole.session.is_closed


@given(script=st.binary(max_size=200))
def test_any_bytes_are_answered_by_replies(script: bytes) -> None:
    talk = Talk()
    talk.send(script + b"\n")
    assert talk.said.endswith(b"\r\n")
