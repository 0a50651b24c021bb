"""qmail-smtpd: SMTP in. Runs as qmaild.

Started by qmail-start it is resident and serves all clients of the listening sockets named in
QMAIL_LISTENERS. Without that it holds one conversation on descriptors 0 and 1, as under tcpserver.
"""

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from qmail.core.settings.controls import ControlError, control_reader
from qmail.core.smtp.policy import SmtpPolicy, read_policy
from qmail.core.smtp.relay import more_hosts_of
from qmail.edge.log.lines import complain
from qmail.edge.machine.home import home_folder
from qmail.protocol.exits import Exit

if TYPE_CHECKING:
    from qmail.edge.machine.local_addresses import FreshLocalAddresses

NAME: Final = "qmail-smtpd"
LISTENERS: Final = "QMAIL_LISTENERS"
ANY_ADDRESS: Final = "0.0.0.0"  # noqa: S104 - as a destination it means this host


def listener_fds(text: str) -> list[int] | None:
    """Parse QMAIL_LISTENERS: descriptor numbers with blanks between. None: something else."""
    words = text.split()
    return [int(word) for word in words] if words and all(map(str.isdigit, words)) else None


_FRESH: "list[FreshLocalAddresses]" = []


def own_addresses() -> frozenset[str]:
    """Return the addresses that mean this host (spec/smtp.md A.4)."""
    # Imported at the first address literal, which hardly any conversation has.
    from qmail.edge.machine.local_addresses import FreshLocalAddresses  # noqa: PLC0415

    if not _FRESH:
        _FRESH.append(FreshLocalAddresses())
    try:
        return _FRESH[0]().addresses | {ANY_ADDRESS}
    except OSError as trouble:
        complain(NAME, f"own addresses not known: {trouble.strerror}")
        return frozenset({ANY_ADDRESS})


def main(argv: Sequence[str]) -> int:
    """Run the resident server, or one conversation."""
    if argv:
        complain(NAME, "usage: qmail-smtpd (no arguments)")
        return Exit.PERMANENT
    home = home_folder()
    is_resident = LISTENERS in os.environ
    policy: SmtpPolicy | None = None
    try:
        os.chdir(home)
        policy = read_policy(control_reader(home), os.environ, own_addresses, more_hosts_of(home))
    except ControlError as bad:
        complain(NAME, f"fatal: {bad}")
    except OSError as trouble:
        where = trouble.filename or home
        complain(NAME, f"fatal: {where}: {trouble.strerror}")
    # Each kind of server imports what the other does not need.
    if is_resident:
        if policy is None:
            return Exit.TEMPORARY
        fds = listener_fds(os.environ.pop(LISTENERS))
        if fds is None:
            complain(NAME, f"fatal: {LISTENERS} is not a list of descriptors")
            return Exit.TEMPORARY
        from qmail.programs.smtpd_resident import run  # noqa: PLC0415

        return run(home, policy, own_addresses, fds)
    from qmail.programs.smtpd_single import converse  # noqa: PLC0415

    return converse(home, policy, os.environ)
