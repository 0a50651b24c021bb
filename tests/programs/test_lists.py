"""Lists end to end: the real programs, one message in, thousands of members out, bounces back."""

import os
import shlex
import signal
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.fakes.homes import as_owner, open_folder, others_can_run_the_programs
from tests.fakes.smtp_server import FakeServer
from tests.fakes.suite import Suite

MEMBERS = 10_000
AT_ONCE = 200
PEAK_KB_MAX = 64 * 1024
MEMBER_GONE = b"m7@h7.far.example"


@pytest.fixture
def suite() -> Iterator[Suite]:
    if not others_can_run_the_programs():
        pytest.skip("the programs lie where only root can read them")
    with open_folder() as folder, Suite(folder) as made:
        yield made


def members() -> list[bytes]:
    """Addresses at fifty hosts."""
    return [b"m%d@h%d.far.example" % (at, at % 50) for at in range(MEMBERS)]


def write(suite: Suite, name: str, *lines: bytes) -> None:
    """Write a file of the lists' owner, who is alias here."""
    with as_owner():
        (suite.home / "alias" / name).write_bytes(b"".join(line + b"\n" for line in lines))


def start(suite: Suite, sink: FakeServer) -> None:
    """Start the suite with `sink` as the rest of the world."""
    suite.control("smtproutes", f":[127.0.0.1]:{sink.port}\n")
    suite.start().wait_for("status: local 0/")


def the_world() -> FakeServer:
    """Make every other mail server there is; one member's address is gone."""
    return FakeServer(extensions=(b"PIPELINING",), nobody=frozenset({MEMBER_GONE}))


def peak_kb(pid: int) -> int:
    """Return the most memory that a process had."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("VmHWM:")).split()[1])


def the_list(suite: Suite, *more: str) -> None:
    """Make the list `talk`, with the files `.qmail-talk` + `more`: its owner reads alias' mail."""
    write(suite, ".qmail-talk", *(b"&" + member for member in members()))
    told = shlex.quote(str(suite.home / "alias/told"))
    for name in more:
        write(
            suite, f".qmail-talk{name}", f'|echo "$EXT/$DEFAULT" >> {told}'.encode(), b"./Maildir/"
        )


def told(suite: Suite) -> list[str]:
    """EXT and DEFAULT of every message to the owner."""
    return (suite.home / "alias/told").read_text().splitlines()


def test_delivery_6_a_list_is_one_message_and_every_member_has_a_sender_of_its_own(
    suite: Suite,
) -> None:
    with the_world() as sink:
        the_list(suite, "-owner", "-owner-default")
        start(suite, sink)
        suite.send("talk@me.ex", sender="joe@far.example")
        # The post, the one that goes out, and the bounce of the member that is gone.
        log = suite.lines_until("end msg ", 3)
        senders = [line.split()[6] for line in log if line.startswith("info msg ")]
        assert senders == ["<joe@far.example>", "<talk-owner-@me.ex-@[]>", "<>"]
        wanted = {
            b"MAIL FROM:<talk-owner-%b@me.ex>" % member.replace(b"@", b"="): [
                b"RCPT TO:<%b>" % member
            ]
            for member in members()
            if member != MEMBER_GONE
        }
        assert len(sink.taken) == len(wanted)
        assert {taken.mail: taken.rcpts for taken in sink.taken} == wanted
        assert b"Delivered-To: talk@me.ex\r\n" in sink.taken[0].data
        # What our own queue gives up on names the members in its text.
        (bounce,) = suite.mailbox
        assert bounce.startswith(b"Return-Path: <>\nDelivered-To: talk-owner-@me.ex\n")
        assert b"\n\nHi. This is the qmail-send program at me.ex.\n" in bounce
        assert b"\n<%b>:\n" % MEMBER_GONE in bounce
        # What another host bounces later comes to the sender that only this member had.
        suite.send_by_smtp("talk-owner-m5=h5.far.example@me.ex", sender="")
        suite.wait_for("end msg ")
        peaks = {name: peak_kb(pid) for name, pid in suite.children.items()}
        assert max(peaks.values()) < PEAK_KB_MAX, peaks
        assert told(suite) == ["talk-owner-/", "talk-owner-m5=h5.far.example/m5=h5.far.example"]


def test_delivery_6_without_owner_default_every_member_has_the_owner_as_sender(
    suite: Suite,
) -> None:
    with the_world() as sink:
        the_list(suite, "-owner")
        start(suite, sink)
        suite.send("talk@me.ex", sender="joe@far.example")
        suite.lines_until("end msg ", 3)
        assert {taken.mail for taken in sink.taken} == {b"MAIL FROM:<talk-owner@me.ex>"}
        assert len(sink.taken) == MEMBERS - 1
        assert b"\n<%b>:\n" % MEMBER_GONE in suite.mailbox[0]
        assert told(suite) == ["talk-owner/"]


def test_a_qmail_send_that_dies_in_the_middle_of_a_list_misses_nobody(suite: Suite) -> None:
    with the_world() as sink:
        the_list(suite, "-owner", "-owner-default")
        suite.control("concurrencyremote", f"{AT_ONCE}\n")
        start(suite, sink)
        suite.send("talk@me.ex", sender="joe@far.example")
        suite.lines_until(": success: ", MEMBERS // 2)
        with as_owner():
            os.kill(suite.children["qmail-send"], signal.SIGKILL)
        suite.wait_for("qmail-send is gone (killed by signal 9); starting it again")
        # The list, and the bounce of the member that is gone.
        suite.lines_until("end msg ", 2)
        members_served = Counter(taken.rcpts[0][9:-1] for taken in sink.taken)
        assert members_served.keys() == set(members()) - {MEMBER_GONE}
        # Twice only those whose success was on its way or waited for a sync.
        assert members_served.total() - len(members_served) <= 2 * AT_ONCE


# --- packages that manage lists -------------------------------------------------------------------

KEPT_S_MAX = 60
MANAGER = """\
import os
message, message_writer = os.pipe()
envelope, envelope_writer = os.pipe()
pid = os.fork()
if pid == 0:
    os.dup2(message, 0)
    os.dup2(envelope, 1)
    for fd in (message, message_writer, envelope, envelope_writer):
        os.close(fd)
    os.chdir(os.environ["QMAIL_HOME"])
    os.execv("bin/qmail-queue", ["bin/qmail-queue"])
os.close(message)
os.close(envelope)
here = os.environ["LOCAL"] + "@" + os.environ["HOST"]
with open(message_writer, "wb") as file:
    file.write(f"Delivered-To: mailing list {here}\\n".encode() + open(0, "rb").read())
with open(envelope_writer, "wb", buffering=1024) as file:
    file.write(f"F{os.environ['LOCAL']}-return-1-@{os.environ['HOST']}-@[]\\0".encode())
    for at in range(50_000):
        file.write(b"Tm%d@far.example\\0" % (at // 2))
    file.write(b"\\0")
code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
print(f"manager: qp {pid} code {code}")
raise SystemExit(code)
"""
"""What ezmlm does with a post: it starts bin/qmail-queue in the home and streams the members."""


def test_companion_9_a_list_manager_streams_50000_records_and_each_is_kept(
    suite: Suite,
) -> None:
    write(suite, "manager.py", MANAGER.encode())
    with as_owner():
        # As ezmlm-make leaves it: links to files in a folder that is nobody else's.
        (suite.home / "alias/talk").mkdir(0o700)
        (suite.home / "alias/.qmail-talk").symlink_to(suite.home / "alias/talk/editor")
    write(suite, "talk/editor", f"|{shlex.quote(sys.executable)} manager.py".encode())
    suite.control("concurrencyremote", "0\n")
    suite.start().wait_for("status: local 0/")
    text = "Delivered-To: mailing list other@me.ex\n"
    suite.send("talk@me.ex", sender="joe@far.example", text=text)
    # The manager knows that its message is queued before qmail-send does.
    success, out, _ = suite.wait_for_each(
        ": success: ", "from <talk-return-1-@me.ex-@[]>", "end msg "
    )
    pid = out.split()[8]
    assert success.endswith(f": success: manager:_qp_{pid}_code_0/did_0+0+1/")
    number = int(out.split()[2].rstrip(":"))
    end = time.monotonic() + KEPT_S_MAX
    while (suite.home / f"queue/todo/{number}").exists():
        assert time.monotonic() < end
        time.sleep(0.01)
    (remote,) = (suite.home / "queue/remote").glob(f"*/{number}")
    records = remote.read_bytes().split(b"\0")
    assert records == [b"Tm%d@far.example" % (at // 2) for at in range(50_000)] + [b""]
