"""The program qmail-clean: the classic command and the service (spec/queue.md 10)."""

import contextlib
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest
from tests.fakes.homes import BECOME, IS_ROOT, UID, as_owner, call, make_home, open_folder, resident

from qmail.protocol.netstring import FrameReader, pack

CODE: Final = (
    BECOME
    + """
from qmail.programs.clean import main
become(int(sys.argv[1]))
sys.exit(main(sys.argv[2:]))
"""
)
WAIT_S: Final = 60


@pytest.fixture
def home() -> Iterator[Path]:
    with open_folder() as folder:
        make_home(folder / "home")
        with as_owner():
            for path in ("mess/7/7", "intd/7", "todo/7", "mess/8/8", "todo/8"):
                (folder / "home/queue" / path).write_bytes(b"x")
        yield folder / "home"


def left(home: Path) -> set[str]:
    folders = ("mess", "intd", "todo")
    found = [path for name in folders for path in (home / "queue" / name).rglob("*")]
    return {str(path.relative_to(home / "queue")) for path in found if path.is_file()}


def run(home: Path, orders: bytes, *arguments: str) -> tuple[int, bytes]:
    done = subprocess.run(
        [sys.executable, "-c", CODE, str(UID), *arguments],
        check=False,
        input=orders,
        capture_output=True,
        env={"QMAIL_HOME": str(home)},
        cwd="/",
        timeout=WAIT_S,
    )
    return done.returncode, done.stdout


def test_queue_10_the_command_answers_each_order_with_one_byte(home: Path) -> None:
    orders = [b"todo/7", b"foop/7", b"foop/x", b"foop/8", b"foop/8", b"z" * 3000, b"", b"todo/8"]
    assert run(home, b"\0".join(orders) + b"\0") == (0, b"++x++xx+")
    assert left(home) == set()


def test_queue_10_an_order_without_its_end_is_not_carried_out(home: Path) -> None:
    assert run(home, b"todo/7") == (0, b"")
    assert "todo/7" in left(home)


def test_programs_1_without_a_queue_it_ends_with_111_and_with_arguments_with_100(
    home: Path,
) -> None:
    assert run(home / "nowhere", b"")[0] == 111
    assert run(home, b"", "x")[0] == 100


def answers(sock: socket.socket, count: int) -> bytes:
    """Return the next answers; the first frame of all says that we are the caller that counts."""
    reader, found = FrameReader(65536), b""
    while len(found) < count:
        data = sock.recv(65536)
        assert data
        found += b"".join(reader.feed(data))
    return found


def test_the_service_answers_orders_in_order(home: Path) -> None:
    with resident(home, "clean", CODE), call(home, "clean") as send:
        assert send.recv(10) == pack(b"")
        send.sendall(pack(b"todo/7") + pack(b"nonsense") + pack(b"foop/7"))
        send.sendall(pack(b"done/8"))
        assert answers(send, 4) == b"+x++"
    # Kept to be written again; its envelope, in pid/, says so.
    assert left(home) == {"mess/8/8"}


def test_no_order_of_an_earlier_qmail_send_is_carried_out_after_the_hello_to_a_later_one(
    home: Path,
) -> None:
    with resident(home, "clean", CODE), call(home, "clean") as first:
        assert first.recv(10) == pack(b"")
        with call(home, "clean") as second:
            assert second.recv(10) == pack(b"")
            assert first.recv(10) == b""
            with contextlib.suppress(BrokenPipeError):
                first.sendall(pack(b"foop/7"))
            second.sendall(pack(b"todo/8"))
            assert answers(second, 1) == b"+"
            assert {"mess/7/7", "intd/7"} <= left(home)


def test_a_bad_frame_ends_the_connection(home: Path) -> None:
    with resident(home, "clean", CODE):
        for nonsense in (b"hello", b"101:", b"00:,"):
            with call(home, "clean") as caller:
                assert caller.recv(10) == pack(b"")
                caller.sendall(nonsense)
                assert caller.recv(10) == b""


@pytest.mark.root
def test_nobody_but_qmail_send_gives_orders(home: Path) -> None:
    if not IS_ROOT:
        pytest.skip("needs root")
    with resident(home, "clean", CODE), socket.socket(socket.AF_UNIX) as stranger:
        stranger.settimeout(WAIT_S)
        os.chmod(home / "run/clean", 0o666)
        stranger.connect(str(home / "run/clean"))
        assert stranger.recv(10) == b""
