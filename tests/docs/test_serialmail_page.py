"""AutoTURN as docs/serialmail.md has it: tcpserver, our qmail-smtpd, smtp-sink as the customer."""

import os
import re
import shutil
import smtplib
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest
from tests.fakes.door import wait_until
from tests.fakes.homes import GID, IS_ROOT, UID, as_owner, open_folder, others_can_run_the_programs
from tests.fakes.suite import Suite, is_readable

PAGE: Final = Path(__file__).resolve().parents[2] / "docs/serialmail.md"
CUSTOMER: Final = f"127.{os.getpid() % 200 + 1}.2.4"
"""An address of this machine; the page's customer has 192.0.2.4."""
WAIT_S: Final = 60.0
AS_USER: Final = ("-u", str(UID), "-g", str(GID)) if IS_ROOT else ()
"""Only root can have tcpserver become somebody else."""


def block(words: str) -> str:
    """Return the block of code in the page that holds these words."""
    text = PAGE.read_text(encoding="utf-8")
    (found,) = [code for code in re.findall(r"```sh\n(.*?)```", text, re.DOTALL) if words in code]
    return str(found)


def tool(name: str) -> str:
    path = shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin")
    if path is None:
        pytest.skip(f"{name} is not installed: AutoTURN is not tried")
    return path


@pytest.fixture
def suite() -> Iterator[Suite]:
    if not others_can_run_the_programs():
        pytest.skip("the programs lie where only root can read them")
    with open_folder() as folder, Suite(folder) as made:
        made.control("rcpthosts", "virt.example\n")
        commands = block("qmail-newu").replace("qmaild:qmail", f"{UID}:{GID}")
        commands += block(".qmail-192:0:2:4-default")
        for page, here in (
            ("/var/qmail", str(made.home)),
            ("$(id -u qmaild)", str(UID)),
            ("$(id -g qmaild)", str(GID)),
            ("-R qmaild", f"-R {UID}"),
            ("192.0.2.4", CUSTOMER),
            ("192:0:2:4", CUSTOMER.replace(".", ":")),
        ):
            commands = commands.replace(page, here)
        run_as_owner(made, commands)
        with as_owner():
            serve = made.home / "autoturn/serve"
            serve.write_text(block("#!/bin/sh"))
            serve.chmod(0o755)
        yield made


def run_as_owner(suite: Suite, commands: str) -> None:
    subprocess.run(
        ["sh", "-ec", commands],
        check=True,
        env={"PATH": f"{suite.bin}:/usr/bin:/bin", "QMAIL_HOME": str(suite.home)},
        **credentials(),  # type: ignore[call-overload]
    )


def credentials() -> dict[str, object]:
    return {"user": UID, "group": GID, "extra_groups": []} if IS_ROOT else {}


@pytest.fixture
def sink(tmp_path: Path) -> Iterator[Path]:
    """The customer's server at port 25 of its address: a folder with a file for each message."""
    command = [tool("smtp-sink"), "-d", "%M."]
    try:
        socket.create_server((CUSTOMER, 25)).close()
    except OSError as trouble:
        pytest.skip(f"port 25 of {CUSTOMER} is not for us: {trouble.strerror}")
    folder = tmp_path / "sink"
    folder.mkdir()
    command += ["-u", "nobody", "-R", str(folder)] if IS_ROOT else []
    os.chmod(tmp_path, 0o755)
    folder.chmod(0o777)
    process = subprocess.Popen([*command, f"{CUSTOMER}:25", "10"], cwd=folder)
    try:
        wait_until(lambda: process.poll() is None and _answers())
        yield folder
    finally:
        process.kill()
        process.wait()


def _answers() -> bool:
    try:
        socket.create_connection((CUSTOMER, 25), 5).close()
    except OSError:
        return False
    return True


class Tcpserver:
    """tcpserver with the script of the page; it says which port it has."""

    def __init__(self, suite: Suite) -> None:
        self._process = subprocess.Popen(
            [tool("tcpserver"), "-1vRHl0", *AS_USER, "127.0.0.1", "0",
             "sh", str(suite.home / "autoturn/serve")],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={"PATH": "/usr/bin:/bin", "QMAIL_HOME": str(suite.home)},
        )  # fmt: skip
        assert self._process.stdout is not None
        assert is_readable(self._process.stdout.fileno(), WAIT_S)
        self.port = int(self._process.stdout.readline())

    def lines_until(self, words: bytes) -> list[bytes]:
        """Return what it says up to a line with these words."""
        assert self._process.stderr is not None
        pipe = self._process.stderr.fileno()
        said = b""
        while not re.search(re.escape(words) + rb"[^\n]*\n", said):
            assert is_readable(pipe, WAIT_S), f"no {words!r} in {said!r}"
            data = os.read(pipe, 65536)
            assert data, f"no {words!r} in {said!r}"
            said += data
        return said.splitlines()

    def stop(self) -> None:
        """Stop it."""
        self._process.terminate()
        self._process.communicate(timeout=WAIT_S)


def test_a_client_calls_and_gets_its_mail(suite: Suite, sink: Path) -> None:
    suite.control("virtualdomains", f"virt.example:autoturn-{CUSTOMER}\n")
    suite.control("verifyrcpt", "off\n")
    suite.start().wait_for("status: local 0/")
    for text in ("one\n", ".two\n"):
        suite.send("Joe@virt.example", sender="ann@far.example", text=text)
        suite.wait_for("success: did_1+0+0/")
    server = Tcpserver(suite)
    try:
        source = (CUSTOMER, 0)
        with smtplib.SMTP("127.0.0.1", server.port, timeout=WAIT_S, source_address=source) as smtp:
            assert smtp.noop()[0] == 250
        lines = server.lines_until(b"tcpserver: end ")
    finally:
        server.stop()
    told = [line for line in lines if line.startswith(b"maildirserial: info: new/")]
    assert [line.split(b" ", 3)[3] for line in told] == [
        f"succeeded: {CUSTOMER} said: 250 2.0.0 Ok".encode()
    ] * 2
    assert not list((suite.home / "autoturn" / CUSTOMER).glob("new/*"))
    mails = sorted((path.read_bytes() for path in sink.iterdir()), key=lambda mail: b"two" in mail)
    assert all(b"Joe@virt.example" in mail and b"autoturn-" not in mail for mail in mails)
    assert [b"\none\n" in mails[0].replace(b"\r", b""), b"two" in mails[1]] == [True, True]


def test_another_client_is_served_and_gets_nothing(suite: Suite) -> None:
    server = Tcpserver(suite)
    try:
        with smtplib.SMTP("127.0.0.1", server.port, timeout=WAIT_S) as smtp:
            assert smtp.noop()[0] == 250
        lines = server.lines_until(b"tcpserver: end ")
    finally:
        server.stop()
    assert [line for line in lines if b"tcpserver: end " in line and b" status 0" in line]
    assert not [line for line in lines if b"maildirserial" in line]
