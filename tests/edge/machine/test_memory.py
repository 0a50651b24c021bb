"""How much memory there is: the machine's, or less where a control group says so."""

import os
from pathlib import Path

import pytest

from qmail.edge.machine.memory import memory_bytes

MACHINE = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def found(folder: Path, membership: str, limits: dict[str, str]) -> int:
    (folder / "self").write_text(membership)
    for group, limit in limits.items():
        (folder / "groups" / group).mkdir(parents=True, exist_ok=True)
        (folder / "groups" / group / "memory.max").write_text(f"{limit}\n")
    return memory_bytes(str(folder / "self"), str(folder / "groups"))


def test_without_control_groups_it_is_the_machines(tmp_path: Path) -> None:
    assert memory_bytes(str(tmp_path / "none"), str(tmp_path)) == MACHINE


@pytest.mark.parametrize("membership", ["0::/a/b\n", "0::/a/b/c\n"])
def test_least_limit_of_the_group_and_those_above_counts(tmp_path: Path, membership: str) -> None:
    assert found(tmp_path, membership, {"a": "1000000", "a/b": "max"}) == 1000000


def test_limit_of_a_container_counts(tmp_path: Path) -> None:
    assert found(tmp_path, "0::/\n", {".": "5000"}) == 5000


@pytest.mark.parametrize("limit", ["max", "", "-1", str(10**18)])
def test_no_limit_and_one_above_the_machine_change_nothing(tmp_path: Path, limit: str) -> None:
    assert found(tmp_path, "0::/a\n", {"a": limit}) == MACHINE


def test_membership_of_the_older_hierarchies_is_passed_over(tmp_path: Path) -> None:
    assert found(tmp_path, "5:memory:/a\n", {"a": "1000"}) == MACHINE
