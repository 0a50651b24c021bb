"""A folder for a home that several accounts work in, and who they are."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.programs.lspawn_driver import can_read_the_programs, ordinary_accounts

from qmail.edge.machine.accounts import Accounts, MissingAccountError, separate_accounts


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder that every account can reach."""
    made = Path(tempfile.mkdtemp(prefix="qmail-"))
    made.chmod(0o755)
    yield made
    shutil.rmtree(made, ignore_errors=True)


@pytest.fixture
def own_accounts() -> Accounts:
    """Who runs a home of one account; under root somebody else, who can read the programs."""
    accounts = ordinary_accounts()
    if not can_read_the_programs(accounts["alias"].uid, accounts["alias"].gid):
        pytest.skip("other accounts can't read the programs here")
    return accounts


@pytest.fixture
def suite_accounts() -> Accounts:
    """The separate accounts, for a test that is root."""
    if os.getuid() != 0:
        pytest.skip("needs root")
    try:
        return separate_accounts()
    except MissingAccountError as missing:
        pytest.skip(str(missing))
