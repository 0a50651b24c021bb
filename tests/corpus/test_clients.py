"""Our sendmail gets what mail clients really hand over, and queues what they mean.

tests/corpus/clients/ was made by record_clients.py from Debian's packages.
"""

import json
from pathlib import Path
from typing import Any, Final, NamedTuple

import pytest
from tests.programs.injection import Injection

CLIENTS: Final = Path(__file__).resolve().parent / "clients"
ANN: Final = b"ann@example.org"
BOB: Final = b"bob@dh.ex"
BOB_NET: Final = b"bob@example.net"
EVE: Final = b"eve@example.com"
JOE: Final = b"joe@dh.ex"
JOE_COM: Final = b"joe@example.com"
ROOT: Final = b"root@dh.ex"
PATCH: Final = (b"list@example.net", b"ann@example.com", b"joe@example.org")


class Meant(NamedTuple):
    """What a client means: the envelope, and what has to be in the message."""

    sender: bytes
    recipients: tuple[bytes, ...]
    lines: tuple[bytes, ...] = ()
    end: bytes = b"\n\nhello\n"


MEANT: Final = {
    "php-mail": Meant(
        JOE, (ANN,), ("Subject: Grüße".encode(), b"From: joe@dh.ex"), b"\n\none\ntwo\n\n"
    ),
    "php-mail-headers": Meant(
        b"bounce@example.com", (ANN, BOB_NET, EVE), (b"From: shop@example.com", b"X-Mailer: shop"),
        b"X-Mailer: shop\n\none\n.\ntwo\n",
    ),
    "php-mail-path": Meant(
        b"shop@example.com", (ANN,), (b"From: shop@example.com", b"Subject: hello"), b"\n\none\n"
    ),
    "git-send-email": Meant(
        JOE, PATCH, (b"Cc: ann@example.com, Joe Doe <joe@example.org>",), b"\n+tight\n--\n2.39.5\n"
    ),
    "git-send-email-envelope": Meant(
        b"bounce@example.org", PATCH, (b"From: Joe Doe <joe@example.org>",), b"\n2.39.5\n"
    ),
    "mutt": Meant(
        JOE, (ANN, BOB_NET, EVE), (b"From: Joe Doe <joe@host.example>", b"Cc: bob@example.net"),
        b"\na note\n\n--xrfD1QTnueBUDAgh--\n",
    ),
    "mutt-envelope-from": Meant(
        JOE_COM, (ANN,), (b"From: Joe <joe@example.com>",), b"\n\ngr\xfc\xdfe\n"
    ),
    "neomutt": Meant(JOE, (ANN, b"bob@host.example"), (b"From: Joe Doe <joe@host.example>",)),
    "s-nail": Meant(JOE_COM, (ANN, BOB_NET), (b"From: joe@example.com", b"Cc: bob@example.net")),
    "bsd-mailx": Meant(
        JOE, (ANN, BOB, EVE), (b"To: ann@example.org, bob@dh.ex", b"From: joe@dh.ex")
    ),
    "bsd-mailx-sender": Meant(JOE_COM, (ANN,), (b"From: joe@example.com",)),
    "mailutils-mail": Meant(JOE_COM, (ANN,), (b"To: <ann@example.org>", b"From: joe@example.com")),
    "nmh": Meant(
        b"joe@host.example", (EVE,), (b"Subject: hi",),
        b"\nhello\n.\nbye\n\n------- End of Blind-Carbon-Copy\n",
    ),
    "nmh-pipe-1": Meant(JOE, (ANN,), (b"From: joe@host.example",)),
    "nmh-pipe-2": Meant(
        JOE, (EVE,), (b"From: joe@host.example",), b"\n------- End of Blind-Carbon-Copy\n"
    ),
    "cron": Meant(
        ROOT, (JOE,), (b"From: root@dh.ex (Cron Daemon)", b"To: joe@dh.ex"),
        "\n\nline one\nline two ü\n".encode(),
    ),
    "cron-mailto": Meant(
        ROOT, (ANN, BOB), (b"From: cron@example.org", b"To: ann@example.org, bob@dh.ex"),
        "\nline two ü\n".encode(),
    ),
    "at": Meant(ROOT, (JOE,), (b"From: root@dh.ex", b"To: joe@dh.ex"), b"\n\ndone\n"),
    "anacron": Meant(ROOT, (ANN,), (b"From: Anacron <root@dh.ex>",), b"\n\ntidied\n"),
    "sudo-1": Meant(ROOT, (ROOT,), (b"From: root@dh.ex", b"To: root@dh.ex"), b"\n\n"),
    "sudo-2": Meant(ROOT, (ROOT,), (b"From: root@dh.ex", b"To: root@dh.ex"), b"\n\n"),
    "logwatch": Meant(ROOT, (ANN,), (b"From: root@dh.ex", b"Precedence: bulk"), b"\n"),
    "systemd-unit": Meant(
        ROOT, (ANN,), (b"From: systemd <root@host.example>",), b" - failed\n"
    ),
    "perl-mime-lite": Meant(
        JOE_COM, (ANN, BOB, b"eve@example.net"), (b"To: ann@example.org, bob@dh.ex",),
        b"\n\nhello\n.\nbye\n",
    ),
    "perl-email-sender": Meant(b"bounce@example.com", (ANN, BOB_NET), (b"To: ann@example.org",)),
    "perl-mail-mailer": Meant(JOE, (ANN, BOB), (b"To: ann@example.org", b"To: bob@dh.ex")),
    "python-email": Meant(
        JOE, (ANN, b"eve@example.net"), (b"From: =?utf-8?q?J=C3=BCrg?= <joe@example.com>",),
        "\n\nhello\ngrüße\n".encode(),
    ),
    "python-smtplib-text": Meant(JOE_COM, (ANN,), (b"Subject: hi",)),
}  # fmt: skip
NEVER_SHOWN: Final = (b"\nBcc:", b"\nbcc:", b"\nContent-Length:", b"\r")
DOCUMENTED: Final = {
    "Mailman 2": (["-f", "pots-bounces@example.org", "ann@example.org", "bob@example.net"],
                  b"pots-bounces@example.org", (ANN, BOB_NET)),
    "fail2ban": (["-f", "fail2ban", "ann@example.org"], b"fail2ban@dh.ex", (ANN,)),
    "unattended-upgrades": (["-oi", "-t"], JOE, (ANN,)),
    "mdadm": (["-t"], JOE, (ANN,)),
    "ruby mail": (["-i", "-f", "joe@example.com", "--", "ann@example.org"], JOE_COM, (ANN,)),
    "nodemailer": (["-i", "-f", "joe@example.com", "ann@example.org"], JOE_COM, (ANN,)),
    "symfony": (["-t", "-i"], JOE, (ANN,)),
    "procmail": (["-oi", "-fjoe@example.com", "ann@example.org"], JOE_COM, (ANN,)),
    "old elm": (["-oi", "-oem", "-odb", "-om", "ann@example.org"], JOE, (ANN,)),
}  # fmt: skip
"""Arguments as their documents have them, of programs that are too large to record."""


def recorded(name: str) -> dict[str, Any]:
    """Return what was recorded of a client."""
    found: dict[str, Any] = json.loads((CLIENTS / f"{name}.json").read_text())
    return found


@pytest.fixture
def post(tmp_path: Path) -> Injection:
    made = Injection(tmp_path)
    # Clients say who they are in their own environment.
    del made.environ["USER"]
    return made


def test_every_record_has_a_meaning() -> None:
    assert {path.stem for path in CLIENTS.iterdir()} == set(MEANT)


@pytest.mark.parametrize("name", MEANT)
def test_what_a_client_hands_over_is_queued_as_it_means(name: str, post: Injection) -> None:
    record, meant = recorded(name), MEANT[name]
    stdin = record["stdin"].encode("latin-1")
    environ = {**record["environ"]} or {"LOGNAME": "root"}
    ended = post.run(["sendmail", *record["argv"]], stdin, **environ)
    assert (ended.code, ended.err) == (0, b"")
    assert post.envelope.sender == meant.sender
    assert set(post.envelope.recipients) == set(meant.recipients)
    message = b"\n" + post.message
    assert message.endswith(meant.end)
    for line in (*meant.lines, b"Date: ", b"From: "):
        assert b"\n" + line in message
    if "-bs" not in record["argv"]:
        assert [word for word in NEVER_SHOWN if word in message] == []
        assert b"\nMessage-ID: <" in message or b"\nMessage-Id: <" in message
        assert message.index(b"\n\n") > message.index(b"Subject:")
    else:
        assert b"\r\n5" not in ended.out
        assert ended.out.count(b"\r\n250 2.0.0 ok ") == 2


@pytest.mark.parametrize("name", DOCUMENTED)
def test_arguments_that_are_documented_are_understood(name: str, post: Injection) -> None:
    argv, sender, recipients = DOCUMENTED[name]
    text = b"From: joe@example.com\nTo: ann@example.org\nSubject: hi\n\nhello\n"
    ended = post.run(["sendmail", *argv], text, LOGNAME="joe")
    assert (ended.code, ended.err) == (0, b"")
    assert post.envelope.sender == sender
    assert post.envelope.recipients == recipients
