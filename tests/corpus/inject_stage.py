"""Runs our qmail-inject on a case of `generate_inject.py`, within this process."""

from collections.abc import Iterator
from pathlib import Path

from tests.corpus.generate_inject import Case
from tests.corpus.record_inject import even

from qmail.core.inject.run import World, inject
from qmail.envelope import Envelope
from qmail.programs.inject import read_request
from qmail.protocol.options import OptionError

NOW = 1795428672
PART_BYTES = 7
"""The message comes in small parts."""


def ours(case: Case, folder: Path) -> Case:
    """Return what ours makes of it, in the form of `record_inject.record`, and what it says."""
    (folder / "control").mkdir(exist_ok=True)
    for name, text in case["controls"].items():
        (folder / "control" / name).write_bytes(text.encode("latin-1"))
    shown = _Run(case, folder, "-n")
    done = _Run(case, folder, "-N")
    found: Case = {"exit": done.code, "shown_exit": shown.code, "said": done.said}
    found["shown"] = even(b"".join(shown.out).decode("latin-1")) if not shown.code else ""
    if not done.code:
        message = even(b"".join(done.out).decode("latin-1"))
        assert shown.code or message == found["shown"].partition("\n")[2], case
        found["envelope"] = even(done.envelope.pack().decode("latin-1"))
    return found


class _Run:
    def __init__(self, case: Case, folder: Path, last: str) -> None:
        self.out: list[bytes] = []
        self.said: list[str] = []
        self.envelope = Envelope(b"", ())
        self._message: bytes = case["message"].encode("latin-1")
        words = [*case["options"], last, "--", *case["arguments"]]
        try:
            request = read_request(
                [word.encode("latin-1").decode("utf-8", "surrogateescape") for word in words]
            )
        except OptionError as wrong:
            self.code = 100
            self.said.append(str(wrong))
            return
        world = World(
            name="qmail-inject",
            home=str(folder),
            environ=_environ(case, folder),
            read=self._read,
            show=self.out.append,
            say=self.said.append,
            submit=self._submit,
            enter_home=lambda: None,
            now=lambda: float(NOW),
            pid=1234,
            random=bytes,
        )
        self.code = inject(request, world)

    def _read(self, _size: int) -> bytes:
        part, self._message = self._message[:PART_BYTES], self._message[PART_BYTES:]
        return part

    def _submit(self, parts: Iterator[bytes], envelope: Envelope) -> None:
        self.out += parts
        self.envelope = envelope


def _environ(case: Case, folder: Path) -> dict[bytes, bytes]:
    environ = {name.encode(): value.encode("latin-1") for name, value in case["environ"].items()}
    if case["lists"] is not None:
        lists = folder / "lists"
        if case["lists"]:
            lists.write_text(case["lists"])
        environ[b"QMAILMFTFILE"] = bytes(lists)
    return environ
