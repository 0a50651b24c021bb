"""Records what another qmail decides in the cases of `generate_local.py`.

    python -m tests.corpus.record_local QMAIL SEED OUTPUT

QMAIL: the home of an installed qmail, with programs in bin/ and nothing running: its queue, its
control files and users/ are written over. Needs root, for lspawn; the list of accounts is replaced
for this process alone. OUTPUT gets a line of JSON for each case; `test_local.py` plays them again.
"""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from tests.corpus.generate_local import Case, cases, exit_case
from tests.corpus.other_qmail import OtherLspawn, OtherSend
from tests.corpus.stage import UID, Stage

LIMIT_S = 60


def record_home(case: Case, qmail: Path, folder: Path) -> Case:
    """Run qmail-local with -n and without."""
    stage = Stage(folder, case)
    command = [os.fsencode(qmail / "bin" / "qmail-local")]
    dry = _run(stage, [*command, b"-n", b"--", *stage.arguments()])
    done = _run(stage, [*command, b"--", *stage.arguments()])
    return {"dry": dry, "done": {**done, **stage.outcome()}}


def record_exits(qmail: Path, folder: Path) -> Iterator[tuple[int, bool]]:
    """Yield for every exit code of a program how qmail-local ends, and whether it went on."""
    for code in range(256):
        here = folder / str(code)
        here.mkdir(mode=0o755)
        stage = Stage(here, exit_case(code))
        words = [os.fsencode(qmail / "bin" / "qmail-local"), b"--", *stage.arguments()]
        yield _run(stage, words)["exit"], (stage.home / "box").exists()


def _run(stage: Stage, command: list[bytes]) -> Case:
    with open(stage.message, "rb") as message:
        done = subprocess.run(
            command,
            stdin=message,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=stage.environment(),
            user=UID,
            group=UID,
            extra_groups=[],
            check=False,
            timeout=LIMIT_S,
        )
    return {"exit": done.returncode, "said": stage.even(done.stdout)}


def record(case: Case, qmail: Path) -> Case:
    """Return the case with what the programs in `qmail` make of it."""
    with tempfile.TemporaryDirectory(prefix="corpus-") as folder:
        os.chmod(folder, 0o755)
        match case["kind"]:
            case "home":
                return case | record_home(case, qmail, Path(folder))
            case "exits":
                return case | {"exits": list(record_exits(qmail, Path(folder)))}
            case "owner":
                return case | OtherLspawn(qmail, Path(folder)).record(case)
            case "pw2u":
                return case | OtherLspawn(qmail, Path(folder)).record_pw2u(case)
            case _:
                return case | OtherSend(qmail).record(case)


def main(argv: list[str]) -> int:
    """Record all cases of a seed."""
    if len(argv) != 3 or os.getuid() != 0:
        print("usage (as root): record_local QMAIL SEED OUTPUT", file=sys.stderr)
        return 100
    if "CORPUS_UNSHARED" not in os.environ:
        # What is mounted over /etc/passwd is seen by us and our children alone.
        os.environ["CORPUS_UNSHARED"] = "1"
        command = [sys.executable, "-m", "tests.corpus.record_local", *argv]
        os.execvp("unshare", ["unshare", "--mount", *command])
    qmail, seed, output = argv
    with open(output, "w", encoding="ascii") as file:
        file.writelines(json.dumps(record(case, Path(qmail))) + "\n" for case in cases(int(seed)))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
