"""Who controls a local address (spec/delivery.md 2)."""

import errno

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qmail.core.addresses.users import LookupTroubleError, answer_for, owner_of, sole_owner
from qmail.protocol.local_door import Answer, Owner
from qmail.protocol.local_exits import LocalExit
from qmail.protocol.netstring import FrameReader


class FakeDirectory:
    def __init__(self) -> None:
        self.accounts = {
            b"joe": Owner(b"joe", 1001, 100, b"/home/joe", b"", b""),
            b"joe-list": Owner(b"joe-list", 1002, 100, b"/home/joe-list", b"", b""),
            b"root": Owner(b"root", 0, 0, b"/root", b"", b""),
            b"news": Owner(b"news", 9, 13, b"/nowhere", b"", b""),
            b"moved": Owner(b"moved", 1003, 100, b"/home/moved", b"", b""),
            b"guest": Owner(b"guest", 1004, 100, b"/home/joe", b"", b""),
            b"Upper": Owner(b"Upper", 1005, 100, b"/home/joe", b"", b""),
            b"alias": Owner(b"alias", 7790, 2108, b"/var/qmail/alias", b"", b""),
        }
        self.folders = {
            b"/var/qmail/alias": 7790,
            b"/home/joe": 1001,
            b"/home/joe-list": 1002,
            b"/root": 0,
        }
        self.is_down = False
        self.slow_folders: set[bytes] = set()

    def account(self, name: bytes) -> Owner | None:
        if self.is_down:
            raise OSError(errno.EIO, "down")
        return self.accounts.get(name)

    def folder_owner(self, path: bytes) -> int | None:
        if path in self.slow_folders:
            raise OSError(errno.ESTALE, "stale")
        return self.folders.get(path)


ALIAS = (b"alias", b"-")


@pytest.mark.parametrize(
    ("local", "user", "dash", "ext"),
    [
        (b"joe", b"joe", b"", b""),
        (b"JOE", b"joe", b"", b""),
        (b"joe-a-B", b"joe", b"-", b"a-B"),
        (b"joe-", b"joe", b"-", b""),
        (b"joe-list-x", b"joe-list", b"-", b"x"),
        (b"Joe-List", b"joe-list", b"", b""),
        (b"jane", *ALIAS, b"jane"),
        (b"jane-x", *ALIAS, b"jane-x"),
        (b"-joe", *ALIAS, b"-joe"),
        (b"upper", *ALIAS, b"upper"),
        (b"a" * 40, *ALIAS, b"a" * 40),
        (b"joe\nx", *ALIAS, b"joe\nx"),
        (b"joe-" + b"x" * 900, b"joe", b"-", b"x" * 900),
    ],
)
def test_longest_prefix_before_a_break_that_is_a_user_wins(
    local: bytes, user: bytes, dash: bytes, ext: bytes
) -> None:
    owner = owner_of(local, FakeDirectory())
    assert (owner.user, owner.dash, owner.ext) == (user, dash, ext)


def test_root_is_never_a_user() -> None:
    assert owner_of(b"root", FakeDirectory()).user == b"alias"


def test_home_of_another_uid_is_not_a_user() -> None:
    assert owner_of(b"guest", FakeDirectory()).user == b"alias"


def test_system_account_without_home_is_not_a_user() -> None:
    assert owner_of(b"news", FakeDirectory()).user == b"alias"


def test_person_whose_home_is_not_there_waits() -> None:
    with pytest.raises(LookupTroubleError) as trouble:
        owner_of(b"moved-x", FakeDirectory())
    assert trouble.value.code == LocalExit.HOME_TROUBLE


def test_home_that_does_not_answer_waits() -> None:
    directory = FakeDirectory()
    directory.slow_folders.add(b"/home/joe")
    assert answer_for(b"joe", directory).code == LocalExit.HOME_TROUBLE


def test_a_persons_home_that_is_roots_may_be_a_disk_that_is_not_mounted() -> None:
    directory = FakeDirectory()
    directory.folders[b"/home/joe"] = 0
    assert answer_for(b"joe", directory).code == LocalExit.HOME_TROUBLE


def test_directory_service_down_is_not_no_such_user() -> None:
    directory = FakeDirectory()
    directory.is_down = True
    assert answer_for(b"joe", directory) == Answer(b"joe", LocalExit.SYSTEM)


def test_missing_alias_is_exit_116() -> None:
    directory = FakeDirectory()
    del directory.accounts[b"alias"]
    assert answer_for(b"jane", directory).code == 116
    assert answer_for(b"joe", directory).code == 0


def test_home_of_alias_can_be_the_one_of_the_installation() -> None:
    assert owner_of(b"jane", FakeDirectory()).home == b"/var/qmail/alias"
    assert owner_of(b"jane", FakeDirectory(), b"/x/alias").home == b"/x/alias"


def test_alias_by_its_name_has_the_same_home() -> None:
    directory = FakeDirectory()
    directory.folders = {b"/x/alias": 7790}
    assert owner_of(b"alias-x", directory, b"/x/alias") == Owner(
        b"alias", 7790, 2108, b"/x/alias", b"-", b"x"
    )


def test_one_account_gives_everything_to_alias() -> None:
    assert sole_owner(b"joe-x", 5, 6, b"/x/alias") == Owner(
        b"alias", 5, 6, b"/x/alias", b"-", b"joe-x"
    )


@settings(max_examples=100)
@given(st.binary(max_size=80).filter(lambda local: b"\0" not in local))
def test_every_local_part_has_an_owner_and_keeps_its_bytes(local: bytes) -> None:
    answer = answer_for(local, FakeDirectory())
    assert answer.owner is not None
    owner = answer.owner
    assert owner.uid != 0
    assert local.endswith(owner.ext)
    if owner.user != b"alias":
        assert local.lower() == owner.user + owner.dash + owner.ext.lower()
    (payload,) = FrameReader(16384).feed(answer.pack())
    assert Answer.unpack(payload) == answer


@pytest.mark.parametrize(("length", "is_user"), [(31, True), (32, False)])
def test_delivery_2_only_names_shorter_than_32_bytes_are_users(
    *, length: int, is_user: bool
) -> None:
    directory = FakeDirectory()
    name = b"n" * length
    directory.accounts[name] = Owner(name, 1001, 100, b"/home/joe", b"", b"")
    for local, ext in ((name, b""), (name + b"-x", b"x")):
        owner = owner_of(local, directory)
        assert (owner.user, owner.ext) == ((name, ext) if is_user else (b"alias", local))


@pytest.mark.parametrize("local", [b"Upper", b"upper", b"UPPER-x"])
def test_oddities_7_an_account_with_upper_case_letters_stays_invisible(local: bytes) -> None:
    assert owner_of(local, FakeDirectory()).user == b"alias"


@pytest.mark.parametrize(
    ("break_", "local", "found"),
    [
        (b"+", b"joe+a+B", (b"joe", b"-", b"a+B")),
        (b"+", b"joe-a", (b"alias", b"-", b"joe-a")),
        (b"+", b"joe-list+x", (b"joe-list", b"-", b"x")),
        (b"", b"joe", (b"joe", b"", b"")),
        (b"", b"joe-a", (b"alias", b"-", b"joe-a")),
    ],
)
def test_index_the_break_character_ends_the_name(
    break_: bytes, local: bytes, found: tuple[bytes, bytes, bytes]
) -> None:
    owner = owner_of(local, FakeDirectory(), b"", break_)
    assert (owner.user, owner.dash, owner.ext) == found
