"""new-inject as a command (spec/inject.md 9); tests/corpus compares what it makes."""

import re
from pathlib import Path

import pytest
from tests.programs.injection import Injection

from qmail.mail import Envelope


@pytest.fixture
def post(tmp_path: Path) -> Injection:
    return Injection(tmp_path)


def test_a_message_is_cleaned_and_queued(post: Injection) -> None:
    header = b"to: ann, Bob <b@c>\nbcc: eve\nTo: (Zed) z\nReceived: x\ndate: 1 Jan 24 1:2 EST\n"
    ended = post.run(["new-inject"], header + b"\nhello", NAME="Joe Q.")
    assert (ended.code, ended.out, ended.err) == (0, b"", b"")
    assert re.fullmatch(
        rb"Received: x\nDate: 1 Jan 2024 01:02:00 -0500\n"
        rb"Message-ID: <20240101010200\.\d+\.qmail@dh\.ex>\n"
        rb'From: "Joe Q\." <joe@dh\.ex>\n'
        rb'To: ann@dh\.ex, "Bob" <b@c\.dh\.ex>, "Zed" <z@dh\.ex>\n\nhello\n',
        post.message,
    )
    recipients = (b"ann@dh.ex", b"b@c.dh.ex", b"z@dh.ex", b"eve@dh.ex")
    assert post.envelope == Envelope(b"joe@dh.ex", recipients)


def test_the_rules_of_a_file_are_used(post: Injection, tmp_path: Path) -> None:
    (post.home / "control/rewrite").write_text("=:all.ex\n")
    post.run(["new-inject", "a", "b@c"])
    assert post.envelope == Envelope(b"joe@all.ex", (b"a@all.ex", b"b@c"))
    (tmp_path / "rules").write_text("=:own.ex\n")
    post.run(["new-inject", "a"], b"", QMAILREWRITEFILE=str(tmp_path / "rules"))
    assert post.envelope.recipients == (b"a@own.ex",)


def test_shown_mail_can_be_injected_again(post: Injection) -> None:
    shown = post.run(["new-inject", "-n", "-f", "a b@c.d"], b"To: x\nBcc: y\nSubject: s\n\nbody\n")
    assert shown.out.startswith(b'Envelope-Sender: "a b"@c.d\nEnvelope-Recipients:\n  x@dh.ex,\n')
    assert not post.queued.with_suffix(".message").exists()
    assert post.run(["new-inject"], shown.out).code == 0
    assert post.envelope == Envelope(b"a b@c.d", (b"x@dh.ex", b"y@dh.ex"))
    assert post.message == shown.out.partition(b"  y@dh.ex,\n")[2]


def test_message_ids_differ_within_a_second(post: Injection) -> None:
    found = set()
    for _ in range(3):
        post.run(["new-inject", "a"], b"Date: 1 Jan 2024 1:2:3 GMT\n")
        found.update(re.findall(rb"^Message-ID: .*", post.message, re.MULTILINE))
    assert len(found) == 3


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["-x"], b"illegal option -- x\nusage: new-inject "),
        (["-c", "a"], b"illegal option -- c\n"),
        ([], b"new-inject: fatal: no recipients: "),
        (["<>"], b""),
    ],
)
def test_what_can_never_be_sent_ends_with_100(
    post: Injection, words: list[str], said: bytes
) -> None:
    ended = post.run(["new-inject", *words], b"Subject: x\n\nbody\n")
    if words == ["<>"]:
        # It is the local part of an address here, as every argument is taken as it stands.
        assert (ended.code, post.envelope.recipients) == (0, (b"<>@dh.ex",))
        return
    assert ended.code == 100
    assert said in ended.err


def test_trouble_here_ends_with_111(post: Injection) -> None:
    (post.home / "control/rewrite").write_text("*.:\nnonsense\n")
    ended = post.run(["new-inject", "a"])
    assert (ended.code, ended.err[:40]) == (111, b'new-inject: fatal: control/rewrite:2: "no'[:40])
    (post.home / "control/rewrite").unlink()
    ended = post.run(["new-inject", "a"], QUEUE_EXIT="53")
    assert (ended.code, b"disk full" in ended.err) == (111, True)
    assert post.run(["new-inject", "a"], QUEUE_EXIT="31").code == 100
