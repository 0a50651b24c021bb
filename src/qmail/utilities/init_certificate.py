"""The part of `qmail init` that makes a certificate, so that TLS works from the start."""

from collections.abc import Callable
from typing import Final

from qmail.edge.machine.accounts import Accounts
from qmail.edge.machine.home_maker import HomeMaker, ids_of
from qmail.edge.tls.certificate import CERTIFICATE, KEY, certificate_files
from qmail.edge.tls.certificate_maker import DAYS, CannotMakeError, self_signed

OWNER: Final = ("qmaild", "qmail")
MODE: Final = 0o400


def write_certificate(
    maker: HomeMaker, accounts: Accounts, host: str, say: Callable[[str], None]
) -> None:
    """Write a self-signed certificate for `host` where there is none.

    Raises: OSError: not allowed.
    """
    if certificate_files(maker.home) is not None:
        return
    try:
        made = self_signed(host)
    except CannotMakeError as trouble:
        say(f"note: no certificate, so no TLS: {trouble}")
        return
    maker.file(f"control/{CERTIFICATE}", made, owner=ids_of(accounts, *OWNER), mode=MODE)
    say(f"wrote control/{CERTIFICATE}: self-signed, for {host}, good for {DAYS} days;")
    say("  mail programs ask their users about it: put one that they know there, key and all,")
    say(f"  or its key into control/{KEY}")
