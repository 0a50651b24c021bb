"""newaliases: make the table that fastforward reads from /etc/aliases (spec/companion.md 2.3).

:include: files in folders that nobody else can change are stored on the way, as by newinclude; of
others it says who has to run newinclude.
"""

from __future__ import annotations

import os
import pwd

from qmail.core.aliases.entries import PERMANENT as TOO_LONG
from qmail.core.aliases.list_files import make_list
from qmail.core.aliases.source import ALIASES_BYTES_MAX, AliasTable, ListUse, read_aliases
from qmail.core.cdb import CdbError, write_cdb
from qmail.core.freshness import Freshness, freshness
from qmail.core.inject.rewriting import Rewriter
from qmail.core.settings.hosts import read_hosts
from qmail.core.settings.lines import ControlError, control_reader
from qmail.core.whole_files import read_whole
from qmail.edge.machine.home import home_folder
from qmail.edge.machine.ownership import others_part
from qmail.edge.machine.standard import say
from qmail.edge.tools.line_tool import DONE, PERMANENT, TEMPORARY, ToolError, reason_of, run_tool
from qmail.protocol.options import OptionError, asks_for_help, split_options

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Final

    from qmail.core.aliases.entries import Problem

NAME: Final = "newaliases"
USAGE: Final = "newaliases: usage: newaliases [ file ]"
ALIASES: Final = "/etc/aliases"
SHOWN_MAX: Final = 50
"""Of more bad lines the rest is only counted."""


def main(argv: Sequence[str]) -> int:
    """Make FILE.cdb from FILE."""
    if asks_for_help(argv):
        say(USAGE)
        return PERMANENT
    try:
        # Sendmail's, for a report that is not made here.
        _, files = split_options(argv, "v")
    except OptionError as wrong:
        say(f"{NAME}: {wrong}\n{USAGE}")
        return PERMANENT
    if len(files) > 1 or "" in files:
        say(USAGE)
        return PERMANENT
    return run_tool(NAME, lambda: new_aliases(files[0] if files else ALIASES))


def new_aliases(file: str) -> int:
    """Make the table, unless a line is bad. Returns the exit code."""
    home = home_folder()
    try:
        rewriter = Rewriter(read_hosts({}, control_reader(home)))
        text, _ = read_whole(file, ALIASES_BYTES_MAX)
        table = read_aliases(text, rewriter)
        tell("warning", file, table.warnings)
        if table.problems:
            return refuse(file, table)
        for use in table.lists:
            store_list(file, use, f"{home}/alias", rewriter)
        write_cdb(f"{file}.cdb", f"{file}.tmp", table.records)
    except (ControlError, CdbError) as wrong:
        raise ToolError(str(wrong)) from None
    return DONE


def tell(what: str, file: str, found: Sequence[Problem]) -> None:
    """Write one line for each thing found in a file."""
    for problem in found[:SHOWN_MAX]:
        say(f"{NAME}: {what}: {file}:{problem.line}: {problem.text}")
    if len(found) > SHOWN_MAX:
        say(f"{NAME}: {what}: {file}: {len(found) - SHOWN_MAX} more lines like these")


def refuse(file: str, table: AliasTable) -> int:
    """Say what is wrong. Returns the exit code: 100 where it is only too long, else 111."""
    tell("fatal", file, table.problems)
    if os.path.exists(f"{file}.cdb"):
        say(f"{NAME}: {file}.cdb stays as it was")
    return PERMANENT if all(one.code == TOO_LONG for one in table.problems) else TEMPORARY


# --- :include: files ----------------------------------------------------------------------------


def store_list(file: str, use: ListUse, folder: str, rewriter: Rewriter) -> None:
    """See to it that the list of one line is stored; warn where that is for others to do.

    A name without a folder counts from `folder`, where fastforward runs for /etc/aliases.
    Raises: ToolError, OSError: a line of the list is bad, or it can't be stored.
    """
    name = os.path.join(folder, os.fsdecode(use.file))
    where = f"{file}:{use.line}: :include:{os.fsdecode(use.file)}"
    try:
        if freshness(f"{name}.bin", name) in (Freshness.FRESH, Freshness.ALONE):
            return
        others = others_part(name)
        owner = os.stat(name).st_uid
    except OSError as trouble:
        say(f"{NAME}: warning: {where}: {reason_of(trouble)}")
        return
    if others:
        say(
            f"{NAME}: warning: {where}: not stored, for {others} is not ours alone:"
            f" run 'newinclude {name}' as {name_of(owner)}"
        )
        return
    made = make_list(name, rewriter, follows_links=False)
    tell("warning", name, made.warnings)
    if made.problems:
        tell("fatal", name, made.problems)
        raise ToolError(f"{where} is not stored, so {file}.cdb is not made")
    say(f"{NAME}: stored {name}.bin")


def name_of(uid: int) -> str:
    """Return an account's name."""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"uid {uid}"
