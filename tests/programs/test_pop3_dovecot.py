"""Dovecot's IMAP and our POP3 in the same maildir at the same time, as docs/imap.md has it."""

import imaplib
import poplib
import pwd
import subprocess
from collections.abc import Iterator

import pytest
from tests.fakes.accounts import account, own_name, set_password
from tests.fakes.door import wait_until
from tests.fakes.homes import open_folder
from tests.programs.dovecot import Dovecot, block
from tests.programs.pop3_clients import Desk, Wish, mpop
from tests.programs.pop3_suite import (
    HOST,
    MESSAGES,
    PASSWORD,
    WAIT_S,
    Box,
    Pop3Suite,
    as_kept,
    need_accounts,
    need_programs,
    on_the_wire,
)

from qmail.edge.machine.system_passwords import SystemPasswords

pytestmark = pytest.mark.root
JOE = own_name("qmimap")
LONG_AGO = '"24-Nov-2020 10:00:00 +0000"'


@pytest.fixture(scope="module")
def suite() -> Iterator[Pop3Suite]:
    need_programs()
    need_accounts()
    with open_folder() as folder, Pop3Suite(folder, separate=True) as made:
        yield made.start()


def pop3(suite: Pop3Suite, name: str) -> poplib.POP3:
    """Log in to our POP3."""
    return _logged_in(poplib.POP3(HOST, suite.port, timeout=WAIT_S), name)


def _logged_in(pop: poplib.POP3, name: str) -> poplib.POP3:
    pop.user(name)
    pop.pass_(PASSWORD)
    return pop


def imap(dovecot: Dovecot, name: str) -> imaplib.IMAP4:
    """Log in to Dovecot, and select the inbox."""
    client = imaplib.IMAP4("127.0.0.1", dovecot.port, timeout=WAIT_S)

    def credentials(_challenge: bytes) -> bytes:
        return f"\0{name}\0{PASSWORD}".encode()

    assert client.authenticate("PLAIN", credentials)[0] == "OK", dovecot.log
    assert client.select()[0] == "OK"
    return client


def ids(pop: poplib.POP3) -> list[str]:
    """Return what UIDL says, by number."""
    return [line.decode().split()[1] for line in pop.uidl()[1]]


def text_of(pop: poplib.POP3, number: int) -> bytes:
    """Return a message as it is on the wire."""
    return b"".join(line + b"\r\n" for line in pop.retr(number)[1])


def body(client: imaplib.IMAP4, number: int) -> bytes:
    """Return a message without marking it as seen."""
    parts = client.fetch(str(number), "(BODY.PEEK[])")[1]
    assert isinstance(parts[0], tuple)
    return parts[0][1]


def test_root_imap_reads_flags_moves_and_expunges_while_a_session_is_open(
    suite: Pop3Suite,
) -> None:
    # Dovecot adds no line end to a last line without one; poplib takes no long lines.
    kept = [message for message in MESSAGES if not set(message.split()) & {b"long", b"end"}]
    box = suite.box("ann@example.org", *kept)
    before = box.uids
    with Dovecot(suite) as dovecot:
        session = pop3(suite, "ann@example.org")
        listed = session.list()[1]
        assert ids(session) == before
        client = imap(dovecot, "ann@example.org")
        for number, message in enumerate(kept, 1):
            assert body(client, number) == on_the_wire(message)
        client.store("1", "+FLAGS", r"(\Seen \Flagged)")
        client.create("Archive")
        assert client._simple_command("MOVE", "2", "Archive")[0] == "OK"
        client.store("2", "+FLAGS", r"\Deleted")
        client.expunge()
        # 2 and 3 are gone, 1 has flags in its name, all others have moved to cur.
        assert session.list()[1] == listed
        assert ids(session) == before
        for number in (1, 4, 5, 6):
            assert text_of(session, number) == on_the_wire(kept[number - 1])
        for number in (2, 3):
            with pytest.raises(poplib.error_proto, match="gone"):
                session.retr(number)
        session.dele(3)
        session.dele(4)
        assert session.quit() == b"+OK "
        client.noop()
        assert client.select()[1] == [b"3"]
        client.logout()
        later = pop3(suite, "ann@example.org")
        assert ids(later) == [before[0], before[4], before[5]]
        assert [text_of(later, number) for number in (1, 2, 3)] == [
            on_the_wire(kept[at]) for at in (0, 4, 5)
        ]
        later.quit()


def test_root_what_imap_stores_comes_by_pop3_with_its_size(suite: Pop3Suite) -> None:
    box = suite.box("bob@example.org", MESSAGES[0])
    with Dovecot(suite) as dovecot:
        client = imap(dovecot, "bob@example.org")
        stored = on_the_wire(MESSAGES[1])
        assert client.append("INBOX", r"(\Seen)", LONG_AGO, stored)[0] == "OK"
        client.logout()
        session = pop3(suite, "bob@example.org")
        numbers = {uid: number for number, uid in enumerate(ids(session), 1)}
        (new,) = set(numbers) - {box_uid for box_uid in box.uids if ",W=" not in box_uid}
        assert f",W={len(stored)}" in new
        assert session.list()[1][numbers[new] - 1] == b"%d %d" % (numbers[new], len(stored))
        assert text_of(session, numbers[new]) == stored
        session.quit()


def test_root_passwords_are_the_same_at_once(suite: Pop3Suite) -> None:
    suite.box("eve@example.org", MESSAGES[0])
    with Dovecot(suite) as dovecot:
        assert dovecot.is_password("eve@example.org", PASSWORD)
        home = str(suite.top / "eve@example.org")
        assert home in dovecot.doveadm("user", "eve@example.org")[1]
        suite.qmail("passwd", "set", "eve@example.org", text="other\n")
        # Dovecot looks at the file once a second.
        wait_until(lambda: dovecot.is_password("eve@example.org", "other"))
        assert not dovecot.is_password("eve@example.org", PASSWORD)


@pytest.fixture
def joe() -> Iterator[pwd.struct_passwd]:
    """An account of the machine with the password `secret`."""
    hashed = SystemPasswords().hashed(b"secret", b"$6$somesalt$")
    assert hashed is not None
    with open_folder() as folder, account(JOE, folder / JOE, "--shell", "/bin/sh") as made:
        set_password(JOE, hashed.decode())
        Box(JOE, folder / JOE, (made.pw_uid, made.pw_gid)).put(MESSAGES[0])
        yield made


def test_root_users_of_the_machine(suite: Pop3Suite, joe: pwd.struct_passwd) -> None:
    suite.box("kim@example.org")
    with Dovecot(suite, of_machine=True) as dovecot:
        assert dovecot.is_password(JOE, "secret")
        suite.qmail("passwd", "add", JOE, text="another\n")
        wait_until(lambda: dovecot.is_password(JOE, "another"))
        assert dovecot.is_password("kim@example.org", PASSWORD)
        found = dovecot.doveadm("user", JOE)[1].split("\n")
        assert {f"uid\t{joe.pw_uid}", f"home\t{joe.pw_dir}"} <= set(found)
        client = imaplib.IMAP4("127.0.0.1", dovecot.port, timeout=WAIT_S)
        client.login(JOE, "another")
        assert client.select()[1] == [b"1"]
        assert body(client, 1) == on_the_wire(MESSAGES[0])
        client.logout()


def test_root_scram_with_the_same_keys(suite: Pop3Suite) -> None:
    suite.box("lea@example.org", MESSAGES[0])
    with Dovecot(suite) as dovecot:
        if not dovecot.has_pop3:
            pytest.skip("dovecot-pop3d is not installed")
        wish = Wish(login="lea@example.org", mechanism="scram-sha-256", port=dovecot.pop3_port)
        fetched = mpop(Desk(suite, "lea"), wish)
        assert fetched.messages == [as_kept(MESSAGES[0])], (fetched.said, dovecot.log)
        assert "method=SCRAM-SHA-256" in dovecot.log


def dovecot_ids(dovecot: Dovecot, name: str) -> list[str]:
    """Return the ids that Dovecot's own POP3 gives."""
    if not dovecot.has_pop3:
        pytest.skip("dovecot-pop3d is not installed")
    session = _logged_in(poplib.POP3("127.0.0.1", dovecot.pop3_port, timeout=WAIT_S), name)
    found = ids(session)
    session.quit()
    return found


def test_root_ids_of_dovecot_by_file_name_are_ours(suite: Pop3Suite) -> None:
    box = suite.box("fay@example.org", *MESSAGES)
    with Dovecot(suite, ids="%f") as dovecot:
        assert dovecot_ids(dovecot, "fay@example.org") == box.uids
    session = pop3(suite, "fay@example.org")
    assert ids(session) == box.uids
    session.quit()


def test_root_files_renamed_as_the_page_says_keep_the_ids_of_dovecot(suite: Pop3Suite) -> None:
    name = "gil@example.org"
    box = suite.box(name, *MESSAGES)
    with Dovecot(suite, ids="%08Xu%08Xv") as dovecot:
        had = dovecot_ids(dovecot, name)
        assert had[0].startswith("00000001")
        script = block("rename").replace("cd ~/Maildir", f"cd '{box.maildir}'")
        for command in ("mailbox status", "fetch"):
            script = script.replace(command, f"{command} -u {name}")
        script = script.replace("doveadm ", f"doveadm -c {dovecot.config} ")
        subprocess.run(["sh", "-eu", "-c", script], check=True, timeout=WAIT_S)
    session = pop3(suite, name)
    assert ids(session) == had
    for number, message in enumerate(MESSAGES[:3], 1):
        assert text_of(session, number) == on_the_wire(message)
    session.quit()
