"""Whether a password opens a mailbox, and whose."""

from dataclasses import replace
from pathlib import Path

import pytest

from qmail.core.login.passwd_file import PasswdFile
from qmail.core.login.password_check import Household, PasswordCheck, check_system
from qmail.core.login.secret import SECRET_BYTES, ensure_secret, household, read_secret
from qmail.core.settings.controls import ControlError, load
from qmail.core.settings.login import LoginControls
from qmail.protocol.local_door import Owner
from qmail.protocol.login_door import Refusal
from qmail.protocol.password_door import Mailbox
from qmail.protocol.sasl import Credentials
from qmail.protocol.scram_keys import make_keys
from qmail.protocol.shadow import Shadow

DAY = 20000
NOW = DAY * 86400 + 5
GOOD = Shadow(b"$6$hash", DAY - 10, 99999, -1)


class FakeTools:
    """A machine with one account; a hash is `setting(password)`."""

    def __init__(self) -> None:
        self.accounts = {b"joe": Owner(b"joe", 1000, 100, b"/home/joe", b"", b"")}
        self.shadows: dict[bytes, Shadow] = {}
        self.is_down = False
        self.hashed_with: list[bytes] = []

    def hashed(self, password: bytes, setting: bytes) -> bytes | None:
        self.hashed_with.append(setting)
        return setting if password == b"secret" else b"$6$other"

    def account(self, name: bytes) -> Owner | None:
        if self.is_down:
            raise OSError(5, "the list is away")
        return self.accounts.get(name)

    def shadow(self, name: bytes) -> Shadow | None:
        return self.shadows.get(name)

    def usual_setting(self) -> bytes:
        return b"$6$usual"


class World:
    def __init__(self, home: Path) -> None:
        (home / "users").mkdir()
        self.path = home / "users/passwd"
        self.tools = FakeTools()
        self.said: list[str] = []
        self.file = PasswdFile(str(home))
        self.settle(None)

    def settle(self, sole: tuple[int, int, bytes] | None) -> None:
        kept = Household(sole=sole, secret=b"s" * 32)
        self.check = PasswordCheck(self.file, self.tools, kept, self.said.append)

    def lines(self, *lines: bytes) -> None:
        new = self.path.with_suffix(".new")
        new.write_bytes(b"".join(line + b"\n" for line in lines))
        new.rename(self.path)

    def login(self, name: bytes, password: bytes = b"secret") -> Mailbox | Refusal | None:
        return self.check.check(Credentials(name, password, name))


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def scram(password: bytes) -> bytes:
    return b"{SCRAM-SHA-256}" + make_keys(password, b"salt", 4096).text()


def box(**fields: object) -> Mailbox:
    found: dict[str, object] = {
        "login": b"joe",
        "user": b"joe",
        "uid": 1000,
        "gid": 100,
        "home": b"/home/joe",
        "maildir": b"Maildir",
        **fields,
    }
    return Mailbox(**found)  # type: ignore[arg-type]


# --- users/passwd ---------------------------------------------------------------------------------


def test_name_that_the_file_does_not_know_is_for_others(world: World) -> None:
    assert world.login(b"joe") is None
    world.lines(b"ann:!")
    assert world.login(b"joe") is None


def test_line_without_uid_belongs_to_the_account(world: World) -> None:
    world.lines(b"joe:" + scram(b"secret"))
    assert world.login(b"joe") == box()
    assert world.login(b"joe", b"wrong") is Refusal.AUTH
    world.lines(b"joe:" + scram(b"secret") + b"::::/other::mail=~/M")
    assert world.login(b"joe") == box(home=b"/other", maildir=b"M")


def test_virtual_line_has_all_of_its_own(world: World) -> None:
    tail = b":5000:5001::/srv/%d::mail=maildir:%h/%n".replace(b"/srv/%d", b"/srv/x")
    world.lines(b"ann@example.net:" + scram(b"secret") + tail)
    assert world.login(b"ann@example.net") == box(
        login=b"ann@example.net", user=b"ann@example.net", uid=5000, gid=5001, home=b"/srv/x",
        maildir=b"/srv/x/ann",
    )  # fmt: skip


def test_hash_of_crypt(world: World) -> None:
    world.lines(b"joe:$6$hash")
    assert world.login(b"joe") == box()
    assert world.login(b"joe", b"wrong") is Refusal.AUTH


@pytest.mark.parametrize("secret", [b"", b"!", b"*", b"{CRYPT}*x"])
def test_line_without_a_secret_lets_nobody_in(world: World, secret: bytes) -> None:
    world.lines(b"joe:" + secret)
    for password in (b"secret", b"!", b"*", b"x"):
        assert world.login(b"joe", password) is Refusal.AUTH


def test_trouble_of_ours_is_temporary_and_said(world: World) -> None:
    world.lines(b"joe:{X}y", b"jane:" + scram(b"secret"), b"ann:" + scram(b"secret"))
    assert world.login(b"joe") is Refusal.TEMPORARY
    assert world.login(b"jane") is Refusal.TEMPORARY
    world.tools.is_down = True
    assert world.login(b"ann") is Refusal.TEMPORARY
    assert [line.partition(":")[0] for line in world.said] == [
        "users/passwd", "users/passwd", "the list of accounts",
    ]  # fmt: skip
    # A wrong password learns nothing of that.
    assert world.login(b"ann", b"wrong") is Refusal.AUTH
    world.path.unlink()
    world.path.mkdir()
    assert world.login(b"ann") is Refusal.TEMPORARY


def test_home_of_one_account(world: World) -> None:
    world.settle((7, 8, b"/q/alias"))
    world.lines(b"any@where:" + scram(b"secret"))
    assert world.login(b"any@where") == box(
        login=b"any@where", user=b"any@where", uid=7, gid=8, home=b"/q/alias"
    )


def test_password_that_unicode_writes_in_two_ways(world: World) -> None:
    composed, apart = "caf\u00e9".encode(), "cafe\u0301".encode()
    world.lines(b"joe:" + scram(composed), b"ann:" + scram(apart) + b":1:1::/h")
    assert world.login(b"joe", apart) == box()
    assert world.login(b"joe", composed) == box()
    # Keys that another program made of what was typed.
    assert isinstance(world.login(b"ann", apart), Mailbox)


def test_keys_of_nobody_and_of_lines_without_any(world: World) -> None:
    world.lines(b"joe:" + scram(b"secret"), b"ann:$6$hash")
    found = world.check.keys(b"joe")
    assert isinstance(found, tuple)
    keys, entry = found
    assert entry is not None
    assert keys == entry.keys
    for name in (b"ann", b"nobody"):
        found = world.check.keys(name)
        assert isinstance(found, tuple)
        assert found[1] is None
        assert found[0] == world.check.keys_of_nobody(name)
        assert found[0].iterations == 4096
    world.lines(b"joe:{X}y")
    assert world.check.keys(b"joe") is Refusal.TEMPORARY


# --- accounts of the system -----------------------------------------------------------------------


def system(tools: FakeTools, name: bytes, password: bytes = b"secret") -> Mailbox | Refusal:
    return check_system(Credentials(name, password, name), tools, NOW)


@pytest.mark.parametrize(
    ("shadow", "is_good"),
    [
        (GOOD, True),
        (replace(GOOD, crypted=b""), False),
        (replace(GOOD, crypted=b"!$6$hash"), False),
        (replace(GOOD, crypted=b"*"), False),
        (replace(GOOD, changed=0), False),
        (replace(GOOD, changed=-1), True),
        (replace(GOOD, expires=DAY + 1), True),
        (replace(GOOD, expires=DAY), False),
        (replace(GOOD, expires=0), False),
        (replace(GOOD, days_max=10), True),
        (replace(GOOD, days_max=9), False),
        (replace(GOOD, days_max=-1), True),
        (None, False),
    ],
)
def test_which_records_let_their_accounts_in(shadow: Shadow | None, is_good: bool) -> None:
    tools = FakeTools()
    if shadow is not None:
        tools.shadows[b"joe"] = shadow
    assert system(tools, b"joe") == (box() if is_good else Refusal.AUTH)
    assert system(tools, b"joe", b"wrong") is Refusal.AUTH


def test_every_try_makes_one_hash() -> None:
    tools = FakeTools()
    tools.shadows[b"joe"] = GOOD
    tools.accounts[b"locked"] = tools.accounts[b"joe"]
    tools.shadows[b"locked"] = replace(GOOD, crypted=b"!x")
    for name in (b"joe", b"nobody", b"locked"):
        system(tools, name, b"wrong")
    assert tools.hashed_with == [b"$6$hash", b"$6$usual", b"$6$usual"]


def test_root_and_accounts_without_a_home_are_refused() -> None:
    tools = FakeTools()
    tools.shadows[b"joe"] = GOOD
    tools.accounts[b"joe"] = Owner(b"joe", 0, 0, b"/root", b"", b"")
    assert system(tools, b"joe") is Refusal.AUTH
    tools.accounts[b"joe"] = Owner(b"joe", 5, 5, b"", b"", b"")
    assert system(tools, b"joe") is Refusal.AUTH
    tools.is_down = True
    assert system(tools, b"joe") is Refusal.TEMPORARY


# --- the secret, and the settings -----------------------------------------------------------------


def test_secret_is_made_once(tmp_path: Path) -> None:
    (tmp_path / "users").mkdir()
    home = str(tmp_path)
    given: list[int] = []
    assert read_secret(home) is None
    assert household(home, None).secret != household(home, None).secret
    ensure_secret(home, given.append)
    secret = read_secret(home)
    assert secret is not None
    assert len(secret) == SECRET_BYTES
    ensure_secret(home, given.append)
    assert (read_secret(home), len(given)) == (secret, 1)
    assert household(home, (1, 2)) == Household(
        sole=(1, 2, str(tmp_path / "alias").encode()), secret=secret
    )
    path = tmp_path / "users/passwd.key"
    assert path.stat().st_mode & 0o7777 == 0o400
    path.unlink()
    path.write_bytes(b"half")
    ensure_secret(home, given.append)
    assert len(path.read_bytes()) == SECRET_BYTES


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (b"vchkpw\n", (b"vchkpw",)),
        (b"/usr/bin/check -s 'a b'\n", (b"/usr/bin/check", b"-s", b"a b")),
        (b"# which\n/usr/bin/check\na b\n$HOME\n", (b"/usr/bin/check", b"a b", b"$HOME")),
        (b"", ()),
    ],
)
def test_program_that_decides(text: bytes, words: tuple[bytes, ...]) -> None:
    found = load(LoginControls, {"checkpassword": text}.get)
    assert found.checkpassword == words


@pytest.mark.parametrize("text", [b"check | more\n", b"check $HOME\n", b"a\nb\0c\n"])
def test_program_that_is_no_words(text: bytes) -> None:
    with pytest.raises(ControlError, match="control/checkpassword:1"):
        load(LoginControls, {"checkpassword": text}.get)
