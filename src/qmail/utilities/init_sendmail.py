"""The part of `qmail init` that keeps Sendmail's customs: /etc/aliases and ~/.forward.

What an administrator wrote stays; what this would have written there is told instead.
"""

import os
import subprocess
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final

from qmail.core.cdb import Cdb, CdbError
from qmail.core.freshness import Freshness, freshness
from qmail.core.whole_files import read_whole
from qmail.edge.machine.accounts import Accounts
from qmail.edge.machine.home import command_path
from qmail.edge.machine.home_maker import HomeError, HomeMaker, ids_of

ALIASES: Final = "/etc/aliases"
ALIASES_TEXT: Final = (
    "# NAME: ADDRESS, ADDRESS ... (man 5 aliases); run newaliases after a change.\n"
)
DEFAULT_FILE: Final = "alias/.qmail-default"
DEFAULT_LINE: Final = "|fastforward -d {}.cdb"
DELIVERY_FILE: Final = "control/defaultdelivery"
DELIVERY_TEXT: Final = "|dot-forward .forward\n./Maildir/\n"
PLAIN_BYTES: Final = frozenset(
    "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789/._-+"
)
"""What a name may have in a line that the shell reads."""
FILE_BYTES_MAX: Final = 65536
NEWALIASES_S_MAX: Final = 600


@dataclass(frozen=True, slots=True)
class Customs:
    """Sendmail's customs for one home, with the alias file `aliases`."""

    maker: HomeMaker
    accounts: Accounts
    aliases: str
    say: Callable[[str], None]

    def set_up(self) -> None:
        """Make the table, and the files that use it and .forward.

        Raises: OSError: not allowed. HomeError: newaliases does not like the alias file.
        """
        self._write_delivery()
        if not os.path.exists(self.aliases):
            with open(self.aliases, "x", encoding="ascii") as file:
                file.write(ALIASES_TEXT)
            self.say(f"wrote {self.aliases}, with no entries")
        self._make_table()
        self._write_default()

    def without_entry(self, names: Iterable[str]) -> list[str]:
        """Return the names that are not in the table; of files that come before it tell."""
        found = []
        for name in names:
            if not self._has_entry(name):
                found.append(name)
            elif os.path.lexists(f"{self.maker.home}/alias/.qmail-{name}"):
                self.say(
                    f"note: alias/.qmail-{name} comes before the entry {name} of {self.aliases}:"
                    " remove that file to have the entry count"
                )
        return found

    def _has_entry(self, name: str) -> bool:
        try:
            with Cdb(f"{self.aliases}.cdb") as table:
                return table.get(f":{name}@".encode()) is not None
        except CdbError as wrong:
            raise HomeError(f"{wrong}: run 'newaliases {self.aliases}'") from None

    def _write_delivery(self) -> None:
        owner = ids_of(self.accounts, "root", "qmail")
        if self.maker.file(DELIVERY_FILE, DELIVERY_TEXT.encode(), owner=owner, mode=0o644):
            self.say(f"wrote {DELIVERY_FILE}: |dot-forward .forward, ./Maildir/")
            self.say("note: it counts when qmail-start is started without a default delivery")
        elif b"dot-forward" not in self._text(DELIVERY_FILE):
            self.say(
                f"note: {DELIVERY_FILE} stays as it is: '|dot-forward .forward' as its first line"
                " would have .forward files read"
            )

    def _write_default(self) -> None:
        line = DEFAULT_LINE.format(self.aliases)
        owner = ids_of(self.accounts, "alias", "qmail")
        if self.maker.file(DEFAULT_FILE, f"{line}\n".encode(), owner=owner, mode=0o644):
            self.say(f"wrote {DEFAULT_FILE}: names that nobody has are looked up in {self.aliases}")
        elif b"fastforward" not in self._text(DEFAULT_FILE):
            passing = line.replace(" -d ", " -pd ")
            self.say(
                f"note: {DEFAULT_FILE} stays as it is: '{passing}' as its first line would have"
                f" {self.aliases} asked before the rest of it"
            )

    def _text(self, path: str) -> bytes:
        """Return what is there, b"" where it is a link or the like: then there is only advice."""
        try:
            full = f"{self.maker.home}/{path}"
            return read_whole(full, FILE_BYTES_MAX, follows_links=False)[0]
        except OSError:
            return b""

    def _make_table(self) -> None:
        table = f"{self.aliases}.cdb"
        if freshness(table, self.aliases) is Freshness.FRESH:
            return
        command = command_path("newaliases")
        if command is None:
            raise HomeError("unable to find newaliases: run 'make install'")
        environ = os.environ | {"QMAIL_HOME": self.maker.home}
        try:
            done = subprocess.run(
                [command, self.aliases], env=environ, check=False, timeout=NEWALIASES_S_MAX
            )
        except subprocess.TimeoutExpired:
            raise HomeError("newaliases took too long and was stopped") from None
        if done.returncode != 0:
            raise HomeError(f"no {table}: mend what newaliases says above, and run this again")
        self.say(f"made {table}")


def wrong_with(aliases: str) -> str:
    """Say why a name can't be that of an alias file; "" if it can."""
    if not aliases.startswith("/"):
        return f"'{aliases}' does not begin with a /"
    if not PLAIN_BYTES.issuperset(aliases):
        return f"'{aliases}' has signs that mean something to the shell"
    return ""
