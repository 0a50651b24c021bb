"""Records what another qmail-inject makes of the cases of `generate_inject.py`.

    python -m tests.corpus.record_inject QMAIL SEED COUNT OUTPUT

QMAIL: the home of an installed qmail with bin/qmail-inject; its control files and bin/qmail-queue
are written over. OUTPUT gets a line of JSON for each case; `test_inject.py` compares.
"""

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.corpus.generate_inject import Case, cases

QUEUE = """#!/bin/sh
cat >"$QUEUED.message"; cat <&1 >"$QUEUED.envelope"
"""
"""Stands in qmail-queue's place and keeps what it gets."""
LIMIT_S = 60
_DATE = re.compile(r"^((?:Resent-)?Date: )\d+ \w{3} \d{4} \d\d:\d\d:\d\d -0000$", re.MULTILINE)
_UNIQUE = re.compile(r"^((?:Resent-)?Message-ID: <)\d{14}\.\d+\.qmail@", re.MULTILINE)
_STAMP = re.compile(r"-\d{10}\.\d+(?=[-@\"])")


def even(text: str) -> str:
    """Return a message or an envelope with everything that is new each time made equal."""
    text = _UNIQUE.sub(r"\1UNIQUE.qmail@", _DATE.sub(r"\1NOW", text))
    return _STAMP.sub("-STAMP", text)


def record(case: Case, qmail: Path) -> Case:
    """Run it twice: with -n, and with a queue that keeps what it gets."""
    shutil.rmtree(qmail / "control", ignore_errors=True)
    (qmail / "control").mkdir()
    for name, text in case["controls"].items():
        (qmail / "control" / name).write_bytes(text.encode("latin-1"))
    with tempfile.TemporaryDirectory(prefix="corpus-") as folder:
        shown, out = _run(case, qmail, Path(folder), "-n")
        done, _ = _run(case, qmail, Path(folder), "-N")
        queued = Path(folder) / "queued"
        found: Case = {"exit": done, "shown_exit": shown, "shown": even(out) if not shown else ""}
        if not done:
            envelope = even(queued.with_suffix(".envelope").read_bytes().decode("latin-1"))
            message = even(queued.with_suffix(".message").read_bytes().decode("latin-1"))
            # Once is enough: what is shown has Return-Path more.
            shown_sender = found["shown"].removesuffix(message)
            assert shown or re.fullmatch("Return-Path: <.*>\n", shown_sender, re.DOTALL), case
            found |= {"envelope": envelope}
        return found


def _run(case: Case, qmail: Path, folder: Path, last: str) -> tuple[int, str]:
    environ = {name: value.encode("latin-1") for name, value in case["environ"].items()}
    environ |= {"PATH": b"/usr/bin:/bin", "QUEUED": os.fsencode(folder / "queued")}
    if case["lists"] is not None:
        lists = folder / "lists"
        if case["lists"]:
            lists.write_text(case["lists"])
        environ["QMAILMFTFILE"] = os.fsencode(lists)
    words = [word.encode("latin-1") for word in (*case["options"], last, "--", *case["arguments"])]
    done = subprocess.run(
        [os.fsencode(qmail / "bin/qmail-inject"), *words],
        input=case["message"].encode("latin-1"),
        capture_output=True,
        env=environ,
        check=False,
        timeout=LIMIT_S,
    )
    assert bool(done.stderr) == bool(done.returncode), (case, done)
    return done.returncode, done.stdout.decode("latin-1")


def main(qmail: str, seed: str, count: str, output: str) -> None:
    """Record every case of a seed."""
    queue = Path(qmail) / "bin/qmail-queue"
    queue.write_text(QUEUE)
    queue.chmod(0o755)
    with open(f"{output}.new", "w", encoding="ascii") as file:
        file.writelines(
            json.dumps({**case, **record(case, Path(qmail))}) + "\n"
            for case in cases(int(seed), int(count))
        )
    os.rename(f"{output}.new", output)


if __name__ == "__main__":
    main(*sys.argv[1:])
