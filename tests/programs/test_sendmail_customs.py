"""/etc/aliases and .forward files with all programs running (spec/companion.md 1 and 2)."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.fakes.homes import GID, HOST, IS_ROOT, UID, open_folder, others_can_run_the_programs
from tests.fakes.suite import WAIT_S, Suite

ALIASES = """\
joe: box
boss: joe
owner-staff: boss
staff: :include:{home}/staff
prog: "|cat >out", box
"""
STAFF = "# all\njoe, nosuch\n"


class Host(Suite):
    """A host with an alias file, a list, and users who have .forward files."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.control("defaultdelivery", "|dot-forward .forward\n./Maildir/\n")
        self.write("alias/.qmail-default", f"|fastforward -d {self.home}/aliases.cdb\n")
        self.write("alias/.qmail-box", "./Maildir/\n")
        self.write("staff", STAFF)
        self.write("aliases", ALIASES.format(home=self.home))
        self.run("newinclude", f"{self.home}/staff")
        self.run("newaliases", f"{self.home}/aliases")

    def write(self, name: str, text: str) -> None:
        """Write a file of the account that the home belongs to."""
        path = self.home / name
        path.write_text(text)
        os.chown(path, UID, GID)

    def run(self, *command: str) -> None:
        """Run a command of the suite as that account."""
        subprocess.run(
            [self.bin / command[0], *command[1:]],
            env={"PATH": os.environ["PATH"], "QMAIL_HOME": str(self.home)},
            check=True,
            timeout=WAIT_S,
            user=UID,
            group=GID,
            extra_groups=[] if IS_ROOT else None,
        )

    def received(self, count: int) -> list[bytes]:
        """Wait for `count` messages; take them out of the mailbox."""
        for _ in range(count):
            self.wait_for("did_1+0+")
        found = self.mailbox
        for path in (self.home / "alias/Maildir/new").iterdir():
            path.unlink()
        assert len(found) == count
        return found


@pytest.fixture(scope="module")
def host() -> Iterator[Host]:
    if not others_can_run_the_programs():
        pytest.skip("the programs lie where only root can read them")
    with open_folder() as folder:
        made = Host(folder)
        with made:
            # Without an argument of its own, qmail-start reads control/defaultdelivery.
            made.start("").wait_for("status: local 0/")
            yield made


def test_an_alias_leads_to_its_mailbox(host: Host) -> None:
    host.send(f"Boss@{HOST}", sender="ann@far.example")
    (message,) = host.received(1)
    # One delivery for each name on the way: boss, joe, box.
    assert message.startswith(b"Return-Path: <ann@far.example>\nDelivered-To: box@me.ex\n")
    assert b"\nDelivered-To: joe@me.ex\n" in message
    assert b"\nDelivered-To: Boss@me.ex\n" in message


def test_a_program_gets_the_message_and_the_rest_is_sent_on(host: Host) -> None:
    host.send(f"prog@{HOST}", sender="ann@far.example")
    host.received(1)
    piped = (host.home / "alias/out").read_bytes()
    assert piped.startswith(b"From ann@far.example ")
    assert b"\nReturn-Path: <ann@far.example>\nDelivered-To: prog@me.ex\n" in piped
    assert piped.endswith(b"\nx\n")


def test_bounces_of_a_list_go_to_its_owner(host: Host) -> None:
    host.send(f"staff@{HOST}", sender="ann@far.example")
    message, bounce = sorted(host.received(2), key=lambda one: b"Hi. This is the" in one)
    assert message.startswith(b"Return-Path: <owner-staff@me.ex>\n")
    assert bounce.startswith(b"Return-Path: <>\n")
    assert b"\nTo: owner-staff@me.ex\n" in bounce
    assert b"\n<nosuch@me.ex>:\n" in bounce
    assert b"(#5.1.1)" in bounce


def test_an_unknown_name_bounces_with_5_1_1(host: Host) -> None:
    host.send(f"nosuch@{HOST}", sender=f"joe@{HOST}")
    (bounce,) = host.received(1)
    assert b"\n<nosuch@me.ex>:\nThere is no mailbox of this name here. (#5.1.1)\n" in bounce


def test_a_forward_file_keeps_a_copy_and_sends_the_rest_on(host: Host) -> None:
    host.write("alias/.qmail-ann", "")
    host.write("alias/.forward", "\\alias, joe\n")
    host.send(f"ann@{HOST}", sender="carl@far.example")
    kept, sent = sorted(host.received(2), key=lambda one: b"Delivered-To: box" in one)
    assert kept.startswith(b"Return-Path: <carl@far.example>\nDelivered-To: ann@me.ex\n")
    assert b"\nDelivered-To: joe@me.ex\n" in sent
    assert b"\nDelivered-To: ann@me.ex\n" in sent


def test_a_forward_file_that_sends_all_on_keeps_nothing(host: Host) -> None:
    host.write("alias/.qmail-ann", "")
    host.write("alias/.forward", "joe@me.ex\n")
    host.send(f"ann@{HOST}", sender="carl@far.example")
    (sent,) = host.received(1)
    assert sent.startswith(b"Return-Path: <carl@far.example>\nDelivered-To: box@me.ex\n")


def test_a_forward_file_that_is_not_there_changes_nothing(host: Host) -> None:
    host.write("alias/.qmail-ann", "")
    (host.home / "alias/.forward").unlink(missing_ok=True)
    host.send(f"ann@{HOST}", sender="carl@far.example")
    (kept,) = host.received(1)
    assert kept.startswith(b"Return-Path: <carl@far.example>\nDelivered-To: ann@me.ex\n")
