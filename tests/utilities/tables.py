"""Tables and lists for tests of fastforward and its kin, made by their own commands."""

from pathlib import Path

from tests.utilities.line_tools import Line


def make_table(line: Line, text: str) -> str:
    """Make a table from its written form. Returns: its path."""
    path = line.home / "table.cdb"
    ended = line.run(["setforward", str(path), str(line.home / "table.tmp")], text.encode())
    assert (ended.code, ended.err) == (0, b"")
    return str(path)


def make_list(line: Line, path: Path, text: str) -> Path:
    """Store a list of plain lines. Returns: its path."""
    ended = line.run(["setmaillist", str(path), f"{path}.tmp"], text.encode())
    assert (ended.code, ended.err) == (0, b"")
    return path
