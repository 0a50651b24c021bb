"""What `qmail passwd` does, a function for each command."""

import argparse
import getpass
import json
import os
import sys
from collections.abc import Callable, Mapping
from typing import IO, Final

from qmail.core.login.passwd_file import (
    FILE_BYTES_MAX,
    PasswdFile,
    find_line,
    line_name,
    passwd_lines,
    with_line,
    with_secret,
    without_name,
    wrong_lines,
)
from qmail.core.login.passwd_line import LINES, PasswdEntry, PasswdLineError, parse_passwd_line
from qmail.core.login.password_check import PasswordCheck
from qmail.core.login.secret import ensure_secret, household
from qmail.core.whole_files import read_whole, replace_file
from qmail.edge.machine.accounts import Accounts, accounts_of
from qmail.edge.machine.system_passwords import SystemPasswords
from qmail.protocol.exits import Exit
from qmail.protocol.login_door import Refusal
from qmail.protocol.sasl import NAME_BYTES_MAX, Credentials, SaslError, prepared_name
from qmail.protocol.saslprep import PreparationError, saslprep
from qmail.protocol.scram_keys import SALT_BYTES, make_keys

SAYS_NO: Final = 1
Edit = Callable[[bytes], bytes]


class ActError(Exception):
    """What was asked for can't be; the text says why."""


# --- the file -------------------------------------------------------------------------------------


def file_mode(accounts: Accounts) -> int:
    """Return the mode of the file: only its owner reads it, and where root writes, nobody else."""
    return 0o400 if accounts.separate else 0o600


def read_passwd(home: str) -> bytes:
    """Return the file, b"" where there is none. Raises: OSError."""
    try:
        return read_whole(f"{home}/{LINES}", FILE_BYTES_MAX)[0]
    except FileNotFoundError:
        return b""


def _edit(home: str, edit: Edit) -> None:
    """Replace the file by what `edit` makes of it; who else edits meanwhile gets an error."""
    accounts = accounts_of(home)
    owner = accounts["qmailp"]

    def give(fd: int) -> None:
        if accounts.separate:
            os.fchown(fd, owner.uid, owner.gid)

    def write(file: IO[bytes]) -> None:
        # Read only now that nobody else can replace it.
        text = edit(read_passwd(home))
        give(file.fileno())
        file.write(text)

    path = f"{home}/{LINES}"
    replace_file(path, f"{path}.tmp", write, mode=file_mode(accounts))
    ensure_secret(home, give)


# --- passwords ------------------------------------------------------------------------------------


def _read_password(*, again: bool) -> bytes:
    """Ask on the terminal without echo, or take a line of standard input. Raises: ActError."""
    if not sys.stdin.isatty():
        line = sys.stdin.buffer.readline(NAME_BYTES_MAX + 2)
        password = line.removesuffix(b"\n").removesuffix(b"\r")
    else:
        password = getpass.getpass("Password: ").encode(errors="surrogateescape")
        if again and getpass.getpass("Again: ").encode(errors="surrogateescape") != password:
            raise ActError("those are two different passwords")
    if not password:
        raise ActError("the password is empty")
    if len(password) > NAME_BYTES_MAX or b"\0" in password:
        raise ActError("that is too long for a password, or has a NUL in it")
    return password


def _secret(options: argparse.Namespace) -> bytes:
    """Return the second field of a line for a password that is asked for. Raises: ActError."""
    password = _read_password(again=True)
    try:
        prepared = saslprep(password.decode(), is_stored=True).encode()
    except UnicodeDecodeError:
        raise ActError("the password is not UTF-8 text") from None
    except PreparationError as wrong:
        raise ActError(f"the password: {wrong}") from None
    keys = make_keys(prepared, os.urandom(SALT_BYTES), options.iterations)
    return b"{SCRAM-SHA-256}" + keys.text()


def _name(options: argparse.Namespace) -> bytes:
    try:
        return prepared_name(os.fsencode(options.name))
    except SaslError as wrong:
        raise ActError(f"{options.name}: {wrong}") from None


# --- commands -------------------------------------------------------------------------------------


def _add(home: str, options: argparse.Namespace) -> int:
    name = _name(options)
    if find_line(read_passwd(home), name) is not None:
        raise ActError(f"{options.name} is there already: use 'set' for another password")
    if options.uid is None and b"@" in name and accounts_of(home).separate:
        raise ActError(f"{options.name} is no account: say --uid, --gid and --mailhome")
    head = b"%b:%b:" % (name, _secret(options))
    numbers = [b"" if number is None else b"%d" % number for number in (options.uid, options.gid)]
    home_field = os.fsencode(options.mailhome or "")
    extra = os.fsencode(f"userdb_mail=maildir:{_below(options)}") if options.maildir else b""
    line = head + b":".join((*numbers, b"", home_field, b"", extra))
    _check_fields((home_field, extra))
    try:
        parse_passwd_line(line, 1)
    except PasswdLineError as wrong:
        raise ActError(str(wrong).partition(": ")[2]) from None

    def edit(data: bytes) -> bytes:
        if find_line(data, name) is not None:
            raise ActError(f"{options.name} is there already")
        return with_line(data, name, line)

    _edit(home, edit)
    return Exit.OK


def _below(options: argparse.Namespace) -> str:
    path: str = options.maildir.removeprefix("./").removesuffix("/").replace("%", "%%")
    return path if path.startswith("/") else f"~/{path}"


def _check_fields(fields: tuple[bytes, bytes]) -> None:
    home, extra = fields
    if (
        b":" in home
        or set(home + extra) & {10, 13}
        or set(extra) & {9, 32}
        or extra.count(b":") > 1
    ):
        raise ActError("a path with blanks, colons or line ends can't stand in the file")


def _set(home: str, options: argparse.Namespace) -> int:
    name = _name(options)
    if find_line(read_passwd(home), name) is None:
        raise ActError(f"no such name: {options.name}")
    secret = _secret(options)

    def edit(data: bytes) -> bytes:
        found = find_line(data, name)
        if found is None:
            raise ActError(f"no such name: {options.name}")
        return with_line(data, name, with_secret(found[1], secret))

    _edit(home, edit)
    return Exit.OK


def _remove(home: str, options: argparse.Namespace) -> int:
    name = _name(options)

    def edit(data: bytes) -> bytes:
        left = without_name(data, name)
        if left is None:
            raise ActError(f"no such name: {options.name}")
        return left

    _edit(home, edit)
    return Exit.OK


def _list(home: str, options: argparse.Namespace) -> int:
    rows = []
    for number, line in passwd_lines(read_passwd(home)):
        try:
            rows.append(_row(parse_passwd_line(line, number)))
        except PasswdLineError as wrong:
            name = line_name(line).decode("utf-8", "replace")
            rows.append({"name": name, "scheme": "", "wrong": str(wrong)})
    if options.json:
        print(json.dumps(rows, indent=2))
        return Exit.OK
    for row in rows:
        shown = row.get("wrong") or _words(row)
        print("".join(char if char.isprintable() else "?" for char in f"{row['name']}  {shown}"))
    return Exit.OK


def _row(entry: PasswdEntry) -> dict[str, object]:
    row: dict[str, object] = {"name": entry.name.decode(), "scheme": entry.scheme}
    if entry.keys is not None:
        row["iterations"] = entry.keys.iterations
    if entry.uid is not None:
        row |= {"uid": entry.uid, "gid": entry.gid, "home": os.fsdecode(entry.home)}
    if entry.mail:
        row["mail"] = os.fsdecode(entry.mail)
    return row


def _words(row: Mapping[str, object]) -> str:
    parts = [str(row["scheme"])]
    if "uid" in row:
        parts.append(f"{row['uid']}:{row['gid']} {row['home']}")
    if "mail" in row:
        parts.append(str(row["mail"]))
    return "  ".join(parts)


def _check(home: str, options: argparse.Namespace) -> int:
    if options.name is not None:
        return _check_password(home, options)
    found = wrong_lines(read_passwd(home))
    for line in found:
        print(line)
    return SAYS_NO if found else Exit.OK


def _check_password(home: str, options: argparse.Namespace) -> int:
    name = _name(options)
    accounts = accounts_of(home)
    if find_line(read_passwd(home), name) is None:
        raise ActError(f"no such name in {LINES}: {options.name}")
    said: list[str] = []
    check = PasswordCheck(
        PasswdFile(home), SystemPasswords(), household(home, accounts.sole), said.append
    )
    password = _read_password(again=False)
    verdict = check.check(Credentials(name, password, name))
    for line in said:
        print(f"qmail passwd: {line}", file=sys.stderr)
    if verdict is Refusal.AUTH:
        print("wrong password")
        return SAYS_NO
    if isinstance(verdict, Refusal) or verdict is None:
        return Exit.TEMPORARY
    where = os.path.join(os.fsdecode(verdict.home), os.fsdecode(verdict.maildir))
    print(f"right: uid {verdict.uid}, gid {verdict.gid}, {where}")
    return Exit.OK


ACTS: Final[dict[str, Callable[[str, argparse.Namespace], int]]] = {
    "add": _add,
    "set": _set,
    "remove": _remove,
    "list": _list,
    "check": _check,
}
