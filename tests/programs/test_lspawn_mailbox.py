"""qmail-lspawn asked whether an address has a mailbox: the real program, through run/mailbox."""

import contextlib
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.programs.lspawn_driver import (
    LspawnDriver,
    running_lspawn,
)

from qmail.core.cdb import write_cdb
from qmail.core.local.route import NO_DOMAIN, TRASH
from qmail.edge.children.residents import LOOKS_PER_RESIDENT_MAX
from qmail.edge.machine.accounts import Accounts
from qmail.programs.lspawn import NO_TELLING
from qmail.protocol.doors import REPORT_FRAME_MAX, Job, Report
from qmail.protocol.netstring import FrameReader
from qmail.protocol.verify_door import Question, Verdict, verdict_of


@pytest.fixture
def home(folder: Path, own_accounts: Accounts) -> Iterator[LspawnDriver]:
    """The program in a home of one account, whose alias has one address."""
    with running_lspawn(folder, own_accounts) as driver:
        driver.write(".qmail-joe", "")
        yield driver


def looked_up(home: LspawnDriver, *names: str) -> list[Verdict]:
    return [verdict_of(report) for report in home.look(*(f"{n}@example.net" for n in names))]


def test_address_with_a_file_is_known_and_others_are_not(home: LspawnDriver) -> None:
    assert looked_up(home, "joe", "JOE", "jane", "joe-x") == [
        Verdict.KNOWN,
        Verdict.KNOWN,
        Verdict.UNKNOWN,
        Verdict.UNKNOWN,
    ]


def test_default_file_counts_as_yes(home: LspawnDriver) -> None:
    home.write(".qmail-joe-default", "|exit 100\n")
    assert looked_up(home, "joe-x", "joe-x-y", "jane-x") == [
        Verdict.KNOWN,
        Verdict.KNOWN,
        Verdict.UNKNOWN,
    ]


def test_default_file_that_only_asks_a_table_is_as_good_as_its_names(home: LspawnDriver) -> None:
    table = str(home.home / "names.cdb")
    home.write(".qmail-default", f"|fastforward -d {table}\n")
    assert looked_up(home, "ann") == [Verdict.UNSURE]
    write_cdb(table, f"{table}.tmp", [(b":ann@", b"&joe@example.net\0")])
    assert looked_up(home, "ann", "Ann", "bob", "joe") == [
        Verdict.KNOWN,
        Verdict.KNOWN,
        Verdict.UNKNOWN,
        Verdict.KNOWN,
    ]


def test_nothing_is_delivered_or_run(home: LspawnDriver) -> None:
    home.write(".qmail-joe", "|touch ran\n./Maildir/\n")
    assert looked_up(home, "joe") == [Verdict.KNOWN]
    assert home.mail() == []
    assert not (home.home / "alias/ran").exists()


@pytest.mark.parametrize("mode", [0o702, 0o1700])
def test_home_that_can_t_be_trusted_now_tells_nothing(home: LspawnDriver, mode: int) -> None:
    (home.home / "alias").chmod(mode)
    assert looked_up(home, "joe", "nobody") == [Verdict.UNSURE, Verdict.UNSURE]


def test_home_that_is_missing_tells_nothing(home: LspawnDriver) -> None:
    (home.home / "alias").rename(home.home / "elsewhere")
    assert looked_up(home, "joe") == [Verdict.UNSURE]


def test_file_that_others_may_write_tells_nothing(home: LspawnDriver) -> None:
    home.write(".qmail-bad", "./Maildir/\n", 0o602)
    assert looked_up(home, "bad", "joe") == [Verdict.UNSURE, Verdict.KNOWN]


def test_change_of_a_file_is_seen_at_the_next_question(home: LspawnDriver) -> None:
    assert looked_up(home, "new") == [Verdict.UNKNOWN]
    home.write(".qmail-new", "")
    assert looked_up(home, "new") == [Verdict.KNOWN]
    (home.home / "alias/.qmail-new").unlink()
    assert looked_up(home, "new") == [Verdict.UNKNOWN]


def test_addresses_that_are_not_looked_up(home: LspawnDriver) -> None:
    assert home.look("joe", "@example.net") == [NO_DOMAIN, TRASH]


def test_a_thousand_questions_beside_deliveries(home: LspawnDriver) -> None:
    body = home.queue(b"Subject: x\n\n")
    home.send(*(Job(n, body, b"s@example.org", b"joe@example.net") for n in range(1, 201)))
    reports = home.look(*(f"joe{'-x' * (n % 2)}@example.net" for n in range(1000)))
    for number, report in enumerate(reports):
        assert report[:1] == b"KD"[number % 2 : number % 2 + 1] or report == NO_TELLING
    assert sum(report == NO_TELLING for report in reports) <= 1000 - LOOKS_PER_RESIDENT_MAX
    assert {home.report(n)[:1] for n in range(1, 201)} == {b"K"}


def verdict_while_killed(home: LspawnDriver, pid: int, name: str) -> Verdict:
    """Ask while the process `pid` stands still, kill it, and return the verdict."""
    os.kill(pid, signal.SIGSTOP)
    with home.call(home.accounts["qmailp"].uid, "mailbox") as sock:
        sock.sendall(Question(1, f"{name}@example.net".encode()).pack())
        os.kill(pid, signal.SIGKILL)
        (payload,) = FrameReader(REPORT_FRAME_MAX).feed(sock.recv(1000))
        return verdict_of(Report.unpack(payload).text)


def test_resident_that_is_killed_makes_nobody_unknown(home: LspawnDriver) -> None:
    for _ in range(10):
        assert looked_up(home, "joe") == [Verdict.KNOWN]
        resident = home.children()[-1]
        # The next resident answers where the question had not left yet.
        verdict = verdict_while_killed(home, resident, "joe")
        assert verdict in (Verdict.UNSURE, Verdict.KNOWN)
    assert looked_up(home, "joe", "nobody") == [Verdict.KNOWN, Verdict.UNKNOWN]


def test_nonsense_at_the_door_ends_the_call_only(home: LspawnDriver) -> None:
    with home.call(home.accounts["qmailp"].uid, "mailbox") as other:
        other.sendall(Job(1, b"0/1", b"s@example.org", b"joe@example.net").pack())
        assert other.recv(100) == b""
    assert looked_up(home, "joe") == [Verdict.KNOWN]


def test_term_does_not_wait_for_questions(home: LspawnDriver) -> None:
    assert looked_up(home, "joe") == [Verdict.KNOWN]
    (resident,) = home.children()
    os.kill(resident, signal.SIGSTOP)
    with home.call(home.accounts["qmailp"].uid, "mailbox") as sock:
        sock.sendall(Question(1, b"joe@example.net").pack())
        assert home.stop() == 0
    # Nobody waits for it any more: it may be gone.
    with contextlib.suppress(ProcessLookupError):
        os.kill(resident, signal.SIGKILL)


# --- as root --------------------------------------------------------------------------------------


def real_uids(pid: int) -> set[int]:
    """Return all user ids of a process: real, effective, saved, file system."""
    status = Path(f"/proc/{pid}/status").read_text()
    (line,) = (line for line in status.splitlines() if line.startswith("Uid:"))
    return {int(uid) for uid in line.split()[1:]}


@pytest.fixture
def separate(folder: Path, suite_accounts: Accounts) -> Iterator[LspawnDriver]:
    """The program as root on a home with the separate accounts."""
    with running_lspawn(folder, suite_accounts) as driver:
        driver.write(".qmail-joe", "")
        yield driver


@pytest.mark.root
def test_root_looks_under_the_owners_uid(separate: LspawnDriver) -> None:
    alias = separate.home / "alias"
    alias.chmod(0o700)
    assert looked_up(separate, "joe", "nobody") == [Verdict.KNOWN, Verdict.UNKNOWN]
    # Root could read this; the owner of the home can't.
    hidden = separate.write(".qmail-hidden", "")
    os.chown(hidden, 0, 0)
    assert looked_up(separate, "hidden") == [Verdict.UNSURE]
    os.chown(alias, 0, 0)
    assert looked_up(separate, "joe") == [Verdict.UNSURE]


@pytest.mark.root
def test_root_nobody_who_looks_stays_root(separate: LspawnDriver) -> None:
    assert looked_up(separate, "joe") == [Verdict.KNOWN]
    wanted = {separate.accounts[name].uid for name in ("qmailp", "alias")}
    assert set().union(*map(real_uids, separate.children())) == wanted


@pytest.mark.root
def test_root_only_qmailp_may_ask(separate: LspawnDriver) -> None:
    for name in ("qmaild", "qmails", "alias"):
        with separate.call(separate.accounts[name].uid, "mailbox") as stranger:
            assert stranger.recv(100) == b""
    assert looked_up(separate, "joe") == [Verdict.KNOWN]


@pytest.mark.root
def test_root_helper_that_is_killed_makes_nobody_unknown(separate: LspawnDriver) -> None:
    separate.write(".qmail-default", "")
    assert looked_up(separate, "joe") == [Verdict.KNOWN]
    qmailp = separate.accounts["qmailp"].uid
    (helper,) = (pid for pid in separate.children() if real_uids(pid) == {qmailp})
    assert verdict_while_killed(separate, helper, "other") in (Verdict.UNSURE, Verdict.KNOWN)
