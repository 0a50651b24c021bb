"""Runs our new-inject, ofmipd and header tools on the cases of `generate_mess822.py`."""

import contextlib
import io
import os
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from tests.corpus.generate_mess822 import Case
from tests.corpus.mess822_stage import even

from qmail.core.cdb import Cdb, write_cdb
from qmail.core.inject.new_inject import prepare
from qmail.core.inject.ofmip_names import read_names
from qmail.core.inject.run import World, inject
from qmail.core.settings.host_rules import read_rewriting
from qmail.core.settings.lines import control_reader
from qmail.edge.submit.queue import Outcome
from qmail.edge.wires.timed_wire import TimedWire, WireError
from qmail.envelope import Envelope
from qmail.programs.newinject import read_request
from qmail.programs.ofmipd_talk import Conversation, Policy, received_start
from qmail.utilities import header822, iftocc

NOW = 1795428672
PART_BYTES = 7
"""What comes comes in small parts."""


def parts_of(data: bytes) -> Iterator[bytes]:
    """Yield data in small parts."""
    for at in range(0, len(data), PART_BYTES):
        yield data[at : at + PART_BYTES]


def set_controls(case: Case, folder: Path) -> None:
    """Write the control files of a case."""
    (folder / "control").mkdir(exist_ok=True)
    for name, text in case["controls"].items():
        (folder / "control" / name).write_bytes(text.encode("latin-1"))


# --- new-inject ---------------------------------------------------------------------------------


def injected(case: Case, folder: Path) -> Case:
    """Return what new-inject makes of a case, in the form of the record, and what it says."""
    set_controls(case, folder)
    shown = _Injection(case, folder, "-n")
    done = _Injection(case, folder, "-N")
    found: Case = {"exit": done.code, "shown": even(shown.text), "said": done.said}
    if not done.code:
        assert even(shown.text).endswith(even(done.text)), case
        found["envelope"] = even(done.envelope.pack().decode("latin-1"))
    return found


class _Injection:
    def __init__(self, case: Case, folder: Path, last: str) -> None:
        self.said: list[str] = []
        self.envelope = Envelope(b"", ())
        self._out: list[bytes] = []
        parts = parts_of(case["message"].encode("latin-1"))
        request, letters = read_request([*case["options"], last, "--", *case["arguments"]])
        environ = {name.encode(): value.encode() for name, value in case["environ"].items()}
        for name, variable in (("rules", b"QMAILREWRITEFILE"), ("lists", b"QMAILMFTFILE")):
            if case[name] is not None:
                (folder / name).write_text(case[name])
                environ[variable] = bytes(folder / name)
        world = World(
            name="new-inject",
            home=str(folder),
            environ=environ,
            read=lambda _size: next(parts, b""),
            show=self._out.append,
            say=self.said.append,
            submit=self._submit,
            enter_home=lambda: None,
            now=lambda: float(NOW),
            pid=1234,
            random=bytes,
        )
        self.code = inject(request, world, lambda asked, outside: prepare(asked, outside, letters))

    @property
    def text(self) -> str:
        return b"".join(self._out).decode("latin-1")

    def _submit(self, parts: Iterator[bytes], envelope: Envelope) -> None:
        self._out += parts
        self.envelope = envelope


# --- the tools ----------------------------------------------------------------------------------


def looked(case: Case, patch: pytest.MonkeyPatch) -> Case:
    """Return exit code and output of a tool."""
    name, *arguments = case["command"]
    out = io.BytesIO()
    parts = parts_of(case["message"].encode("latin-1"))
    patch.setattr(sys, "argv", [name])
    patch.setattr(iftocc, "message", lambda: parts)
    patch.setattr(header822, "standard_input", lambda: parts)
    patch.setattr(header822, "write_output", out.write)
    program = iftocc if name == "iftocc" else header822
    return {"exit": program.main(arguments), "out": out.getvalue().decode("latin-1")}


# --- ofmipd -------------------------------------------------------------------------------------


class Wire(TimedWire):
    """A client that sends everything at once, and takes everything."""

    def __init__(self, data: bytes) -> None:
        self._parts = parts_of(data)
        self.said = b""

    def read(self, deadline: float | None = None) -> bytes:
        """Return the next part."""
        assert deadline is not None
        for part in self._parts:
            return part
        raise WireError("end of file")

    def write(self, data: bytes) -> None:
        """Keep what is said."""
        self.said += data

    def linger(self, wait_s: float) -> None:
        """Do nothing: nobody has to read."""


def talked(case: Case, folder: Path) -> Case:
    """Return what ofmipd says and queues."""
    set_controls(case, folder)
    table = None
    if case["names"] is not None:
        path = str(folder / "names")
        write_cdb(path, f"{path}.tmp", read_names(case["names"].encode()))
        table = Cdb(path)
    environ = {name.encode(): value.encode() for name, value in case["environ"].items()}
    wire = Wire(case["sent"].encode("latin-1"))
    queued: list[list[str]] = []

    def submit(parts: Iterator[bytes], envelope: Envelope) -> Outcome:
        message = b"".join(parts).decode("latin-1")
        queued.append([even(message), even(envelope.pack().decode("latin-1"))])
        return Outcome(None, 7)

    policy = Policy(
        read_rewriting(environ, control_reader(str(folder))),
        table,
        received_start(environ),
        0,
        b"123.qmail",
    )
    has_quit = Conversation(wire, policy, submit, lambda: float(NOW)).run()
    said = wire.said.decode("latin-1").replace(f"250 ok {NOW} qp 7", "250 ok")
    return {"exit": 0 if has_quit else 1, "said": said, "queued": queued}


@contextlib.contextmanager
def time_zone(name: str) -> Iterator[None]:
    """Have another local time."""
    before: Mapping[str, str] = dict(os.environ)
    os.environ["TZ"] = name
    _set_clock()
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)
        _set_clock()


def _set_clock() -> None:
    """Make TZ count."""
    time.tzset()
