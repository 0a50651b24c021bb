"""qmail queue on a running suite whose remote mail has nowhere to go, and its words for people."""

import argparse
import json
import os
import subprocess
from collections.abc import Iterator

import pytest
from tests.fakes.homes import HOST, open_folder, others_can_run_the_programs
from tests.fakes.suite import Suite

from qmail.edge.tools.plain_text import plural, short_age, short_size, shown, table
from qmail.utilities.queue_options import add_filter, age, filter_of, parse


@pytest.fixture(scope="module")
def suite() -> Iterator[Suite]:
    """A suite with three deferred messages, for tests that leave them as they are."""
    if not others_can_run_the_programs():
        pytest.skip("the programs lie where only root can read them")
    with open_folder() as folder, Suite(folder) as made:
        made.control("smtproutes", ":127.0.0.1:1\n")
        made.start().wait_for("status: local 0/")
        made.send("a@b.example", "c@d.example", sender="anne@far.example")
        made.send("a@b.example", sender="")
        made.send("e@B.example", sender="bert@far.example", text="long\n" * 1000)
        made.lines_until("deferral: ", 4)
        yield made


def objects(suite: Suite, *arguments: str) -> list[dict[str, object]]:
    done = suite.qmail("queue", *arguments, "--json")
    assert done.stderr == ""
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_list_has_a_line_for_each_message(suite: Suite) -> None:
    done = suite.qmail("queue", "list")
    assert done.returncode == 0
    head, *lines = done.stdout.splitlines()
    assert head.split() == ["number", "state", "age", "size", "next", "from", "to", "reason"]
    assert len(lines) == 3
    assert sum("a@b.example +1" in line for line in lines) == 1
    assert all("(#4.4.1)" in line for line in lines)
    assert done.stderr == "3 messages, 4 recipients\n"


@pytest.mark.parametrize(
    ("filters", "count"),
    [
        (["--to", "*@b.example"], 3),
        (["--to", "c@*"], 1),
        (["--from", "<>"], 1),
        (["--from", "*@FAR.example"], 2),
        (["--reason", "4.4.1"], 3),
        (["--reason", "4.4.2"], 0),
        (["--size", "+4k"], 1),
        (["--size", "-4k"], 2),
        (["--channel", "local"], 0),
        (["--channel", "remote"], 3),
        (["--older", "1h"], 0),
        (["--younger", "1h"], 3),
        (["--held"], 0),
        (["--limit", "2"], 2),
        (["--from", "anne@*", "--to", "e@*"], 0),
        (["1"], 0),
    ],
)
def test_filters_choose(suite: Suite, filters: list[str], count: int) -> None:
    assert len(objects(suite, "list", *filters)) == count
    assert suite.qmail("queue", "list", *filters).returncode == (0 if count else 1)


def test_show_has_every_recipient(suite: Suite) -> None:
    (message,) = objects(suite, "show", "--from", "anne@*")
    people = message["recipients"]
    assert isinstance(people, list)
    assert [person["address"] for person in people] == ["a@b.example", "c@d.example"]
    assert {person["code"] for person in people} == {"4.4.1"}
    done = suite.qmail("queue", "show", str(message["number"]))
    assert f"message {message['number']}  waiting" in done.stdout
    assert "  to     c@d.example  (remote, waiting)" in done.stdout


def test_count_by_domain_and_reason(suite: Suite) -> None:
    assert objects(suite, "count") == [
        {"key": "b.example", "messages": 3, "recipients": 3},
        {"key": "d.example", "messages": 1, "recipients": 1},
    ]
    done = suite.qmail("queue", "count", "--by", "reason")
    assert done.stdout == "messages  recipients  reason\n       3           4  4.4.1\n"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["queue"], "usage: qmail queue COMMAND"),
        (["queue", "eat"], "invalid choice"),
        (["queue", "list", "x"], "'x' is no message number"),
        (["queue", "list", "--older", "soon"], "'soon' is no age"),
        (["queue", "list", "--size", "big"], "'big' is no size"),
        (["queue", "list", "--limit", "0"], "no number above 0"),
        (["queue", "count", "--by", "weather"], "invalid choice"),
    ],
)
def test_wrong_usage_is_100(suite: Suite, arguments: list[str], words: str) -> None:
    done = suite.qmail(*arguments)
    assert done.returncode == 100
    assert words in done.stderr


def test_without_a_running_qmail_send_it_is_111(suite: Suite) -> None:
    done = subprocess.run(
        [str(suite.bin / "qmail"), "queue", "list"],
        check=False,
        capture_output=True,
        env={"PATH": os.environ["PATH"], "QMAIL_HOME": str(suite.home / "control")},
        text=True,
        timeout=60,
    )
    assert done.returncode == 111
    assert "start qmail-start" in done.stderr


def test_mail_goes_on_while_somebody_asks(suite: Suite) -> None:
    with subprocess.Popen(
        [str(suite.bin / "qmail"), "queue", "show"],
        stdout=subprocess.PIPE,
        env={"PATH": os.environ["PATH"], "QMAIL_HOME": str(suite.home)},
    ) as asking:
        suite.send(f"postmaster@{HOST}", sender="joe@far.example")
        suite.wait_for("success: ")
        asking.communicate(timeout=60)
    assert asking.returncode == 0


# --- words ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0, "0s"), (59, "59s"), (60, "1m"), (7199, "119m"), (7200, "2h"), (200000, "2d"), (-3, "0s")],
)
def test_ages_are_short(seconds: int, words: str) -> None:
    assert short_age(seconds) == words


@pytest.mark.parametrize(
    ("size", "words"),
    [(0, "0"), (999, "999"), (1024, "1.0k"), (20480, "20k"), (3 << 20, "3.0M"), (5 << 30, "5.0G")],
)
def test_sizes_are_short(size: int, words: str) -> None:
    assert short_size(size) == words


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90s", 90), ("30m", 1800), ("5", 300), ("2h", 7200), ("1d", 86400), ("1w", 604800)],
)
def test_ages_are_read(text: str, seconds: int) -> None:
    assert age(text) == seconds


@pytest.mark.parametrize("text", ["", "h", "-1h", "1y", "1.5h", "99999999999w"])
def test_other_ages_are_refused(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError):
        age(text)


def test_all_options_make_a_filter() -> None:
    parser = argparse.ArgumentParser()
    add_filter(parser)
    chosen = filter_of(parse(parser, ["#5", "--size", "-1M", "--held", "7", "--to", "a@b"]))
    assert chosen.numbers == (5, 7)
    assert chosen.size_max == 1 << 20
    assert chosen.held
    assert chosen.recipient == b"a@b"


def test_text_from_outside_steers_no_terminal() -> None:
    assert shown(b"\x1b[2Jjoe\n\xff@a") == "?[2Jjoe?\ufffd@a"


def test_a_table_is_cut_to_the_terminal() -> None:
    rows = [("n", "to"), ("12", "x" * 100)]
    assert table(rows, frozenset((0,)), None)[1] == "12  " + "x" * 100
    assert table(rows, frozenset((0,)), 20)[1] == "12  " + "x" * 15 + "~"
    assert plural(1, "message") == "1 message"
    assert plural(2000, "message") == "2,000 messages"
