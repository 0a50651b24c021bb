"""qmail-showctl: print every setting: control file, default or value, meaning.

Everything is made from the fields of core.settings.programs. Source: spec/programs.md 4.
"""

import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from qmail.core.freshness import Freshness, freshness
from qmail.core.fs import RealFs
from qmail.core.queue.layout import find_layout
from qmail.core.settings.controls import (
    ME,
    ControlError,
    ReadFile,
    Setting,
    control_reader,
    load,
    load_one,
    settings,
)
from qmail.core.settings.local import LocalControls
from qmail.core.settings.log import LogSettings
from qmail.core.settings.places import read_split
from qmail.core.settings.programs import PROGRAM_CONTROLS, Listener, Route
from qmail.core.smtp.relay import MORE_HOSTS
from qmail.edge.machine.accounts import Accounts, MissingAccountError, accounts_of, home_folder
from qmail.edge.tls.certificate import CERTIFICATE, KEY
from qmail.protocol.exits import Exit

OTHERS: Final = ("split", f"{MORE_HOSTS}.cdb", CERTIFICATE, KEY)
"""What lies in control/ and is no setting of a program."""
MORE_HOSTS_NOTES: Final = {
    Freshness.FRESH: f"{MORE_HOSTS}.cdb is there and up to date.",
    Freshness.STALE: f"Oops! {MORE_HOSTS}.cdb is older than {MORE_HOSTS}: run qmail-newmrh.",
    Freshness.MISSING: f"Oops! {MORE_HOSTS}.cdb is missing: run qmail-newmrh.",
    Freshness.ALONE: f"{MORE_HOSTS}.cdb is there and counts, its source is gone.",
}


def main(argv: Sequence[str]) -> int:
    """Print it all. Returns: 0, or 111 where there is no home to look at."""
    if argv:
        print("qmail-showctl: usage: qmail-showctl", file=sys.stderr)
        return Exit.PERMANENT
    home = home_folder()
    try:
        names = sorted(os.listdir(f"{home}/control"))
        for line in heading(home):
            print(line)
    except (OSError, MissingAccountError) as trouble:
        reason = trouble.strerror if isinstance(trouble, OSError) else str(trouble)
        print(f"qmail-showctl: fatal: {home}: {reason}", file=sys.stderr)
        return Exit.TEMPORARY
    known = known_settings()
    read_file = control_reader(home)
    for name in sorted(known):
        print()
        for line in block(known[name], read_file):
            print(line)
        for line in more_hosts_note(home) if name == MORE_HOSTS else ():
            print(line)
    for name in names:
        if name not in known and name not in OTHERS:
            print(f"\n{name}: unknown; no program here reads this file.")
    return Exit.OK


def known_settings() -> dict[str, Setting]:
    """Return every setting of every program, by name."""
    return {
        setting.name: setting for owner in PROGRAM_CONTROLS.values() for setting in settings(owner)
    }


def heading(home: str) -> Iterator[str]:
    """Yield what is fixed for this home.

    Raises: OSError: no queue there. MissingAccountError: an account is missing.
    """
    accounts = accounts_of(home)
    yield f"qmail home: {home}."
    yield from local_lines(control_reader(home))
    yield "spawn limit: none but concurrencylocal and concurrencyremote."
    yield f"subdirectory split: {split_of(home)}."
    yield f"user ids: {', '.join(map(str, user_ids(accounts)))}."
    yield f"group ids: {accounts['alias'].gid}, {accounts['qmailq'].gid}."
    if not accounts.separate:
        yield "Every program runs under one account; all local mail goes to alias."


def local_lines(read_file: ReadFile) -> Iterator[str]:
    """Yield what the original was compiled with. Raises: OSError: a file can't be read."""
    try:
        controls = load(LocalControls, read_file)
    except ControlError as wrong:
        yield f"user-ext delimiter and paternalism: Oops! {wrong}."
        return
    yield f"user-ext delimiter: {controls.break_.decode()}."
    yield f"paternalism (in decimal): {int(controls.patrn)}."


def split_of(home: str) -> str:
    """Return the split of the queue; for those who may not look into it what control/split says.

    Raises: OSError: control/split can't be read either.
    """
    try:
        return str(find_layout(RealFs(f"{home}/queue")).split)
    except (OSError, ValueError):
        pass
    try:
        return str(read_split(control_reader(home)))
    except ControlError as wrong:
        return f"Oops! {wrong}"


def user_ids(accounts: Accounts) -> list[int]:
    """Return the user ids in the classic order: alias, d, l, o (root), p, q, r, s."""
    ids = [accounts[name].uid for name in ("alias", "qmaild", "qmaill")]
    ids.append(0 if accounts.separate else accounts["alias"].uid)
    return ids + [accounts[name].uid for name in ("qmailp", "qmailq", "qmailr", "qmails")]


def block(setting: Setting, read_file: ReadFile) -> Iterator[str]:
    """Yield the lines of one control file."""
    try:
        is_default = read_file(setting.name) is None
        values = list(shown(load_one(setting, read_file)))
    except ControlError as wrong:
        yield f"{setting.name}: Oops! {wrong}."
        return
    except OSError as trouble:
        yield f"{setting.name}: Oops! Trouble reading control/{setting.name}: {trouble.strerror}."
        return
    start = f"{setting.name}: (Default.)" if is_default else f"{setting.name}:"
    if setting.name == "smtpgreeting":
        values = [f"220 {value}" for value in values]
    if setting.kind == "list":
        yield f"{start} {setting.doc} {'Entries follow.' if values else 'There is none.'}"
        yield from (f"Entry: {value}." for value in values)
        return
    unit = f" {setting.unit}" if setting.unit else ""
    value = f"It is {values[0]}{unit}." if values else "It is not set."
    origin = f" This is control/{ME}." if is_default and setting.default is ME and values else ""
    yield f"{start} {setting.doc} {value}{origin}"


def more_hosts_note(home: str) -> Iterator[str]:
    """Yield whether what counts of morercpthosts is there and up to date."""
    path = f"{home}/control/{MORE_HOSTS}"
    try:
        found = freshness(f"{path}.cdb", path)
    except OSError as trouble:
        yield f"Oops! Trouble with {MORE_HOSTS}.cdb: {trouble.strerror}."
        return
    if found in MORE_HOSTS_NOTES:
        yield MORE_HOSTS_NOTES[found]


def shown(value: Any) -> Iterator[str]:
    """Yield a parsed value as people write it, one text for each entry."""
    if isinstance(value, Mapping):
        for key, what in value.items():
            yield ":".join((*shown(key), *shown(what)))
    elif isinstance(value, frozenset):
        for entry in sorted(value):
            yield from shown(entry)
    elif isinstance(value, tuple):
        for entry in value:
            yield from shown(entry)
    elif isinstance(value, Route):
        yield f"{''.join(shown(value.relay))}:{value.port}"
    elif isinstance(value, Listener):
        host = f"[{value.host}]" if value.is_ipv6 else value.host
        yield f"{value.service} {host}:{value.port}"
    elif isinstance(value, LogSettings):
        yield from value.lines
    elif isinstance(value, bytes):
        yield "".join(chr(byte) if 32 <= byte < 127 else "?" for byte in value)
    elif value is not None:
        yield str(value)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
