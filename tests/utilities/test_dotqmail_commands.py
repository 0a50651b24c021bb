"""The commands of `.qmail` lines in `.qmail` files, with all programs running."""

import re
from collections.abc import Iterator

import pytest
from tests.fakes.homes import HOST, as_owner, open_folder, others_can_run_the_programs
from tests.fakes.suite import Suite

JOE = "joe@far.example"
KEEP = ("./Maildir/",)


@pytest.fixture(scope="module")
def suite() -> Iterator[Suite]:
    if not others_can_run_the_programs():
        pytest.skip("the programs lie where only root can read them")
    with open_folder() as folder, Suite(folder) as made:
        made.start().wait_for("status: local 0/")
        yield made


def write(suite: Suite, name: str, *lines: str) -> str:
    """Write a `.qmail` file of alias. Returns the address that it belongs to."""
    with as_owner():
        (suite.home / f"alias/.qmail-{name}").write_text("\n".join(lines) + "\n")
    return f"{name}@{HOST}"


def arrived(suite: Suite, text: str) -> list[bytes]:
    """Return the messages with this text that are in the maildir of alias."""
    return [message for message in suite.mailbox if text.encode() in message]


def test_forward_queues_the_message_anew(suite: Suite) -> None:
    target = write(suite, "target", *KEEP)
    suite.send(write(suite, "fwd", f"|forward {target}"), sender=JOE, text="forwarded\n")
    line, _ = suite.wait_for_each("success: forward:_qp_", "success: did_1+0+0/")
    qp = re.search(r"success: forward:_qp_(\d+)/did_0\+0\+1/$", line)
    assert qp
    (message,) = arrived(suite, "forwarded")
    assert b"\nReceived: (qmail %b invoked by uid " % qp[1].encode() in message
    trace = [field for field in message.split(b"\n") if field.startswith(b"Delivered-To: ")]
    assert trace == [b"Delivered-To: target@me.ex", b"Delivered-To: fwd@me.ex"]


def test_forward_sends_as_the_owner_of_a_list(suite: Suite) -> None:
    write(suite, "list-owner", *KEEP)
    target = write(suite, "target", *KEEP)
    suite.send(write(suite, "list", f"|forward {target}"), sender=JOE, text="to the list\n")
    suite.wait_for_each(
        f" from <list-owner@{HOST}> qp ", "success: forward:_qp_", "success: did_1+0+0/"
    )
    (message,) = arrived(suite, "to the list")
    assert message.startswith(b"Return-Path: <list-owner@me.ex>\n")


@pytest.mark.parametrize(("subject", "kept"), [("test", False), ("other", True)])
def test_condredirect_takes_the_place_of_the_lines_below(
    suite: Suite, subject: str, *, kept: bool
) -> None:
    text = f"redirected {subject}\n"
    target = write(suite, "target", *KEEP)
    line = f"|condredirect {target} grep -q '^Subject: {subject}'"
    suite.send(write(suite, "cond", line, *KEEP), sender=JOE, text=text)
    if kept:
        suite.wait_for("success: did_1+0+1/")
    else:
        suite.wait_for_each("success: condredirect:_qp_", "success: did_1+0+0/")
    (message,) = arrived(suite, text)
    delivered = b"Delivered-To: cond@me.ex\n" if kept else b"Delivered-To: target@me.ex\n"
    assert message.startswith(b"Return-Path: <joe@far.example>\n" + delivered)


def test_bouncesaying_tells_the_sender_why(suite: Suite) -> None:
    reply_to = write(suite, "sender", *KEEP)
    address = write(suite, "gone", "|bouncesaying 'Ann has left. (#5.1.6)' grep -q gone", *KEEP)
    suite.send(address, sender=reply_to, text="are you gone?\n")
    suite.wait_for("failure: Ann_has_left._(#5.1.6)/")
    suite.wait_for_each("bounce msg ", "success: did_1+0+0/")
    (bounce,) = arrived(suite, "are you gone?")
    assert b"\n<gone@me.ex>:\nAnn has left. (#5.1.6)\n" in bounce
    suite.send(address, sender=reply_to, text="are you there?\n")
    suite.wait_for("success: did_1+0+1/")


def test_except_turns_the_condition_round(suite: Suite) -> None:
    line = "|bouncesaying 'Not for you. (#5.7.1)' except grep -q password"
    address = write(suite, "door", line, *KEEP)
    suite.send(address, sender=JOE, text="the password\n")
    suite.wait_for("success: did_1+0+1/")
    suite.send(address, sender="#@[]", text="let me in\n")
    suite.wait_for("failure: Not_for_you._(#5.7.1)/")


def test_preline_feeds_a_mailbox_of_another_program(suite: Suite) -> None:
    suite.send(write(suite, "agent", "|preline cat >agent.out"), sender=JOE, text="for agents\n")
    suite.wait_for("success: did_0+0+1/")
    text = (suite.home / "alias/agent.out").read_bytes()
    assert re.match(
        rb"From joe@far\.example \w{3} \w{3} \d\d [\d:]{8} \d{4}\n"
        rb"Return-Path: <joe@far\.example>\nDelivered-To: agent@me\.ex\n"
        rb"Received: ",
        text,
    )
    assert text.endswith(b"\nSubject: test\n\nfor agents\n")


def test_a_missing_program_keeps_the_mail(suite: Suite) -> None:
    lines = [f"|{command} no-such-program" for command in ("except", "bouncesaying no")]
    suite.send(write(suite, "typo", *lines, *KEEP), sender=JOE, text="kept anyway\n")
    line = suite.wait_for("success: except:_warning:_unable_to_run_no-such-program:_")
    assert "/bouncesaying:_warning:_unable_to_run_no-such-program:_" in line
    assert line.endswith("did_1+0+2/")
    assert len(arrived(suite, "kept anyway")) == 1
