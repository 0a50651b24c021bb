"""Whatever a POP3 client sends, in whatever pieces: the same answers, and no surprise."""

import asyncio

from hypothesis import given, settings
from hypothesis import strategies as st
from tests.fakes.pop3_world import Pop3World, settle

from qmail.protocol import pop3_replies as replies
from qmail.protocol.login_door import (
    Accepted,
    Answer,
    Begin,
    Begun,
    Challenge,
    GiveUp,
    Refusal,
    Refused,
    Response,
)

COMMANDS = st.sampled_from([
    b"CAPA\r\n", b"NOOP\r\n", b"USER joe\r\n", b"PASS right\r\n", b"PASS wrong\r\n", b"STLS\r\n",
    b"AUTH PLAIN AGpvZQByaWdodA==\r\n", b"AUTH PLAIN\r\n", b"AUTH SCRAM-SHA-256 bixhPWI=\r\n",
    b"cmlnaHQ=\r\n", b"*\r\n", b"=\r\n", b"APOP joe 00\r\n", b"UTF8\r\n", b"LANG\r\n", b"AUTH\r\n",
    b"STAT\r\n", b"QUIT\r\n", b"\r\n", b"USER \r\n", b"x" * 600 + b"\r\n",
])  # fmt: skip
SCRIPTS = st.lists(st.one_of(COMMANDS, st.binary(max_size=60)), max_size=15).map(b"".join)


def answers_to(call: object) -> list[Answer]:
    """What qmail-pspawn would say."""
    if isinstance(call, Begin):
        if call.mechanism.value.startswith(b"SCRAM"):
            return [Challenge(call.tag, b"r=x")]
        is_right = call.secret == b"right" or call.login.endswith(b"\0right")
        return [Accepted(call.tag, b"joe") if is_right else Refused(call.tag, Refusal.AUTH)]
    if isinstance(call, Response):
        return [Accepted(call.tag, b"joe")]
    assert isinstance(call, GiveUp) or hasattr(call, "tag")
    return [] if isinstance(call, GiveUp) else [Begun(getattr(call, "tag", 0))]


async def converse(pieces: list[bytes]) -> tuple[bytes, bool]:
    """Say all pieces one after the other. Returns: what was answered, and whether a login was good.

    Failures cost no time here: there are fewer than it takes.
    """
    world = Pop3World()
    world.server.call_later = lambda _seconds, call, *arguments: call(*arguments)
    was_let_in = False
    try:
        connection, transport = world.connect()
        for piece in pieces:
            if piece and transport.ended == "" and transport.reads:
                connection.data_received(piece)
            for _ in range(40):
                calls = world.heard()
                if not calls:
                    break
                for call in calls:
                    for answer in answers_to(call):
                        was_let_in = was_let_in or isinstance(answer, Accepted)
                        world.server.line.on_payload(answer.pack().partition(b":")[2][:-1])
                await settle()
        connection.connection_lost(None)
        await settle()
        return transport.written, was_let_in
    finally:
        world.close()


@settings(deadline=None, max_examples=60)
@given(script=SCRIPTS, cuts=st.lists(st.integers(1, 40), max_size=30))
def test_any_cut_of_what_a_client_says_gives_the_same_answers(
    script: bytes, cuts: list[int]
) -> None:
    async def both() -> None:
        whole, was_let_in = await converse([script])
        pieces, rest = [], script
        for cut in cuts:
            pieces.append(rest[:cut])
            rest = rest[cut:]
        cut_up, _ = await converse([*pieces, rest])
        assert replies.UNFORESEEN.wire not in whole + cut_up
        # Behind a login the rest is the session's, which nobody plays here.
        if not was_let_in:
            assert cut_up == whole

    asyncio.run(both())
