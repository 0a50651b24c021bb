"""Lines of users/passwd: what they say, and what is wrong with them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qmail.core.login.passwd_line import (
    PasswdEntry,
    PasswdLineError,
    maildir_below,
    parse_passwd_line,
)
from qmail.protocol.scram_keys import make_keys

KEYS = make_keys(b"secret", b"0123456789abcdef", 4096)
SCRAM = b"{SCRAM-SHA-256}" + KEYS.text()
HASH = b"$6$salt$hash"


@pytest.mark.parametrize(
    ("line", "entry"),
    [
        (b"joe:" + SCRAM, PasswdEntry(name=b"joe", keys=KEYS)),
        (b"Joe:" + SCRAM + b"::::::", PasswdEntry(name=b"joe", keys=KEYS)),
        (b"joe:{scram-sha-256}" + KEYS.text(), PasswdEntry(name=b"joe", keys=KEYS)),
        (b"joe:" + HASH, PasswdEntry(name=b"joe", crypted=HASH)),
        (b"joe:{CRYPT}" + HASH, PasswdEntry(name=b"joe", crypted=HASH)),
        (b"joe:{SHA512-CRYPT}" + HASH, PasswdEntry(name=b"joe", crypted=HASH)),
        (b"joe:", PasswdEntry(name=b"joe")),
        (b"joe:!" + HASH, PasswdEntry(name=b"joe")),
        (b"joe:*:1:2::/h", PasswdEntry(name=b"joe", uid=1, gid=2, home=b"/h")),
        (b"joe:{CRYPT}!" + HASH, PasswdEntry(name=b"joe")),
        (
            b"a@b.c:" + HASH + b":5:6:gecos:/srv/a:/bin/sh:x=y userdb_mail=maildir:~/M:INDEX=z q",
            PasswdEntry(
                name=b"a@b.c",
                crypted=HASH,
                uid=5,
                gid=6,
                home=b"/srv/a",
                mail=b"maildir:~/M:INDEX=z",
            ),
        ),
    ],
)
def test_lines(line: bytes, entry: PasswdEntry) -> None:
    assert parse_passwd_line(line, 1) == entry


@pytest.mark.parametrize(
    ("line", "at", "what"),
    [
        (b"", 2, "missing"),
        (b"joe", 2, "missing"),
        (b":" + HASH, 1, "name"),
        (b"jo\xffe:" + HASH, 1, "name"),
        (b"joe:x\0", 1, "NUL"),
        (b"joe:" + b"x" * 20000, 1, "longer"),
        (b"joe:{PLAIN}secret", 2, "the scheme PLAIN is none of: SCRAM-SHA-256"),
        (b"joe:{SSHA256}abc", 2, "SSHA256"),
        (b"joe:{SCRAM-SHA-256", 2, "no }"),
        (b"joe:{SCRAM-SHA-256}abc", 2, "ITERATIONS"),
        (b"joe:$1$salt$hash", 2, "too weak"),
        (b"joe:ab01FAX.bQRSU", 2, "too weak"),
        (b"joe:" + HASH + b":x", 3, "not a number"),
        (b"joe:" + HASH + b":0:1::/h", 3, "root"),
        (b"joe:" + HASH + b":4294967295:1::/h", 3, "not a number"),
        (b"joe:" + HASH + b"::1::/h", 3, "missing"),
        (b"joe:" + HASH + b":1:-1::/h", 4, "not a number"),
        (b"joe:" + HASH + b":1:::/h", 4, "missing"),
        (b"joe:" + HASH + b":1:1:::", 6, "missing"),
        (b"joe:" + HASH + b":1:1::h", 6, "slash"),
        (b"joe:" + HASH + b"::::::nopassword=y", 8, "nopassword"),
        (b"joe:" + HASH + b"::::::userdb_x=1 allow_nets=10.0.0.0/8", 8, "allow_nets"),
        (b"joe:" + HASH + b"::::::mail=mbox:~/mail", 8, "mbox"),
        (b"joe:" + HASH + b"::::::mail=maildir:", 8, "no path"),
        (b"joe:" + HASH + b"::::::mail=maildir:~/../ann", 8, "no path"),
        (b"joe:" + HASH + b"::::::mail=maildir:/srv/%x", 8, "%x"),
    ],
)
def test_wrong_lines_name_line_and_field(line: bytes, at: int, what: str) -> None:
    with pytest.raises(PasswdLineError) as found:
        parse_passwd_line(line, 7)
    text = str(found.value)
    assert text.startswith(f"users/passwd:7: field {at} (")
    assert what in text
    assert "secret" not in text


@pytest.mark.parametrize(
    ("mail", "path"),
    [
        (b"", b"Maildir"),
        (b"maildir:~/Maildir", b"Maildir"),
        (b"MAILDIR:~/a/b:LAYOUT=fs", b"a/b"),
        (b"~/Mail", b"Mail"),
        (b"maildir:~", b"."),
        (b"maildir:./Mail", b"./Mail"),
        (b"maildir:/srv/%d/%n", b"/srv/b.c/joe"),
        (b"maildir:%h/%u/100%%", b"/home/x/joe@b.c/100%"),
    ],
)
def test_where_the_maildir_is(mail: bytes, path: bytes) -> None:
    assert maildir_below(mail, b"joe@b.c", b"/home/x", 1) == path


@given(st.binary(max_size=200))
def test_any_bytes_are_a_line_or_an_error(line: bytes) -> None:
    for text in (line, b"joe:" + HASH + b":" + line, b"joe:{" + line):
        try:
            entry = parse_passwd_line(text, 1)
        except PasswdLineError:
            continue
        assert entry.uid != 0
        assert entry.home[:1] in (b"", b"/")
        assert maildir_below(entry.mail, entry.name, entry.home, 1)
