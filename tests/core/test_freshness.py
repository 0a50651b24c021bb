"""Whether what is made from a file is up to date."""

import os
from pathlib import Path

import pytest

from qmail.core.freshness import Freshness, freshness

SECOND = 10**9


@pytest.mark.parametrize(
    ("made", "source", "found"),
    [
        (None, None, Freshness.NEITHER),
        (None, 5, Freshness.MISSING),
        (5, None, Freshness.ALONE),
        (5, 6, Freshness.STALE),
        (6, 5, Freshness.FRESH),
        (5, 5, Freshness.FRESH),
    ],
)
def test_a_made_file_is_stale_if_its_source_changed_after_it(
    tmp_path: Path, made: int | None, source: int | None, found: Freshness
) -> None:
    for name, when in (("made", made), ("source", source)):
        if when is not None:
            (tmp_path / name).touch()
            os.utime(tmp_path / name, ns=(when * SECOND, when * SECOND))
    assert freshness(str(tmp_path / "made"), str(tmp_path / "source")) is found


def test_what_can_not_be_looked_at_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OSError):
        freshness(str(tmp_path / "file/made"), str(tmp_path / "file"))
