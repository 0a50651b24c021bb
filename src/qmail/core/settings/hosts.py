"""The hosts that complete addresses, from the environment or the control files.

Source: spec/inject.md 2 and 5.
"""

from __future__ import annotations

from qmail.core.inject.rewriting import Hosts
from qmail.core.settings.lines import ME, parse_host, split_lines

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Final

    from qmail.core.settings.lines import ReadFile

    Environ = Mapping[bytes, bytes]

# Control bytes in a name or host would end its line and begin another field.
TAME: Final = bytes(32 if byte < 32 or byte == 127 else byte for byte in range(256))


def read_hosts(environ: Environ, read_file: ReadFile) -> Hosts:
    """Find out what completes addresses: the environment first, then the control files.

    Raises: ControlError: a bad line. OSError: a file is there and can't be read.
    """
    values = []
    for name in Hosts._fields:
        given = environ.get(b"QMAIL" + name.upper().encode())
        values.append(_read_host(name, read_file) if given is None else given.translate(TAME))
    return Hosts(*values)


def _read_host(name: str, read_file: ReadFile) -> bytes:
    # As controls.load does for InjectControls; test_inject_order holds the two together.
    for file in (name, ME):
        raw = read_file(file)
        if raw is not None:
            return parse_host(file, split_lines(raw)[:1])
    return name.encode()
