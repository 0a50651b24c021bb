"""POP3 dialogues as mail programs hold them, over TCP and TLS, with poplib and written out."""

import base64
import contextlib
import poplib
import socket
import ssl
from collections.abc import Iterator, Sequence

import pytest
from tests.fakes.homes import open_folder
from tests.programs.pop3_suite import (
    HOST,
    MESSAGES,
    PASSWORD,
    VIRTUAL,
    WAIT_S,
    Pop3Suite,
    need_accounts,
    need_programs,
    on_the_wire,
)

from qmail.protocol.dotstuffing import wire_form


@pytest.fixture(scope="module")
def suite() -> Iterator[Pop3Suite]:
    need_programs()
    with open_folder() as folder, Pop3Suite(folder) as made:
        # SCRAM is offered where there are keys for it.
        made.box("somebody")
        yield made.start()


class Speaker:
    """A client that says what a test says, and compares every byte of the answers."""

    def __init__(self, sock: socket.socket) -> None:
        sock.settimeout(WAIT_S)
        self._sock = sock
        self._file = sock.makefile("rb")

    def __enter__(self) -> "Speaker":
        return self

    def __exit__(self, *_trouble: object) -> None:
        self._file.close()
        self._sock.close()

    def ask(self, line: bytes) -> bytes:
        """Say a line; return the first line of the answer."""
        self._sock.sendall(line + b"\r\n")
        return self.line()

    def line(self) -> bytes:
        """Return the next line with its end."""
        return self._file.readline()

    def ask_all(self, line: bytes) -> bytes:
        """Say a line; return all lines of the answer after the first, with the dot's."""
        assert self.ask(line) == b"+OK \r\n"
        return b"".join(self._lines())

    def _lines(self) -> Iterator[bytes]:
        while line := self._file.readline():
            yield line
            if line == b".\r\n":
                return

    def expect(self, answer: bytes) -> None:
        """Read as many bytes as `answer` has, and compare."""
        assert self._file.read(len(answer)) == answer

    def start_tls(self, context: ssl.SSLContext) -> None:
        """Go on with TLS."""
        self._file.close()
        self._sock = context.wrap_socket(self._sock, server_hostname=HOST)
        self._file = self._sock.makefile("rb")

    def is_at_end(self) -> bool:
        """Say whether the server has hung up."""
        return self._file.read() == b""


def lists(values: Sequence[object]) -> bytes:
    lines = [f"{number} {value}\r\n" for number, value in enumerate(values, 1)]
    return "".join([*lines, ".\r\n"]).encode()


def plain(login: str, password: str = PASSWORD) -> bytes:
    return base64.b64encode(f"\0{login}\0{password}".encode())


SIZES: list[int] = [len(on_the_wire(message)) for message in MESSAGES]


def test_as_thunderbird_with_stls_and_messages_kept(suite: Pop3Suite) -> None:
    box = suite.box("thunderbird", *MESSAGES)
    uids = box.uids
    for round_ in range(2):
        with Speaker(suite.connect()) as speaker:
            assert speaker.line() == b"+OK localhost\r\n"
            # It asks by AUTH as well, and goes on with what CAPA says.
            assert speaker.ask_all(b"AUTH") == b"SCRAM-SHA-256\r\nPLAIN\r\n.\r\n"
            assert b"STLS\r\n" in speaker.ask_all(b"CAPA")
            assert speaker.ask(b"STLS").startswith(b"+OK")
            speaker.start_tls(suite.context)
            offered = speaker.ask_all(b"CAPA").split(b"\r\n")
            assert {b"UIDL", b"TOP", b"USER"} <= set(offered)
            assert b"STLS" not in offered
            assert speaker.ask(b"AUTH PLAIN") == b"+ \r\n"
            assert speaker.ask(plain("thunderbird")) == b"+OK \r\n"
            assert speaker.ask(b"STAT") == b"+OK %d %d\r\n" % (len(MESSAGES), sum(SIZES))
            assert speaker.ask_all(b"LIST") == lists(SIZES)
            assert speaker.ask_all(b"UIDL") == lists(uids)
            # XTND XLST was its way to ask for one field of all; a refusal sends it to TOP.
            assert speaker.ask(b"XTND XLST Message-Id").startswith(b"-ERR")
            for number, message in enumerate(MESSAGES, 1):
                if round_ == 0:
                    head = message.partition(b"\n\n")[0] + b"\n\n"
                    assert speaker.ask_all(b"TOP %d 0" % number) == wire_form(head)
                    assert speaker.ask_all(b"RETR %d" % number) == wire_form(message)
            if round_ == 1:
                assert speaker.ask(b"DELE 1") == b"+OK \r\n"
            assert speaker.ask(b"QUIT") == b"+OK \r\n"
            assert speaker.is_at_end()
        assert box.uids == uids[round_:]
    assert all(name.startswith("cur/") for name in box.names)


def test_as_outlook_with_pop3s_and_mail_left_on_the_server(suite: Pop3Suite) -> None:
    box = suite.box("outlook", *MESSAGES[:3])
    uids = box.uids
    with Speaker(suite.connect_tls()) as speaker:
        assert speaker.line() == b"+OK localhost\r\n"
        assert b"USER\r\n" in speaker.ask_all(b"CAPA")
        assert speaker.ask(b"USER outlook") == b"+OK \r\n"
        assert speaker.ask(b"PASS " + PASSWORD.encode()) == b"+OK \r\n"
        assert speaker.ask(b"STAT").startswith(b"+OK 3 ")
        assert speaker.ask_all(b"UIDL") == lists(uids)
        assert speaker.ask_all(b"LIST") == lists(SIZES[:3])
        for number in (1, 2, 3):
            assert speaker.ask_all(b"RETR %d" % number) == wire_form(MESSAGES[number - 1])
        # What is older than so many days goes.
        assert speaker.ask(b"DELE 2") == b"+OK \r\n"
        assert speaker.ask(b"QUIT") == b"+OK \r\n"
    assert box.uids == [uids[0], uids[2]]
    with Speaker(suite.connect_tls()) as speaker:
        speaker.line()
        assert speaker.ask(b"USER outlook") == b"+OK \r\n"
        assert speaker.ask(b"PASS wrong").startswith(b"-ERR [AUTH] ")
        # It asks its user and tries again on the same connection.
        assert speaker.ask(b"USER outlook") == b"+OK \r\n"
        assert speaker.ask(b"PASS " + PASSWORD.encode()) == b"+OK \r\n"
        assert speaker.ask_all(b"UIDL") == lists([uids[0], uids[2]])
        assert speaker.ask(b"QUIT") == b"+OK \r\n"


@pytest.mark.parametrize("way", ["clear", "stls", "pop3s"])
def test_poplib(suite: Pop3Suite, way: str) -> None:
    login = f"poplib-{way}"
    box = suite.box(login, *MESSAGES)
    if way == "pop3s":
        pop: poplib.POP3 = poplib.POP3_SSL(
            HOST, suite.tls_port, timeout=WAIT_S, context=suite.context
        )
    else:
        pop = poplib.POP3(HOST, suite.port, timeout=WAIT_S)
    if way == "stls":
        pop.stls(suite.context)
    assert pop.capa()["SASL"] == ["SCRAM-SHA-256", "PLAIN"]
    assert pop.utf8() == b"+OK "
    pop.user(login)
    pop.pass_(PASSWORD)
    assert pop.stat() == (len(MESSAGES), sum(SIZES))
    for number, message in enumerate(MESSAGES, 1):
        if b"long" in message[:99]:
            # poplib itself refuses lines of more than 2048 bytes.
            continue
        _, lines, size = pop.retr(number)
        assert b"".join(line + b"\r\n" for line in lines) == on_the_wire(message)
        assert size == SIZES[number - 1]
    pop.dele(3)
    pop.rset()
    pop.dele(1)
    pop.quit()
    assert len(box.names) == len(MESSAGES) - 1


@pytest.mark.parametrize("has_tls", [False, True])
def test_all_of_a_thousand_messages_in_one_breath(suite: Pop3Suite, has_tls: bool) -> None:
    login = f"breath-{has_tls}"
    messages = [b"Subject: %d\n\n.%d\n" % (number, number) for number in range(1000)]
    box = suite.box(login, *messages)
    said = [b"USER " + login.encode(), b"PASS " + PASSWORD.encode(), b"STAT", b"UIDL"]
    numbers = range(1, 1001)
    said += [b"RETR %d" % number for number in numbers]
    said += [b"DELE %d" % number for number in numbers]
    uids = box.uids
    total = sum(len(on_the_wire(message)) for message in messages)
    answers = [b"+OK localhost\r\n+OK \r\n+OK \r\n+OK 1000 %d\r\n+OK \r\n" % total, lists(uids)]
    answers += [b"+OK \r\n" + wire_form(message) for message in messages]
    answers += [b"+OK \r\n"] * 1001
    sock: socket.socket = suite.connect_tls() if has_tls else suite.connect()
    with Speaker(sock) as speaker:
        sock.sendall(b"".join(line + b"\r\n" for line in [*said, b"QUIT"]))
        speaker.expect(b"".join(answers))
        assert speaker.is_at_end()
    assert box.names == []


@pytest.mark.root
def test_root_session_of_separate_accounts_with_stls() -> None:
    need_programs()
    need_accounts()
    with open_folder() as folder, Pop3Suite(folder, separate=True) as suite:
        box = suite.box("joe@example.org", *MESSAGES)
        suite.start()
        pop = poplib.POP3(HOST, suite.port, timeout=WAIT_S)
        pop.stls(suite.context)
        pop.user("joe@example.org")
        pop.pass_(PASSWORD)
        assert pop.stat()[0] == len(MESSAGES)
        assert b"".join(line + b"\r\n" for line in pop.retr(2)[1]) == on_the_wire(MESSAGES[1])
        pop.dele(1)
        pop.quit()
        owners = {(box.maildir / name).stat().st_uid for name in box.names}
        assert owners == {VIRTUAL}
        assert len(box.names) == len(MESSAGES) - 1
        wrong = poplib.POP3(HOST, suite.port, timeout=WAIT_S)
        wrong.user("joe@example.org")
        with pytest.raises(poplib.error_proto, match="authorization failed"):
            wrong.pass_("wrong")
        with contextlib.closing(wrong):
            assert len(box.names) == len(MESSAGES) - 1
