"""Records what the packages fastforward and dot-forward make of `generate_aliases.py`'s cases.

    python -m tests.corpus.record_aliases ROOT SEED OUTPUT

ROOT: a folder to be the root of the file system for them, with their programs in bin/, what those
need to run, and the control files of `generate_aliases.HOSTS` where they look for them; etc/ and
tmp/ in it are written over. Needs root. OUTPUT gets a line of JSON for each case; `test_aliases.py`
compares. Bytes are text, a character each (Latin-1).
"""

import json
import os
import subprocess
import sys
from pathlib import Path

from tests.corpus.generate_aliases import HOST, USER, Case, cases

from qmail.core.cdb import Cdb

CHROOT = "/usr/sbin/chroot"
LIMIT_S = 60


def run(root: Path, *command: str, data: bytes = b"", **environ: str) -> Case:
    """Run one of their programs."""
    done = subprocess.run(
        [CHROOT, root, *command],
        input=data,
        capture_output=True,
        env={"PATH": "/bin", **environ},
        check=False,
        timeout=LIMIT_S,
    )
    said = (done.stdout + done.stderr).decode("latin-1")
    # Of refusals the exit code counts: their words are their own.
    return {"exit": done.returncode, "said": said if done.returncode in (0, 99) else ""}


def table(path: Path) -> list[tuple[str, str]]:
    """Return the records of a table as they lie there."""
    with Cdb(str(path)) as found:
        return [(key.decode("latin-1"), data.decode("latin-1")) for key, data in found.items()]


def record_aliases(root: Path, case: Case) -> Case:
    """Make a table of an alias file, and ask it."""
    (root / "etc/aliases").write_text(case["text"])
    name = "qmail-newaliases" if (root / "bin/qmail-newaliases").exists() else "newaliases"
    made = run(root, f"/bin/{name}")
    if made["exit"]:
        return {"made": made}
    told = [
        run(root, "/bin/fastforward", "-n", "/etc/aliases.cdb", RECIPIENT=recipient, SENDER=sender)
        for recipient, sender in case["asks"]
    ]
    return {"made": made, "table": table(root / "etc/aliases.cdb"), "told": told}


def record_source(root: Path, case: Case) -> Case:
    """Make a table of its written form, and print it."""
    made = run(root, "/bin/setforward", "/tmp/t.cdb", "/tmp/t.tmp", data=case["text"].encode())
    if made["exit"]:
        return {"made": made}
    path = root / "tmp/t.cdb"
    printed = run(root, "/bin/printforward", data=path.read_bytes())
    return {"made": made, "table": table(path), "printed": printed}


def record_include(root: Path, case: Case) -> Case:
    """Store an :include: file, and the same lines as they stand."""
    (root / "tmp/l").write_text(case["text"])
    made = run(root, "/bin/newinclude", "/tmp/l")
    plain = run(root, "/bin/setmaillist", "/tmp/p", "/tmp/p.tmp", data=case["text"].encode())
    found = {"made": made, "plain": {**plain, "list": _text(root / "tmp/p")}}
    return found if made["exit"] else {**found, "list": _text(root / "tmp/l.bin")}


def _text(path: Path) -> str:
    return path.read_bytes().decode("latin-1")


def record_forward(root: Path, case: Case) -> Case:
    """Say what dot-forward would do."""
    (root / "tmp/f").write_text(case["text"])
    return {"told": run(root, "/bin/dot-forward", "-n", "/tmp/f", USER=USER, HOST=HOST)}


RECORDERS = {
    "aliases": record_aliases,
    "source": record_source,
    "include": record_include,
    "forward": record_forward,
}


def main(root: str, seed: str, output: str) -> None:
    """Record every case of a seed."""
    with open(f"{output}.new", "w", encoding="ascii") as file:
        for case in cases(int(seed)):
            found = RECORDERS[case["kind"]](Path(root), case)
            file.write(json.dumps({**case, **found}) + "\n")
    os.rename(f"{output}.new", output)


if __name__ == "__main__":
    main(*sys.argv[1:])
