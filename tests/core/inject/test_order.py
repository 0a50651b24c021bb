"""Environment and control files of qmail-inject: spec/inject.md 2."""

from pathlib import Path

import pytest

from qmail.core.inject.message import Person
from qmail.core.inject.order import make_moment, read_lists, read_person
from qmail.core.inject.rewriting import Hosts
from qmail.core.settings.controls import ControlError, load
from qmail.core.settings.hosts import read_hosts
from qmail.core.settings.programs import InjectControls


@pytest.mark.parametrize(
    ("environ", "person"),
    [
        ({}, Person(b"anonymous", None, None, b"anonymous", None)),
        ({b"LOGNAME": b"l", b"USER": b"u"}, Person(b"u", None, None, b"u", None)),
        ({b"MAILUSER": b"m", b"QMAILUSER": b"q"}, Person(b"q", None, None, b"q", None)),
        (
            {b"MAILHOST": b"h", b"NAME": b"", b"QMAILSUSER": b"s", b"QMAILSHOST": b"t"},
            Person(b"anonymous", b"h", b"", b"s", b"t"),
        ),
        ({b"NAME": b"a\nBcc: x\0"}, Person(b"anonymous", None, b"a Bcc: x ", b"anonymous", None)),
        ({b"NAME": b"J\xf6"}, Person(b"anonymous", None, b"J\xf6", b"anonymous", None)),
    ],
)
def test_the_first_variable_that_is_set_counts(environ: dict[bytes, bytes], person: Person) -> None:
    assert read_person(environ) == person


@pytest.mark.parametrize(
    "files",
    [
        {},
        {"me": b"me.ex \nsecond"},
        {"me": b"me.ex\n", "defaulthost": b"h\n", "idhost": b"i"},
        {"plusdomain": b"p\n"},
    ],
)
def test_the_hosts_are_those_that_other_programs_read(files: dict[str, bytes]) -> None:
    controls = load(InjectControls, files.get)
    hosts = read_hosts({}, files.get)
    assert hosts == Hosts(*(getattr(controls, name) for name in Hosts._fields))


def test_the_environment_goes_before_the_control_files() -> None:
    environ = {b"QMAILDEFAULTHOST": b"eh", b"QMAILIDHOST": b"ei\n"}
    assert read_hosts(environ, {"me": b"me\n"}.get) == Hosts(b"eh", b"me", b"me", b"ei ")


def test_a_bad_control_file_is_named() -> None:
    with pytest.raises(ControlError, match="control/me:1"):
        read_hosts({}, {"me": b"\n"}.get)


def test_the_list_file_may_be_missing_but_not_unreadable(tmp_path: Path) -> None:
    path = tmp_path / "lists"
    environ = {b"QMAILMFTFILE": bytes(path)}
    assert read_lists({}) is None
    assert read_lists(environ) is None
    path.write_bytes(b"# mine\nList@A.ex \n\nb@c")
    assert read_lists(environ) == frozenset((b"list@a.ex", b"b@c"))
    with pytest.raises(OSError):
        read_lists({b"QMAILMFTFILE": bytes(tmp_path)})


def test_the_moment_is_in_gmt_and_has_the_old_shape() -> None:
    moment = make_moment(1795428672, 12, 10**15 + 34)
    assert moment.date == b"23 Nov 2026 10:11:12 -0000"
    assert moment.unique == b"20261123101112.12000000000034.qmail"
    assert moment.stamp == b"1795428672.12"
