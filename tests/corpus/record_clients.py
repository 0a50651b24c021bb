"""Records what the mail clients of this machine hand to /usr/sbin/sendmail.

    unshare --mount --uts python -m tests.corpus.record_clients [NAME ...]

Needs root, and Debian's packages of the clients in mail_clients.py. In a mount namespace of its
own, which it takes care to be in, a recorder stands in sendmail's place and a host `host.example`
with one user, Joe, in that of this machine's files. tests/corpus/clients/ gets a file for each
client and occasion: arguments, the variables of the environment that sendmail looks at, and
standard input. test_clients.py plays them to our sendmail. What a client makes at random, such as
boundaries, stays as it came: the files say what was sent on one day.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from tests.corpus.mail_clients import CLIENTS, UID, Client

OUTPUT: Final = Path(__file__).resolve().parent / "clients"
SENDMAIL: Final = "/usr/sbin/sendmail"
WAIT_S: Final = 90
RECORDER: Final = """\
#!/usr/bin/python3 -IS
import json, os, sys, time
def converse():
    say(b"220 host.example ESMTP")
    in_data = False
    for line in sys.stdin.buffer:
        kept.append(line)
        if in_data:
            in_data = line != b".\\r\\n"
            if not in_data:
                say(b"250 ok")
            continue
        verb = line[:4].upper()
        in_data = verb == b"DATA"
        say(b"354 go" if in_data else b"221 bye" if verb == b"QUIT" else b"250 ok")
        if verb == b"QUIT":
            return
def say(line):
    sys.stdout.buffer.write(line + b"\\r\\n")
    sys.stdout.buffer.flush()
kept = []
if "-bs" in sys.argv:
    converse()
else:
    kept.append(sys.stdin.buffer.read())
seen = ("USER", "LOGNAME", "NAME", "PROTO")
record = {
    "argv": sys.argv[1:],
    "environ": {
        name: value for name, value in sorted(os.environ.items())
        if name in seen or name.startswith(("QMAIL", "MAIL", "TCP"))
    },
    "stdin": b"".join(kept).decode("latin-1"),
}
path = "FOLDER/out/%d.%d" % (time.time_ns(), os.getpid())
os.umask(0)
with open(path + ".tmp", "w") as file:
    json.dump(record, file)
os.rename(path + ".tmp", path)
"""
FILES: Final = {
    "/etc/passwd": f"root:x:0:0:root:/root:/bin/sh\n"
    f"JOE:x:{UID}:{UID}:Joe Doe,,,:/FOLDER/joe:/bin/sh\n"
    "daemon:x:1:1:daemon:/:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/sh\n",
    "/etc/group": f"root:x:0:\ndaemon:x:1:\nmail:x:8:\ncrontab:x:101:\nJOE:x:{UID}:\n",
    "/etc/shadow": "root:*:19000:0:99999:7:::\nJOE:*:19000:0:99999:7:::\n",
    "/etc/hosts": "127.0.0.1 host.example host localhost\n",
    "/etc/mailname": "host.example\n",
    "/etc/hostname": "host.example\n",
    "/etc/crontab": "",
    "/etc/resolv.conf": "",
}


# --- the stage ----------------------------------------------------------------------------------


def set_stage(folder: Path) -> None:
    """Put our files in the place of the machine's, in this mount namespace alone."""
    for name in ("joe", "out", "spool", "spool/crontabs", "spool/atjobs", "spool/atspool", "run"):
        (folder / name).mkdir()
    (folder / "out").chmod(0o777)
    os.chown(folder / "joe", UID, UID)
    (folder / "sendmail").write_text(RECORDER.replace("FOLDER", str(folder)))
    (folder / "sendmail").chmod(0o755)
    bind(folder / "sendmail", SENDMAIL)
    for number, (path, text) in enumerate(FILES.items()):
        stand_in = folder / f"file{number}"
        stand_in.write_text(text.replace("/FOLDER", str(folder)).replace("JOE", "joe"))
        if not os.path.exists(path):
            continue
        bind(stand_in, path)
    (folder / "empty").mkdir()
    (folder / "spool/atjobs/.SEQ").write_text("0\n")
    (folder / "sudoers").write_text("Defaults mail_always\nroot ALL=(ALL:ALL) NOPASSWD: ALL\n")
    (folder / "sudoers").chmod(0o440)
    for source, target in (
        ("empty", "/etc/cron.d"), ("run", "/run"), ("spool/crontabs", "/var/spool/cron/crontabs"),
        ("spool/atjobs", "/var/spool/cron/atjobs"), ("spool/atspool", "/var/spool/cron/atspool"),
        ("sudoers", "/etc/sudoers"),
    ):  # fmt: skip
        if os.path.exists(target):
            bind(folder / source, target)
    for name, mode in (("spool/atjobs", 0o1770), ("spool/atjobs/.SEQ", 0o600)):
        (folder / name).chmod(mode)
        shutil.chown(folder / name, 1, 1)
    shutil.chown(folder / "spool/atspool", 1, 1)
    subprocess.run(["hostname", "host.example"], check=True)


def bind(source: Path, target: str) -> None:
    """Have `target` be `source`."""
    subprocess.run(["mount", "--bind", str(source), target], check=True)


def write_files(folder: Path, client: Client) -> None:
    """Write what the client needs."""
    for name, text in client.files.items():
        path = folder / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text.replace("/FOLDER", str(folder)))
        path.chmod(0o600 if name.startswith("spool") else 0o644)
        os.chown(path, UID, UID)
        if path.parent != folder / "spool/crontabs":
            os.chown(path.parent, UID, UID)


def record(folder: Path, client: Client) -> int:
    """Run a client and write what it handed over. Returns: how many messages."""
    write_files(folder, client)
    for words in client.setup:
        subprocess.run(words, check=False, timeout=WAIT_S)
    home = "/root" if client.is_root else str(folder / "joe")
    user = "root" if client.is_root else "joe"
    environ = {
        "PATH": "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin", "HOME": home, "USER": user,
        "LOGNAME": user, "LANG": "C.UTF-8", **client.environ,
    }  # fmt: skip
    process = subprocess.Popen(
        [word.replace("/FOLDER", str(folder)) for word in client.command],
        stdin=subprocess.PIPE,
        env=environ,
        cwd=folder / "joe",
        user=None if client.is_root else UID,
        group=None if client.is_root else UID,
        extra_groups=None if client.is_root else [],
    )
    if client.is_daemon:
        wait_until(lambda: bool(found(folder)))
        process.terminate()
    process.communicate(client.stdin.encode(), timeout=WAIT_S)
    wait_until(lambda: bool(found(folder)), 5)
    records = found(folder)
    for number, path in enumerate(records, 1):
        tail = f"-{number}" if len(records) > 1 else ""
        write(folder, client, f"{client.name}{tail}", json.loads(path.read_text()))
        path.unlink()
    return len(records)


def found(folder: Path) -> list[Path]:
    """Return what the recorder has written."""
    return sorted(path for path in (folder / "out").iterdir() if path.suffix != ".tmp")


def wait_until(is_true: Callable[[], bool], wait_s: float = WAIT_S) -> None:
    """Wait for something."""
    end = time.monotonic() + wait_s
    while not is_true() and time.monotonic() < end:
        time.sleep(0.1)


def write(folder: Path, client: Client, name: str, record: dict[str, object]) -> None:
    """Write one record; where the stage lay is nobody's business."""
    version = subprocess.run(
        ["dpkg-query", "-W", "-f", "${Version}", client.package],
        capture_output=True, check=False, text=True,
    ).stdout  # fmt: skip
    text = json.dumps(
        {"client": client.package, "version": version, **record}, indent=1, ensure_ascii=True
    )
    text = text.replace(str(folder), "/home").replace(os.uname().release, "6.1.0")
    (OUTPUT / f"{name}.json").write_text(text + "\n")


def main(names: list[str]) -> int:
    """Record the clients that are named, or all. Returns: 0, 1 where one sent nothing."""
    outside = f"/proc/{os.getppid()}/ns"
    if any(
        os.readlink(f"{outside}/{kind}") == os.readlink(f"/proc/self/ns/{kind}")
        for kind in ("mnt", "uts")
    ):
        print("record_clients: run it under 'unshare --mount --uts'", file=sys.stderr)
        return 100
    OUTPUT.mkdir(exist_ok=True)
    silent = []
    with tempfile.TemporaryDirectory(prefix="clients-") as made:
        folder = Path(made)
        folder.chmod(0o755)
        set_stage(folder)
        for client in CLIENTS:
            if not names or client.name in names:
                count = record(folder, client)
                print(f"{client.name}: {count}", file=sys.stderr)
                silent += [] if count else [client.name]
        subprocess.run(["umount", "-l", "/run"], check=False)
    return 1 if silent else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
