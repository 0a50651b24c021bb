"""Where root may write beside a file that somebody named."""

import os
from pathlib import Path

import pytest

from qmail.edge.machine.ownership import others_part


def test_our_own_folders_are_ours_alone(own_folder: Path) -> None:
    assert others_part(f"{own_folder}/all") == ""
    assert others_part(f"{own_folder}/") == ""


@pytest.mark.parametrize("mode", [0o775, 0o757, 0o1777])
def test_a_folder_that_others_may_write_to_is_not(own_folder: Path, mode: int) -> None:
    own_folder.chmod(mode)
    assert others_part(f"{own_folder}/all") == f"{own_folder}"


def test_a_link_on_the_way_is_not(own_folder: Path) -> None:
    (own_folder / "real").mkdir(mode=0o755)
    (own_folder / "link").symlink_to("real")
    assert others_part(f"{own_folder}/real/all") == ""
    assert others_part(f"{own_folder}/link/all") == f"{own_folder}/link"


def test_the_folder_of_another_account_is_not(own_folder: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("needs root: a folder is given away")
    os.chown(own_folder, 65534, 65534)
    assert others_part(f"{own_folder}/all") == f"{own_folder}"


def test_a_folder_that_is_not_there_is_trouble(own_folder: Path) -> None:
    with pytest.raises(FileNotFoundError):
        others_part(f"{own_folder}/none/all")
