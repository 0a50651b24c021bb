"""qmail-pspawn with a checkpassword program that decides (spec/smtp.md E.2)."""

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.programs.login_world import (
    LoginWorld,
    accepted,
    home_of,
    lines_until_closed,
    refused,
    scram_secret,
)

from qmail.edge.machine.accounts import Accounts
from qmail.protocol.login_door import Accepted, Begun, Ended, Mechanism, Offer, Proof, Refusal

JOE = f"joe:{scram_secret('secret')}:::::"


@pytest.fixture
def home(folder: Path, own_accounts: Accounts) -> Iterator[LoginWorld]:
    """A home of one account, not started yet, that knows joe."""
    with home_of(folder, own_accounts, JOE) as world:
        yield world


def test_external_program_decides_when_the_session_starts(home: LoginWorld) -> None:
    program = home.home / "check"
    # It reads descriptor 3, lets Joe in, and looks at what it would run.
    program.write_text(
        "#!/bin/sh\n"
        "found=$(tr '\\0' '|' <&3)\n"
        f'echo "$found $TCPREMOTEIP" >>{home.home}/alias/seen\n'
        "case $found in 'Joe|secret|<1.2@h>|') ;; *) exit 1;; esac\n"
        f"cd {home.home}/alias\n"
        "case $1 in */qmail-pop3d|qmail-pop3d) ;; *) exit 2;; esac\n"
        "printf '+OK %s\\r\\n' \"$2\"\n"
        "read said\n"
    )
    program.chmod(0o755)
    home.control("checkpassword", f"{program}\n")
    home.start()
    caller = home.call()
    answer = caller.login("Joe", "secret", challenge=b"<1.2@h>")
    assert answer == Accepted(1, b"Joe", Proof.CLAIMED)
    with caller.start(1) as client:
        client.sendall(b"QUIT\r\n")
        assert lines_until_closed(client) == b"+OK Maildir\r\n"
    assert [caller.answer(), caller.answer()] == [Begun(1), Ended(1, 0)]
    (answer,) = caller.exchange(Mechanism.PLAIN, b"\0Joe\0wrong")
    assert accepted(answer).proof is Proof.CLAIMED
    with caller.start(2) as client:
        assert lines_until_closed(client) == b""
    assert [caller.answer(), caller.answer()] == [Begun(2), Ended(2, 1)]
    seen = (home.home / "alias/seen").read_text().splitlines()
    assert seen == ["Joe|secret|<1.2@h>| 127.0.0.1", "Joe|wrong|| "]
    assert refused(caller.login("joe", "x" * 600)) is Refusal.AUTH
    (answer,) = caller.exchange(Mechanism.SCRAM_SHA_256, b"n,,n=joe,r=abc")
    assert refused(answer) is Refusal.AUTH


def test_external_program_that_is_not_there_is_temporary(home: LoginWorld) -> None:
    home.control("checkpassword", "/nonexistent/program\n-x\n")
    home.start()
    caller = home.call()
    accepted(caller.login("joe", "secret"))
    with caller.start(1) as client:
        assert lines_until_closed(client) == b""
    assert [caller.answer(), caller.answer()] == [Begun(1), Ended(1, 111)]


def test_apop_is_offered_where_the_program_can_do_it(home: LoginWorld) -> None:
    program = home.home / "check"
    program.write_text(f"#!/bin/sh\ncat <&3 >{home.home}/alias/seen\nexit 1\n")
    program.chmod(0o755)
    home.control("apop", "yes\n")
    home.start()
    caller = home.call()
    offer = caller.any_answer()
    assert isinstance(offer, Offer)
    assert Mechanism.APOP not in offer.mechanisms
    home.control("checkpassword", f"{program}\n")
    home.signal(signal.SIGHUP)
    assert caller.any_answer() == Offer((Mechanism.PLAIN, Mechanism.USER, Mechanism.APOP))
    answer = caller.login("joe", "abcd0123", mechanism=Mechanism.APOP, challenge=b"<1.2@h>")
    assert accepted(answer).proof is Proof.CLAIMED
    with caller.start(1) as client:
        assert lines_until_closed(client) == b""
    assert (home.home / "alias/seen").read_bytes() == b"joe\0abcd0123\0<1.2@h>\0"
