"""POP3 with clients that people use: what arrives is what is in the maildir, byte for byte."""

import shutil
import subprocess
from collections.abc import Iterator

import pytest
from tests.fakes.homes import open_folder
from tests.programs.pop3_clients import CLIENTS, Desk, Way, Wish, mpop
from tests.programs.pop3_suite import (
    FIELDS,
    HOST,
    MESSAGES,
    PASSWORD,
    WAIT_S,
    Pop3Suite,
    as_kept,
    need_programs,
    on_the_wire,
)

from qmail.protocol.dotstuffing import wire_form

MANY = 1000
CURL_LOGIN_DENIED = 67
SETUPS: tuple[tuple[str, Way], ...] = (
    ("fetchmail", "clear"), ("fetchmail", "stls"), ("fetchmail", "pop3s"),
    ("mpop", "clear"), ("mpop", "stls"), ("mpop", "pop3s"),
    ("getmail", "clear"), ("getmail", "pop3s"),
    ("mutt", "clear"), ("mutt", "stls"), ("mutt", "pop3s"),
)  # fmt: skip
"""getmail6 knows no STLS."""


@pytest.fixture(scope="module")
def suite() -> Iterator[Pop3Suite]:
    need_programs()
    with open_folder() as folder, Pop3Suite(folder) as made:
        # SCRAM, which mpop wants without TLS, is offered where there are keys for it.
        made.box("somebody")
        yield made.start()


@pytest.mark.parametrize(("client", "way"), SETUPS)
def test_fetches_all_then_nothing_more_then_deletes(
    suite: Pop3Suite, client: str, way: Way
) -> None:
    login = f"{client}-{way}"
    desk, box = Desk(suite, login), suite.box(login, *MESSAGES)
    fetch, uids = CLIENTS[client], box.uids
    first = fetch(desk, Wish(login=login, way=way))
    assert sorted(first.messages) == sorted(map(as_kept, MESSAGES)), first.said
    assert box.uids == uids
    if client == "mutt":
        # It keeps no list of what it has had.
        box.empty()
    else:
        assert fetch(desk, Wish(login=login, way=way)).messages == []
    late = FIELDS + b"late\n\n.\n"
    box.put(late)
    last = fetch(desk, Wish(login=login, way=way, keep=False))
    assert last.messages == [as_kept(late)], last.said
    assert len(box.names) in (0, len(MESSAGES))
    tls = "clear" if way == "clear" else "TLSv1.3:"
    suite.wait_for_log(f"<{login}> {'pop3s' if way == 'pop3s' else 'pop3'} ")
    assert any(f"<{login}> " in line and f" {tls}" in line for line in suite.log.splitlines())


@pytest.mark.parametrize("client", CLIENTS)
def test_deletes_what_it_has_fetched(suite: Pop3Suite, client: str) -> None:
    login = f"{client}-away"
    desk, box = Desk(suite, login), suite.box(login, *MESSAGES)
    fetched = CLIENTS[client](desk, Wish(login=login, keep=False))
    assert sorted(fetched.messages) == sorted(map(as_kept, MESSAGES)), fetched.said
    assert box.names == []


@pytest.mark.parametrize("client", CLIENTS)
def test_wrong_password_is_told_and_nothing_happens(suite: Pop3Suite, client: str) -> None:
    login = f"{client}-wrong"
    desk, box = Desk(suite, login), suite.box(login, MESSAGES[0])
    before = box.names
    fetched = CLIENTS[client](desk, Wish(login=login, password="wrong"))
    assert fetched.messages == []
    suite.wait_for_log(f"popup: denied 127.0.0.1 <{login}>")
    assert box.names == before
    assert fetched.code != 0 or client == "mutt"


@pytest.mark.parametrize(
    ("client", "mechanism", "shown"),
    [
        ("mpop", "user", "USER"),
        ("mpop", "plain", "PLAIN"),
        ("mpop", "scram-sha-256", "SCRAM-SHA-256"),
        ("mutt", "user", "USER"),
        ("mutt", "plain", "PLAIN"),
        ("mutt", "scram-sha-256", "SCRAM-SHA-256"),
    ],
)
def test_mechanism_that_the_client_is_told_to_use(
    suite: Pop3Suite, client: str, mechanism: str, shown: str
) -> None:
    login = f"{client}-{mechanism}"
    desk = Desk(suite, login)
    suite.box(login, MESSAGES[0])
    fetched = CLIENTS[client](desk, Wish(login=login, mechanism=mechanism))
    assert fetched.messages == [as_kept(MESSAGES[0])], fetched.said
    suite.wait_for_log(f"<{login}> pop3 {shown} clear")
    refused = CLIENTS[client](desk, Wish(login=login, mechanism=mechanism, password="wrong"))
    assert refused.messages == []


def test_mpop_pipelines_a_thousand_messages(suite: Pop3Suite) -> None:
    login = "mpop-many"
    messages = [FIELDS + b"%d\n\n.%d\n" % (number, number) for number in range(MANY)]
    desk, box = Desk(suite, login), suite.box(login, *messages)
    fetched = mpop(desk, Wish(login=login, way="stls", keep=False))
    assert sorted(fetched.messages) == sorted(map(as_kept, messages)), fetched.said[-2000:]
    assert box.names == []


# --- curl, openssl -------------------------------------------------------------------------------


def curl(suite: Pop3Suite, login: str, path: str, *words: str, way: Way = "clear") -> bytes:
    """Run curl on a mailbox; return what it printed. Raises: CalledProcessError."""
    if shutil.which("curl") is None:
        pytest.skip("curl is not installed")
    scheme, port = ("pop3s", suite.tls_port) if way == "pop3s" else ("pop3", suite.port)
    tls = ("--cacert", str(suite.certificate), *(["--ssl-reqd"] if way == "stls" else []))
    command = ["curl", "-q", "-sS", *tls, "--user", f"{login}:{PASSWORD}", *words]
    done = subprocess.run(
        [*command, f"{scheme}://{HOST}:{port}/{path}"],
        capture_output=True,
        check=True,
        timeout=WAIT_S,
    )
    return done.stdout


@pytest.mark.parametrize("way", ["clear", "stls", "pop3s"])
def test_curl(suite: Pop3Suite, way: Way) -> None:
    login = f"curl-{way}"
    box = suite.box(login, *MESSAGES)
    sizes = [len(on_the_wire(message)) for message in MESSAGES]
    listed = [b"%d %d\r\n" % pair for pair in enumerate(sizes, 1)]
    assert curl(suite, login, "", way=way) == b"".join(listed)
    for number, message in enumerate(MESSAGES, 1):
        assert curl(suite, login, str(number), way=way) == on_the_wire(message)
    uids = curl(suite, login, "", "--request", "UIDL", way=way).decode().split("\r\n")
    assert uids[:-1] == [f"{number} {uid}" for number, uid in enumerate(box.uids, 1)]
    top = curl(suite, login, "", "--request", "TOP 4 0", way=way)
    assert top == on_the_wire(MESSAGES[3].partition(b"\n\n")[0] + b"\n\n")
    curl(suite, login, "2", "--request", "DELE", "--list-only", way=way)
    assert len(box.names) == len(MESSAGES) - 1


def test_curl_with_a_mechanism_and_with_a_wrong_password(suite: Pop3Suite) -> None:
    suite.box("curl", MESSAGES[0])
    words = ("--login-options", "AUTH=PLAIN")
    assert curl(suite, "curl", "1", *words) == on_the_wire(MESSAGES[0])
    suite.wait_for_log("<curl> pop3 PLAIN clear")
    with pytest.raises(subprocess.CalledProcessError) as wrong:
        curl(suite, "curl", "1", *words, "--user", "curl:wrong")
    assert wrong.value.returncode == CURL_LOGIN_DENIED


@pytest.mark.parametrize("way", ["stls", "pop3s"])
def test_openssl_s_client(suite: Pop3Suite, way: Way) -> None:
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not installed")
    login = f"openssl-{way}"
    suite.box(login, MESSAGES[1])
    port = suite.tls_port if way == "pop3s" else suite.port
    words = ["-starttls", "pop3"] if way == "stls" else []
    done = subprocess.run(
        ["openssl", "s_client", "-quiet", "-verify_return_error", "-verify_hostname", HOST,
         "-CAfile", str(suite.certificate), "-connect", f"127.0.0.1:{port}", *words],
        input=f"USER {login}\r\nPASS {PASSWORD}\r\nRETR 1\r\nQUIT\r\n".encode(),
        capture_output=True,
        check=False,
        timeout=WAIT_S,
    )  # fmt: skip
    answer = b"+OK \r\n" + wire_form(MESSAGES[1]) + b"+OK \r\n"
    assert done.stdout.endswith(answer), (done.stdout, done.stderr)
