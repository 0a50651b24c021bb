"""qmail explain ADDRESS: where its mail would go, each decision with the file and line behind it.

Nothing of it is done. As root every step is taken under the account whose decision it is; anybody
else is told what that user may see. Ends with 0: deliverable, 100: refused, 111: not now.
"""

import argparse
import ipaddress
import json
import os
import shutil
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Final

from qmail.core.explain.dotqmail import LocalQuestion
from qmail.core.explain.explanation import Explanation, Part, Question, Step, printable, worst
from qmail.core.explain.rcpt import answered
from qmail.core.settings.controls import ControlError, control_reader, load
from qmail.core.settings.programs import StartControls
from qmail.edge.machine.accounts import MissingAccountError, accounts_of, home_folder
from qmail.edge.machine.passwd import Machine
from qmail.edge.machine.processes import processes_of
from qmail.mail import ADDRESS_BYTES_MAX
from qmail.protocol.doors import number
from qmail.protocol.exits import Exit
from qmail.protocol.local_door import Target
from qmail.protocol.netstring import FrameError
from qmail.protocol.verify_door import Verdict, verdict_of
from qmail.utilities.explain_parts import Observer
from qmail.utilities.explain_text import Style, lines_of

DEFAULT_DELIVERY: Final = "./Maildir/"
LOCAL_PARTS: Final = 3
"""Route, account, delivery: an address that gets so far is delivered here."""
OWNER_FACTS: Final = 4
"""A report, uid, gid and target: what is known of an owner."""
DEPTH_MAX: Final = 10
FOLLOWED_MAX: Final = 50
"""So many addresses are explained at once, forwards of forwards counted too."""
DESCRIPTION: Final = """\
Say where mail for an address would go, every decision with the file and line that makes it. It
delivers, runs and changes nothing.

As root each decision is looked at by the account that makes it; anybody else is told what that
user may see. It reads what is on disk now: programs that run read control files when they start
and at HUP.
"""
EPILOG: Final = """\
exit codes: 0 deliverable; 100 refused, now or by a bounce (and wrong usage); 111 not now, or there
is no telling. What qmail-smtpd answers counts with --smtp and --client only: mail from this
machine does not pass there. With --follow the worst of all addresses counts.
"""


def main(argv: Sequence[str]) -> int:
    """Explain the address that `argv` names. Returns: 0, 100 or 111, as the text says."""
    parser = _parser()
    chosen = parser.parse_args(argv)
    address, sender = os.fsencode(chosen.address), os.fsencode(chosen.sender)
    for what, value in (("ADDRESS", address), ("--from", sender)):
        if len(value) > ADDRESS_BYTES_MAX:
            parser.error(f"{what}: {len(value)} bytes; an address has {ADDRESS_BYTES_MAX} at most")
    if chosen.client and not _is_ip(chosen.client):
        parser.error(f"--client: {chosen.client} is not an IP address")
    home = os.path.abspath(chosen.home)
    try:
        accounts = accounts_of(home)
    except (OSError, MissingAccountError) as trouble:
        reason = trouble.strerror if isinstance(trouble, OSError) else trouble
        print(f"qmail explain: {home}: {reason}: run 'qmail check'", file=sys.stderr)
        return Exit.TEMPORARY
    observer = Observer(home, accounts, os.geteuid() == 0, Machine())
    inquiry = Inquiry(
        observer,
        default=_default_delivery(home, chosen.default),
        is_by_smtp=chosen.smtp or bool(chosen.client),
        client=chosen.client,
    )
    found = list(inquiry.run(Question(address, sender), is_following=chosen.follow))
    text = _as_json(found, inquiry.left) if chosen.json else _as_lines(found, inquiry.left)
    try:
        sys.stdout.buffer.write(text.encode(sys.stdout.encoding or "ascii", "backslashreplace"))
        sys.stdout.buffer.flush()
    except BrokenPipeError:
        # The reader has seen enough; nothing may be written when the interpreter ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except OSError as trouble:
        print(f"qmail explain: unable to write: {trouble.strerror}", file=sys.stderr)
        return Exit.TEMPORARY
    return worst(explanation.verdict for explanation in found)


def _is_ip(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="qmail explain",
        description=DESCRIPTION,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("address", metavar="ADDRESS", help="the envelope recipient, without quotes and brackets")
    add("--from", dest="sender", default="", metavar="SENDER", help="the envelope sender")
    add("--smtp", action="store_true", help="as a stranger's mail by SMTP: its refusal counts")
    add("--client", default="", metavar="IP", help="as mail by SMTP from this address")
    add("--follow", action="store_true", help="explain what it is forwarded to as well")
    add("--default", metavar="TEXT", help="the default delivery, where qmail-start does not run")
    add("--json", action="store_true", help="print one JSON object")
    add("--home", default=home_folder(), metavar="DIR", help="the home (default: %(default)s)")
    return parser


def _as_json(found: Sequence[Explanation], left: int) -> str:
    verdict = worst(explanation.verdict for explanation in found)
    explained = [one.as_json() for one in found]
    return json.dumps({"exit": verdict, "explained": explained, "left": left}, indent=1) + "\n"


def _as_lines(found: Sequence[Explanation], left: int) -> str:
    style = Style()
    if sys.stdout.isatty():
        is_bold = not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
        style = Style(shutil.get_terminal_size().columns, is_bold)
    blocks = ["\n".join(lines_of(explanation, style)) for explanation in found]
    if left:
        blocks.append(f"{left} more addresses are not explained: --follow has a limit")
    return "\n\n".join(blocks) + "\n"


class Inquiry:
    """Asks one part after the other, each with what came of the one before."""

    def __init__(
        self,
        observer: Observer,
        *,
        default: tuple[bytes, str],
        is_by_smtp: bool = False,
        client: str = "",
    ) -> None:
        self._observer = observer
        self._default = default
        self._is_by_smtp = is_by_smtp
        self._client = client
        self.left = 0
        """So many addresses were forwarded to and not explained, for there were too many."""

    def run(self, asked: Question, *, is_following: bool) -> Iterator[Explanation]:
        """Explain an address, and with `is_following` what its mail is forwarded to."""
        level, seen = [asked], {asked.address}
        for depth in range(DEPTH_MAX):
            following: dict[bytes, Question] = {}
            for question in level:
                found = self._explain(question, is_first=depth == 0)
                yield found
                following |= {one.address: one for one in found.forwards if is_following}
            # Of addresses that come again, each is explained once: a loop ends here.
            new = [one for address, one in following.items() if address not in seen]
            level = new[: FOLLOWED_MAX - len(seen)] if depth < DEPTH_MAX - 1 else []
            self.left += len(new) - len(level)
            seen |= {one.address for one in level}

    def _explain(self, question: Question, *, is_first: bool) -> Explanation:
        if not is_first:
            return _together(question, [], list(self._parts(question)))
        smtp = self._observer.rcpt(question, self._client)
        queued = smtp.facts[0] if smtp.facts else question.address
        taken = replace(question, address=queued) if self._is_by_smtp else question
        parts = list(self._parts(taken))
        existence: Verdict | None = _existence(parts)
        is_ours_to_tell = existence is not Verdict.UNSURE or not self._observer.is_stranger
        if taken.address != queued or not is_ours_to_tell:
            # Another address than the one that is queued was looked at, or not as its owner.
            existence = None
        smtp = answered(smtp, question, existence)
        if not self._is_by_smtp:
            smtp = replace(smtp, verdict=Exit.OK)
        notes = Part(tuple(_notes(self._observer)))
        return _together(question, [notes, smtp], parts)

    def _parts(self, question: Question) -> Iterator[Part]:
        route = self._observer.route(question)
        yield route
        if len(route.facts) != 3:
            return
        channel, routed, sender = route.facts
        if channel != b"local":
            yield self._observer.remote(Question(routed, sender))
            return
        account = self._observer.account(routed)
        yield account
        if len(account.facts) == OWNER_FACTS:
            yield self._delivery(account.facts[1:], sender)

    def _delivery(self, facts: tuple[bytes, ...], sender: bytes) -> Part:
        uid, gid, packed = facts
        try:
            who = number(uid, digits_max=10), number(gid, digits_max=10)
            target = Target.unpack(packed)
        except FrameError as wrong:
            return Part(
                (Step("account", f"an answer that makes no sense: {wrong}"),), Exit.TEMPORARY
            )
        return self._observer.delivery(LocalQuestion(target, sender, *self._default), who)


def _together(question: Question, before: list[Part], parts: list[Part]) -> Explanation:
    every = before + parts
    steps = tuple(step for part in every for step in part.steps)
    forwards = _forwards(question, parts[-1]) if len(parts) == LOCAL_PARTS else ()
    return Explanation(question, steps, worst(part.verdict for part in every), forwards)


def _existence(parts: Sequence[Part]) -> Verdict:
    """Return what qmail-verify would say of an address (core/smtp/verification.py)."""
    channel = parts[0].facts[:1]
    if channel != (b"local",):
        return Verdict.KNOWN if channel else Verdict.UNSURE
    # What the account decides alone comes first, then what the `.qmail` files do.
    reports = [part.facts[0] for part in parts[1:] if part.facts and part.facts[0]]
    return verdict_of(reports[0]) if reports else Verdict.UNSURE


def _forwards(question: Question, part: Part) -> tuple[Question, ...]:
    """Return what the delivery sends on: after its report, senders and recipients in turn."""
    origin = f"forwarded by {printable(question.address)}"
    pairs = zip(part.facts[1::2], part.facts[2::2], strict=False)
    return tuple(Question(address, sender, origin) for sender, address in pairs)


def _notes(observer: Observer) -> Iterator[Step]:
    """Yield what the reader has to know of who looked."""
    if observer.accounts.sole is not None:
        yield Step("note", f"uid {observer.accounts.sole[0]} runs all of this home")
    if observer.is_stranger:
        who = f"seen as uid {os.getuid()}, not as the accounts that decide"
        yield Step("note", f"{who}: root sees what they see")


def _default_delivery(home: str, given: str | None) -> tuple[bytes, str]:
    """Return the default delivery, and where it comes from."""
    if given is not None:
        return os.fsencode(given), "as --default says"
    for process in processes_of(home, frozenset({"qmail-lspawn"})):
        if process.arguments:
            return os.fsencode(process.arguments[0]), "as qmail-start was told"
    read_control = control_reader(home)
    try:
        is_there = read_control("defaultdelivery") is not None
        lines = load(StartControls, read_control).defaultdelivery
    except (OSError, ControlError):
        is_there, lines = False, ()
    if is_there and lines:
        return b"\n".join(lines), "as control/defaultdelivery says"
    return os.fsencode(DEFAULT_DELIVERY), f"taken to be {DEFAULT_DELIVERY}"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
