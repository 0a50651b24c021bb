"""qmail-pspawn: the real program behind its door, in a home of one account."""

import os
import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from scramp import ScramClient
from tests.programs.login_world import (
    MESSAGE,
    Caller,
    LoginWorld,
    accepted,
    begin,
    home_of,
    lines_until_closed,
    name_of,
    refused,
    scram_secret,
    wait_until,
)

from qmail.edge.machine.accounts import Accounts
from qmail.protocol.login_door import (
    Accepted,
    Begin,
    Begun,
    Challenge,
    Ended,
    GiveUp,
    Mechanism,
    Offer,
    Refusal,
    Refused,
    Response,
    Start,
)
from qmail.protocol.scram_keys import make_keys

JOE = f"joe:{scram_secret('secret')}:::::"


@pytest.fixture
def home(folder: Path, own_accounts: Accounts) -> Iterator[LoginWorld]:
    """A home of one account, not started yet, that knows joe."""
    with home_of(folder, own_accounts, JOE) as world:
        yield world


@pytest.fixture
def caller(home: LoginWorld) -> Caller:
    home.start()
    return home.call()


def login_by_scram(caller: Caller, name: str, password: str) -> Accepted | Refused:
    client = ScramClient(["SCRAM-SHA-256"], name, password)
    tag = caller.tag()
    first = client.get_client_first().encode()
    mechanism = Mechanism.SCRAM_SHA_256
    caller.send(Begin(tag=tag, service=b"pop3", mechanism=mechanism, login=first))
    challenge = caller.answer()
    assert isinstance(challenge, Challenge)
    client.set_server_first(challenge.data.decode())
    caller.send(Response(tag, client.get_client_final().encode()))
    final = caller.answer()
    if isinstance(final, Challenge):
        client.set_server_final(final.data.decode())
        caller.send(Response(tag, b""))
        final = caller.answer()
    assert isinstance(final, Accepted | Refused)
    return final


# --- logins ---------------------------------------------------------------------------------------


def test_the_first_frame_says_what_is_offered(caller: Caller) -> None:
    assert caller.any_answer() == Offer((Mechanism.SCRAM_SHA_256, Mechanism.PLAIN, Mechanism.USER))


def test_name_and_password(caller: Caller) -> None:
    assert caller.login("joe", "secret") == Accepted(1, b"joe")
    assert caller.login("JOE", "secret") == Accepted(2, b"joe")
    assert caller.login("joe", "Secret") == Refused(3, Refusal.AUTH)
    assert caller.login("jane", "secret") == Refused(4, Refusal.AUTH)


@pytest.mark.parametrize(
    ("name", "secret"),
    [(b"", b"x"), (b"joe", b""), (b"jo\0e", b"secret"), (b"\xff", b"x"), (b"joe", b"x" * 4096),
     (b"x" * 4096, b"x"), (b"joe:x", b"secret")],
)  # fmt: skip
def test_names_and_passwords_of_nobody(caller: Caller, name: bytes, secret: bytes) -> None:
    assert refused(caller.login(name, secret)) is Refusal.AUTH
    accepted(caller.login("joe", "secret"))


def test_plain_at_once_and_after_an_empty_challenge(caller: Caller) -> None:
    (answer,) = caller.exchange(Mechanism.PLAIN, b"\0joe\0secret")
    accepted(answer)
    empty, answer = caller.exchange(Mechanism.PLAIN, b"", b"joe\0joe\0secret")
    assert isinstance(empty, Challenge)
    assert empty.data == b""
    accepted(answer)
    for message in (b"\0joe\0wrong", b"ann\0joe\0secret", b"joe", b"\0\0"):
        (answer,) = caller.exchange(Mechanism.PLAIN, message)
        assert refused(answer) is Refusal.AUTH


def test_scram_with_another_library_as_client(caller: Caller) -> None:
    assert isinstance(login_by_scram(caller, "joe", "secret"), Accepted)
    assert refused(login_by_scram(caller, "joe", "wrong")) is Refusal.AUTH
    assert refused(login_by_scram(caller, "nobody", "secret")) is Refusal.AUTH


def test_scram_for_a_name_that_nobody_has_looks_as_always(home: LoginWorld, caller: Caller) -> None:
    def challenge(name: bytes) -> list[bytes]:
        message = b"n,,n=%b,r=abc" % name
        (answer,) = caller.exchange(Mechanism.SCRAM_SHA_256, message)
        assert isinstance(answer, Challenge)
        return answer.data.split(b",")[1:]

    known, unknown = challenge(b"joe"), challenge(b"nobody")
    assert len(known[0]) == len(unknown[0])
    assert known[1] == unknown[1] == b"i=4096"
    assert challenge(b"nobody") == unknown != challenge(b"nobody2")
    # The same after a restart.
    assert home.stop() == 0
    (home.home / "run/login").unlink()
    home.start()
    caller = home.call()
    assert challenge(b"nobody") == unknown
    secret = home.home / "users/passwd.key"
    assert (secret.stat().st_mode & 0o7777, secret.stat().st_size) == (0o400, 32)


@pytest.mark.parametrize(
    "messages", [(b"junk",), (b"n,,n=joe,r=abc", b"junk"), (b"", b"n,,n=joe"), (b"p=x,,n=joe,r=a",)]
)
def test_scram_with_nonsense_is_refused(caller: Caller, messages: tuple[bytes, ...]) -> None:
    answers = caller.exchange(Mechanism.SCRAM_SHA_256, *messages)
    assert refused(answers[-1]) is Refusal.AUTH


def test_apop_has_no_secrets_here(caller: Caller) -> None:
    answer = caller.login("joe", "0" * 32, mechanism=Mechanism.APOP, challenge=b"<1.2@h>")
    assert refused(answer) is Refusal.AUTH


def test_hashes_of_crypt_move_in(home: LoginWorld, caller: Caller) -> None:
    from qmail.edge.machine.system_passwords import SystemPasswords  # noqa: PLC0415

    crypted = SystemPasswords().hashed(b"secret", b"$6$rounds=1000$somesalt$")
    if crypted is None:
        pytest.skip("this machine has no crypt(3)")
    text = crypted.decode()
    home.passwd(f"a:{text}", f"b:{{CRYPT}}{text}", f"c:{{SHA512-CRYPT}}{text}", f"d:!{text}", "e:")
    for name in "abc":
        accepted(caller.login(name, "secret"))
        assert refused(caller.login(name, "wrong")) is Refusal.AUTH
        assert refused(login_by_scram(caller, name, "secret")) is Refusal.AUTH
    for name in "de":
        assert refused(caller.login(name, "secret")) is Refusal.AUTH


def test_change_of_the_file_is_seen_at_once(home: LoginWorld, caller: Caller) -> None:
    accepted(caller.login("joe", "secret"))
    home.passwd(f"joe:{scram_secret('other')}", JOE.replace("joe", "ann"))
    assert refused(caller.login("joe", "secret")) is Refusal.AUTH
    accepted(caller.login("joe", "other"))
    accepted(caller.login("ann", "secret"))
    (home.home / "users/passwd").unlink()
    assert refused(caller.login("joe", "other")) is Refusal.AUTH


def test_bad_line_is_temporary_for_its_user_alone_and_logged(
    home: LoginWorld, caller: Caller
) -> None:
    home.passwd("joe:{SSHA}abc", f"ann:{scram_secret('secret')}")
    assert refused(caller.login("joe", "secret")) is Refusal.TEMPORARY
    accepted(caller.login("ann", "secret"))
    assert "users/passwd:1: field 2 (password): the scheme SSHA" in home.log.read_text()
    assert "secret" not in home.log.read_text()


def test_frames_out_of_order_end_the_connection(home: LoginWorld, caller: Caller) -> None:
    accepted(caller.login("joe", "secret"))
    for frames in (
        [begin(1, "joe", "secret"), begin(1, "joe", "secret")],
        [begin(1, "joe", "secret"), Response(1, b"x")],
        [Start(1)],
        [begin(1, "joe", "secret"), Start(1)],
    ):
        other = home.call()
        other.send(*frames)
        assert other.is_closed()
    other = home.call()
    other.sock.sendall(b"nonsense")
    assert other.is_closed()
    accepted(caller.login("joe", "secret"))


def test_frames_about_a_tag_that_is_over_are_passed_over(caller: Caller) -> None:
    refused(caller.login("joe", "wrong"))
    caller.send(Response(1, b"x"), GiveUp(1), GiveUp(99))
    with caller.start(1) as client:
        assert client.recv(1) == b""
    accepted(caller.login("joe", "secret"))


def test_exchange_that_is_given_up_leaves_its_tag_free(caller: Caller) -> None:
    for _ in range(3):
        first = Begin(tag=7, service=b"pop3", mechanism=Mechanism.PLAIN, login=b"")
        caller.send(first)
        assert caller.answer() == Challenge(7, b"")
        caller.send(GiveUp(7))
    caller.send(begin(7, "joe", "secret"))
    assert caller.answer() == Accepted(7, b"joe")


def test_logins_of_smtp_need_no_session(home: LoginWorld) -> None:
    home.control("concurrencypop3login", "1\n")
    home.start()
    caller = home.call()
    for _ in range(5):
        accepted(caller.login("joe", "secret", service=b"smtp"))
    with caller.start(1):
        assert caller.is_closed()


def test_twenty_logins_at_a_time(caller: Caller) -> None:
    tags = range(100, 120)
    caller.send(*(begin(tag, "joe", "secret" if tag % 2 else "wrong") for tag in tags))
    answers = {answer.tag: answer for answer in (caller.answer() for _ in tags)
               if isinstance(answer, Accepted | Refused)}  # fmt: skip
    for tag in tags:
        reason = Refusal.LIMIT if tag % 2 and isinstance(answers[tag], Refused) else Refusal.AUTH
        assert answers[tag] in (Accepted(tag, b"joe"), Refused(tag, reason))
    good = [tag for tag in tags if isinstance(answers[tag], Accepted)]
    assert len(good) == 10
    assert all(tag % 2 for tag in good)


# --- sessions -------------------------------------------------------------------------------------


def test_session_on_the_descriptor_to_its_end(caller: Caller) -> None:
    accepted(caller.login("joe", "secret"))
    with caller.start(1) as client:
        assert caller.answer() == Begun(1)
        client.sendall(b"STAT\r\nRETR 1\r\nQUIT\r\n")
        said = lines_until_closed(client)
        assert said.startswith(b"+OK \r\n+OK 1 ")
        assert MESSAGE.replace(b"\n", b"\r\n") in said
        assert said.endswith(b".\r\n+OK \r\n")
    assert caller.answer() == Ended(1, 0)
    caller.send(begin(1, "joe", "secret"))
    assert caller.answer() == Accepted(1, b"joe")


def test_session_without_its_home_is_temporary(home: LoginWorld, caller: Caller) -> None:
    (home.home / "alias").rename(home.home / "elsewhere")
    accepted(caller.login("joe", "secret"))
    with caller.start(1) as client:
        assert lines_until_closed(client).startswith(b"-ERR [SYS/TEMP] ")
    assert [caller.answer(), caller.answer()] == [Begun(1), Ended(1, 111)]
    assert "qmail-pop3d:" in home.log.read_text()


def test_maildir_of_the_line(home: LoginWorld, caller: Caller) -> None:
    home.make_maildir(home.home / "alias", home.uid("alias"), "Other")
    home.passwd(f"joe:{scram_secret('secret')}::::::userdb_mail=maildir:~/Other x=y")
    (home.home / "alias/Maildir/new/1000000000.1.host").unlink()
    accepted(caller.login("joe", "secret"))
    with caller.start(1) as client:
        client.sendall(b"STAT\r\nQUIT\r\n")
        assert b"+OK 1 " in lines_until_closed(client)


def test_session_that_is_given_up_ends(home: LoginWorld, caller: Caller) -> None:
    accepted(caller.login("joe", "secret"))
    with caller.start(1) as client:
        assert caller.answer() == Begun(1)
        assert client.recv(100) == b"+OK \r\n"
        caller.send(GiveUp(1))
        assert client.recv(1) == b""
    accepted(caller.login("joe", "secret"))


def test_sessions_of_one_login_are_limited(home: LoginWorld) -> None:
    home.control("concurrencypop3login", "2\n")
    home.passwd(JOE, JOE.replace("joe", "ann"))
    home.start()
    caller = home.call()
    clients = []
    for tag in (1, 2):
        accepted(caller.login("joe", "secret"))
        clients.append(caller.start(tag))
        assert caller.answer() == Begun(tag)
    assert refused(caller.login("joe", "secret")) is Refusal.LIMIT
    accepted(caller.login("ann", "secret"))
    clients[0].close()
    assert caller.answer() == Ended(1, 0)
    accepted(caller.login("joe", "secret"))
    # What is accepted has a place as well, until it is given up.
    assert refused(caller.login("joe", "secret")) is Refusal.LIMIT
    caller.send(GiveUp(5))
    accepted(caller.login("joe", "secret"))
    clients[1].close()


def test_sessions_in_all_are_limited(home: LoginWorld) -> None:
    home.control("concurrencypop3", "1\n")
    home.passwd(JOE, JOE.replace("joe", "ann"))
    home.start()
    caller = home.call()
    accepted(caller.login("joe", "secret"))
    assert refused(caller.login("ann", "secret")) is Refusal.LIMIT
    caller.close()
    caller = home.call()
    accepted(caller.login("ann", "secret"))


def test_sessions_outlive_their_caller_and_end_with_the_program(home: LoginWorld) -> None:
    home.start()
    caller = home.call()
    accepted(caller.login("joe", "secret"))
    client = caller.start(1)
    assert caller.answer() == Begun(1)
    assert client.recv(100) == b"+OK \r\n"
    caller.close()
    client.sendall(b"NOOP\r\n")
    assert client.recv(100) == b"+OK \r\n"
    assert home.stop() == 0
    assert client.recv(100) == b""
    client.close()


@pytest.mark.root
def test_root_session_has_nothing_open_but_its_client_and_the_log(
    home: LoginWorld, caller: Caller
) -> None:
    accepted(caller.login("joe", "secret"))
    with caller.start(1) as client:
        assert client.recv(100) == b"+OK \r\n"
        # Others of its account, and we but for root, can't look into it.
        (pid,) = (pid for pid, name in home.children().items() if name == "qmail-pop3d")
        open_now = {int(path.name) for path in Path(f"/proc/{pid}/fd").iterdir()}
        assert {0, 1, 2} <= open_now
        assert all(fd < 8 for fd in open_now)
        targets = {os.readlink(f"/proc/{pid}/fd/{fd}") for fd in open_now}
        assert not any("passwd" in target or "epoll" in target for target in targets)
        assert os.readlink(f"/proc/{pid}/cwd").startswith(str(home.home / "alias"))


def test_slow_hash_holds_nobody_up(home: LoginWorld, caller: Caller) -> None:
    keys = make_keys(b"x", b"0123456789abcdef", 1_000_000)
    home.passwd(f"slow:{{SCRAM-SHA-256}}{keys.text().decode()}", *[JOE] * 10)
    caller.send(begin(100, "slow", "x"), begin(101, "slow", "x"))
    accepted(caller.login("joe", "secret"))
    assert {caller.answer(), caller.answer()} == {Accepted(100, b"slow"), Accepted(101, b"slow")}


# --- trouble --------------------------------------------------------------------------------------


def test_helper_that_is_killed_makes_nobody_wrong(home: LoginWorld, caller: Caller) -> None:
    accepted(caller.login("joe", "secret"))
    (helper,) = home.children()
    assert name_of(helper) == "qmail-password"
    os.kill(helper, signal.SIGSTOP)
    caller.send(begin(100, "joe", "secret"))
    os.kill(helper, signal.SIGKILL)
    assert caller.answer() in (Refused(100, Refusal.TEMPORARY), Accepted(100, b"joe"))

    def works() -> bool:
        answer = caller.login("joe", "secret")
        return isinstance(answer, Accepted) or refused(answer) is not Refusal.TEMPORARY

    wait_until("another helper", works)
    wait_until("a line in the log", lambda: "helper for passwords" in home.log.read_text())


def test_settings_are_read_again_and_a_bad_one_changes_nothing(
    home: LoginWorld, caller: Caller
) -> None:
    accepted(caller.login("joe", "secret"))
    home.control("concurrencypop3login", "1\n")
    home.signal(signal.SIGHUP)
    wait_until("the new limit", lambda: refused_now(caller))
    assert "warning" not in home.log.read_text()
    home.control("concurrencypop3login", "many\n")
    home.signal(signal.SIGHUP)
    wait_until("a line in the log", lambda: "going on with the old" in home.log.read_text())
    assert refused(caller.login("joe", "secret")) is Refusal.LIMIT


def refused_now(caller: Caller) -> bool:
    answer = caller.login("joe", "secret")
    if isinstance(answer, Accepted):
        caller.send(GiveUp(answer.tag))
    return isinstance(answer, Refused) and answer.reason is Refusal.LIMIT


def test_what_is_offered_is_told_when_it_changes(home: LoginWorld, caller: Caller) -> None:
    assert isinstance(caller.any_answer(), Offer)
    home.control("checkpassword", "/bin/false\n")
    home.signal(signal.SIGHUP)
    assert caller.any_answer() == Offer((Mechanism.PLAIN, Mechanism.USER))


def test_it_does_not_start_without_a_queue_or_with_arguments(home: LoginWorld) -> None:
    home.control("concurrencypop3login", "many\n")
    home.start()
    assert home.process is not None
    assert home.process.wait(60) == 111
    assert "control/concurrencypop3login:1:" in home.log.read_text()


def test_a_thousand_descriptors_without_frames_end_the_connection(
    home: LoginWorld, caller: Caller
) -> None:
    other = home.call()
    ours, theirs = socket.socketpair()
    part = begin(1, "joe", "secret").pack()[:-1]
    other.sock.sendall(part[:20])
    with pytest.raises(OSError):  # noqa: PT012 - it is seen at some time
        for _ in range(1000):
            socket.send_fds(other.sock, [b""[:0] or part[20:21]], [theirs.fileno()] * 10)
    ours.close()
    theirs.close()
    accepted(caller.login("joe", "secret"))
