"""The client's conversation, without a network."""

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qmail.mail import Letter, deferred
from qmail.protocol.remote_reports import Ending, Outcome
from qmail.protocol.smtp_client import Event, SmtpClient, State, is_sendable

IP = b"192.0.2.1"
PLAIN = b"220 hi\r\n250 fake\r\n"
PIPELINED = b"220 hi\r\n250-fake\r\n250-PIPELINING\r\n250-SIZE 100\r\n250 8BITMIME\r\n"


def client(hello: bytes = PIPELINED) -> SmtpClient:
    """Return a client that is ready for a message."""
    made = SmtpClient(IP, b"me.example")
    made.feed(hello)
    made.bytes_to_send()
    assert made.next_event() is Event.READY
    return made


def begin(made: SmtpClient, *recipients: bytes) -> bytes:
    made.begin(b"s@x.ex", recipients or (b"r@y.ex",), 4000, is_8bit=False)
    return made.bytes_to_send()


def say(made: SmtpClient, data: bytes) -> bytes:
    """Feed `data` by lines; send the body when it is wanted; return what the client writes."""
    for line in data.splitlines(keepends=True):
        made.feed(line)
        while (event := made.next_event()) is not None:
            if event is Event.SEND_BODY:
                made.body_sent()
    return made.bytes_to_send()


def outcome_of(made: SmtpClient) -> Outcome:
    assert made.outcome is not None
    return made.outcome


def test_rfc2920_3_1_mail_rcpt_and_data_leave_together_when_pipelining_is_offered() -> None:
    made = client()
    assert begin(made, b"a@y.ex", b"b@y.ex") == (
        b"MAIL FROM:<s@x.ex> SIZE=4000\r\nRCPT TO:<a@y.ex>\r\nRCPT TO:<b@y.ex>\r\nDATA\r\n"
    )


def test_without_pipelining_each_command_waits_for_its_reply() -> None:
    made = client(PLAIN)
    assert begin(made, b"a@y.ex", b"b@y.ex") == b"MAIL FROM:<s@x.ex>\r\n"
    assert say(made, b"250 ok\r\n") == b"RCPT TO:<a@y.ex>\r\n"
    assert say(made, b"250 ok\r\n") == b"RCPT TO:<b@y.ex>\r\n"
    assert say(made, b"250 ok\r\n") == b"DATA\r\n"
    assert say(made, b"354 ok\r\n250 done\r\n") == b""
    assert outcome_of(made).recipients == (b"r", b"r")
    assert outcome_of(made).result.letter is Letter.DELIVERED


def test_b6_a_success_is_reported_in_qmails_words() -> None:
    made = client()
    begin(made)
    say(made, b"250 a\r\n250 b\r\n354 c\r\n250 2.0.0 queued\r\n")
    assert outcome_of(made).reports() == (
        b"r\0K192.0.2.1 accepted message.\nRemote host said: 250 2.0.0 queued\n\0"
    )
    assert made.state is State.READY


def test_rfc5321_3_2_helo_follows_where_ehlo_is_not_known() -> None:
    made = SmtpClient(IP, b"me.example")
    made.feed(b"220 old\r\n")
    assert made.bytes_to_send() == b"EHLO me.example\r\n"
    made.feed(b"502 what\r\n")
    assert made.bytes_to_send() == b"HELO me.example\r\n"
    made.feed(b"250 hi\r\n")
    assert made.next_event() is Event.READY
    assert begin(made) == b"MAIL FROM:<s@x.ex>\r\n"


@pytest.mark.parametrize(
    ("said", "letter"),
    [(b"554 go away\r\n", Letter.FAILED), (b"421 later\r\n", Letter.DEFERRED),
     (b"250 hm\r\n", Letter.DEFERRED)],
)  # fmt: skip
def test_oddities_5_a_greeting_other_than_220_sends_us_to_the_next_host(
    said: bytes, letter: Letter
) -> None:
    made = SmtpClient(IP, b"me.example")
    assert say(made, said) == b"QUIT\r\n"
    outcome = outcome_of(made)
    assert outcome.ending is Ending.NEXT_HOST
    assert outcome.result.letter is letter
    text = b"Connected to 192.0.2.1 but greeting failed.\nRemote host said: %b\n"
    assert outcome.result.text == text % said.rstrip()


def test_b6_a_rejected_name_is_temporary() -> None:
    made = SmtpClient(IP, b"me.example")
    say(made, b"220 hi\r\n500 no\r\n550 bad name\r\n")
    assert outcome_of(made).result == deferred(
        b"Connected to 192.0.2.1 but my name was rejected.\nRemote host said: 550 bad name\n"
    )


@pytest.mark.parametrize(("code", "letter"), [(b"550", Letter.FAILED), (b"450", Letter.DEFERRED)])
def test_b6_a_rejected_sender_is_reported_after_the_pipeline_is_empty(
    code: bytes, letter: Letter
) -> None:
    made = client()
    begin(made)
    say(made, code + b" bad sender\r\n503 what\r\n")
    assert made.outcome is None
    assert say(made, b"503 what\r\n") == b"RSET\r\n"
    assert outcome_of(made).recipients == ()
    assert outcome_of(made).result.letter is letter
    assert b"but sender was rejected.\nRemote host said: " in outcome_of(made).result.text
    say(made, b"250 reset\r\n")
    assert made.state is State.READY


@pytest.mark.parametrize(("code", "letter", "spawn"), [(b"550", b"h", b"D"), (b"450", b"s", b"Z")])
def test_b6_a_refused_recipient_is_given_up(code: bytes, letter: bytes, spawn: bytes) -> None:
    made = client(PLAIN)
    begin(made)
    say(made, b"250 ok\r\n")
    assert say(made, code + b" no such user\r\n") == b"RSET\r\n"
    refused = b"192.0.2.1 does not like recipient.\nRemote host said: %b no such user\n" % code
    given_up = b"Giving up on 192.0.2.1.\n"
    assert outcome_of(made).reports() == letter + refused + b"\0D" + given_up + b"\0"
    assert outcome_of(made).spawn_report() == spawn + refused + given_up


def test_rfc2920_3_1_a_354_for_nobody_is_answered_by_the_dot_alone() -> None:
    made = client()
    begin(made)
    assert say(made, b"250 ok\r\n550 no\r\n354 go on\r\n") == b".\r\n"
    assert say(made, b"554 no valid recipients\r\n") == b"RSET\r\n"
    assert outcome_of(made).result.text == b"Giving up on 192.0.2.1.\n"


def test_one_taken_recipient_is_enough() -> None:
    made = client()
    begin(made, b"a@y.ex", b"b@y.ex", b"c@y.ex")
    say(made, b"250 ok\r\n550 no\r\n251 ok\r\n450 full\r\n354 go on\r\n250 done\r\n")
    assert [report[:1] for report in outcome_of(made).recipients] == [b"h", b"r", b"s"]
    assert outcome_of(made).result.letter is Letter.DELIVERED


@pytest.mark.parametrize(("code", "letter"), [(b"554", Letter.FAILED), (b"451", Letter.DEFERRED)])
def test_b6_data_and_the_message_can_be_refused(code: bytes, letter: Letter) -> None:
    made = client()
    begin(made)
    assert say(made, b"250 a\r\n250 b\r\n" + code + b" no data\r\n") == b"RSET\r\n"
    assert outcome_of(made).result.letter is letter
    assert outcome_of(made).result.text.startswith(b"192.0.2.1 failed on DATA command.\n")
    say(made, b"250 reset\r\n")
    begin(made)
    assert say(made, b"250 a\r\n250 b\r\n354 c\r\n" + code + b" spam\r\n") == b"RSET\r\n"
    assert outcome_of(made).result.letter is letter
    assert outcome_of(made).result.text.startswith(b"192.0.2.1 failed after I sent the message.\n")


@pytest.mark.parametrize("said", [b"150 x", b"354 x", b"abc", b"220-a\r\n221 b"])
@pytest.mark.parametrize("good", [b"", b"250 m\r\n", b"250 m\r\n250 r\r\n354 d\r\n"])
def test_oddities_5_only_2xx_is_success_and_all_else_is_temporary(said: bytes, good: bytes) -> None:
    made = client()
    begin(made)
    say(made, good + said + b"\r\n")
    made.lost()
    assert outcome_of(made).spawn_report()[:1] == b"Z"
    assert made.state is State.CLOSED


@pytest.mark.parametrize(
    ("said", "ending", "duplicate"),
    [(b"", Ending.NEXT_HOST, False), (b"250 m\r\n", Ending.FINAL, False),
     (b"250 m\r\n250 r\r\n", Ending.FINAL, False),
     (b"250 m\r\n250 r\r\n354 d\r\n", Ending.FINAL, True)],
)  # fmt: skip
def test_b6_a_lost_connection_is_a_possible_duplicate_only_after_the_dot(
    said: bytes, ending: Ending, duplicate: bool
) -> None:
    made = client()
    begin(made)
    say(made, said)
    made.lost()
    outcome = outcome_of(made)
    middle = b"Possible duplicate! " if duplicate else b""
    text = b"Connected to 192.0.2.1 but connection died. %b(#4.4.2)\n" % middle
    assert outcome.result == deferred(text)
    assert outcome.ending is ending


def test_lost_while_the_body_is_written_is_no_duplicate() -> None:
    made = client()
    begin(made)
    made.feed(b"250 m\r\n250 r\r\n354 d\r\n")
    assert made.state is State.BODY
    made.lost()
    assert b"duplicate" not in outcome_of(made).result.text


@pytest.mark.parametrize("last_words", [b"", b"421 idle too long\r\n", b"garbage\r\n"])
def test_a_kept_connection_that_is_dead_before_mail_is_answered_costs_nothing(
    last_words: bytes,
) -> None:
    made = client()
    begin(made)
    say(made, b"250 m\r\n250 r\r\n354 d\r\n250 done\r\n")
    begin(made)
    say(made, last_words)
    made.lost()
    assert outcome_of(made).ending is Ending.SAME_HOST


def test_421_between_two_messages_closes() -> None:
    made = client()
    made.feed(b"421 shutting down\r\n")
    assert made.next_event() is Event.CLOSED
    assert made.state is State.CLOSED


def test_a_refusal_in_the_middle_of_the_message_ends_the_connection() -> None:
    made = client()
    begin(made)
    made.feed(b"250 m\r\n250 r\r\n354 d\r\n")
    assert made.next_event() is Event.SEND_BODY
    made.feed(b"552 too big\r\n")
    assert outcome_of(made).result.letter is Letter.FAILED
    assert made.state is State.CLOSED
    assert made.bytes_to_send() == b""


def test_a_success_before_the_message_was_sent_is_not_believed() -> None:
    made = client()
    begin(made)
    made.feed(b"250 m\r\n250 r\r\n354 d\r\n250 done\r\n")
    assert outcome_of(made).result.letter is Letter.DEFERRED
    assert made.state is State.CLOSED


def test_a_refused_reset_closes() -> None:
    made = client(PLAIN)
    begin(made)
    say(made, b"550 no\r\n")
    say(made, b"500 what\r\n")
    assert made.state is State.CLOSED


def test_mail_parameters_are_said_only_where_they_are_offered_and_needed() -> None:
    made = client()
    made.begin(b"s@x.ex", (b"r@y.ex",), 99, is_8bit=True)
    assert made.bytes_to_send().startswith(b"MAIL FROM:<s@x.ex> SIZE=99 BODY=8BITMIME\r\n")
    made = client(PLAIN)
    made.begin(b"s@x.ex", (b"r@y.ex",), 99, is_8bit=True)
    assert made.bytes_to_send() == b"MAIL FROM:<s@x.ex>\r\n"
    made = client(b"220 x\r\n250-x\r\n250 SMTPUTF8\r\n")
    made.begin(b"s@x.ex", ("jürgen@y.ex".encode(),), 99, is_8bit=False)
    assert made.bytes_to_send() == b"MAIL FROM:<s@x.ex> SMTPUTF8\r\n"


def test_b2_addresses_are_quoted_and_the_null_sender_is_empty() -> None:
    made = client()
    made.begin(b"", (b"a b@y.ex",), 1, is_8bit=False)
    assert made.bytes_to_send().startswith(b'MAIL FROM:<> SIZE=1\r\nRCPT TO:<"a b"@y.ex>\r\n')


@pytest.mark.parametrize(
    "address",
    [b"a\r\nQUIT@y.ex", b"a\n@y.ex", b"a@y.ex>\r\n", b"a@y.ex> SIZE=1", b"a\0b@y", b"a@ b"],
)
def test_an_address_that_would_change_the_command_is_not_sendable(address: bytes) -> None:
    assert not is_sendable(address)


@pytest.mark.parametrize("address", [b"", b"a", b"a@b", b"a b@c", b'a"b>@c', b"\xff@c", b"a@b@c"])
def test_other_addresses_are(address: bytes) -> None:
    assert is_sendable(address)


REPLIES = st.lists(
    st.sampled_from(
        [b"220 a", b"250 b", b"250-c", b"354 d", b"421 e", b"450 f", b"550 g", b"xyz", b"", b"250"]
    ),
    max_size=14,
).map(b"\r\n".join)


def converse(data: bytes, *cuts: int) -> tuple[list[Outcome], bytes, State]:
    """Talk to a server that says `data`; take three messages; then the connection ends."""
    made = SmtpClient(IP, b"me")
    outcomes: list[Outcome] = []
    written = b""
    edges = sorted({0, *(min(cut, len(data)) for cut in cuts), len(data)})
    for start, end in itertools.pairwise(edges):
        made.feed(data[start:end])
        written += run_events(made, outcomes)
    made.lost()
    return outcomes, written + run_events(made, outcomes), made.state


def run_events(made: SmtpClient, outcomes: list[Outcome]) -> bytes:
    while (event := made.next_event()) is not None:
        if event is Event.SEND_BODY:
            made.body_sent()
        elif event is Event.FINISHED and made.outcome is not None:
            outcomes.append(made.outcome)
        if made.state is State.READY and made.transactions < 3:
            made.begin(b"s@x.ex", (b"r@y.ex", b"q@y.ex"), 10, is_8bit=False)
    return made.bytes_to_send()


@settings(max_examples=200)
@given(data=REPLIES, cuts=st.lists(st.integers(0, 120), max_size=4))
def test_whatever_a_server_says_every_message_gets_one_outcome(
    data: bytes, cuts: list[int]
) -> None:
    outcomes, written, state = converse(PIPELINED + data + b"\r\n", *cuts)
    assert state is State.CLOSED
    assert len(outcomes) == written.count(b"MAIL FROM")
    for outcome in outcomes:
        if outcome.result.letter is Letter.DELIVERED:
            assert b"r" in outcome.recipients


@settings(max_examples=100)
@given(first=st.sampled_from([b"250 m", b"550 m", b"450 m"]), data=REPLIES)
def test_no_success_without_2xx_354_and_2xx(first: bytes, data: bytes) -> None:
    outcomes, _, _ = converse(PIPELINED + first + b"\r\n" + data + b"\r\n")
    if outcomes and outcomes[0].result.letter is Letter.DELIVERED:
        assert first == b"250 m"
        assert b"354" in data
