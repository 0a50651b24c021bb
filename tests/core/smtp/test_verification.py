"""The verdict on an address is the report that a delivery to it would end with, if it is 5.1.1.

Random homes, routes and addresses; both sides are made of the parts that the programs use.
"""

import os
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from qmail.core.addresses.owners import Owners
from qmail.core.addresses.routing import Routes, route
from qmail.core.local.delivery import Delivery, deliver_one
from qmail.core.local.home_files import HomeFiles, StoppedError
from qmail.core.local.message_source import FileSource
from qmail.core.local.plan import open_home
from qmail.core.local.quick_delivery import QuickDelivery
from qmail.core.local.route import TRASH, local_route, wrong_with_recipient
from qmail.core.smtp.verification import by_owner, by_route
from qmail.mail import Channel, Envelope, Result
from qmail.protocol.local_door import Answer, Owner, Target, Task
from qmail.protocol.local_exits import LOOKUP_CRASHED, local_report
from qmail.protocol.verify_door import KNOWN_REPORT, Verdict, verdict_of

USERS = (b"joe", b"joe-list", b"alias", b"root", b"away")
NAMES = ("", "-default", "-x", "-x-default", "-a-default", "-a", "-joe", "-v-joe", "-v-default",
         "-list-default", "-x:y", "-upper")  # fmt: skip
TEXTS = ("", "./Maildir/\n", "#\n", "|false\n", "&other@far.example\n", "./box\n", "\n./Maildir/\n")
LOCALS = st.sampled_from(
    ["joe", "JOE", "joe-x", "joe-a-b", "joe-", "joe-list", "joe-list-y", "jane", "x", "x.y",
     "UPPER", "a", "a-b-c", "root", "away", "away-x", "alias", "alias-x", "v-joe",
     "joe%far.example", "jane%here.example", "", "-", "joe/x", "x@y", "v"]
)  # fmt: skip
DOMAINS = st.sampled_from(
    ["here.example", "HERE.example", "virtual.example", "sub.wild.example", "far.example",
     "hack.example", ""]
)  # fmt: skip
FILES = st.dictionaries(
    st.sampled_from(NAMES),
    st.tuples(st.sampled_from(TEXTS), st.sampled_from([0o600, 0o644, 0o602, 0o700])),
    max_size=5,
)
ROUTES = st.builds(
    Routes,
    locals=st.just(frozenset({b"here.example"})),
    virtualdomains=st.dictionaries(
        st.sampled_from([b"virtual.example", b".wild.example", b"joe@virtual.example", b""]),
        st.sampled_from([b"v", b"joe", b"joe-list", b"nobody", b""]),
        max_size=3,
    ),
    percenthack=st.sampled_from([frozenset(), frozenset({b"hack.example", b"here.example"})]),
    envnoathost=st.sampled_from([b"here.example", b"far.example"]),
)


@dataclass(frozen=True)
class Home:
    """What lies in a home folder, and its mode."""

    files: Mapping[str, tuple[str, int]]
    mode: int = 0o755
    has_maildir: bool = True


HOMES = st.dictionaries(
    st.sampled_from(USERS),
    st.builds(
        Home,
        files=FILES,
        mode=st.sampled_from([0o755, 0o755, 0o755, 0o777, 0o1755]),
        has_maildir=st.booleans(),
    ),
)


class World:
    """Homes below one folder, with a directory of accounts that all are ours in truth."""

    def __init__(self, folder: str, homes: Mapping[bytes, Home]) -> None:
        self._folder = folder
        for name, home in homes.items():
            path = Path(folder, name.decode())
            path.mkdir()
            if home.has_maildir:
                for part in ("", "tmp", "new", "cur"):
                    (path / "Maildir" / part).mkdir()
            for ext, (text, mode) in home.files.items():
                file = path / f".qmail{ext}"
                file.write_text(text)
                file.chmod(mode)
            path.chmod(home.mode)

    def _uid(self, name: bytes) -> int:
        return 0 if name == b"root" else 2000 + USERS.index(name)

    def account(self, name: bytes) -> Owner | None:
        if name not in USERS:
            return None
        home = os.fsencode(f"{self._folder}/") + name
        return Owner(name, self._uid(name), 100, home, b"", b"")

    def folder_owner(self, path: bytes) -> int | None:
        return self._uid(os.path.basename(path)) if os.path.isdir(path) else None


class IdleHands:
    """Starts and queues nothing; what it is told to do goes well."""

    def __init__(self) -> None:
        self.said = b""

    def run(self, _command: bytes, _variables: Mapping[bytes, bytes]) -> int:
        return 0

    def submit(self, parts: Iterator[bytes], _envelope: Envelope) -> tuple[Result | None, int]:
        for _ in parts:
            pass
        return None, 1

    def lock(self, _fd: int) -> None:
        """Nobody else is here."""

    def say(self, text: bytes) -> None:
        self.said += text


def delivered(recipient: bytes, routes: Routes, owners: Owners) -> bytes:
    """Return the report that qmail-send gets on a message to `recipient`."""
    channel, address = route(recipient, routes)
    if channel is Channel.REMOTE:
        return b"K"
    wrong = wrong_with_recipient(address)
    if wrong is not None:
        return wrong
    found = local_route(owners.find(address.rpartition(b"@")[0]), address)
    return found if isinstance(found, bytes) else made_delivery(found[1])


def made_delivery(target: bytes) -> bytes:
    """Deliver a small message as the resident qmail-local does."""
    quick = QuickDelivery(b"./Maildir/")
    with tempfile.TemporaryFile() as message:
        message.write(b"Subject: x\n\n")
        message.flush()
        reports, slow = quick.begin([(Task(1, b"s@far.example", target), message.fileno())])
        while not quick.is_idle:
            reports += quick.step()
        if slow:
            return slow_delivery(Target.unpack(target), message.fileno())
    ((_serial, text),) = reports
    return text


def slow_delivery(target: Target, message: int) -> bytes:
    """Deliver as the process does that the resident one forks."""
    hands = IdleHands()
    folder = here = -1
    try:
        folder = open_home(target.home)
        here = os.open(".", os.O_RDONLY)
        os.fchdir(folder)
        files, source = HomeFiles(folder), FileSource(message)
        delivery = Delivery(target, b"s@far.example", files, source, b"./Maildir/", 1, {})
        return local_report(deliver_one(delivery, hands), hands.said)
    except StoppedError as stopped:
        return local_report(stopped.code, stopped.text)
    finally:
        if here >= 0:
            os.fchdir(here)
            os.close(here)
        if folder >= 0:
            os.close(folder)


def verified(recipient: bytes, routes: Routes, owners: Owners) -> bytes:
    """Return the report that qmail-smtpd gets on `recipient`."""
    address, report = by_route(recipient, routes)
    if report is None:
        report = by_owner(address, owners.find(address.rpartition(b"@")[0]))
    if report is None:
        # From here on it is qmail-lspawn that decides.
        assert wrong_with_recipient(address) is None
        found = local_route(owners.find(address.rpartition(b"@")[0]), address)
        assert isinstance(found, tuple)
        report = QuickDelivery(b"./Maildir/").look(found[1])
    return report


@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(local=LOCALS, domain=DOMAINS, routes=ROUTES, homes=HOMES)
@example(
    local="joe-x",
    domain="here.example",
    routes=Routes(frozenset({b"here.example"})),
    homes={b"joe": Home({"-default": ("", 0o600)}), b"alias": Home({})},
)
@example(
    local="jane",
    domain="here.example",
    routes=Routes(frozenset({b"here.example"})),
    homes={b"alias": Home({})},
)
def test_unknown_is_what_a_delivery_would_bounce_with_5_1_1(
    local: str, domain: str, routes: Routes, homes: dict[bytes, Home]
) -> None:
    recipient = f"{local}@{domain}".encode() if domain else local.encode()
    with tempfile.TemporaryDirectory() as folder:
        owners = Owners(folder, World(folder, homes))
        verdict = verdict_of(verified(recipient, routes, owners))
        report = delivered(recipient, routes, owners)
    assert (verdict is Verdict.UNKNOWN) == (verdict_of(report) is Verdict.UNKNOWN), report
    if report[:1] == b"K":
        assert verdict is Verdict.KNOWN


HERE = Routes(frozenset({b"here.example"}))


def test_another_hosts_address_is_known_without_being_asked_for() -> None:
    assert by_route(b"anybody@far.example", HERE) == (b"anybody@far.example", b"K")


def test_empty_local_part_is_taken_as_a_delivery_takes_it() -> None:
    assert by_route(b"@here.example", HERE) == (b"@here.example", TRASH)


def test_users_own_address_needs_no_look_into_the_home() -> None:
    answer = Answer(b"joe", 0, Owner(b"joe", 1001, 100, b"/nowhere", b"", b""))
    assert by_owner(b"joe@here.example", answer) == KNOWN_REPORT


def test_extension_is_for_the_files_of_the_home_to_decide() -> None:
    answer = Answer(b"joe-x", 0, Owner(b"joe", 1001, 100, b"/nowhere", b"-", b"x"))
    assert by_owner(b"joe-x@here.example", answer) is None


def test_home_that_is_not_there_tells_nothing() -> None:
    answer = Owners("/nowhere", World("/nowhere", {})).find(b"joe")
    assert verdict_of(by_owner(b"joe@here.example", answer) or b"K") is Verdict.UNSURE


def test_look_up_that_crashed_tells_nothing() -> None:
    assert by_owner(b"joe@here.example", None) == LOOKUP_CRASHED
    assert verdict_of(LOOKUP_CRASHED) is Verdict.UNSURE
