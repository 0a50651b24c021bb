"""Records what another mess822 makes of the cases of `generate_mess822.py`.

    python -m tests.corpus.record_mess822 PROGRAMS HOME SEED OUTPUT

PROGRAMS: a folder with its programs. HOME: the home that they were made for; its control files and
bin/qmail-queue are written over. OUTPUT gets a line of JSON for each case; `test_mess822.py`
compares.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.corpus.generate_mess822 import Case, cases
from tests.corpus.mess822_stage import QUEUE, even, queued_in

LIMIT_S = 60


class Other:
    """The other programs."""

    def __init__(self, programs: Path, home: Path) -> None:
        self._programs = programs
        self._home = home
        queue = home / "bin/qmail-queue"
        queue.parent.mkdir(exist_ok=True)
        queue.write_text(QUEUE)
        queue.chmod(0o755)

    def record(self, case: Case) -> Case:
        """Return what becomes of a case."""
        with tempfile.TemporaryDirectory(prefix="corpus-") as folder:
            shutil.rmtree(self._home / "control", ignore_errors=True)
            (self._home / "control").mkdir()
            for name, text in case.get("controls", {}).items():
                (self._home / "control" / name).write_bytes(text.encode("latin-1"))
            return {"inject": self._inject, "tool": self._tool, "ofmipd": self._ofmipd}[
                case["kind"]
            ](case, Path(folder))

    def _inject(self, case: Case, folder: Path) -> Case:
        environ = {name: value.encode("latin-1") for name, value in case["environ"].items()}
        for name, variable in (("rules", "QMAILREWRITEFILE"), ("lists", "QMAILMFTFILE")):
            if case[name] is not None:
                (folder / name).write_text(case[name])
                environ[variable] = os.fsencode(folder / name)
        words = [*case["options"], "-n", "--", *case["arguments"]]
        code, out = self._run(["new-inject", *words], case["message"], environ)
        words[len(case["options"])] = "-N"
        environ["QUEUED"] = os.fsencode(folder)
        queued_code, _ = self._run(["new-inject", *words], case["message"], environ)
        assert code == queued_code == 0, case
        ((message, envelope),) = queued_in(folder)
        assert even(out).endswith(even(message)), case
        return {"shown": even(out), "envelope": even(envelope)}

    def _tool(self, case: Case, _folder: Path) -> Case:
        code, out = self._run(case["command"], case["message"], {"TZ": b"EST5EDT"})
        return {"exit": code, "out": out}

    def _ofmipd(self, case: Case, folder: Path) -> Case:
        words = ["ofmipd"]
        if case["names"] is not None:
            words.append(str(folder / "names"))
            making = ["ofmipname", words[1], str(folder / "tmp")]
            assert self._run(making, case["names"], {})[0] == 0
        environ = {name: value.encode() for name, value in case["environ"].items()}
        environ["QUEUED"] = os.fsencode(folder)
        code, out = self._run(words, case["sent"], environ)
        found = [[even(message), even(envelope)] for message, envelope in queued_in(folder)]
        return {"exit": code, "said": out, "queued": found}

    def _run(self, words: list[str], data: str, environ: dict[str, bytes]) -> tuple[int, str]:
        done = subprocess.run(
            [os.fsencode(self._programs / words[0]), *[os.fsencode(word) for word in words[1:]]],
            input=data.encode("latin-1"),
            stdout=subprocess.PIPE,
            env={"PATH": b"/usr/bin:/bin", **environ},
            check=False,
            timeout=LIMIT_S,
        )
        return done.returncode, done.stdout.decode("latin-1")


def main(programs: str, home: str, seed: str, output: str) -> None:
    """Record every case of a seed."""
    other = Other(Path(programs), Path(home))
    with open(f"{output}.new", "w", encoding="ascii") as file:
        file.writelines(
            json.dumps({**case, **other.record(case)}) + "\n" for case in cases(int(seed))
        )
    os.rename(f"{output}.new", output)


if __name__ == "__main__":
    main(*sys.argv[1:])
