"""Drives qmail-lspawn and qmail-send of another qmail by their descriptors.

Source: spec/delivery.md 10.
"""

import fcntl
import hashlib
import os
import pwd
import shutil
import signal
import subprocess
from collections.abc import Mapping
from pathlib import Path

from tests.corpus.generate_local import Case
from tests.corpus.stage import FIXED_HOMES, HOMES, as_bytes
from tests.fakes.suite import is_readable

PASSWD = "/etc/passwd"
TELLER = """#!/bin/sh
printf '%s\\036' "$(id -u)" "$(id -g)" "$(id -G)" "$@"
"""
"""Stands in qmail-local's place: says who it is and what it is told."""
SYSTEM = ("root", "qmaild", "qmaill", "qmailp", "qmailq", "qmailr", "qmails")
HIGH_FD = 30
SPLIT = 23
WAIT_S = 20


def start(command: list[str], descriptors: Mapping[int, int]) -> int:
    """Start a program with exactly these descriptors (theirs: ours); return its process id."""
    # Out of the way first: none of ours is overwritten by another before its turn.
    high = {
        theirs: fcntl.fcntl(ours, fcntl.F_DUPFD_CLOEXEC, HIGH_FD)
        for theirs, ours in descriptors.items()
    }
    actions = [(os.POSIX_SPAWN_DUP2, ours, theirs) for theirs, ours in high.items()]
    environment = {"PATH": "/usr/bin:/bin"}
    pid = os.posix_spawn(command[0], command, environment, file_actions=actions)
    for fd in high.values():
        os.close(fd)
    return pid


class Channel:
    """Two pipes to a program: `theirs` are its ends for reading and writing."""

    def __init__(self) -> None:
        self.read_theirs, self._write = os.pipe()
        self._read, self.write_theirs = os.pipe()
        self._held = b""

    def started(self) -> None:
        """Close the program's ends here."""
        os.close(self.read_theirs)
        os.close(self.write_theirs)

    def say(self, data: bytes) -> None:
        """Write to the program."""
        os.write(self._write, data)

    def hear(self, size: int) -> bytes:
        """Read so many bytes from it."""
        while len(self._held) < size:
            self._fill()
        data, self._held = self._held[:size], self._held[size:]
        return data

    def hear_string(self) -> bytes:
        """Read up to the next NUL."""
        while b"\0" not in self._held:
            self._fill()
        data, _, self._held = self._held.partition(b"\0")
        return data

    def _fill(self) -> None:
        data = os.read(self._read, 65536) if is_readable(self._read, WAIT_S) else b""
        if not data:
            raise EOFError("the program hung up")
        self._held += data

    def close(self) -> None:
        """Hang up."""
        os.close(self._write)
        os.close(self._read)


def as_text(data: bytes) -> str:
    return data.decode("latin-1")


class OtherLspawn:
    """qmail-getpw, qmail-newu and qmail-lspawn, in a list of accounts of our own."""

    def __init__(self, qmail: Path, folder: Path) -> None:
        self._qmail = qmail
        self._homes = folder / "homes"
        self._passwd = folder / "passwd"

    def record(self, case: Case) -> Case:
        """Ask about every recipient of the case; then make users/cdb where homes have no place."""
        self._set(case)
        subprocess.run(["mount", "--bind", self._passwd, PASSWD], check=True)
        try:
            return {"answers": self._ask_all(case["asks"]), "cdb": self._cdb(case)}
        finally:
            subprocess.run(["umount", "--lazy", PASSWD], check=True)

    def record_pw2u(self, case: Case) -> Case:
        """Make lines of users/assign from the accounts of the case."""
        lines = self._set_accounts(case)
        for name, text in case["files"].items():
            (self._qmail / "users" / name).write_bytes(as_bytes(text))
        done = subprocess.run(
            [self._qmail / "bin" / "qmail-pw2u", *case["options"]],
            input="".join(lines).encode(),
            stdout=subprocess.PIPE,
            check=False,
        )
        return {"exit": done.returncode, "lines": self._even(done.stdout)}

    def _set(self, case: Case) -> None:
        lines = [self._line(name, *pwd.getpwnam(name)[2:6:3]) for name in SYSTEM]
        self._passwd.write_text("".join([*lines, *self._set_accounts(case)]))
        if case["assign"] is not None:
            text = case["assign"].replace(HOMES, str(self._homes))
            (self._qmail / "users" / "assign").write_bytes(as_bytes(text))
            subprocess.run([self._qmail / "bin" / "qmail-newu"], check=True)

    def _set_accounts(self, case: Case) -> list[str]:
        """Make the homes, and an empty users/; return the lines of passwd."""
        self._homes.mkdir()
        shutil.rmtree(self._qmail / "users", ignore_errors=True)
        (self._qmail / "users").mkdir()
        lines = []
        for account in case["accounts"]:
            home = self._homes / account["name"]
            if account["home_of"] is not None:
                home.mkdir()
                os.chown(home, account["home_of"], 0)
            ids = f"{account['uid']}:{account['gid']}"
            lines.append(f"{account['name']}:x:{ids}::{home}:/bin/false\n")
        return lines

    def _line(self, name: str, uid: int, home: str) -> str:
        return f"{name}:x:{uid}:{pwd.getpwnam(name).pw_gid}::{home}:/bin/false\n"

    def _cdb(self, case: Case) -> str | None:
        """Return the hash of the users/cdb that the text of the case gives as it stands."""
        if case["assign"] is None:
            return None
        text = case["assign"].replace(HOMES, FIXED_HOMES)
        (self._qmail / "users" / "assign").write_bytes(as_bytes(text))
        subprocess.run([self._qmail / "bin" / "qmail-newu"], check=True)
        return hashlib.sha256((self._qmail / "users" / "cdb").read_bytes()).hexdigest()

    def _ask_all(self, asks: list[Case]) -> list[Case]:
        message = self._qmail / "queue" / "mess" / "0" / "1"
        message.parent.mkdir(parents=True, exist_ok=True)
        message.write_text("\n")
        os.chown(message, pwd.getpwnam("qmailq").pw_uid, -1)
        teller = self._qmail / "bin" / "qmail-local"
        aside = teller.rename(teller.with_suffix(".aside"))
        teller.write_text(TELLER)
        teller.chmod(0o755)
        try:
            return [self._getpw(ask) | self._lspawn(ask) for ask in asks]
        finally:
            aside.rename(teller)

    def _getpw(self, ask: Case) -> Case:
        local = as_bytes(ask["recipient"].rpartition("@")[0])
        account = pwd.getpwnam("qmailp")
        done = subprocess.run(
            [os.fsencode(self._qmail / "bin" / "qmail-getpw"), local],
            stdout=subprocess.PIPE,
            user=account.pw_uid,
            group=account.pw_gid,
            extra_groups=[],
            check=False,
        )
        fields = self._even(done.stdout).split("\0")[:-1]
        return {"getpw": {"exit": done.returncode, "fields": fields}}

    def _lspawn(self, ask: Case) -> Case:
        channel = Channel()
        command = [str(self._qmail / "bin" / "qmail-lspawn"), "DEFAULT"]
        pid = start(command, {0: channel.read_theirs, 1: channel.write_theirs})
        channel.started()
        channel.hear(1)
        told = as_bytes(ask["sender"]), as_bytes(ask["recipient"])
        channel.say(b"\1" + b"0/1\0" + b"\0".join(told) + b"\0")
        channel.hear(1)
        report = self._even(channel.hear_string())
        channel.close()
        os.waitpid(pid, 0)
        return {"lspawn": {"letter": report[:1], "told": report[1:].split("\x1e")[:-1]}}

    def _even(self, data: bytes) -> str:
        return as_text(data).replace(str(self._homes), HOMES)


class OtherSend:
    """qmail-send with us in the place of its spawners and of qmail-clean."""

    def __init__(self, qmail: Path) -> None:
        self._qmail = qmail
        self._queue = qmail / "queue"

    def record(self, case: Case) -> Case:
        """Send every mail of the case; return channel, sender and address of each delivery."""
        self._set_controls(case["controls"])
        return {"routes": [self._send(mail) for mail in case["mails"]]}

    def _set_controls(self, controls: dict[str, str]) -> None:
        shutil.rmtree(self._qmail / "control", ignore_errors=True)
        (self._qmail / "control").mkdir()
        for name, text in controls.items():
            (self._qmail / "control" / name).write_bytes(as_bytes(text))

    def _set_queue(self, mail: Case) -> None:
        for name in ("mess", "info", "local", "remote"):
            for part in range(SPLIT):
                (self._queue / name / str(part)).mkdir(parents=True, exist_ok=True)
            (self._queue / name / "1" / "1").unlink(missing_ok=True)
        for name in ("todo", "bounce", "lock", "pid", "intd"):
            (self._queue / name).mkdir(exist_ok=True)
        (self._queue / "lock" / "sendmutex").touch()
        if not (self._queue / "lock" / "trigger").exists():
            os.mkfifo(self._queue / "lock" / "trigger")
        (self._queue / "mess" / "1" / "1").write_text("\n")
        sender, recipient = as_bytes(mail["sender"]), as_bytes(mail["recipient"])
        todo = b"u0\0p1\0F" + sender + b"\0T" + recipient + b"\0"
        (self._queue / "todo" / "1").write_bytes(todo)

    def _send(self, mail: Case) -> Case:
        self._set_queue(mail)
        local, remote, clean = Channel(), Channel(), Channel()
        log = os.open("/dev/null", os.O_WRONLY)
        descriptors = {0: log}
        for number, channel in enumerate((local, remote, clean)):
            descriptors[2 * number + 1] = channel.write_theirs
            descriptors[2 * number + 2] = channel.read_theirs
        pid = start([str(self._qmail / "bin" / "qmail-send")], descriptors)
        os.close(log)
        for channel in (local, remote, clean):
            channel.started()
        try:
            for spawner in (local, remote):
                # So many deliveries at once.
                spawner.say(b"\1")
            assert clean.hear_string() == b"todo/1"
            clean.say(b"+")
            return self._delivery(local, remote)
        finally:
            # Whatever it would do then: the next one gets a new queue.
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            for channel in (clean, local, remote):
                channel.close()

    def _delivery(self, local: Channel, remote: Channel) -> Case:
        """Wait for the one delivery; the folder says which channel has it."""
        name = "local" if (self._queue / "local" / "1" / "1").exists() else "remote"
        channel = local if name == "local" else remote
        channel.hear(1)
        _, sender, recipient = (channel.hear_string() for _ in range(3))
        return {"channel": name, "sender": as_text(sender), "address": as_text(recipient)}
