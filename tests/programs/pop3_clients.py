"""Mail clients that fetch by POP3, as people set them up: settings, and what each one keeps."""

import os
import pty
import shutil
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import pytest
from tests.fakes.homes import IS_ROOT
from tests.fakes.suite import is_readable
from tests.programs.pop3_suite import HOST, PASSWORD, WAIT_S, Pop3Suite

Way = Literal["clear", "stls", "pop3s"]
NOBODY = 65534
WHO = (NOBODY, NOBODY) if IS_ROOT else (os.getuid(), os.getgid())
"""Who runs the clients: under root nobody, because some refuse root and want to know their name."""
WAYS: tuple[Way, ...] = ("clear", "stls", "pop3s")


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What a client is set up for."""

    login: str
    way: Way = "clear"
    keep: bool = True
    password: str = PASSWORD
    mechanism: str = ""
    """Where the client can be told; empty: its own choice."""
    port: int = 0
    """Another server's; 0: of the suite."""


@dataclass(frozen=True, slots=True)
class Fetched:
    """What a run of a client ended with."""

    code: int
    said: str
    messages: list[bytes]
    """Those of this run, as the client keeps them."""


class Desk:
    """The folder of somebody who runs a client; the client remembers there what it has had.

    Under root that is an ordinary user all the same: some clients refuse root.
    """

    def __init__(self, suite: Pop3Suite, name: str) -> None:
        self.suite = suite
        self.folder = suite.top / f"desk-{name}"
        self.maildir = self.folder / "mail"
        self.folder.mkdir()
        self.maildir.mkdir()
        parts = [self.maildir / part for part in ("tmp", "new", "cur")]
        for path in parts:
            path.mkdir()
        for path in (self.folder, self.maildir, *parts):
            os.chown(path, *WHO)

    def port(self, way: Way) -> int:
        """Return where the server listens."""
        return self.suite.tls_port if way == "pop3s" else self.suite.port

    def write(self, name: str, text: str, mode: int = 0o600) -> str:
        """Write a file of settings; return its path."""
        path = self.folder / name
        path.write_text(text)
        path.chmod(mode)
        os.chown(path, *WHO)
        return str(path)

    def run(self, *words: str, on_terminal: bool = False) -> Fetched:
        """Run a client."""
        if shutil.which(words[0]) is None:
            pytest.skip(f"{words[0]} is not installed")
        before = set(self.maildir.glob("*/*"))
        main, sub = pty.openpty() if on_terminal else os.pipe()
        process = subprocess.Popen(
            words,
            stdin=sub if on_terminal else subprocess.DEVNULL,
            stdout=sub,
            stderr=sub,
            env={"PATH": os.environ["PATH"], "HOME": str(self.folder), "LANG": "C.UTF-8",
                 "TERM": "vt100"},
            cwd=self.folder,
            start_new_session=True,
            user=WHO[0],
            group=WHO[1],
            extra_groups=[] if IS_ROOT else None,
        )  # fmt: skip
        os.close(sub)
        said = _all_said(main, process)
        new = sorted(set(self.maildir.glob("*/*")) - before)
        messages = [path.read_bytes() for path in new]
        return Fetched(process.wait(WAIT_S), said.decode(errors="replace"), messages)


def _all_said(fd: int, process: subprocess.Popen[bytes]) -> bytes:
    """Return all that a client says up to its end; one that does not end is killed."""
    end = time.monotonic() + WAIT_S
    said = b""
    try:
        while True:
            if not is_readable(fd, end - time.monotonic()):
                process.kill()
                raise AssertionError(f"the client does not end: {said!r}")
            data = os.read(fd, 65536)
            if not data:
                return said
            said += data
    except OSError:
        # EIO: the program has closed its end of the terminal.
        return said
    finally:
        os.close(fd)


def fetchmail(desk: Desk, wish: Wish) -> Fetched:
    """Fetch with fetchmail, which hands each message to a program."""
    ways = {"clear": "sslproto ''", "stls": "sslproto TLS1+", "pop3s": "ssl"}
    tls = f"sslcertck sslcertfile {desk.suite.certificate}"
    script = desk.write(
        "keep", f"#!/bin/sh\nexec cat >$(mktemp {desk.maildir}/new/XXXXXXXX)\n", 0o700
    )
    settings = desk.write(
        "fetchmailrc",
        f"set no bouncemail\nset invisible\n"
        f"poll {HOST} protocol POP3 service {desk.port(wish.way)} uidl no envelope\n"
        f"user '{wish.login}' password '{wish.password}' is me here {ways[wish.way]}"
        f" {tls if wish.way != 'clear' else ''} {'keep' if wish.keep else 'nokeep'}"
        f" no rewrite mda '{script}'\n",
    )
    return desk.run("fetchmail", "-v", "-f", settings, "-i", str(desk.folder / "ids"))


def mpop(desk: Desk, wish: Wish) -> Fetched:
    """Fetch with mpop, which pipelines."""
    tls = {
        "clear": "tls off",
        "stls": f"tls on\ntls_starttls on\ntls_trust_file {desk.suite.certificate}",
        "pop3s": f"tls on\ntls_starttls off\ntls_trust_file {desk.suite.certificate}",
    }
    settings = desk.write(
        "mpoprc",
        f"account default\nhost {HOST}\nport {wish.port or desk.port(wish.way)}\n"
        f"user {wish.login}\n"
        f"password {wish.password}\nauth {wish.mechanism or 'on'}\n{tls[wish.way]}\n"
        f"delivery maildir {desk.maildir}\nuidls_file {desk.folder}/uidls\n"
        f"received_header off\nkeep {'on' if wish.keep else 'off'}\n",
    )
    return desk.run("mpop", "-d", "-C", settings)


def getmail(desk: Desk, wish: Wish) -> Fetched:
    """Fetch with getmail6."""
    kind = "SimplePOP3SSLRetriever" if wish.way == "pop3s" else "SimplePOP3Retriever"
    tls = f"ca_certs = {desk.suite.certificate}\n" if wish.way == "pop3s" else ""
    settings = desk.write(
        "getmailrc",
        f"[retriever]\ntype = {kind}\nserver = {HOST}\nport = {desk.port(wish.way)}\n"
        f"username = {wish.login}\npassword = {wish.password}\n{tls}"
        f"[destination]\ntype = Maildir\npath = {desk.maildir}/\n"
        f"[options]\ndelete = {'false' if wish.keep else 'true'}\nread_all = false\n"
        "received = false\ndelivered_to = false\n",
    )
    return desk.run("getmail", "--getmaildir", str(desk.folder), "--rcfile", settings)


def mutt(desk: Desk, wish: Wish) -> Fetched:
    """Fetch with mutt's <fetch-mail>."""
    scheme = "pops" if wish.way == "pop3s" else "pop"
    settings = desk.write(
        "muttrc",
        f"set pop_host='{scheme}://{wish.login}@{HOST}:{desk.port(wish.way)}'\n"
        f"set pop_pass='{wish.password}'\nset pop_delete={'no' if wish.keep else 'yes'}\n"
        f"set pop_authenticators='{wish.mechanism}'\nset ssl_starttls="
        f"{'yes' if wish.way == 'stls' else 'no'}\nset ssl_force_tls="
        f"{'no' if wish.way == 'clear' else 'yes'}\n"
        f"set certificate_file='{desk.suite.certificate}'\nset\n"
        f"set mbox_type=Maildir spoolfile='{desk.maildir}' folder='{desk.folder}'\n"
        "set pop_last=no move=no mark_old=no sleep_time=0 wait_key=no\n",
    )
    return desk.run("mutt", "-n", "-F", settings, "-f", str(desk.maildir),
                    "-e", "push <fetch-mail><exit>", on_terminal=True)  # fmt: skip


CLIENTS: dict[str, Callable[[Desk, Wish], Fetched]] = {
    "fetchmail": fetchmail,
    "mpop": mpop,
    "getmail": getmail,
    "mutt": mutt,
}
