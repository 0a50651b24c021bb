"""Mail clients that are installed here, with our sendmail: they send, and see failures."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest
from tests.corpus.mail_clients import PATCH
from tests.programs.injection import Injection

WAIT_S = 60


class Desk:
    """A user who runs mail clients."""

    def __init__(self, folder: Path) -> None:
        self.post = Injection(folder)
        self.folder = folder
        self.sendmail = str(self.post.home / "bin/sendmail")

    def run(self, *words: str, text: str = "hello\n.\nbye\n", **environ: str) -> int:
        """Run a client. Returns: its exit code."""
        if shutil.which(words[0]) is None:
            pytest.skip(f"{words[0]} is not installed")
        done = subprocess.run(
            words,
            input=text.encode(),
            env={**self.post.environ, "HOME": str(self.folder), "LANG": "C.UTF-8", **environ},
            cwd=self.folder,
            capture_output=True,
            check=False,
            timeout=WAIT_S,
        )
        return done.returncode


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


def sent(desk: Desk, *recipients: bytes) -> bytes:
    """Return the message that was queued for these."""
    assert set(desk.post.envelope.recipients) == set(recipients)
    return desk.post.message


def test_mutt_sends(desk: Desk) -> None:
    (desk.folder / "note").write_text("a note\n")
    words = (
        "mutt",
        "-n",
        "-F",
        "/dev/null",
        "-e",
        f"set sendmail='{desk.sendmail} -oem -oi' copy=no",
    )
    more = ("-s", "grüße", "-b", "eve@example.com", "-a", "note", "--", "ann@example.org")
    assert desk.run(*words, *more) == 0
    message = sent(desk, b"ann@example.org", b"eve@example.com")
    assert b"\nhello\n.\nbye\n" in message
    assert b"eve@" not in message
    assert desk.run(*words, "-s", "hi", "ann@example.org", QUEUE_EXIT="31") != 0


def test_s_nail_sends(desk: Desk) -> None:
    words = ("s-nail", "-:/", "-S", f"mta={desk.sendmail}", "-S", "sendwait", "-s", "hi")
    assert desk.run(*words, "-r", "joe@example.com", "ann@example.org") == 0
    assert sent(desk, b"ann@example.org").endswith(b"\n\nhello\n.\nbye\n")
    assert desk.post.envelope.sender == b"joe@example.com"
    assert desk.run(*words, "ann@example.org", QUEUE_EXIT="53") != 0


def test_git_sends_patches(desk: Desk) -> None:
    found = subprocess.run(["git", "--exec-path"], capture_output=True, check=False, text=True)
    if not os.path.exists(f"{found.stdout.strip()}/git-send-email"):
        pytest.skip("git send-email is not installed")
    (desk.folder / "1.patch").write_text(PATCH)
    words = (
        "git", "-c", "user.name=Joe", "-c", "user.email=joe@example.org", "send-email",
        "--confirm=never", "--quiet", f"--sendmail-cmd={desk.sendmail}",
        "--envelope-sender=auto", "--to=ann@example.org", "--suppress-cc=all", "1.patch",
    )  # fmt: skip
    assert desk.run(*words) == 0
    assert sent(desk, b"ann@example.org").endswith(b"\n+tight\n--\n2.39.5\n")
    assert desk.post.envelope.sender == b"joe@example.org"
    assert desk.run(*words, QUEUE_EXIT="53") != 0


def test_php_mail_sends_and_knows_when_it_did_not(desk: Desk) -> None:
    text = "exit(mail('ann@example.org', 'hi', \"one\\n.\\ntwo\") ? 0 : 1);"
    words = ("php", "-n", "-d", f"sendmail_path={desk.sendmail} -t -i", "-r", text)
    assert desk.run(*words) == 0
    assert sent(desk, b"ann@example.org").endswith(b"\nSubject: hi\n\none\n.\ntwo\n")
    # PHP takes 75, EX_TEMPFAIL, for success.
    for code in ("31", "53", "71"):
        assert desk.run(*words, QUEUE_EXIT=code) == 1


def test_a_shell_pipes_a_message(desk: Desk) -> None:
    line = 'printf "Subject: hi\\n\\nhello\\n" | "$SENDMAIL" -i "ann@example.org, bob"'
    assert desk.run("sh", "-c", line, SENDMAIL=desk.sendmail) == 0
    assert sent(desk, b"ann@example.org", b"bob@dh.ex").endswith(b"\nSubject: hi\n\nhello\n")
    assert desk.run("sh", "-c", line, SENDMAIL=desk.sendmail, QUEUE_EXIT="53") == 71
