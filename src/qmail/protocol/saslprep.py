"""Names and passwords in the one form that clients and servers compare (SASLprep, RFC 4013).

A name or password of printable ASCII, which most are, is in that form already.
"""

import stringprep
import unicodedata
from typing import Final

_PROHIBITED: Final = (
    stringprep.in_table_c12,
    stringprep.in_table_c21_c22,
    stringprep.in_table_c3,
    stringprep.in_table_c4,
    stringprep.in_table_c5,
    stringprep.in_table_c6,
    stringprep.in_table_c7,
    stringprep.in_table_c8,
    stringprep.in_table_c9,
)


class PreparationError(ValueError):
    """The text has characters that no name or password may have."""


def saslprep(text: str, *, is_stored: bool = False) -> str:
    """Return `text` prepared. `is_stored`: it is about to be kept, not compared.

    What is kept may have no characters that Unicode 3.2 does not know, since later versions may
    change how they are compared (RFC 3454 7).

    Raises: PreparationError: a prohibited character, or directions of writing mixed.
    Source: RFC 4013 2.
    """
    if text.isascii() and text.isprintable():
        return text
    mapped = "".join(_mapped(char) for char in text)
    # Unicode 3.2, which RFC 3454 is about: others would join differently.
    prepared = unicodedata.ucd_3_2_0.normalize("NFKC", mapped)
    for char in prepared:
        if any(table(char) for table in _PROHIBITED):
            raise PreparationError(f"the character U+{ord(char):04X} can't stand there")
        if is_stored and stringprep.in_table_a1(char):
            raise PreparationError(f"the character U+{ord(char):04X} is too new to stand there")
    _check_directions(prepared)
    return prepared


def _mapped(char: str) -> str:
    if stringprep.in_table_c12(char):
        return " "
    return "" if stringprep.in_table_b1(char) else char


def _check_directions(text: str) -> None:
    """Refuse text of both directions (RFC 3454 6). Raises: PreparationError."""
    if not any(stringprep.in_table_d1(char) for char in text):
        return
    if any(stringprep.in_table_d2(char) for char in text):
        raise PreparationError("left-to-right and right-to-left letters are mixed")
    if not (stringprep.in_table_d1(text[0]) and stringprep.in_table_d1(text[-1])):
        raise PreparationError("it must begin and end with right-to-left letters")


def password_forms(password: bytes) -> tuple[bytes, ...]:
    """Return the forms of a password that a stored key may have been made of, the best first.

    Keys that other programs made may be of the bytes as they were typed, which differ from the
    prepared form in rare cases only. Which forms there are tells nothing about what is stored.
    """
    try:
        prepared = saslprep(password.decode()).encode()
    except ValueError:
        # Not UTF-8, or nothing that could be prepared: it may still be what was stored.
        return (password,)
    return (password,) if prepared == password else (prepared, password)
