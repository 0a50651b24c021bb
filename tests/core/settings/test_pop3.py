"""What qmail-popup reads: defaults, words, and what is refused."""

import pytest

from qmail.core.settings.controls import ControlError, load
from qmail.core.settings.pop3 import Plaintext, PopupControls


def read(**files: bytes) -> PopupControls:
    return load(PopupControls, files.get)


def test_without_files_passwords_come_in_clear_from_this_host_only() -> None:
    controls = read()
    assert controls.plaintextauth is Plaintext.LOOPBACK
    assert (controls.concurrencypop3, controls.concurrencypop3client) == (500, 50)
    assert controls.timeoutpop3 == 1200


@pytest.mark.parametrize("word", Plaintext)
def test_every_word_of_plaintextauth(word: Plaintext) -> None:
    assert read(plaintextauth=b"%b\n" % word.encode()).plaintextauth is word


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("plaintextauth", b"true\n"),
        ("plaintextauth", b""),
        ("concurrencypop3", b"many\n"),
        ("concurrencypop3client", b"-1\n"),
        ("timeoutpop3", b"10m\n"),
        ("timeoutpop3", b"599\n"),
    ],
)
def test_anything_else_is_told_with_file_and_line(name: str, text: bytes) -> None:
    with pytest.raises(ControlError, match=f"control/{name}:1: "):
        read(**{name: text})


def test_rfc1939_3_a_client_may_be_silent_for_ten_minutes() -> None:
    assert read(timeoutpop3=b"600\n").timeoutpop3 == 600
