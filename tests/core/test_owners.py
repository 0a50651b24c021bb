"""Who controls a local address, for all who ask (spec/delivery.md 2)."""

from pathlib import Path

from qmail.core.owners import Owners
from qmail.protocol.local_door import Answer, Owner


class Accounts:
    """Alias, whose home in the list of accounts is another than the suite's."""

    def account(self, name: bytes) -> Owner | None:
        return Owner(b"alias", 7790, 2108, b"/old", b"", b"") if name == b"alias" else None

    def folder_owner(self, path: bytes) -> int | None:
        return 7790 if path == b"/old" else None


def test_one_account_has_everything_in_alias_of_the_home() -> None:
    owners = Owners("/home/q", Accounts(), (5, 6))
    assert owners.find(b"joe-x") == Answer(
        b"joe-x", 0, Owner(b"alias", 5, 6, b"/home/q/alias", b"-", b"joe-x")
    )


def test_alias_of_the_home_counts_and_not_that_of_the_list_of_accounts(tmp_path: Path) -> None:
    owners = Owners(str(tmp_path), Accounts())
    found = owners.find(b"joe").owner
    assert found is not None
    assert found.home == b"/old"
    (tmp_path / "alias").mkdir()
    found = owners.find(b"joe").owner
    assert found is not None
    assert found.home == str(tmp_path / "alias").encode()
