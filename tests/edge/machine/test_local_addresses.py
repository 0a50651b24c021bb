"""Which addresses this machine has."""

import socket
import time
from pathlib import Path

import pytest

from qmail.edge.machine import local_addresses
from qmail.edge.machine.local_addresses import FreshLocalAddresses, read_local_addresses


def test_the_loopback_address_is_among_them() -> None:
    found = read_local_addresses()
    assert "127.0.0.1" in found.addresses
    for address in found.addresses:
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        assert socket.inet_pton(family, address)


@pytest.mark.parametrize(
    ("lines", "address", "is_global"),
    [
        ("00000000000000000000000000000001 01 80 10 80 lo\n", "::1", False),
        ("fe800000000000000000000000000001 02 40 20 80 eth0\n", "fe80::1", False),
        ("2a010000000000000000000000000001 02 40 00 80 eth0\n", "2a01::1", True),
    ],
)
def test_ipv6_is_usable_only_with_a_global_address(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lines: str, address: str, is_global: bool
) -> None:
    (tmp_path / "if_inet6").write_text(lines)
    monkeypatch.setattr(local_addresses, "_IF_INET6", str(tmp_path / "if_inet6"))
    found = read_local_addresses()
    assert address in found.addresses
    assert found.has_global_ipv6 == is_global


def test_a_kernel_without_ipv6_has_ipv4_addresses(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(local_addresses, "_IF_INET6", str(tmp_path / "missing"))
    assert "127.0.0.1" in read_local_addresses().addresses


def test_the_list_is_read_again_when_it_is_old(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [1000.0]
    reads: list[float] = []

    def read() -> object:
        reads.append(now[0])
        return reads[-1]

    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    monkeypatch.setattr(local_addresses, "read_local_addresses", read)
    fresh = FreshLocalAddresses()
    for now[0] in (1000.0, 1001.0, 1029.0, 1031.0):
        fresh()
    assert reads == [1000.0, 1031.0]
