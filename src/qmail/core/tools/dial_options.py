"""What tcpclient is asked for on its command line (spec/companion.md 4.4)."""

from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

from qmail.protocol.options import OptionError, split_options

SECONDS_MAX: Final = 86400
PORT_MAX: Final = 65535


class Dial(NamedTuple):
    """Whom to call, how, and which program gets the connection."""

    host: str
    port: str
    """A number, or the name of a service."""
    program: tuple[str, ...]
    from_ip: str = ""
    from_port: int = 0
    first_s: int = 2
    """How long each address is tried in the first round, and in the second one."""
    second_s: int = 58
    local_host: str | None = None
    """What TCPLOCALHOST will be; None: it is looked up."""
    asks_names: bool = True
    """Look TCPREMOTEHOST up."""
    asks_ident: bool = False
    ident_s: int = 26
    delays: bool = True
    """Let the kernel gather small pieces (Nagle)."""
    noise: int = 1
    """0 says nothing, 1 says what went wrong, 2 says all."""


def read_dial(argv: Sequence[str]) -> Dial | None:
    """Read a command line; None: too few words.

    The ident question, which the original asks unless told otherwise, needs `-r`: hardly any host
    answers it, and most let us wait (spec/oddities.md 10).
    Raises: OptionError: an unknown option, or a value that is no number.
    """
    options, words = split_options(argv, "hHrRdDqQvi:p:T:l:t:")
    if len(words) < 3:
        return None
    dial = Dial(words[0] or "127.0.0.1", words[1], tuple(words[2:]))
    for letter, value in options:
        dial = _with_value(dial, letter, value) if letter in "iptTl" else _FLAGS[letter](dial)
    return dial._replace(host="127.0.0.1" if dial.host == "0" else dial.host)


_FLAGS: Final[dict[str, Callable[[Dial], Dial]]] = {
    "h": lambda dial: dial._replace(asks_names=True),
    "H": lambda dial: dial._replace(asks_names=False),
    "r": lambda dial: dial._replace(asks_ident=True),
    "R": lambda dial: dial._replace(asks_ident=False),
    "d": lambda dial: dial._replace(delays=True),
    "D": lambda dial: dial._replace(delays=False),
    "q": lambda dial: dial._replace(noise=0),
    "Q": lambda dial: dial._replace(noise=1),
    "v": lambda dial: dial._replace(noise=2),
}


def _with_value(dial: Dial, letter: str, value: str) -> Dial:
    if letter == "i":
        return dial._replace(from_ip=value)
    if letter == "p":
        return dial._replace(from_port=_number(letter, value, PORT_MAX))
    if letter == "t":
        return dial._replace(ident_s=_number(letter, value, SECONDS_MAX))
    if letter == "l":
        return dial._replace(local_host=value)
    first, plus, second = value.partition("+")
    first_s = _number(letter, first, SECONDS_MAX)
    # Without the second number there is one round.
    second_s = _number(letter, second, SECONDS_MAX) if plus else 0
    return dial._replace(first_s=first_s, second_s=second_s)


def _number(letter: str, text: str, most: int) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= 6 and int(text) <= most):
        raise OptionError(f"-{letter} takes a number of at most {most}, not '{text}'")
    return int(text)
