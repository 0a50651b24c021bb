"""qmail init: make a home, or repair the folders of one. Safe to run again at any time.

As root the home gets the separate accounts, which are made when missing. For anybody else
everything belongs to that one account. Contents of files that exist are never changed.
"""

import argparse
import os
import pwd
import stat
import sys
from collections.abc import Callable, Sequence

from qmail.core.fs import RealFs
from qmail.core.settings.controls import ControlError, ReadFile, control_reader, split_lines
from qmail.core.settings.places import (
    COMMANDS,
    FIRST_ALIAS_TEXT,
    FIRST_ALIASES,
    Kind,
    Place,
    first_controls,
    places,
    read_split,
    split_made,
)
from qmail.core.settings.programs import parse_listeners
from qmail.edge.machine.account_maker import AccountToolError, make_accounts
from qmail.edge.machine.accounts import (
    Accounts,
    MissingAccountError,
    home_folder,
    one_account,
    separate_accounts,
)
from qmail.edge.machine.home_maker import HomeError, HomeMaker, ids_of
from qmail.edge.machine.host_name import is_host, own_host_name
from qmail.edge.machine.user_maildirs import make_user_maildirs
from qmail.launchers import PROGRAMS
from qmail.protocol.exits import Exit
from qmail.utilities.init_certificate import write_certificate
from qmail.utilities.init_sendmail import ALIASES, DEFAULT_FILE, Customs, wrong_with

LISTENER_ROOT = "smtp 127.0.0.1:25"
LISTENER_ORDINARY = "smtp 127.0.0.1:2525"
HELP = """\
Make a home, or repair one that is there. It can be run again at any time.

Run by root the home gets an account for each program; those that are missing are made.
Run by anybody else everything in it belongs to that one user.
Every change is printed. Folders get their owners and modes back; files that are there
keep their contents.
"""


def main(argv: Sequence[str]) -> int:
    """Make or repair the home that `argv` names.

    Returns: 0, or 111 where something could not be done.
    """
    options = _parse(argv)
    # Folders on the way to the home are open; all else gets its mode by name.
    os.umask(0o022)
    try:
        make_home(
            os.path.abspath(options.home),
            host=options.host,
            listeners=tuple(options.listen),
            sendmail=options.sendmail,
            say=_say,
        )
        if options.maildirs and os.geteuid() == 0:
            make_user_maildirs(_say)
    except (HomeError, AccountToolError, MissingAccountError, ControlError) as problem:
        print(f"qmail init: fatal: {problem}", file=sys.stderr)
        return Exit.TEMPORARY
    except OSError as problem:
        where = f"{problem.filename}: " if problem.filename else ""
        print(f"qmail init: fatal: {where}{problem.strerror or problem}", file=sys.stderr)
        return Exit.TEMPORARY
    return Exit.OK


def _parse(argv: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="qmail init",
        description=HELP,
        epilog="exit codes: 0 done; 100 wrong usage; 111 something could not be done, and why",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--home", default=home_folder(), metavar="DIR", help="the home (default: %(default)s)"
    )
    parser.add_argument(
        "--host",
        metavar="NAME",
        help="full name of this host, for a new control/me (default: what the system says)",
    )
    parser.add_argument(
        "--listen",
        action="append",
        default=[],
        metavar="'SERVICE HOST:PORT'",
        help="a line for a new control/listeners, SERVICE smtp, pop3 or pop3s; may stand more "
        "than once "
        f"(default: '{LISTENER_ROOT}' for root, '{LISTENER_ORDINARY}' for others)",
    )
    parser.add_argument(
        "--no-maildirs",
        dest="maildirs",
        action="store_false",
        help="as root: do not make ~/Maildir for the people of this machine",
    )
    parser.add_argument(
        "--sendmail",
        nargs="?",
        const=ALIASES,
        default="",
        metavar="ALIASES",
        help="keep Sendmail's customs: the alias file (%(const)s), and .forward files",
    )
    options = parser.parse_args(argv)
    if options.sendmail and (wrong := wrong_with(options.sendmail)):
        parser.error(f"--sendmail: {wrong}")
    if options.host is not None and not is_host(options.host):
        parser.error(f"--host: '{options.host}' is not a host name")
    try:
        parse_listeners("listeners", split_lines("\n".join(options.listen).encode()))
    except ControlError as wrong:
        parser.error(f"--listen: {wrong}")
    return options


def _say(line: str) -> None:
    print(line, flush=True)


def make_home(
    home: str,
    *,
    host: str | None,
    listeners: tuple[str, ...],
    say: Callable[[str], None],
    sendmail: str = "",
) -> None:
    """Make the home `home`, or repair it; tell `say` of every change.

    `sendmail`: the alias file, where Sendmail's customs are wanted.

    Raises: OSError, HomeError, AccountToolError, MissingAccountError, ControlError: it can't be
    done; the text says what to do.
    """
    _refuse_a_stranger(home)
    if os.geteuid() == 0:
        make_accounts(home, say)
        accounts = separate_accounts()
    else:
        accounts = one_account(os.geteuid(), os.getegid())
    read_control = control_reader(home)
    maker = HomeMaker(home, say)
    _make_places(maker, accounts, places(_split_of(home, read_control)))
    _make_links(maker, accounts)
    if not listeners:
        listeners = (LISTENER_ROOT if accounts.separate else LISTENER_ORDINARY,)
    known = read_control("me")
    name = known.split(b"\n")[0].decode("ascii", "replace").strip() if known else host
    if name is None:
        name, is_qualified = own_host_name()
        if not is_qualified:
            say(f"note: this machine has no fully qualified name, so control/me says {name}")
            say("note: mail to the world needs a real one: edit control/me, or use --host")
    _write_controls(maker, accounts, first_controls(name, listeners), say)
    write_certificate(maker, accounts, name, say)
    # Where .qmail-default is there already, it has the names that have no file.
    names: tuple[str, ...] = () if os.path.lexists(f"{home}/{DEFAULT_FILE}") else FIRST_ALIASES
    if sendmail:
        customs = Customs(maker, accounts, sendmail, say)
        customs.set_up()
        names = tuple(customs.without_entry(FIRST_ALIASES))
    _write_aliases(maker, accounts, names, say)
    _check_one_file_system(home)
    if maker.made_count:
        RealFs(home).sync()
    _sum_up(maker, accounts, say)


def _split_of(home: str, read_control: ReadFile) -> int:
    """Return the split of the queue that is there; control/split counts for a new one only."""
    if not os.path.isdir(f"{home}/queue"):
        return read_split(read_control)
    return split_made(RealFs(f"{home}/queue")) or read_split(read_control)


def _refuse_a_stranger(home: str) -> None:
    """Stop where the folder belongs to another account, or holds something else."""
    try:
        found = os.stat(home)
    except FileNotFoundError:
        return
    if not stat.S_ISDIR(found.st_mode):
        raise HomeError(f"{home} is not a folder: move it away or choose another --home")
    if found.st_uid != os.geteuid():
        owner = _name_of(found.st_uid)
        raise HomeError(f"{home} belongs to {owner}: run this as {owner}, or choose another --home")
    inside = set(os.listdir(home))
    if inside and not inside & {"control", "queue"}:
        raise HomeError(f"{home} is not empty and is no qmail home: choose another --home")


def _name_of(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"uid {uid}"


def _make_places(maker: HomeMaker, accounts: Accounts, wanted: tuple[Place, ...]) -> None:
    for place in wanted:
        owner = ids_of(accounts, place.owner, place.group)
        if place.kind is Kind.FOLDER:
            maker.folder(place.path, owner=owner, mode=place.mode)
        elif place.kind is Kind.PIPE:
            maker.pipe(place.path, owner=owner, mode=place.mode)
        elif not maker.file(place.path, place.content, owner=owner, mode=place.mode):
            maker.repair(place.path, owner=owner, mode=place.mode, kind=stat.S_IFREG)


def _make_links(maker: HomeMaker, accounts: Accounts) -> None:
    """Put the commands where other packages look for them. What is there is somebody's choice."""
    if os.path.islink(f"{maker.home}/{COMMANDS}"):
        return
    maker.folder(COMMANDS, owner=ids_of(accounts, "root", "qmail"), mode=0o755)
    folder = os.path.dirname(sys.executable)
    for name in PROGRAMS:
        if os.path.exists(f"{folder}/{name}"):
            maker.link(f"{COMMANDS}/{name}", f"{folder}/{name}")


def _write_controls(
    maker: HomeMaker, accounts: Accounts, controls: dict[str, str], say: Callable[[str], None]
) -> None:
    owner = ids_of(accounts, "root", "qmail")
    for name, text in controls.items():
        if maker.file(f"control/{name}", text.encode("ascii"), owner=owner, mode=0o644):
            say(f"wrote control/{name}: {', '.join(text.split(chr(10))[:-1])}")


def _write_aliases(
    maker: HomeMaker, accounts: Accounts, names: tuple[str, ...], say: Callable[[str], None]
) -> None:
    owner = ids_of(accounts, "alias", "qmail")
    for name in names:
        text = FIRST_ALIAS_TEXT
        if maker.file(f"alias/.qmail-{name}", text.encode("ascii"), owner=owner, mode=0o644):
            say(f"wrote alias/.qmail-{name}: mail for {name} goes to {maker.home}/alias/Maildir")


def _check_one_file_system(home: str) -> None:
    queue = os.stat(f"{home}/queue").st_dev
    for place in places(0):
        inside = place.path.startswith("queue/") and place.kind is Kind.FOLDER
        if inside and os.stat(f"{home}/{place.path}").st_dev != queue:
            raise HomeError(
                f"{home}/{place.path} lies on another file system than {home}/queue:"
                " a message can't be linked across; move the whole queue instead"
            )


def _sum_up(maker: HomeMaker, accounts: Accounts, say: Callable[[str], None]) -> None:
    if maker.made_count:
        say(f"made {maker.made_count} folders and files in {maker.home}")
    elif not maker.repaired_count:
        say(f"nothing to change in {maker.home}")
    if accounts.separate:
        say(f"{maker.home} is ready: every program runs under its own account")
    else:
        name = _name_of(accounts["alias"].uid)
        say(f"{maker.home} is ready: everything runs under one account, {name}, and all mail")
        say(f"for this host goes by {maker.home}/alias/.qmail-NAME (.qmail-default for the rest)")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
