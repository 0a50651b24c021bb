"""What sendmail's command line means for an injection: the author, the sender, the recipients.

Sendmail takes each of its arguments for a list of addresses as a header has them: cron gives it
all of MAILTO=ann,bob as one word, mail readers give it names and angle brackets.
Source: spec/inject.md 10, spec/oddities.md 8 (-f and -F).
"""

from __future__ import annotations

from qmail.core.inject.message import Request
from qmail.core.inject.rewriting import envelope_address
from qmail.protocol.address_list import AddressSyntaxError, addresses, parse_list

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Final

    from qmail.protocol.sendmail_options import Command

USERS: Final = (b"QMAILUSER", b"MAILUSER", b"USER", b"LOGNAME")
NAMES: Final = (b"QMAILNAME", b"MAILNAME", b"NAME")
HOSTS: Final = (b"QMAILHOST", b"MAILHOST")
LIST_BYTES: Final = b',<>"(\\'
"""Without any of these a word is one address, as qmail-inject takes it."""
SHOWN_MAX: Final = 200


class BadArgumentError(ValueError):
    """An argument that is no list of addresses; the text says which and why."""


def make_request(command: Command, encode: Callable[[str], bytes]) -> Request:
    """Return what is asked of the injection; `encode` makes bytes of a word of the command line.

    Raises: BadArgumentError.
    """
    found = [address for word in command.arguments for address in listed(encode(word))]
    sender = None if command.sender is None else _sender(encode(command.sender))
    return Request("H" if command.takes_header else "a", sender, False, tuple(found))


def listed(word: bytes) -> list[bytes]:
    """Return the addresses that a word of the command line names.

    Raises: BadArgumentError: it is no list of addresses.
    """
    if word.translate(None, LIST_BYTES) == word:
        return [word]
    try:
        return [envelope_address(address) for address in addresses(parse_list(word))]
    except AddressSyntaxError as wrong:
        raise BadArgumentError(f"unable to parse this address: {_shown(word)}: {wrong}") from wrong


def _sender(word: bytes) -> bytes:
    found = listed(word) if word != b"<>" else [b""]
    if len(found) != 1:
        raise BadArgumentError(f"-f: {len(found)} addresses, not one: {_shown(word)}")
    return found[0]


def author(
    environ: Mapping[bytes, bytes],
    sender: bytes | None,
    name: bytes | None,
    login: Callable[[], bytes | None],
) -> dict[bytes, bytes]:
    """Return the environment in which From is made: `sender` is -f, `name` is -F.

    Where the environment names no user, as in a service that a supervisor starts, the account's
    own name counts: `login` is asked then.
    """
    found = dict(environ)
    if sender:
        for variable in (*NAMES, *HOSTS):
            found.pop(variable, None)
        user, at, host = sender.rpartition(b"@")
        found[b"QMAILUSER"] = user if at else sender
        if at:
            found[b"QMAILHOST"] = host
    elif not any(variable in found for variable in USERS):
        own = login()
        if own is not None:
            found[b"QMAILUSER"] = own
    if name is not None:
        # The caller said it last: it is stronger than the environment, and stands beside -f.
        for variable in NAMES:
            found.pop(variable, None)
        if name:
            found[b"QMAILNAME"] = name
    return found


def _shown(word: bytes) -> str:
    return word[:SHOWN_MAX].decode("utf-8", "replace")
