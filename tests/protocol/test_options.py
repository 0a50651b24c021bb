"""The old getopt's rules (spec/programs.md 0)."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qmail.protocol.options import OptionError, split_options


@pytest.mark.parametrize(
    ("argv", "options", "arguments"),
    [
        ([], [], []),
        (["-a", "x", "-a"], [("a", "")], ["x", "-a"]),
        (["-ab"], [("a", ""), ("b", "")], []),
        (["-fjoe", "-f", "ann"], [("f", "joe"), ("f", "ann")], []),
        (["-af", "", "x"], [("a", ""), ("f", "")], ["x"]),
        (["-a", "--", "-b"], [("a", "")], ["-b"]),
        (["-", "-a"], [], ["-", "-a"]),
        (["-q", "-q15m"], [("q", ""), ("q", "15m")], []),
    ],
)
def test_options_end_before_the_first_argument(
    argv: list[str], options: list[tuple[str, str]], arguments: list[str]
) -> None:
    assert split_options(argv, "abf:q::") == (options, arguments)


@pytest.mark.parametrize(
    ("argv", "text"),
    [
        (["-z"], "illegal option -- z"),
        (["-a:"], "illegal option -- :"),
        (["-af"], "option requires an argument -- f"),
    ],
)
def test_errors_read_as_getopt_writes_them(argv: list[str], text: str) -> None:
    with pytest.raises(OptionError, match=text):
        split_options(argv, "abf:")


@given(st.lists(st.text(alphabet="-abfqz: \udcff", max_size=4), max_size=5))
@settings(max_examples=60)
def test_any_words_are_split_or_refused(argv: list[str]) -> None:
    try:
        _, arguments = split_options(argv, "abf:q::")
    except OptionError:
        return
    assert argv[len(argv) - len(arguments) :] == arguments
