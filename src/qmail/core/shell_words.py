"""The words of a command that /bin/sh would only split and fill in, and never more.

Quotes, backslashes and $NAME are understood; whatever else has a meaning to the shell makes the
command one that only the shell can read. Source: POSIX.1-2017, Shell Command Language, 2.2 and 2.6.
"""

import re
from collections.abc import Mapping
from typing import Final

_NAME: Final = rb"[A-Za-z_][A-Za-z0-9_]*"
_TOKEN: Final = re.compile(
    rb"(?P<blank>[ \t]+)"
    rb"|'(?P<single>[^']*)'"
    rb'|"(?P<double>(?:[^"\\`]|\\.)*)"'
    rb"|\\(?P<escaped>[^\n])"
    rb"|\$(?:(?P<name>" + _NAME + rb")|\{(?P<braced>" + _NAME + rb")\})"
    rb"|(?P<plain>[A-Za-z0-9_@%+:,./=^-]+)",
    re.DOTALL,
)
_IN_QUOTES: Final = re.compile(
    rb"\\(?P<escaped>[$`\"\\])|\$(?:(?P<name>" + _NAME + rb")|\{(?P<braced>" + _NAME + rb")\})"
    rb"|(?P<other>\$)",
    re.DOTALL,
)
_STANDS_AS_IT_IS: Final = re.compile(rb"[^ \t\n*?\[\\]+")
_ASSIGNMENT: Final = re.compile(_NAME + rb"=")

Variables = Mapping[bytes, bytes]


class _NotSimpleError(Exception):
    """The shell would do more than split and fill in."""


def simple_words(command: bytes, variables: Variables) -> tuple[bytes, ...] | None:
    """Return the words of `command` with its variables filled in; None: only the shell knows."""
    try:
        words = tuple(_split(command, variables))
    except _NotSimpleError:
        return None
    return None if not words or _ASSIGNMENT.match(words[0]) else words


def _split(command: bytes, variables: Variables) -> list[bytes]:
    words: list[bytes] = []
    word: bytes | None = None
    position = 0
    while position < len(command):
        token = _TOKEN.match(command, position)
        if token is None:
            raise _NotSimpleError
        position = token.end()
        if token.lastgroup == "blank":
            words += [word] if word is not None else []
            word = None
        else:
            word = (word or b"") + _text(token, variables)
    return words if word is None else [*words, word]


def _text(token: re.Match[bytes], variables: Variables) -> bytes:
    kind = token.lastgroup or ""
    text: bytes = token[kind]
    if kind in ("name", "braced"):
        value = _value(text, variables)
        # Unquoted, a value is split at blanks and may match file names.
        if not _STANDS_AS_IT_IS.fullmatch(value):
            raise _NotSimpleError
        return value
    if kind == "double":
        return _IN_QUOTES.sub(lambda found: _in_quotes(found, variables), text)
    return text


def _in_quotes(found: re.Match[bytes], variables: Variables) -> bytes:
    if found["escaped"] is not None:
        return bytes(found["escaped"])
    name = found["name"] or found["braced"]
    if name is None:
        raise _NotSimpleError
    return _value(name, variables)


def _value(name: bytes, variables: Variables) -> bytes:
    # What is not ours may be set in the environment that qmail-start has.
    if name not in variables:
        raise _NotSimpleError
    return variables[name]
