"""Rewriting of host names by rules, as new-inject and ofmipd do it (spec/inject.md 9).

    =post:new     the host name `post`, and no other, becomes `new`
    *post:new     a host name that ends in `post` ends in `new`
    ?post:new     the same, where what comes before has no dots and no brackets
    -post:new     a host name that ends in `post` becomes `new`

Each rule is applied once, in order; upper and lower case are the same.
"""

from __future__ import annotations

from qmail.core.settings.hosts import read_hosts
from qmail.core.settings.lines import ControlError, read_named_file, shown, split_lines
from qmail.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Final

    from qmail.core.inject.rewriting import Hosts
    from qmail.core.settings.lines import Line, ReadFile

NAME: Final = "rewrite"
VARIABLE: Final = b"QMAILREWRITEFILE"
KINDS: Final = b"=*?-"


class Rule(Record):
    """One rule: its kind (a byte of KINDS), the end of the host name in lower case, what then."""

    kind: int
    post: bytes
    new: bytes

    def applied(self, host: bytes) -> bytes:
        """Return the host name after this rule."""
        if not host.lower().endswith(self.post):
            return host
        before = host[: len(host) - len(self.post)]
        if self.kind == ord("-"):
            return self.new
        if (self.kind == ord("=") and before) or (self.kind == ord("?") and _has_mark(before)):
            return host
        return before + self.new


def _has_mark(text: bytes) -> bool:
    return any(mark in text for mark in (b".", b"[", b"]"))


class RulesFileError(ControlError):
    """A file of one's own that can't be used; the text names it, the line and what is wrong."""

    def __init__(self, path: bytes, line: int, wrong: str) -> None:
        super().__init__(VARIABLE.decode(), line, wrong)
        self.args = (f"{path.decode(errors='replace')}:{line}: {wrong}",)


class Rules:
    """The rules of one host."""

    def __init__(self, rules: Sequence[Rule]) -> None:
        self._rules = rules

    def host(self, host: bytes) -> bytes:
        """Return a host name rewritten."""
        for rule in self._rules:
            host = rule.applied(host)
        return host

    def address(self, address: bytes) -> bytes:
        """Return an address with its host rewritten; b"" and @ are the empty address."""
        if address in (b"", b"@"):
            return b""
        at = address.rfind(b"@")
        local, host = (address, b"") if at < 0 else (address[:at], address[at + 1 :])
        return local + b"@" + self.host(host)


def default_rules(hosts: Hosts) -> Rules:
    """Return the rules of a host without control/rewrite: what qmail-inject does."""
    return Rules((
        Rule(ord("*"), b".", b""),
        Rule(ord("="), b"", hosts.defaulthost),
        Rule(ord("*"), b"+", b"." + hosts.plusdomain),
        Rule(ord("?"), b"", b"." + hosts.defaultdomain),
    ))  # fmt: skip


def parse_rules(name: str, lines: list[Line]) -> tuple[Rule, ...]:
    """A rule a line; empty lines and those that start with # are none.

    Raises: ControlError: another line.
    """
    found = []
    for line in lines:
        text = line.text
        if not text or text.startswith(b"#"):
            continue
        post, colon, new = text[1:].partition(b":")
        if text[0] not in KINDS or not colon:
            wrong = f"{shown(text)} is not =POST:NEW, *POST:NEW, ?POST:NEW or -POST:NEW"
            raise ControlError(name, line.number, wrong)
        if any(byte < 32 or byte == 127 for byte in text):
            raise ControlError(name, line.number, f"a control byte in {shown(text)}")
        found.append(Rule(text[0], post.lower(), new))
    return tuple(found)


def read_own_rules(environ: Mapping[bytes, bytes]) -> Rules | None:
    """Read the file that QMAILREWRITEFILE names; None: no such variable, or no such file.

    Raises: OSError: it can't be read. ControlError: a bad line, or it is too long.
    """
    try:
        raw = read_named_file(environ, VARIABLE)
        return None if raw is None else Rules(parse_rules(NAME, split_lines(raw)))
    except ControlError as wrong:
        raise RulesFileError(environ[VARIABLE], wrong.line, wrong.wrong) from None


class Rewriting(Record):
    """How addresses are rewritten, and the right side of a Message-ID."""

    rules: Rules
    idhost: bytes


def read_rewriting(
    environ: Mapping[bytes, bytes], read_file: ReadFile, own: Rules | None = None
) -> Rewriting:
    """Find the rules: `own`, else control/rewrite, else those made from the other control files.

    Raises: ControlError: a bad line. OSError: a file is there and can't be read.
    """
    hosts = read_hosts(environ, read_file)
    rules = own
    if rules is None:
        raw = read_file(NAME)
        found = default_rules(hosts) if raw is None else Rules(parse_rules(NAME, split_lines(raw)))
        rules = found
    return Rewriting(rules, rules.host(hosts.idhost))
