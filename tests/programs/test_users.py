"""users/cdb, control/break and control/patrn as the programs see them: the real ones, as root."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.programs.lspawn_driver import LspawnDriver, ordinary_accounts

from qmail.edge.machine.accounts import Accounts
from qmail.programs import getpw
from qmail.programs.local import read_patrn

VIRTUAL = (54321, 54322)
"""User and group of mail that no account of this machine stands for."""
NEWU = "import sys; from qmail.utilities.newu import main; sys.exit(main([]))"
Start = Callable[..., LspawnDriver]


@pytest.fixture
def start(folder: Path, suite_accounts: Accounts) -> Iterator[Start]:
    """Starts qmail-lspawn as root on a home with the separate accounts."""
    (folder / "home").mkdir()
    driver = LspawnDriver(folder / "home", suite_accounts, "./Maildir/")
    driver.make_home()

    def begin(*lines: str, **controls: str) -> LspawnDriver:
        (driver.home / "control").mkdir()
        for name, text in controls.items():
            (driver.home / "control" / name.rstrip("_")).write_text(text)
        assign(driver, *lines)
        driver.start()
        return driver

    yield begin
    driver.close()


def assign(driver: LspawnDriver, *lines: str) -> None:
    """Write users/assign and run qmail-newu."""
    (driver.home / "users").mkdir(exist_ok=True)
    text = "".join(f"{line}\n" for line in (*lines, "."))
    (driver.home / "users/assign").write_text(text)
    environ = {**os.environ, "QMAIL_HOME": str(driver.home)}
    subprocess.run([sys.executable, "-c", NEWU], env=environ, check=True, timeout=60)


def make_box(folder: Path, mode: int = 0o700) -> Path:
    """Make a home with a maildir that belongs to VIRTUAL."""
    for path in (folder, *(folder / "Maildir" / name for name in ("", "tmp", "new", "cur"))):
        path.mkdir()
        os.chown(path, *VIRTUAL)
    folder.chmod(mode)
    return folder


def mail_in(box: Path) -> list[os.stat_result]:
    return [path.stat() for path in (box / "Maildir/new").iterdir()]


def line(address: str, box: Path, dash: str = "") -> str:
    uid, gid = VIRTUAL
    return f"{address}:box:{uid}:{gid}:{box}:{dash}::"


@pytest.mark.root
def test_delivery_2_an_assigned_address_is_delivered_under_its_uid_without_an_account(
    start: Start, folder: Path
) -> None:
    box = make_box(folder / "box")
    (box / ".qmail-info").write_text("./Maildir/\n")
    lspawn = start(line("=Sales.EX", box), line("+v-", box, "-"))
    assert lspawn.deliver("sales.ex@example.net") == b"Kdid 1+0+0\n"
    assert lspawn.deliver("V-Info@example.net") == b"Kdid 1+0+0\n"
    assert lspawn.deliver("v-other@example.net")[:1] == b"D"
    assert [(one.st_uid, one.st_gid) for one in mail_in(box)] == [VIRTUAL, VIRTUAL]
    assert lspawn.look("v-info@example.net", "v-x@example.net")[0][:1] == b"K"


@pytest.mark.root
def test_delivery_2_what_is_not_assigned_goes_by_the_rules_of_getpw(
    start: Start, folder: Path
) -> None:
    lspawn = start(line("+v-", make_box(folder / "box"), "-"))
    lspawn.write(".qmail-jane", "./Maildir/\n")
    assert lspawn.deliver("jane@example.net") == b"Kdid 1+0+0\n"
    assert len(lspawn.mail()) == 1


@pytest.mark.root
def test_a_new_users_cdb_counts_from_the_next_look_up_on(start: Start, folder: Path) -> None:
    boxes = [make_box(folder / f"box{number}") for number in range(4)]
    lspawn = start(line("=a", boxes[0]))
    assert lspawn.deliver("a@example.net")[:1] == b"K"
    for number, box in enumerate(boxes[1:], 1):
        assign(lspawn, line(f"=b{number}", box))
        assert lspawn.deliver(f"b{number}@example.net")[:1] == b"K"
    assert [len(mail_in(box)) for box in boxes] == [1, 1, 1, 1]


@pytest.mark.root
def test_delivery_2_a_broken_users_cdb_puts_all_mail_off_until_it_is_mended(
    start: Start, folder: Path
) -> None:
    box = make_box(folder / "box")
    lspawn = start(line("=a", box))
    (lspawn.home / "users/cdb").write_bytes(b"short")
    assert lspawn.deliver("a@example.net") == b"ZTrouble reading users/cdb. (#4.3.0)\n"
    assign(lspawn, line("=b", box))
    assert lspawn.deliver("b@example.net")[:1] == b"K"


@pytest.mark.root
def test_delivery_2_root_never_receives_by_users_cdb(start: Start, folder: Path) -> None:
    lspawn = start(f"=root:root:0:0:{folder}:::")
    assert lspawn.deliver("root@example.net")[:1] == b"Z"
    assert lspawn.deliver("ROOT@example.org")[:1] == b"Z"


@pytest.mark.root
def test_index_patrn_022_puts_off_mail_for_a_home_that_its_group_may_write_to(
    start: Start, folder: Path
) -> None:
    box, closed = make_box(folder / "box", 0o770), make_box(folder / "closed")
    (closed / ".qmail-group").write_text("./Maildir/\n")
    (closed / ".qmail-group").chmod(0o664)
    (closed / ".qmail-program").write_text("|exit 0\n")
    (closed / ".qmail-program").chmod(0o664)
    lines = line("=a", box), line("=b", closed), line("+b-", closed, "-")
    lspawn = start(*lines, patrn="022\n")
    for name in ("a", "b-group", "b-program"):
        report = lspawn.deliver(f"{name}@example.net")
        assert (report[:1], b"(#4.7.0)" in report) == (b"Z", True), report
    assert lspawn.deliver("b@example.net")[:1] == b"K"
    assert mail_in(box) == []


@pytest.mark.root
def test_index_patrn_002_lets_a_group_write(start: Start, folder: Path) -> None:
    box = make_box(folder / "box", 0o770)
    assert start(line("=a", box)).deliver("a@example.net")[:1] == b"K"


# --- the commands -------------------------------------------------------------------------------


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home with a control folder and no queue."""
    (tmp_path / "control").mkdir()
    monkeypatch.setenv("QMAIL_HOME", str(tmp_path))
    return tmp_path


@pytest.mark.root
def test_index_getpw_goes_by_control_break(
    home: Path, suite_accounts: Accounts, capsys: pytest.CaptureFixture[str]
) -> None:
    def ext() -> str:
        assert getpw.main(["alias+x-y"]) == 0
        return capsys.readouterr().out.split("\0")[5]

    (home / "alias").mkdir()
    os.chown(home / "alias", suite_accounts["alias"].uid, -1)
    assert ext() == "alias+x-y"
    (home / "control/break").write_text("+\n")
    assert ext() == "x-y"
    (home / "control/break").write_text("\n")
    assert ext() == "alias+x-y"


def test_a_bad_control_break_is_exit_118(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (home / "control/break").write_text("minus\n")
    assert getpw.main(["joe"]) == 118
    assert "control/break:1: " in capsys.readouterr().err


def test_getpw_does_not_read_users_cdb(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (home / "users").mkdir()
    (home / "users/cdb").write_bytes(b"short")
    account = ordinary_accounts()["alias"]
    (home / "queue").mkdir()
    os.chown(home / "queue", account.uid, account.gid)
    assert getpw.main(["joe"]) == 0
    assert capsys.readouterr().out.split("\0")[0] == "alias"


def test_qmail_local_goes_by_control_patrn(home: Path) -> None:
    assert read_patrn(str(home)) == 0o002
    (home / "control/patrn").write_text("022\n")
    (home / "joe").mkdir(mode=0o770)
    (home / "joe").chmod(0o770)
    words = ["joe", str(home / "joe"), "joe", "", "", "example.net", "s@t", "|echo here"]
    program = "import sys; from qmail.programs.local import main; sys.exit(main(sys.argv[1:]))"
    for text, code, said in (
        ("002\n", 0, b"here\ndid 0+0+1\n"),
        ("022\n", 111, b"Others may write to the home folder. (#4.7.0)\n"),
        ("2x\n", 111, b"control/patrn:1: "),
    ):
        (home / "control/patrn").write_text(text)
        done = subprocess.run(
            [sys.executable, "-c", program, "--", *words],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            check=False,
            timeout=60,
        )
        assert done.returncode == code
        assert done.stdout.startswith(said)
