"""What a checkpassword program reads on descriptor 3 (spec/smtp.md E.2)."""

from typing import Final

INPUT_BYTES_MAX: Final = 512


class InputError(ValueError):
    """It is not `login NUL password NUL timestamp NUL`: the program is misused."""


class TooLongError(InputError):
    """It is longer than 512 bytes: not acceptable, since a part of it can't be believed."""


def read_input(data: bytes) -> tuple[bytes, bytes]:
    """Return name and password; what follows the timestamp is for others.

    Raises: TooLongError, InputError.
    """
    if len(data) > INPUT_BYTES_MAX:
        raise TooLongError(f"more than {INPUT_BYTES_MAX} bytes")
    parts = data.split(b"\0", 3)
    if len(parts) < 4:
        raise InputError("not NAME NUL PASSWORD NUL TIMESTAMP NUL")
    return parts[0], parts[1]
