"""A Dovecot of our own with the settings that docs/imap.md gives, beside a suite that runs."""

import os
import shutil
import subprocess
import time
from pathlib import Path
from types import TracebackType

import pytest
from tests.fakes.homes import free_port
from tests.programs.pop3_suite import WAIT_S, Pop3Suite

PAGE = Path(__file__).parents[2] / "docs/imap.md"
LIBRARY = Path("/usr/lib/dovecot")
PLACE = """
base_dir = {folder}/run
state_dir = {folder}/state
log_path = {folder}/log
ssl = no
disable_plaintext_auth = no
listen = 127.0.0.1
{protocols}
pop3_uidl_format = {ids}
service imap-login {{
  inet_listener imap {{
    port = {port}
  }}
  inet_listener imaps {{
    port = 0
  }}
}}
"""
PLACE_POP3 = """
service pop3-login {{
  inet_listener pop3 {{
    port = {pop3_port}
  }}
  inet_listener pop3s {{
    port = 0
  }}
}}
"""


def block(name: str) -> str:
    """Return what stands between fences below the comment `name` of the page."""
    _, _, after = PAGE.read_text().partition(f"<!-- {name} -->\n```\n")
    text, fence, _ = after.partition("```\n")
    assert fence
    return text


class Dovecot:
    """One instance, which is stopped in the end.

    `ids`: its pop3_uidl_format. `of_machine`: users of the machine have mail as well.
    """

    def __init__(self, suite: Pop3Suite, ids: str = "%f", *, of_machine: bool = False) -> None:
        if shutil.which("dovecot", path=os.defpath + ":/usr/sbin") is None:
            pytest.skip("dovecot is not installed")
        if not (LIBRARY / "imap").exists():
            pytest.skip("dovecot-imapd is not installed")
        self.has_pop3 = (LIBRARY / "pop3").exists()
        self.port, self.pop3_port = free_port(), free_port()
        self._suite = suite
        self._folder = suite.top / f"dovecot-{self.port}"
        self._folder.mkdir()
        form = PLACE + (PLACE_POP3 if self.has_pop3 else "")
        text = block("local.conf")
        if of_machine:
            at = text.index("userdb {")
            end = text.index("}\n", at) + 2
            text = text[:at] + block("users of the machine") + text[end:]
        text = text.replace("/var/qmail", str(suite.home))
        text += form.format(
            folder=self._folder,
            port=self.port,
            pop3_port=self.pop3_port,
            ids=ids,
            protocols="protocols = imap pop3" if self.has_pop3 else "",
        )
        self.config = self._folder / "dovecot.conf"
        self.config.write_text(text)
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> "Dovecot":
        self._process = subprocess.Popen(
            ["/usr/sbin/dovecot", "-F", "-c", str(self.config)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        log = self._folder / "log"
        end = time.monotonic() + WAIT_S
        while not (log.exists() and "starting up" in log.read_text()):
            assert self._process.poll() is None, self.log
            assert time.monotonic() < end, self.log
            time.sleep(0.02)
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _wrong: object, _trace: TracebackType | None
    ) -> None:
        assert self._process is not None
        self._process.terminate()
        self._process.wait(WAIT_S)

    @property
    def log(self) -> str:
        """Its log so far."""
        path = self._folder / "log"
        return path.read_text() if path.exists() else ""

    def doveadm(self, *words: str) -> tuple[int, str]:
        """Run doveadm; return its exit code and what it printed."""
        done = subprocess.run(
            ["doveadm", "-c", str(self.config), *words],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            check=False,
            text=True,
            timeout=WAIT_S,
        )
        return done.returncode, done.stdout

    def is_password(self, name: str, password: str) -> bool:
        """Say whether it lets a name in with a password."""
        code, said = self.doveadm("auth", "test", name, password)
        assert ("auth succeeded" if code == 0 else "auth failed") in said, (said, self.log)
        return code == 0
