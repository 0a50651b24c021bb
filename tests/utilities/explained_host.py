"""The host of docs/explain.md: accounts, control files, homes and a name server of its own."""

import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Final

import pytest
from tests.fakes.name_server import NameServer, Zone
from tests.utilities.conftest import NOBODY, make_ordinary_home

from qmail.core.aliases.list_files import make_list
from qmail.core.aliases.source import read_aliases
from qmail.core.cdb import write_cdb
from qmail.core.explain.explanation import Explanation, Question, Step
from qmail.core.inject.rewriting import Hosts, Rewriter
from qmail.edge.machine.accounts import ACCOUNT_GROUPS, Account, Accounts
from qmail.protocol.local_door import Owner
from qmail.utilities import explain

UID: Final = os.getuid() or NOBODY
GID: Final = os.getgid() or NOBODY
UIDS: Final = {"joe": 1001, "ann": 1002, "alias": 990}
CONTROLS: Final = {
    "locals": "here.example\nmx.here.example\n",
    "rcpthosts": (
        "# ours\nhere.example\nshop.example\nclub.example\n.wild.example\nmx.here.example\n"
    ),
    "percenthack": "gate.here.example\n",
    "virtualdomains": (
        "shop.example:joe-shop\n"
        "club.example:ann-club\n"
        ".wild.example:joe-wild\n"
        "not.wild.example:\n"
        "sales@other.example:ann\n"
    ),
    "smtproutes": "isp.example:[192.0.2.9]:587\n",
}
FILES: Final = {
    "users/joe/.qmail-list": (
        "# subscribers\n&bob@far.example\n&carol@isp.example\n./Lists/archive/\n"
    ),
    "users/joe/.qmail-list-owner": "./Maildir/\n",
    "users/joe/.qmail-shop-info": (
        "|condredirect night@isp.example test -f closed\n&ann@here.example\n./Maildir/\n"
    ),
    "users/joe/.qmail-wild-default": '|forward "joe+$DEFAULT@isp.example"\n',
    "users/joe/.qmail-old": "|bouncesaying 'joe has a new address'\n",
    "users/ann/.qmail": "./Maildir/\n&ann@far.example\n",
    "users/ann/.qmail-sales": "ann@here.example\n",
    "users/ann/.qmail-club-default": "",
    "home/alias/.qmail-default": "|fastforward -d /etc/aliases.cdb\n",
    "etc/aliases": (
        "# customs of Sendmail\n"
        "postmaster: joe\n"
        'support: ann, "|ticket new"\n'
        "staff: :include:/etc/mail/staff\n"
        "owner-staff: ann\n"
    ),
    "etc/mail/staff": "joe\nann\ncarol@isp.example\n",
}
PLACES: Final = {"home": "/var/qmail", "users": "/home", "etc": "/etc"}
"""Folders of the test, and what they stand for."""
MAILDIRS: Final = ("users/joe/Maildir", "users/joe/Lists/archive", "users/ann/Maildir")
ZONE: Final[Zone] = {
    ("far.example.", "MX"): [
        "far.example. 60 IN MX 10 mx1.far.example.",
        "far.example. 60 IN MX 20 mx2.far.example.",
    ],
    ("mx1.far.example.", "A"): ["mx1.far.example. 60 IN A 192.0.2.10"],
    ("mx2.far.example.", "A"): ["mx2.far.example. 60 IN A 192.0.2.20"],
    ("nomail.example.", "MX"): ["nomail.example. 60 IN MX 0 ."],
}


class Passwd:
    """The accounts of the host; all of them are the one that the test may become."""

    def __init__(self, folder: Path) -> None:
        self._homes = {
            b"joe": os.fsencode(folder / "users/joe"),
            b"ann": os.fsencode(folder / "users/ann"),
            b"alias": os.fsencode(folder / "home/alias"),
        }

    def account(self, name: bytes) -> Owner | None:
        home = self._homes.get(name)
        return None if home is None else Owner(name, UID, GID, home, b"", b"")

    def folder_owner(self, path: bytes) -> int | None:
        return os.stat(path).st_uid if os.path.isdir(path) else None


def accounts() -> Accounts:
    """Return separate accounts that are all the same."""
    return Accounts(True, {name: Account(name, UID, GID) for name in ACCOUNT_GROUPS})


def give(path: Path) -> None:
    """Make something the account's own."""
    if os.getuid() == 0:
        os.chown(path, UID, GID)


def write(path: Path, text: str) -> None:
    """Write a file of the account, and the folders above it."""
    missing = [folder for folder in path.parents if not folder.exists()]
    for folder in reversed(missing):
        folder.mkdir(mode=0o755)
        give(folder)
    path.write_text(text)
    path.chmod(0o644)
    give(path)


def make_maildir(path: Path) -> None:
    """Make a maildir."""
    for part in ("tmp", "new", "cur"):
        write(path / part / ".made", "")


@contextmanager
def explained_host(folder: Path, patch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Make the host below `folder`; `explain.main` looks at it, and shows it as a real one."""
    home = folder / "home"
    make_ordinary_home(home, patch, "mx.here.example")
    for name, text in CONTROLS.items():
        (home / "control" / name).write_text(text)
    for name, text in FILES.items():
        write(folder / name, text.replace("/etc/", f"{folder}/etc/"))
    _make_tables(folder / "etc")
    for name in MAILDIRS:
        make_maildir(folder / name)
    with NameServer(ZONE) as server:
        patch.setenv("QMAIL_HOME", str(home))
        patch.setenv("QMAIL_RESOLVER", server.where)
        patch.setattr(explain, "accounts_of", lambda _home: accounts())
        patch.setattr(explain, "Machine", lambda: Passwd(folder))
        patch.setattr(explain, "Inquiry", _renaming(folder))
        yield home


def _renaming(folder: Path) -> type[explain.Inquiry]:
    """Return an Inquiry that shows paths and numbers as those of a real host."""

    class Renamed(explain.Inquiry):
        def run(self, asked: Question, *, is_following: bool) -> Iterator[Explanation]:
            for found in super().run(asked, is_following=is_following):
                yield replace(found, steps=tuple(_shown(found.steps, str(folder))))

    return Renamed


def _shown(steps: Sequence[Step], folder: str) -> Iterator[Step]:
    for step in steps:
        if step.part != "note":
            text = re.sub(r"(\w+) \(uid \d+", _real_uid, _real_path(step.text, folder))
            file, quote = (_real_path(one, folder) for one in (step.file, step.quote))
            yield replace(step, text=text, file=file, quote=quote)


def _real_uid(found: re.Match[str]) -> str:
    return f"{found[1]} (uid {UIDS[found[1]]}"


def _real_path(text: str, folder: str) -> str:
    for name, place in PLACES.items():
        text = text.replace(f"{folder}/{name}", place)
    return text


def _make_tables(etc: Path) -> None:
    """Do what newaliases and newinclude do."""
    host = b"here.example"
    rewriter = Rewriter(Hosts(host, host, host, host))
    table = read_aliases((etc / "aliases").read_bytes(), rewriter)
    assert table.problems == ()
    write_cdb(f"{etc}/aliases.cdb", f"{etc}/aliases.tmp", table.records)
    assert make_list(f"{etc}/mail/staff", rewriter).problems == ()
