"""Control files that note what they are asked, and the line behind an answer."""

import pytest

from qmail.core.explain.watching import (
    KEYS_SHOWN_MAX,
    Asked,
    Controls,
    Journal,
    WatchedMap,
    WatchedSet,
    tried,
    unreadable,
)
from qmail.core.settings.controls import ControlError
from qmail.core.settings.programs import SendControls, SmtpdControls
from qmail.protocol.exits import Exit


def test_a_watched_list_answers_as_the_list_and_notes_it() -> None:
    journal = Journal()
    watched = WatchedSet.of("locals", (b"a", b"b"), journal)
    assert (b"a" in watched, b"c" in watched) == (True, False)
    assert sorted(watched) == [b"a", b"b"]
    assert journal.of("locals") == [Asked("locals", b"a", True), Asked("locals", b"c", False)]
    assert (journal.hit("locals"), journal.hit("rcpthosts")) == (b"a", None)


def test_a_watched_map_answers_as_the_map_and_notes_it() -> None:
    journal = Journal()
    watched = WatchedMap("virtualdomains", {b"a": b"1"}, journal)
    assert (b"a" in watched, b"" in watched) == (True, False)
    assert (watched[b"a"], dict(watched), len(watched)) == (b"1", {b"a": b"1"}, 1)
    assert bool(WatchedMap("virtualdomains", {}, journal)) is False
    assert [one.key for one in journal.asked] == [b"a", b""]


@pytest.mark.parametrize(
    ("files", "place"),
    [
        ({"locals": b"x\nhere\n# here\nHERE\n"}, ("control/locals", 4)),
        ({"locals": b"x\n"}, ("control/locals", 0)),
        ({"me": b"here\n"}, ("control/me", 1)),
        ({}, ("control/locals", 0)),
    ],
)
def test_the_last_line_that_gives_an_entry_is_the_one(
    files: dict[str, bytes], place: tuple[str, int]
) -> None:
    assert Controls(SendControls, files.get).entry("locals", b"here") == place


def test_a_setting_of_one_line_is_on_the_first() -> None:
    files = {"verifyrcpt": b"off\n", "me": b"here\n"}
    sources = Controls(SmtpdControls, files.get)
    assert sources.place("verifyrcpt") == ("control/verifyrcpt", 1)
    assert sources.place("smtpgreeting") == ("control/me", 1)
    assert (sources.is_there("me"), sources.is_there("rcpthosts")) == (True, False)


def test_of_many_keys_the_first_are_named_and_an_empty_one_is_none() -> None:
    asked = [Asked("x", b"K%d" % number, False) for number in range(KEYS_SHOWN_MAX + 3)]
    names = ", ".join(f"k{number}" for number in range(KEYS_SHOWN_MAX))
    assert tried([*asked, asked[0]]) == f"{names} and 3 more"
    assert tried([*asked[:2], Asked("x", b"", False)]) == "k0, k1"
    assert tried([]) == ""


@pytest.mark.parametrize(
    ("trouble", "where", "text"),
    [
        (ControlError("locals", 3, "no domain"), "control/locals:3", "no domain: qmail-send"),
        (
            PermissionError(13, "Permission denied", "/h/control/me"),
            "control/me",
            "permission denied: qmail-send",
        ),
    ],
)
def test_a_file_that_is_no_use_is_named(
    trouble: ControlError | OSError, where: str, text: str
) -> None:
    part = unreadable("route", trouble, "qmail-send")
    assert part.verdict is Exit.TEMPORARY
    assert part.steps[0].where == where
    assert part.steps[0].text.startswith(text)
