"""Mailboxes to be read: names with one password, maildirs of a thousand messages each."""

import base64
import hashlib
import hmac
import os
import pwd
from dataclasses import dataclass
from typing import Final

from bench.mailbox import ACCOUNT

MAILBOXES: Final = 8
MESSAGES: Final = 1000
MESSAGE_BYTES: Final = 4096
PASSWORD: Final = "benchmark"
ITERATIONS: Final = 4096
SALT: Final = b"0123456789abcdef"
AGE_S: Final = 86400


@dataclass(frozen=True, slots=True)
class Mailboxes:
    """Who can log in, and the lines that say so, in the format that both servers read."""

    names: tuple[str, ...]
    lines: str


def make_mailboxes(folder: str, now: float) -> Mailboxes:
    """Make them below `folder`: of the benchmark's account as root, else one's own.

    `now`: seconds since 1970; the messages are a day older.
    Raises: OSError: it can't be done.
    """
    owner = (os.geteuid(), os.getegid())
    if owner[0] == 0:
        account = pwd.getpwnam(ACCOUNT)
        owner = (account.pw_uid, account.pw_gid)
    names = tuple(f"box{number}" for number in range(MAILBOXES))
    lines = ""
    for name in names:
        home = f"{folder}/{name}"
        _fill(home, owner, now - AGE_S)
        lines += f"{name}:{secret()}:{owner[0]}:{owner[1]}::{home}::\n"
    return Mailboxes(names, lines)


def secret() -> str:
    """Return the password as a server keeps it: SCRAM-SHA-256 (RFC 5802 3)."""
    salted = hashlib.pbkdf2_hmac("sha256", PASSWORD.encode(), SALT, ITERATIONS)
    client_key = hmac.digest(salted, b"Client Key", "sha256")
    server_key = hmac.digest(salted, b"Server Key", "sha256")
    words = (SALT, hashlib.sha256(client_key).digest(), server_key)
    return f"{{SCRAM-SHA-256}}{ITERATIONS}," + ",".join(
        base64.b64encode(word).decode() for word in words
    )


def _fill(home: str, owner: tuple[int, int], mtime: float) -> None:
    folders = (home, *(f"{home}/Maildir{name}" for name in ("", "/tmp", "/new", "/cur")))
    for folder in folders:
        os.mkdir(folder, 0o700)
    text = b"From: sender@bench.example\nSubject: to be read\n\n"
    text += b"A line of text that is read.\n" * ((MESSAGE_BYTES - len(text)) // 29)
    for number in range(MESSAGES):
        path = f"{home}/Maildir/cur/{int(mtime)}.{number}.bench:2,S"
        with open(path, "wb") as file:
            file.write(text)
        os.utime(path, (mtime + number, mtime + number))
        os.chown(path, *owner)
    for folder in folders:
        os.chown(folder, *owner)
