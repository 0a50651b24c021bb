"""qmail-local, the command (spec/delivery.md 3)."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from qmail.programs import local

MESSAGE = b"Subject: x\n\nbody\n"
START = "import sys; from qmail.programs.local import main; sys.exit(main(sys.argv[1:]))"


@pytest.fixture
def home(tmp_path: Path) -> Path:
    tmp_path.chmod(0o700)
    for part in ("Maildir", "Maildir/tmp", "Maildir/new", "Maildir/cur"):
        (tmp_path / part).mkdir()
    return tmp_path


def words(
    home: Path, ext: str = "", *, sender: str = "s@t", default: str = "./Maildir/"
) -> list[str]:
    local_part = f"joe-{ext}" if ext else "joe"
    return ["joe", str(home), local_part, "-" if ext else "", ext, "example.net", sender, default]


def run(*argv: str, message: bytes = MESSAGE) -> tuple[int, bytes]:
    done = subprocess.run(
        [sys.executable, "-c", START, *argv],
        input=None,
        stdin=_file(message),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        check=False,
        timeout=60,
    )
    return done.returncode, done.stdout


def _file(message: bytes) -> int:
    fd = os.memfd_create("message")
    os.write(fd, message)
    os.lseek(fd, 0, os.SEEK_SET)
    return fd


def test_default_delivery_of_a_bare_user(home: Path) -> None:
    assert run("--", *words(home)) == (0, b"did 1+0+0\n")
    (file,) = (home / "Maildir" / "new").iterdir()
    trace = b"Return-Path: <s@t>\nDelivered-To: joe@example.net\n"
    assert file.read_bytes() == trace + MESSAGE


def test_no_mailbox_of_that_name(home: Path) -> None:
    code, said = run(*words(home, "nobody"))
    assert code == 100
    assert b"#5.1.1" in said


def test_dry_run_shows_every_kind_and_does_nothing(home: Path) -> None:
    (home / ".qmail").write_text("# x\n./Maildir/\n/var/mail/joe\n|false\n&a@b\nc@d\n")
    home.chmod(0o1700)
    code, said = run("-n", *words(home))
    assert (code, said.splitlines()) == (
        0,
        [
            b"qmail-local: warning: the home folder is sticky: mail would wait",
            b"maildir ./Maildir/",
            b"mbox /var/mail/joe",
            b"program false",
            b"forward a@b",
            b"forward c@d",
            b"did 2+2+1",
        ],
    )
    assert list((home / "Maildir" / "new").iterdir()) == []


def test_capital_n_takes_the_dry_run_back(home: Path) -> None:
    assert run("-nN", *words(home)) == (0, b"did 1+0+0\n")
    assert len(list((home / "Maildir" / "new").iterdir())) == 1


def test_dry_run_of_a_bad_file(home: Path) -> None:
    (home / ".qmail").write_text("\n")
    code, said = run("-n", *words(home))
    assert code == 111
    assert b"#4.2.1" in said


def test_program_gets_the_message_from_its_start_each_time(home: Path) -> None:
    (home / ".qmail").write_text("|cat >first\n|cat >second\n|exit 99\n|cat >third\n")
    assert run(*words(home)) == (0, b"did 0+0+3\n")
    assert (home / "first").read_bytes() == (home / "second").read_bytes() == MESSAGE
    assert not (home / "third").exists()


def test_umask_is_for_the_owner_only(home: Path) -> None:
    (home / ".qmail").write_text("|umask >mask\n./box\n")
    assert run(*words(home))[0] == 0
    assert (home / "mask").read_text().strip() == "0077"
    assert (home / "box").stat().st_mode & 0o777 == 0o600


def test_delivery_5_a_program_starts_in_the_home_with_default_signals(home: Path) -> None:
    (home / ".qmail").write_text("|pwd >where\n|kill -PIPE $$; exit 0\n")
    code, said = run(*words(home))
    assert (home / "where").read_text().strip() == str(home)
    assert (code, said) == (111, b"The program was killed by a signal. (#4.3.0)\n")


def test_delivery_7_the_whole_environment(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("DEFAULT", "EXT4", "NEWSENDER"):
        monkeypatch.setenv(name, "stale")
    (home / ".qmail-l-default").write_text("|env >env\n")
    (home / ".qmail-l-a:b-owner").touch()
    assert run(*words(home, "L-a.B", sender="x y@t"))[0] == 0
    found = dict(line.split("=", 1) for line in (home / "env").read_text().splitlines() if line)
    assert found.pop("UFLINE").startswith("From x-y@t ")
    expected = {
        "SENDER": "x y@t",
        "NEWSENDER": "joe-L-a.B-owner@example.net",
        "RECIPIENT": "joe-L-a.B@example.net",
        "LOCAL": "joe-L-a.B",
        "HOST": "example.net",
        "HOST2": "example",
        "HOST3": "example",
        "HOST4": "example",
        "USER": "joe",
        "HOME": str(home),
        "EXT": "L-a.B",
        "EXT2": "a.B",
        "EXT3": "",
        "EXT4": "",
        "DEFAULT": "a.B",
        "DTLINE": "Delivered-To: joe-L-a.B@example.net",
        "RPLINE": 'Return-Path: <"x y"@t>',
        "PATH": os.environ["PATH"],
    }
    assert {name: found[name] for name in expected} == expected


@pytest.mark.parametrize(("queue_exit", "code"), [(0, 0), (31, 100), (11, 100), (53, 111)])
def test_delivery_5_forwards_go_through_qmailqueue(
    home: Path, monkeypatch: pytest.MonkeyPatch, queue_exit: int, code: int
) -> None:
    queue = home / "queue"
    queue.write_text(f"#!/bin/sh\ncat >{home}/text; cat <&1 >{home}/envelope; exit {queue_exit}\n")
    queue.chmod(0o700)
    monkeypatch.setenv("QMAILQUEUE", str(queue))
    monkeypatch.setenv("QMAIL_HOME", str(home))
    (home / ".qmail").write_text("&a@b\n|exit 99\n&c@d\n")
    found, said = run(*words(home))
    assert found == code
    assert (home / "text").read_bytes() == b"Delivered-To: joe@example.net\n" + MESSAGE
    assert (home / "envelope").read_bytes() == b"Fs@t\0Ta@b\0\0"
    assert said.startswith(b"did 0+1+1\nqp " if code == 0 else b"Unable to forward message: ")


def test_message_that_is_no_file_is_put_off(home: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", START, *words(home)],
        input=MESSAGE,
        capture_output=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 111
    assert b"Unable to read message" in done.stdout


@pytest.mark.parametrize(
    "argv",
    [
        [],
        ["joe"],
        ["-x", *["a"] * 8],
        ["joe", "relative", "joe", "", "", "h", "s", "./Maildir/"],
        ["joe", "/home", "joe", "", "", "h", "s", "./Maildir/", "more"],
    ],
)
def test_usage(argv: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    mask = os.umask(0o022)
    try:
        assert local.main(argv) == 100
    finally:
        os.umask(mask)
    assert "usage" in capsys.readouterr().err


def test_missing_home_is_temporary(tmp_path: Path) -> None:
    code, said = run(*words(tmp_path / "missing"))
    assert code == 111
    assert b"#4.3.0" in said


def test_nothing_of_asyncio_or_email_is_imported() -> None:
    check = "import sys, qmail.programs.local; print({'asyncio', 'email'} & sys.modules.keys())"
    done = subprocess.run([sys.executable, "-c", check], capture_output=True, check=True)
    assert done.stdout.strip() == b"set()"
