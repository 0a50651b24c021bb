"""Finds out what this machine is called, without asking the network."""

import os
import re
from typing import Final

HOSTS_BYTES_MAX: Final = 1024 * 1024
HOST_BYTES_MAX: Final = 253
_LABEL: Final = r"[A-Za-z0-9](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9])?"
_HOST: Final = re.compile(rf"{_LABEL}(?:\.{_LABEL})*\Z")
FALLBACK: Final = "localhost.localdomain"


def is_host(name: str) -> bool:
    """Say whether `name` can be the name of a host (RFC 1123 2.1)."""
    return len(name) <= HOST_BYTES_MAX and _HOST.match(name) is not None


def own_host_name(hosts_path: str = "/etc/hosts") -> tuple[str, bool]:
    """Return the machine's name, and whether it is really fully qualified.

    A name without domain is looked up in /etc/hosts; where that has none, `.localdomain` is added.
    """
    name = os.uname().nodename.rstrip(".")
    if not is_host(name):
        return FALLBACK, False
    if "." in name:
        return name, True
    found = _qualified_in_hosts(name, hosts_path)
    return (found, True) if found else (f"{name}.localdomain", False)


def _qualified_in_hosts(name: str, hosts_path: str) -> str | None:
    try:
        with open(hosts_path, encoding="utf-8", errors="replace") as file:
            text = file.read(HOSTS_BYTES_MAX)
    except OSError:
        return None
    for line in text.splitlines():
        names = line.partition("#")[0].split()[1:]
        if name in names:
            for other in names:
                if other.startswith(f"{name}.") and is_host(other):
                    return other
    return None
