"""morercpthosts.cdb as qmail-smtpd sees it: the real program, both ways (control-files.md 4.4)."""

import os
import subprocess
import sys
from pathlib import Path

from tests.programs.resident import environment
from tests.programs.smtpd_world import Resident, codes, converse, make_home

NEWMRH = "import sys; from qmail.utilities.newmrh import main; sys.exit(main([]))"
ASK = (b"MAIL FROM:<a@b.example>", b"RCPT TO:<x@More.Example>", b"RCPT TO:<x@other.example>")


def make_more_hosts(home: Path, text: str) -> None:
    (home / "control/morercpthosts").write_text(text)
    command = [sys.executable, "-c", NEWMRH]
    subprocess.run(command, env={**os.environ, **environment(home)}, check=True, timeout=60)


def test_the_resident_sees_a_new_file_without_hup(tmp_path: Path) -> None:
    home = make_home(tmp_path, verifyrcpt="off\n")
    with Resident(home) as server:
        with server.client() as client:
            assert client.ask(*ASK) == [250, 553, 553]
            make_more_hosts(home, "more.example\n")
            assert client.ask(*ASK[1:]) == [250, 553]
        make_more_hosts(home, "other.example\n")
        with server.client() as client:
            assert client.ask(*ASK) == [250, 553, 250]


def test_one_that_can_not_be_read_is_421_and_the_end_and_others_go_on(tmp_path: Path) -> None:
    home = make_home(tmp_path, verifyrcpt="off\n")
    (home / "control/morercpthosts.cdb").write_bytes(b"short")
    with Resident(home) as server:
        with server.client() as client:
            assert client.ask(*ASK[:2]) == [250, 421]
            assert client.rest() == b""
        server.wait_for_log("421 4.3.0")
        with server.client() as client:
            assert client.ask(ASK[0], b"RCPT TO:<x@ours.example>") == [250, 250]


def test_one_conversation_under_a_tcp_server(tmp_path: Path) -> None:
    home = make_home(tmp_path, verifyrcpt="off\n")
    make_more_hosts(home, ".example\n")
    script = b"\r\n".join((*ASK, b"RCPT TO:<x@elsewhere>", b"QUIT", b""))
    code, said, _ = converse(home, script)
    assert (code, codes(said)) == (0, [220, 250, 250, 250, 553, 221])
