"""qmail-local: one local delivery, with the classic interface. Runs as the recipient.

    qmail-local [-nN] user homedir local dash ext domain sender defaultdelivery

The message is descriptor 0, the report goes to 1. With -n it only shows what it would do. The
resident one lives in qmail-lspawn's children and uses the same rules. Source: spec/delivery.md 3.
"""

import os
import sys
import time
from collections.abc import Sequence

from qmail.core.local.delivery import Delivery, deliver_one, show_plan
from qmail.core.local.home_files import HomeFiles, StoppedError, put_off
from qmail.core.local.mbox import LOCK_S_MAX
from qmail.core.local.message_source import FileSource
from qmail.core.local.plan import enter_home, is_sticky
from qmail.core.settings.controls import ControlError, control_reader, load
from qmail.core.settings.local import LocalControls
from qmail.edge.children.local_hands import LocalHands
from qmail.edge.machine.home import home_folder
from qmail.protocol.exits import Exit
from qmail.protocol.local_door import Target
from qmail.protocol.options import OptionError, asks_for_help, split_options

USAGE = (
    "qmail-local: usage: qmail-local [ -nN ]"
    " user homedir local dash ext domain sender defaultdelivery"
)


def main(argv: Sequence[str]) -> int:
    """Run the command."""
    os.umask(0o077)
    if asks_for_help(argv):
        print(USAGE, file=sys.stderr)
        return Exit.PERMANENT
    try:
        options, words = split_options(argv, "nN")
    except OptionError as wrong:
        print(f"qmail-local: {wrong}\n{USAGE}", file=sys.stderr)
        return Exit.PERMANENT
    if len(words) != 8 or not words[1].startswith("/"):
        print(USAGE, file=sys.stderr)
        return Exit.PERMANENT
    is_dry = bool(options) and options[-1][0] == "n"
    user, home, local, dash, ext, domain, sender, default = map(os.fsencode, words)
    hands = LocalHands(home_folder(), os.environ, LOCK_S_MAX)
    try:
        patrn = read_patrn(home_folder())
        folder = enter_home(home, patrn=patrn, sticky_is_fine=is_dry)
    except StoppedError as stopped:
        hands.say(stopped.text)
        return stopped.code
    if is_dry and is_sticky(folder):
        print("qmail-local: warning: the home folder is sticky: mail would wait", file=sys.stderr)
    delivery = Delivery(
        target=Target(user, home, local, dash, ext, domain),
        sender=sender,
        files=HomeFiles(folder, patrn),
        source=FileSource(0),
        default_delivery=default,
        now_s=int(time.time()),
        inherited=os.environb,
    )
    return show_plan(delivery, hands.say) if is_dry else deliver_one(delivery, hands)


def read_patrn(home: str) -> int:
    """Return what control/patrn forbids. Raises: StoppedError: there is no reading it."""
    try:
        return load(LocalControls, control_reader(home)).patrn
    except (ControlError, OSError) as trouble:
        raise put_off(str(trouble).encode() + b" (#4.3.0)\n") from None
