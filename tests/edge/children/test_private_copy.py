"""A program never sees the next message through the descriptor of the last one."""

import os
from pathlib import Path

from qmail.edge.children.private_copy import private_copy
from qmail.mail import SPARE_BYTES_MAX


def test_a_short_message_is_copied(tmp_path: Path) -> None:
    path = tmp_path / "message"
    path.write_bytes(b"first\n")
    fd = os.open(path, os.O_RDONLY)
    copy = private_copy(fd)
    path.write_bytes(b"other\n")
    assert os.read(copy, 100) == b"first\n"
    os.close(copy)
    os.close(fd)


def test_a_long_message_is_its_own_file(tmp_path: Path) -> None:
    path = tmp_path / "message"
    path.write_bytes(b"x" * (SPARE_BYTES_MAX + 1))
    fd = os.open(path, os.O_RDONLY)
    assert private_copy(fd) == fd
    os.close(fd)
