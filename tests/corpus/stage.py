"""Sets the home of a case on disk, and gathers what a delivery did to it: the same for every qmail.

Text is bytes, a character each. What can't be the same twice is evened out: dates, process numbers,
where the home is.
"""

import os
import re
from pathlib import Path

from tests.corpus.generate_local import Case

HOME = "@HOME@"
HOMES = "@HOMES@"
FIXED_HOMES = "/HOMES"
"""Where homes are that nobody looks at."""
UID = 54322
"""Whoever owns the homes where root sets them."""
VARIABLES = (
    "SENDER", "NEWSENDER", "RECIPIENT", "LOCAL", "HOST", "HOST2", "HOST3", "HOST4", "EXT", "EXT2",
    "EXT3", "EXT4", "DEFAULT", "USER", "HOME", "DTLINE", "RPLINE", "UFLINE",
)  # fmt: skip
QUEUE_SCRIPT = """#!/bin/sh
cd {folder} || exit 61
cat >message
cat <&1 >envelope
exit {code}
"""
_DATE = re.compile(r"(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun) [A-Z][a-z]{2} \d\d \d\d:\d\d:\d\d \d{4}")
_QP = re.compile(r"^qp \d+$", re.MULTILINE)


def as_bytes(text: str) -> bytes:
    """Return the bytes that the text of a case stands for."""
    return text.encode("latin-1")


class Stage:
    """One case on disk below `folder`: home, message, a program in the place of qmail-queue."""

    def __init__(self, folder: Path, case: Case) -> None:
        self.case = case
        self.home = folder / "home"
        self.message = folder / "message"
        self.queue = folder / "queue"
        self._set(folder)

    def _set(self, folder: Path) -> None:
        for path in (self.home, self.queue):
            path.mkdir(mode=0o700)
        for part in ("Maildir", "Maildir/tmp", "Maildir/new", "Maildir/cur"):
            (self.home / part).mkdir(mode=0o700)
        for file in self.case["files"]:
            self._make(file)
        self.message.write_bytes(as_bytes(self.case["message"]))
        script = folder / "queue-program"
        script.write_text(QUEUE_SCRIPT.format(folder=self.queue, code=self.case["queue_exit"]))
        self._own(folder)
        for path in (script, self.message):
            path.chmod(0o755)
        self.home.chmod(self.case["mode"])
        self._before = set(self._files())

    def _make(self, file: Case) -> None:
        path = os.fsencode(self.home) + b"/" + as_bytes(file["name"])
        os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
        match file["kind"]:
            case "file":
                with open(path, "wb") as opened:
                    opened.write(self._placed(file["text"]))
                os.chmod(path, file["mode"])
            case "folder":
                os.makedirs(path, mode=0o700, exist_ok=True)
            case "fifo":
                os.mkfifo(path, 0o600)
            case "link":
                os.symlink(as_bytes(file["to"]), path)

    def _own(self, folder: Path) -> None:
        if os.getuid() == 0:
            for top, folders, files in os.walk(folder):
                for name in [*folders, *files]:
                    os.chown(os.path.join(top, name), UID, UID, follow_symlinks=False)

    def _placed(self, text: str) -> bytes:
        return as_bytes(text.replace(HOME, str(self.home)))

    def arguments(self) -> list[bytes]:
        """Return the arguments of qmail-local."""
        case = self.case
        told = [case[name] for name in ("local", "dash", "ext", "domain", "sender")]
        words = [b"joe", os.fsencode(self.home), *map(as_bytes, told)]
        return [*words, self._placed(case["default"])]

    def environment(self) -> dict[str, str]:
        """Return what a delivery inherits."""
        script = str(self.queue.parent / "queue-program")
        return {
            "PATH": "/usr/bin:/bin",
            "QMAILQUEUE": script,
            "QMAIL_HOME": str(self.queue.parent),
            **self.case["inherited"],
        }

    def even(self, data: bytes) -> str:
        """Return bytes as text without what differs from run to run."""
        text = data.decode("latin-1").replace(str(self.home), HOME)
        return _QP.sub("qp N", _DATE.sub("DATE", text))

    def outcome(self) -> Case:
        """Gather what was delivered where."""
        found: Case = {"files": {}, "maildir": [], "queued": {}}
        for name in self._files():
            if name in self._before:
                continue
            data = (self.home / name).read_bytes()
            if name.startswith("Maildir/"):
                found["maildir"].append(f"{name.split('/')[1]}/{self.even(data)}")
            elif name == "env":
                found["env"] = self._variables(data)
            else:
                found["files"][name] = self.even(data)
        for path in sorted(self.queue.iterdir()):
            found["queued"][path.name] = self.even(path.read_bytes())
        found["maildir"].sort()
        return found

    def _files(self) -> list[str]:
        return sorted(
            str(path.relative_to(self.home))
            for path in self.home.rglob("*")
            if path.is_file() and not path.is_symlink()
        )

    def _variables(self, data: bytes) -> dict[str, str]:
        pairs = (one.partition(b"=") for one in data.split(b"\0"))
        found = {name.decode("latin-1"): self.even(value) for name, _, value in pairs}
        return {name: found[name] for name in VARIABLES if name in found}
