"""Accounts of the machine as lines of users/assign: the rules of qmail-pw2u (spec/programs.md 3).

In: lines of passwd(5), and the files include, exclude, mailnames and subusers of users/.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import Enum, auto

from qmail.core.addresses.assign import ID_MAX, LINE_BYTES_MAX, AssignError
from qmail.core.addresses.users import ALIAS, BREAK, DASH, Directory
from qmail.core.settings.controls import Line, entries, shown

SOURCE = "standard input"
NOBODY_IS_ALIAS = (
    "no account alias that gets mail in the input: all other addresses would belong to nobody"
)


class Homes(Enum):
    """What to do with an account by its home; one that another uid owns is left out, too."""

    SKIP = auto()
    """Leave the account out where there is none (-o)."""
    STOP = auto()
    """Make nothing where there is none (-h)."""
    IGNORE = auto()
    """Do not look (-H)."""


class StoppedError(Exception):
    """No list can be made; the text says why."""


@dataclass(frozen=True, slots=True)
class Subuser:
    """A line `sub:user:pre:` of users/subusers: `sub` and `sub-...` are extensions of `user`."""

    number: int
    sub: bytes
    user: bytes
    pre: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """What decides. `include` None: everybody; `alias_home`: in place of alias's own home."""

    include: frozenset[bytes] | None = None
    exclude: frozenset[bytes] = frozenset()
    mailnames: Mapping[bytes, tuple[bytes, ...]] = field(default_factory=dict)
    subusers: tuple[Subuser, ...] = ()
    homes: Homes = Homes.SKIP
    allows_upper: bool = False
    break_: bytes = BREAK
    dash: bytes = DASH
    alias_home: bytes = b""


# --- the files of users/ ------------------------------------------------------------------------


def parse_names(lines: list[Line]) -> frozenset[bytes]:
    """Names, one a line, in any case: include and exclude."""
    return frozenset(line.text.lower() for line in entries(lines))


def parse_mailnames(lines: list[Line], name: str) -> dict[bytes, tuple[bytes, ...]]:
    """`user:name:name...` lines; the last of equal users wins. Raises: AssignError: no colon."""
    found = {}
    for line in entries(lines):
        user, *names = line.text.split(b":")
        if not names:
            raise AssignError(name, line.number, f"{shown(line.text)} is not 'USER:NAME:NAME...'")
        found[user.lower()] = tuple(one for one in names if one)
    return found


def parse_subusers(lines: list[Line], name: str) -> tuple[Subuser, ...]:
    """`sub:user:pre:` lines. Raises: AssignError: too few colons, or nothing before the first."""
    found = []
    for line in entries(lines):
        parts = line.text.split(b":")
        if len(parts) < 4 or not parts[0]:
            raise AssignError(name, line.number, f"{shown(line.text)} is not 'SUB:USER:PRE:'")
        found.append(Subuser(line.number, parts[0], parts[1], parts[2]))
    return tuple(found)


# --- accounts -----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Account:
    user: bytes
    uid: int
    home: bytes
    middle: bytes
    """What stands in its lines between address and dash: user, uid, gid and home."""


def assign_lines(passwd: Iterable[bytes], rules: Rules, directory: Directory) -> Iterator[bytes]:
    """Yield the lines for all accounts and subusers; what comes after them is the caller's.

    Raises: AssignError: a line of no use. StoppedError: a home is missing that must be there, or
    there is no account alias. OSError: a home can't be looked at now.
    """
    middles: dict[bytes, bytes] = {}
    for number, line in enumerate(passwd, 1):
        if len(line) > LINE_BYTES_MAX:
            raise AssignError(SOURCE, number, f"longer than {LINE_BYTES_MAX} bytes")
        account = _account(line.rstrip(b"\n"), rules)
        if account is not None and _has_home(account, rules.homes, directory):
            middles[account.user.lower()] = account.middle
            yield from _account_lines(account, rules)
    if ALIAS not in middles:
        raise StoppedError(NOBODY_IS_ALIAS)
    for subuser in rules.subusers:
        middle = middles.get(subuser.user.lower())
        if middle is None:
            wrong = f"{shown(subuser.user)} is none of the accounts that get mail"
            raise AssignError("users/subusers", subuser.number, wrong)
        yield from _subuser_lines(subuser, middle, rules)


def _account(line: bytes, rules: Rules) -> _Account | None:
    """Return the account of one line of passwd, None where it is no user of mail."""
    fields = line.split(b":")
    if len(fields) < 6 or b"\0" in line:
        return None
    user, _, uid, gid, _, home = fields[:6]
    if not (user and _is_id(uid) and int(uid) and _is_id(gid)):
        return None
    if not rules.allows_upper and user != user.lower():
        return None
    name = user.lower()
    if (rules.include is not None and name not in rules.include) or name in rules.exclude:
        return None
    if user == ALIAS and rules.alias_home:
        home = rules.alias_home
    if not home.startswith(b"/"):
        return None
    return _Account(user, int(uid), home, b":".join((user, uid, gid, home)))


def _is_id(text: bytes) -> bool:
    return text.isdigit() and len(text) <= 10 and int(text) <= ID_MAX


def _has_home(account: _Account, homes: Homes, directory: Directory) -> bool:
    if homes is Homes.IGNORE:
        return True
    owner = directory.folder_owner(account.home)
    if owner is None and homes is Homes.STOP:
        raise StoppedError(f"the home {shown(account.home)} of {shown(account.user)} is missing")
    return owner == account.uid


def _account_lines(account: _Account, rules: Rules) -> Iterator[bytes]:
    if account.user == ALIAS:
        yield b"+:%b:%b::\n" % (account.middle, rules.dash)
    for name in rules.mailnames.get(account.user.lower(), (account.user,)):
        yield b"=%b:%b:::\n" % (name, account.middle)
        if rules.break_:
            yield b"+%b%b:%b:%b::\n" % (name, rules.break_, account.middle, rules.dash)


def _subuser_lines(subuser: Subuser, middle: bytes, rules: Rules) -> Iterator[bytes]:
    sub, pre, dash = subuser.sub, subuser.pre, rules.dash
    yield b"=%b:%b:%b:%b:\n" % (sub, middle, dash, pre)
    if rules.break_:
        yield b"+%b%b:%b:%b:%b-:\n" % (sub, rules.break_, middle, dash, pre)
