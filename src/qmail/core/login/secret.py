"""users/passwd.key: what the answers about names that nobody has are made of.

It has to stay the same, or the salt that SCRAM shows for such a name would change and tell it from
the salt of a real one. It opens nothing.
"""

import os
from collections.abc import Callable
from typing import IO, Final

from qmail.core.login.password_check import Household
from qmail.core.whole_files import read_whole, replace_file

FILE: Final = "users/passwd.key"
SECRET_BYTES: Final = 32
MODE: Final = 0o400

Give = Callable[[int], None]
"""Gives the open file to its owner, by its descriptor."""


def read_secret(home: str) -> bytes | None:
    """Return the secret of a home; None: there is none, or none that is whole.

    Raises: OSError: it can't be read.
    """
    try:
        data, _ = read_whole(f"{home}/{FILE}", SECRET_BYTES, follows_links=False)
    except FileNotFoundError:
        return None
    return data if len(data) == SECRET_BYTES else None


def ensure_secret(home: str, give: Give, random: Callable[[int], bytes] = os.urandom) -> None:
    """Make the secret of a home where there is none.

    Raises: OSError: it can't be made.
    """
    if read_secret(home) is not None:
        return

    def write(file: IO[bytes]) -> None:
        give(file.fileno())
        file.write(random(SECRET_BYTES))

    path = f"{home}/{FILE}"
    replace_file(path, f"{path}.tmp", write, mode=MODE)


def household(home: str, sole: tuple[int, int] | None) -> Household:
    """Return what a home says about logins; `sole`: user and group of the one account, if any.

    Raises: OSError: the secret is there and can't be read.
    """
    alias = os.fsencode(f"{os.path.abspath(home)}/alias")
    # Without the file nothing is worse than that salts of unknown names change at each start.
    secret = read_secret(home) or os.urandom(SECRET_BYTES)
    return Household(sole=None if sole is None else (*sole, alias), secret=secret)
