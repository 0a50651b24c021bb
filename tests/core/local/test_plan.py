"""Which home may get mail, which `.qmail` file governs (spec/delivery.md 3, 4, 6)."""

import errno
import os
from pathlib import Path

import pytest

from qmail.core.local.dotqmail import Forward, Maildir, Program, Refuse
from qmail.core.local.home_files import DotqmailFile, HomeFiles, StoppedError, put_off
from qmail.core.local.plan import (
    Plan,
    disk_trouble,
    enter_home,
    find_owner_files,
    find_plan,
    is_sticky,
    open_home,
)
from qmail.protocol.exits import Exit
from qmail.protocol.local_door import Target

DEFAULT_DELIVERY = b"./Maildir/"


@pytest.fixture
def home(tmp_path: Path) -> Path:
    tmp_path.chmod(0o700)
    return tmp_path


def target(home: Path, ext: bytes = b"", dash: bytes = b"-") -> Target:
    local = b"joe" + (b"-" + ext if ext else b"")
    return Target(b"joe", os.fsencode(home), local, dash if ext else b"", ext, b"example.net")


def plan(home: Path, ext: bytes = b"", dash: bytes = b"-", default: bytes = b"./Maildir/") -> Plan:
    folder = os.open(home, os.O_PATH)
    try:
        return find_plan(HomeFiles(folder), target(home, ext, dash), default)
    finally:
        os.close(folder)


def write(home: Path, name: str, text: str, mode: int = 0o600) -> None:
    file = home / name
    file.parent.mkdir(exist_ok=True)
    file.write_text(text)
    file.chmod(mode)


# --- steps 2 to 4: the home ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("mode", "code"),
    [
        (0o700, b""),
        (0o755, b""),
        (0o775, b""),
        (0o702, b"#4.7.0"),
        (0o777, b"#4.7.0"),
        (0o1700, b"#4.2.1"),
        (0o1777, b"#4.7.0"),
    ],
)
def test_delivery_3_a_home_that_others_write_to_or_that_is_sticky_gets_no_mail(
    home: Path, mode: int, code: bytes
) -> None:
    home.chmod(mode)
    if not code:
        os.close(open_home(os.fsencode(home)))
        return
    with pytest.raises(StoppedError) as stopped:
        open_home(os.fsencode(home))
    assert stopped.value.code is Exit.TEMPORARY
    assert code in stopped.value.text


def test_delivery_3_a_stricter_mask_refuses_the_group_too(home: Path) -> None:
    home.chmod(0o770)
    with pytest.raises(StoppedError, match=r"#4\.7\.0"):
        open_home(os.fsencode(home), patrn=0o022)


def test_delivery_3_a_dry_run_in_a_sticky_home_is_only_warned_of(home: Path) -> None:
    home.chmod(0o1700)
    folder = open_home(os.fsencode(home), sticky_is_fine=True)
    assert is_sticky(folder)
    home.chmod(0o700)
    assert not is_sticky(folder)
    os.close(folder)


@pytest.mark.parametrize("name", ["missing", "file", "with\0nul"])
def test_delivery_3_a_home_that_can_not_be_entered_puts_the_mail_off(home: Path, name: str) -> None:
    (home / "file").touch()
    with pytest.raises(StoppedError) as stopped:
        enter_home(os.fsencode(home / name))
    assert stopped.value.code is Exit.TEMPORARY
    assert b"Unable to switch to" in stopped.value.text
    assert b"#4.3.0" in stopped.value.text


def test_delivery_3_the_home_becomes_the_working_folder(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir("/")
    os.close(enter_home(os.fsencode(home)))
    assert Path.cwd() == home


def test_delivery_3_a_home_without_leave_to_enter_puts_the_mail_off(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_fd: int) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(os, "fchdir", refuse)
    with pytest.raises(StoppedError, match=r"permission denied. \(#4\.3\.0"):
        enter_home(os.fsencode(home))


# --- step 8: the search -------------------------------------------------------------------------

FILES = [".qmail-list", ".qmail-list-default", ".qmail-a:b", ".qmail-default-x"]


@pytest.mark.parametrize(
    ("ext", "name", "default"),
    [
        (b"list", b".qmail-list", None),
        (b"LIST", b".qmail-list", None),
        (b"A.B", b".qmail-a:b", None),
        (b"a:b", b".qmail-a:b", None),
        (b"list-", b".qmail-list-default", b""),
        (b"list-x", b".qmail-list-default", b"x"),
        (b"List-X.y-Z", b".qmail-list-default", b"X.y-Z"),
        (b"list-default", b".qmail-list-default", b"default"),
        (b"list-DeFault", b".qmail-list-default", b"DeFault"),
        (b"list-my-default", b".qmail-list-default", b"my-default"),
        (b"default-x", b".qmail-default-x", None),
    ],
)
def test_delivery_4_the_nearest_file_governs(
    home: Path, ext: bytes, name: bytes, default: bytes | None
) -> None:
    for file in FILES:
        write(home, file, "#\n")
    assert plan(home, ext) == Plan((), default, name)


@pytest.mark.parametrize("ext", [b"lists", b"a.b.c", b"default", b"a", b"list.x", b"x-list"])
def test_delivery_4_no_file_and_a_dash_is_no_mailbox(home: Path, ext: bytes) -> None:
    for file in FILES:
        write(home, file, "#\n")
    with pytest.raises(StoppedError) as stopped:
        plan(home, ext)
    assert stopped.value.code is Exit.PERMANENT
    assert b"#5.1.1" in stopped.value.text


def test_delivery_4_a_bare_user_has_no_default_file(home: Path) -> None:
    write(home, ".qmaildefault", "#\n")
    assert plan(home) == Plan((Maildir(b"./Maildir/"),), None)


def test_delivery_4_an_assignment_without_a_dash_has_default_files(home: Path) -> None:
    write(home, ".qmaila-default", "#\n")
    write(home, ".qmaildefault", "|x\n")
    assert plan(home, b"a-B", dash=b"") == Plan((), b"B", b".qmaila-default")
    assert plan(home, b"x", dash=b"") == Plan((Program(b"x"),), b"x", b".qmaildefault")


def test_delivery_4_an_assignment_without_dash_and_file_gets_the_default_delivery(
    home: Path,
) -> None:
    assert plan(home, b"x", dash=b"") == Plan((Maildir(b"./Maildir/"),), None)


def test_delivery_4_dash_slash_looks_into_a_folder(home: Path) -> None:
    write(home, ".qmail-/a-default", "#\n")
    assert plan(home, b"A-b", dash=b"-/") == Plan((), b"b", b".qmail-/a-default")


@pytest.mark.parametrize("ext", [b"", b"list", b"list-x"])
def test_delivery_3_an_empty_file_is_the_default_delivery(home: Path, ext: bytes) -> None:
    # Its own execute bit means nothing then.
    for name in (".qmail", ".qmail-list", ".qmail-list-default"):
        write(home, name, "", 0o700)
    found = plan(home, ext)
    assert found.instructions == (Maildir(b"./Maildir/"),)
    assert found.default == (b"x" if ext == b"list-x" else None)


def test_delivery_3_default_delivery_may_have_several_lines(home: Path) -> None:
    found = plan(home, default=b"|dot-forward .forward\n./Maildir/")
    assert found.instructions == (Program(b"dot-forward .forward"), Maildir(b"./Maildir/"))


def test_delivery_3_empty_default_delivery_is_a_blank_first_line(home: Path) -> None:
    (refused,) = plan(home, default=b"").instructions
    assert isinstance(refused, Refuse)


# --- step 8: opening the file -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("mode", "stops"), [(0o600, False), (0o664, False), (0o602, True), (0o666, True)]
)
def test_delivery_4_a_file_that_others_write_to_puts_the_mail_off(
    home: Path, mode: int, stops: bool
) -> None:
    write(home, ".qmail-list", "|x\n", mode)
    if not stops:
        assert plan(home, b"list").instructions == (Program(b"x"),)
        return
    with pytest.raises(StoppedError, match=r"\.qmail-list.*#4.7.0"):
        plan(home, b"list")


@pytest.mark.parametrize("mode", [0o700, 0o500, 0o755])
def test_delivery_4_the_owners_execute_bit_makes_forward_only(home: Path, mode: int) -> None:
    write(home, ".qmail-list", "a@b\n|x\n", mode)
    forward, refused = plan(home, b"list").instructions
    assert forward == Forward(b"a@b")
    assert isinstance(refused, Refuse)


def test_delivery_4_other_execute_bits_do_not(home: Path) -> None:
    write(home, ".qmail-list", "|x\n", 0o655)
    assert plan(home, b"list").instructions == (Program(b"x"),)


def test_delivery_4_what_is_not_a_regular_file_is_not_there(home: Path) -> None:
    (home / ".qmail-a").mkdir()
    os.mkfifo(home / ".qmail-b")
    (home / ".qmail-c").symlink_to("/dev/null")
    (home / ".qmail-d").symlink_to("nowhere")
    (home / ".qmail-e").symlink_to(".qmail-e")
    write(home, ".qmail-default", "#\n")
    for ext in (b"a", b"b", b"c", b"d", b"e"):
        assert plan(home, ext) == Plan((), ext, b".qmail-default")


def test_delivery_4_a_link_to_a_file_is_that_file(home: Path) -> None:
    write(home, "real", "|x\n", 0o602)
    (home / ".qmail-a").symlink_to("real")
    with pytest.raises(StoppedError, match=r"#4\.7\.0"):
        plan(home, b"a")


@pytest.mark.parametrize("ext", [b"x" * 300, b"x/" * 3000, b"a\0b", b"\n", b"\xff"])
def test_delivery_4_a_name_that_can_not_be_is_not_there(home: Path, ext: bytes) -> None:
    write(home, ".qmail-default", "#\n")
    assert plan(home, ext) == Plan((), ext, b".qmail-default")


@pytest.mark.parametrize(
    ("code", "stops"),
    [
        (errno.EACCES, True),
        (errno.EPERM, True),
        (errno.EIO, True),
        (errno.ESTALE, True),
        (errno.EMFILE, True),
        (errno.ENOENT, False),
        (errno.ENOTDIR, False),
        (errno.ELOOP, False),
        (errno.ENAMETOOLONG, False),
    ],
)
def test_delivery_4_trouble_is_not_absence(
    home: Path, monkeypatch: pytest.MonkeyPatch, code: int, stops: bool
) -> None:
    def fail(*_args: object, **_more: object) -> int:
        raise OSError(code, os.strerror(code))

    files = HomeFiles(0)
    monkeypatch.setattr(os, "open", fail)
    if stops:
        with pytest.raises(StoppedError) as stopped:
            files.read(b".qmail")
        assert stopped.value.code is Exit.TEMPORARY
    else:
        assert files.read(b".qmail") is None


def test_long_file_is_read_to_its_end_and_a_huge_one_put_off(home: Path) -> None:
    write(home, ".qmail-long", "a@b.example\n" * 20000)
    assert len(plan(home, b"long").instructions) == 20000
    with open(home / ".qmail-huge", "wb") as huge:
        huge.truncate(8 * 1024 * 1024 + 1)
    os.chmod(home / ".qmail-huge", 0o600)
    with pytest.raises(StoppedError, match="longer than"):
        plan(home, b"huge")


# --- step 9: owners -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("present", "found"),
    [
        ([], (False, False)),
        ([".qmail-my:list-owner"], (True, False)),
        ([".qmail-my:list-owner", ".qmail-my:list-owner-default"], (True, True)),
        ([".qmail-my:list-owner-default"], (False, False)),
        ([".qmail-my-owner", ".qmail-default-owner"], (False, False)),
    ],
)
def test_delivery_6_owner_files_are_looked_for_by_the_full_extension(
    home: Path, present: list[str], found: tuple[bool, bool]
) -> None:
    for name in present:
        # Only that there is something of the name matters.
        (home / name).mkdir()
    folder = os.open(home, os.O_PATH)
    assert find_owner_files(HomeFiles(folder), target(home, b"My.List"), b"s@t") == found
    os.close(folder)


class NoFiles:
    """A disk that does not answer."""

    def read(self, name: bytes) -> DotqmailFile | None:
        raise put_off(name)

    def exists(self, name: bytes) -> bool:
        raise put_off(name)


def test_delivery_6_trouble_with_an_owner_file_puts_the_mail_off(home: Path) -> None:
    with pytest.raises(StoppedError):
        find_owner_files(NoFiles(), target(home, b"list"), b"s@t")


@pytest.mark.parametrize("sender", [b"", b"#@[]"])
def test_delivery_6_nobody_asks_for_the_owner_of_a_bounce(home: Path, sender: bytes) -> None:
    assert find_owner_files(NoFiles(), target(home, b"list"), sender) == (False, False)


@pytest.mark.parametrize(
    ("code", "status"),
    [
        (errno.ENOENT, b"#4.2.1"),
        (errno.EDQUOT, b"#4.2.2"),
        (errno.ENOSPC, b"#4.3.1"),
        (errno.EIO, b"#4.3.0"),
    ],
)
def test_trouble_of_the_disk_names_its_kind(code: int, status: bytes) -> None:
    text = disk_trouble(b"./Maildir/", OSError(code, os.strerror(code)))
    assert text.startswith(b"Unable to deliver to ./Maildir/: ")
    assert status in text
