"""The real qmail-remote: arguments, message on descriptor 0, reports on 1, always exit 0."""

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
from tests.fakes.smtp_server import FakeServer

from qmail.protocol.dotstuffing import wire_form

START = "import sys; from qmail.programs.remote import main; sys.exit(main(sys.argv[1:]))"
WAIT_S = 60


def make_home(home: Path, **controls: str) -> None:
    (home / "control").mkdir(parents=True)
    for name, text in {"me": "me.ex\n", **controls}.items():
        (home / "control" / name).write_text(text)


def remote(
    home: Path, *arguments: str, message: bytes = b"x\n", by_file: bool = False, skip: int = 0
) -> list[bytes]:
    """Run the program; return its reports."""
    command = [sys.executable, "-c", START, *arguments]
    environ = {**os.environ, "QMAIL_HOME": str(home), "QMAIL_RESOLVER": "not a server"}
    if by_file:
        path = home / "message"
        path.write_bytes(message)
        with path.open("rb") as file:
            file.seek(skip)
            done = run(command, environ, stdin=file.fileno())
    else:
        done = run(command, environ, message=message)
    assert done.returncode == 0
    assert done.stderr == b""
    reports = done.stdout.split(b"\0")
    assert reports.pop() == b""
    return reports


def run(
    command: Sequence[str],
    environ: dict[str, str],
    message: bytes | None = None,
    stdin: int | None = None,
) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        command,
        input=message,
        stdin=stdin,
        env=environ,
        capture_output=True,
        timeout=WAIT_S,
        check=False,
    )


def test_b1_each_recipient_and_the_message_have_a_report(tmp_path: Path) -> None:
    replies: dict[bytes, bytes | list[bytes] | None] = {
        b"RCPT": [b"250 ok\r\n", b"550 no\r\n", b"450 full\r\n"]
    }
    with FakeServer(replies=replies) as server:
        make_home(tmp_path, smtproutes=f":127.0.0.1:{server.port}\n")
        reports = remote(tmp_path, "far.ex", "s@x.ex", "a@far.ex", "b@far.ex", "c@far.ex")
        # QUIT may be on its way still when its sender is gone.
        assert server.has_hung_up.wait(WAIT_S)
    refused = b"127.0.0.1 does not like recipient.\nRemote host said: "
    assert reports == [
        b"r",
        b"h" + refused + b"550 no\n",
        b"s" + refused + b"450 full\n",
        b"K127.0.0.1 accepted message.\nRemote host said: 250 taken\n",
    ]
    assert server.taken[0].data == b"x\r\n"
    assert server.commands[-1] == b"QUIT"


@pytest.mark.parametrize("by_file", [True, False])
@pytest.mark.parametrize("message", [b"", b"a\n.b", b".line\r\n" * 100_000], ids=len)
def test_a_message_of_any_size_from_a_file_or_a_pipe(
    tmp_path: Path, message: bytes, by_file: bool
) -> None:
    with FakeServer() as server:
        make_home(tmp_path, smtproutes=f":127.0.0.1:{server.port}\n")
        assert (
            remote(tmp_path, "far.ex", "", "a@far.ex", message=message, by_file=by_file)[0] == b"r"
        )
    assert server.taken[0].data + b".\r\n" == wire_form(message)
    assert server.taken[0].mail.startswith(b"MAIL FROM:<>")


def test_a_file_is_read_from_where_its_descriptor_stands(tmp_path: Path) -> None:
    with FakeServer() as server:
        make_home(tmp_path, smtproutes=f":127.0.0.1:{server.port}\n")
        remote(tmp_path, "far.ex", "", "a@far.ex", message=b"skip\nrest\n", by_file=True, skip=5)
    assert server.taken[0].data == b"rest\r\n"


def test_b8_wrong_invocation(tmp_path: Path) -> None:
    (report,) = remote(tmp_path, "far.ex", "s@x.ex")
    assert report[:1] == b"D"
    assert b"#5.3.5" in report


def test_an_address_with_a_line_end_is_not_sent(tmp_path: Path) -> None:
    (report,) = remote(tmp_path, "far.ex", "s@x.ex", "r@far.ex>\r\nQUIT")
    assert b"#5.1.3" in report


@pytest.mark.parametrize("controls", [{"smtproutes": "no colon\n"}, {"timeoutremote": "x\n"}])
def test_b2_trouble_with_the_controls(tmp_path: Path, controls: dict[str, str]) -> None:
    make_home(tmp_path, **controls)
    (report,) = remote(tmp_path, "far.ex", "s@x.ex", "r@far.ex")
    assert report[:1] == b"Z"
    assert b"#4.3.0" in report


def test_without_home_or_name_it_is_a_deferral(tmp_path: Path) -> None:
    (no_home,) = remote(tmp_path / "none", "far.ex", "s@x.ex", "r@far.ex")
    (no_name,) = remote(tmp_path, "far.ex", "s@x.ex", "r@far.ex")
    assert b"Z" == no_home[:1] == no_name[:1]
    assert b"#4.3.0" in no_home
    assert b"#4.3.0" in no_name


def test_without_a_name_server_it_is_a_deferral(tmp_path: Path) -> None:
    make_home(tmp_path)
    (report,) = remote(tmp_path, "far.ex", "s@x.ex", "r@far.ex")
    assert b"#4.1.2" in report
    (loop,) = remote(tmp_path, "[127.0.0.1]", "s@x.ex", "r@[127.0.0.1]")
    assert loop[:1] == b"D"
    assert b"#5.4.6" in loop
