"""`qmail init` makes a home, repairs one, and touches nothing else."""

import os
import pwd
import shutil
import stat
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from qmail.core.settings.places import places
from qmail.edge.machine.accounts import accounts_of
from qmail.edge.machine.home_maker import HomeError, ids_of
from qmail.edge.machine.host_name import is_host, own_host_name
from qmail.edge.tls.certificate import facts_of
from qmail.edge.tls.certificate_maker import CannotMakeError
from qmail.edge.tls.session import server_context
from qmail.utilities import front, init, init_certificate

Snapshot = dict[str, tuple[int, int, int, bytes]]


def snapshot(home: Path) -> Snapshot:
    """Owner, mode and contents of everything in a home."""
    found: Snapshot = {}
    for folder, _, names in os.walk(home):
        for path in (folder, *(f"{folder}/{name}" for name in names)):
            about = os.lstat(path)
            data = Path(path).read_bytes() if stat.S_ISREG(about.st_mode) else b""
            found[path] = (about.st_uid, about.st_gid, about.st_mode, data)
    return found


@pytest.fixture
def make(monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[str]]:
    """`init` as an ordinary user runs it; under root as if root were nobody."""

    def run(home: Path, host: str | None = "mx.example.org", *listeners: str) -> list[str]:
        said: list[str] = []
        with monkeypatch.context() as patch:
            if os.geteuid() == 0:
                patch.setattr(os, "geteuid", lambda: 65534)
                patch.setattr(os, "getegid", lambda: 65534)
            init.make_home(str(home), host=host, listeners=listeners, say=said.append)
        return said

    return run


Make = Callable[..., list[str]]


def test_a_new_home_has_every_place_with_its_owner_and_mode(open_folder: Path, make: Make) -> None:
    home = open_folder / "home"
    make(home)
    accounts = accounts_of(str(home))
    assert not accounts.separate
    for place in places():
        found = os.lstat(home / place.path)
        ids = ids_of(accounts, place.owner, place.group)
        assert (found.st_uid, found.st_gid, stat.S_IMODE(found.st_mode)) == (*ids, place.mode)
    assert (home / "queue/lock/tcpto").read_bytes() == bytes(1024)
    assert stat.S_ISFIFO(os.lstat(home / "queue/lock/trigger").st_mode)


def test_the_first_control_files_are_those_of_config_fast(open_folder: Path, make: Make) -> None:
    make(open_folder / "home", "a.b.example.org")
    control = open_folder / "home/control"
    files = set(control.iterdir()) - {control / "servercert.pem"}
    assert {path.name: path.read_text() for path in files} == {
        "me": "a.b.example.org\n",
        "locals": "a.b.example.org\n",
        "rcpthosts": "a.b.example.org\n",
        "defaultdomain": "b.example.org\n",
        "plusdomain": "example.org\n",
        "concurrencylocal": "20\n",
        "concurrencyremote": "2000\n",
        "listeners": "smtp 127.0.0.1:2525\n",
    }


def test_a_name_of_two_labels_is_its_own_default_domain(open_folder: Path, make: Make) -> None:
    make(open_folder / "home", "example.org")
    assert (open_folder / "home/control/defaultdomain").read_text() == "example.org\n"
    assert (open_folder / "home/control/plusdomain").read_text() == "example.org\n"


def test_there_is_a_certificate_for_this_host_that_its_owner_alone_can_read(
    open_folder: Path, make: Make
) -> None:
    said = make(open_folder / "home")
    path = open_folder / "home/control/servercert.pem"
    assert stat.S_IMODE(os.stat(path).st_mode) == 0o400
    facts = facts_of(str(path))
    assert facts is not None
    assert facts.names == ("mx.example.org",)
    assert facts.is_self_signed
    server_context(str(path))
    assert (
        "wrote control/servercert.pem: self-signed, for mx.example.org, good for 825 days;" in said
    )


def test_a_certificate_that_is_there_stays_also_where_its_target_is_not(
    open_folder: Path, make: Make
) -> None:
    home = open_folder / "home"
    make(home)
    path = home / "control/servercert.pem"
    path.unlink()
    path.symlink_to("/etc/nosuch/fullchain.pem")
    assert make(home)[0] == f"nothing to change in {home}"
    assert os.readlink(path) == "/etc/nosuch/fullchain.pem"


def test_where_no_certificate_can_be_made_the_rest_is(
    open_folder: Path, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_host: str) -> bytes:
        raise CannotMakeError("no tools")

    monkeypatch.setattr(init_certificate, "self_signed", fail)
    said = make(open_folder / "home")
    assert "note: no certificate, so no TLS: no tools" in said
    assert not (open_folder / "home/control/servercert.pem").exists()
    assert "is ready: everything runs under one account, " in said[-2]


def test_the_second_run_changes_nothing_and_says_so(open_folder: Path, make: Make) -> None:
    home = open_folder / "home"
    make(home)
    before = snapshot(home)
    said = make(home, "other.example.org", "smtp 127.0.0.1:2600")
    assert snapshot(home) == before
    assert said[0] == f"nothing to change in {home}"


def test_contents_of_existing_files_are_never_changed(open_folder: Path, make: Make) -> None:
    home = open_folder / "home"
    make(home)
    (home / "control/locals").write_text("mine.example\n")
    (home / "alias/.qmail-postmaster").write_text("&joe@mine.example\n")
    (home / "queue/lock/tcpto").write_bytes(b"x" * 1024)
    (home / "control/plusdomain").unlink()
    make(home)
    assert (home / "control/locals").read_text() == "mine.example\n"
    assert (home / "alias/.qmail-postmaster").read_text() == "&joe@mine.example\n"
    assert (home / "queue/lock/tcpto").read_bytes() == b"x" * 1024
    assert (home / "control/plusdomain").read_text() == "example.org\n"


def test_what_is_derived_from_the_name_follows_an_existing_me(
    open_folder: Path, make: Make
) -> None:
    home = open_folder / "home"
    (home / "control").mkdir(parents=True)
    (home / "control/me").write_text("old.example.net \n")
    if os.geteuid() == 0:
        os.chown(home, 65534, 65534)
    make(home, "new.example.org")
    assert (home / "control/me").read_text() == "old.example.net \n"
    assert (home / "control/locals").read_text() == "old.example.net\n"


def test_wrong_modes_and_missing_folders_are_repaired_and_told(
    open_folder: Path, make: Make
) -> None:
    home = open_folder / "home"
    make(home)
    before = snapshot(home)
    os.chmod(home / "queue", 0o777)
    os.chmod(home / "alias", 0o755)
    os.chmod(home / "queue/lock/sendmutex", 0o644)
    os.chmod(home / "queue/lock/trigger", 0o600)
    os.rmdir(home / "queue/mess/22")
    said = make(home)
    assert snapshot(home) == before
    repaired = {line.split()[1].rstrip(":") for line in said if line.startswith("repaired")}
    places_repaired = ("alias", "queue", "queue/lock/sendmutex", "queue/lock/trigger")
    assert repaired == {f"{home}/{path}" for path in places_repaired}


def test_control_split_counts_for_a_new_queue_only(open_folder: Path, make: Make) -> None:
    home = open_folder / "home"
    (home / "control").mkdir(parents=True)
    (home / "control/split").write_text("5\n")
    if os.geteuid() == 0:
        os.chown(home, 65534, 65534)
    make(home)
    assert sorted(os.listdir(home / "queue/remote")) == ["0", "1", "2", "3", "4"]
    (home / "control/split").write_text("7\n")
    make(home)
    assert len(os.listdir(home / "queue/mess")) == 5


def test_a_link_in_place_of_a_folder_is_not_followed(open_folder: Path, make: Make) -> None:
    """Somebody who owns a folder of the home can't have others changed through a link in it."""
    home = open_folder / "home"
    make(home)
    victim = open_folder / "victim"
    victim.mkdir(mode=0o711)
    (home / "alias/Maildir/tmp").rmdir()
    (home / "alias/Maildir/tmp").symlink_to(victim)
    if os.geteuid() == 0:
        os.lchown(home / "alias/Maildir/tmp", 1, 1)
        with pytest.raises(HomeError):
            make(home)
        assert stat.S_IMODE(victim.stat().st_mode) == 0o711


@pytest.mark.parametrize("name", ["sendmutex", "trigger", "tcpto"])
def test_something_else_in_place_of_a_lock_file_stops_it(
    open_folder: Path, make: Make, name: str
) -> None:
    home = open_folder / "home"
    make(home)
    (home / "queue/lock" / name).unlink()
    (home / "queue/lock" / name).symlink_to("/dev/null")
    with pytest.raises(HomeError, match=name):
        make(home)


def test_a_second_name_of_a_lock_file_stops_it(open_folder: Path, make: Make) -> None:
    home = open_folder / "home"
    make(home)
    os.link(home / "queue/lock/tcpto", open_folder / "second")
    with pytest.raises(HomeError, match="tcpto"):
        make(home)


def test_a_folder_that_holds_something_else_is_refused(open_folder: Path, make: Make) -> None:
    (open_folder / "home").mkdir()
    (open_folder / "home/letter.txt").write_text("x")
    if os.geteuid() == 0:
        os.chown(open_folder / "home", 65534, 65534)
    with pytest.raises(HomeError, match="not empty"):
        make(open_folder / "home")


def test_the_home_of_somebody_else_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    if os.geteuid() == 0:
        pytest.skip("everything is root's own here; the test below has root's side")
    assert front.main(["init", "--home", "/"]) == 111
    assert "belongs to root" in capsys.readouterr().err


def test_a_path_that_is_no_folder_is_refused(
    open_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (open_folder / "file").write_text("x")
    assert front.main(["init", "--home", str(open_folder / "file")]) == 111
    assert "not a folder" in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments",
    [
        ["--host", "bad name"],
        ["--host", "a..b"],
        ["--host", ""],
        ["--host", "-a.example"],
        ["--host", "a" * 254],
        ["--listen", "smtp"],
        ["--listen", "gopher 127.0.0.1:70"],
        ["--listen", "smtp 127.0.0.1:99999"],
        ["--nonsense"],
    ],
)
def test_wrong_usage_ends_with_100_and_makes_nothing(
    open_folder: Path, arguments: list[str]
) -> None:
    assert front.main(["init", "--home", str(open_folder / "home"), *arguments]) == 100
    assert not (open_folder / "home").exists()


def test_the_front_lists_its_sub_commands(capsys: pytest.CaptureFixture[str]) -> None:
    assert front.main(["--help"]) == 0
    text = capsys.readouterr().out
    assert all(f"\n  {name} " in text for name in ("init", "check"))
    assert front.main([]) == 100
    assert front.main(["fly"]) == 100


def test_the_listeners_asked_for_are_written(open_folder: Path, make: Make) -> None:
    make(open_folder / "home", None, "smtp 127.0.0.1:2600", "smtp [::1]:2600")
    text = (open_folder / "home/control/listeners").read_text()
    assert text == "smtp 127.0.0.1:2600\nsmtp [::1]:2600\n"


@pytest.mark.parametrize(
    ("nodename", "hosts", "name", "qualified"),
    [
        ("mx.example.org", "", "mx.example.org", True),
        ("box", "127.0.1.1 box.example.org box\n", "box.example.org", True),
        ("box", "127.0.1.1 box # box.example.org\n", "box.localdomain", False),
        ("box", "127.0.0.1 localhost\n", "box.localdomain", False),
        ("localhost", "127.0.0.1 localhost\n", "localhost.localdomain", False),
        ("(none)", "", "localhost.localdomain", False),
        ("", "", "localhost.localdomain", False),
    ],
)
def test_the_host_name_is_found_without_the_network(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    *,
    nodename: str,
    hosts: str,
    name: str,
    qualified: bool,
) -> None:
    (tmp_path / "hosts").write_text(hosts)
    uname = os.uname_result(("Linux", nodename, "6", "1", "x"))
    monkeypatch.setattr(os, "uname", lambda: uname)
    assert own_host_name(str(tmp_path / "hosts")) == (name, qualified)
    assert is_host(name)


@pytest.mark.root
@pytest.mark.skipif(os.geteuid() != 0, reason="needs root: makes accounts")
def test_root_makes_accounts_and_gives_each_place_to_its_own(
    open_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    home = open_folder / "home"
    arguments = ["init", "--home", str(home), "--host", "mx.example.org"]
    assert front.main(arguments) == 0
    accounts = accounts_of(str(home))
    assert accounts.separate
    assert (home / "control/listeners").read_text() == "smtp 127.0.0.1:25\n"
    for name, account in accounts.by_name.items():
        assert pwd.getpwnam(name).pw_uid == account.uid != 0
    owners = {path: pwd.getpwuid(os.lstat(home / path).st_uid).pw_name for path in OWNERS}
    assert owners == OWNERS
    capsys.readouterr()
    assert front.main(arguments) == 0
    assert capsys.readouterr().out.startswith(f"nothing to change in {home}\n")


OWNERS = {
    "": "root",
    "control": "root",
    "control/me": "root",
    "control/servercert.pem": "qmaild",
    "run": "root",
    "alias": "alias",
    "alias/.qmail-postmaster": "alias",
    "alias/Maildir/new": "alias",
    "queue": "qmailq",
    "queue/todo": "qmailq",
    "queue/mess/0": "qmailq",
    "queue/info/22": "qmails",
    "queue/lock/trigger": "qmails",
    "queue/lock/tcpto": "qmailr",
    "queue/lock/tcpto6": "qmailr",
}


@pytest.mark.root
@pytest.mark.skipif(os.geteuid() != 0, reason="needs root: changes owners")
def test_root_repairs_owners_but_not_the_home_of_an_ordinary_user(
    open_folder: Path, make: Make, capsys: pytest.CaptureFixture[str]
) -> None:
    home = open_folder / "home"
    arguments = ["init", "--home", str(home), "--host", "mx.example.org"]
    assert front.main(arguments) == 0
    before = snapshot(home)
    os.chown(home / "queue", 1, 1)
    os.chown(home / "queue/lock/trigger", 0, 0)
    assert front.main(arguments) == 0
    assert snapshot(home) == before
    make(open_folder / "other")
    assert front.main(["init", "--home", str(open_folder / "other")]) == 111
    assert "belongs to nobody" in capsys.readouterr().err


# --- bin: where other packages look for the commands ----------------------------------------------


@pytest.fixture
def commands(open_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of an installation that has two of the commands."""
    folder = open_folder / "venv"
    folder.mkdir()
    for name in ("qmail-queue", "sendmail"):
        (folder / name).write_text("#!/bin/sh\n")
    monkeypatch.setattr(sys, "executable", str(folder / "python"))
    return folder


def test_the_home_has_a_link_to_every_command(
    open_folder: Path, make: Make, commands: Path
) -> None:
    home = open_folder / "home"
    make(home)
    links = {path.name: os.readlink(path) for path in (home / "bin").iterdir()}
    assert links == {name: f"{commands}/{name}" for name in ("qmail-queue", "sendmail")}


def test_links_that_lead_nowhere_are_made_anew_and_all_others_stay(
    open_folder: Path, make: Make, commands: Path
) -> None:
    home = open_folder / "home"
    make(home)
    (home / "bin/qmail-queue").unlink()
    (home / "bin/qmail-queue").symlink_to("/bin/true")
    (home / "bin/sendmail").unlink()
    (home / "bin/sendmail").symlink_to(open_folder / "older/sendmail")
    said = make(home)
    assert os.readlink(home / "bin/qmail-queue") == "/bin/true"
    assert os.readlink(home / "bin/sendmail") == f"{commands}/sendmail"
    assert said[0] == f"made 1 folders and files in {home}"


@pytest.mark.parametrize("target", ["nowhere", "/etc/passwd/sendmail", "sendmail"])
def test_a_link_leads_nowhere_past_a_file_or_in_a_circle_too(
    open_folder: Path, make: Make, commands: Path, target: str
) -> None:
    home = open_folder / "home"
    make(home)
    (home / "bin/sendmail").unlink()
    (home / "bin/sendmail").symlink_to(target)
    make(home)
    assert os.readlink(home / "bin/sendmail") == f"{commands}/sendmail"


@pytest.mark.usefixtures("commands")
def test_a_bin_that_is_a_link_is_its_owners_and_left_alone(open_folder: Path, make: Make) -> None:
    home, elsewhere = open_folder / "home", open_folder / "elsewhere"
    make(home)
    shutil.rmtree(home / "bin")
    elsewhere.mkdir(0o700)
    (home / "bin").symlink_to(elsewhere)
    make(home)
    assert stat.S_IMODE(elsewhere.stat().st_mode) == 0o700
    assert list(elsewhere.iterdir()) == []
