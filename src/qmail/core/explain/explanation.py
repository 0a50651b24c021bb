"""What `qmail explain` found: decisions as values, on their way from the account that saw them.

Each part of the explanation is made by a process of its own, under the account whose decision it
is; a `Part` crosses the pipe to the one that shows it, and is checked there.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from qmail.protocol.exits import Exit
from qmail.protocol.netstring import FrameError, iter_fields, pack_fields, unpack_fields

PART_BYTES_MAX: Final = 4 * 1024 * 1024
STEPS_MAX: Final = 2000
SHOWN_BYTES_MAX: Final = 400
LINE_DIGITS_MAX: Final = 9
_STEP_FIELDS: Final = 6
_VERDICTS: Final = {b"%d" % code: code for code in (Exit.OK, Exit.PERMANENT, Exit.TEMPORARY)}


@dataclass(frozen=True, slots=True)
class Step:
    """One decision: the part it belongs to, what was decided, the file and line that decided.

    `line` 0: the file as a whole; `file` "": no file. `quote`: the line itself; `depth` 1: a detail
    of the step before.
    """

    part: str
    text: str
    file: str = ""
    line: int = 0
    quote: str = ""
    depth: int = 0

    @property
    def where(self) -> str:
        """The file and the line; "" for a text that is in no file."""
        return f"{self.file}:{self.line}" if self.file and self.line else self.file

    def pack(self) -> bytes:
        """Return the step as fields."""
        numbers = b"%d" % self.line, b"%d" % self.depth
        texts = (self.part, self.text, self.file, self.quote)
        return pack_fields(*(text.encode() for text in texts), *numbers)

    @classmethod
    def unpack(cls, packed: bytes) -> "Step":
        """Parse what `pack` made. Raises: FrameError: it is something else."""
        *texts, line, depth = unpack_fields(packed, _STEP_FIELDS)
        if not (line.isdigit() and len(line) <= LINE_DIGITS_MAX and depth in (b"0", b"1")):
            raise FrameError("not a step")
        try:
            part, text, file, quote = (one.decode() for one in texts)
        except UnicodeDecodeError:
            raise FrameError("not text") from None
        if not (part + text + file + quote).isprintable():
            raise FrameError("not printable")
        return cls(part, text, file, int(line), quote, int(depth))


@dataclass(frozen=True, slots=True)
class Part:
    """The decisions of one program. `facts`: what the next one goes on with."""

    steps: tuple[Step, ...]
    verdict: Exit = Exit.OK
    facts: tuple[bytes, ...] = ()

    def pack(self) -> bytes:
        """Return the part as it crosses a pipe."""
        steps = pack_fields(*(step.pack() for step in self.steps))
        return pack_fields(b"%d" % self.verdict, steps, pack_fields(*self.facts))

    @classmethod
    def unpack(cls, packed: bytes) -> "Part":
        """Parse what `pack` made. Raises: FrameError: it is something else."""
        verdict, steps, facts = unpack_fields(packed, 3)
        if verdict not in _VERDICTS:
            raise FrameError("not a verdict")
        found = tuple(Step.unpack(step) for step in iter_fields(steps))
        if len(found) > STEPS_MAX:
            raise FrameError("too many steps")
        return cls(found, _VERDICTS[verdict], tuple(iter_fields(facts)))


@dataclass(frozen=True, slots=True)
class Question:
    """An address to explain. `origin`: where it was named, "" for the one that was asked for."""

    address: bytes
    sender: bytes
    origin: str = ""


@dataclass(frozen=True, slots=True)
class Explanation:
    """All decisions about one address. `forwards`: where its mail goes on to."""

    question: Question
    steps: tuple[Step, ...]
    verdict: Exit
    forwards: tuple[Question, ...] = field(default=())

    def as_json(self) -> dict[str, object]:
        """Return it as plain values."""
        found: dict[str, object] = {
            "address": printable(self.question.address),
            "sender": printable(self.question.sender),
            "verdict": WORDS[self.verdict],
            "steps": [
                {"part": step.part, "file": step.file, "line": step.line, "text": step.text}
                | ({"quote": step.quote} if step.quote else {})
                for step in self.steps
            ],
        }
        return found | ({"because": self.question.origin} if self.question.origin else {})


WORDS: Final = {
    Exit.OK: "deliverable",
    Exit.PERMANENT: "refused",
    Exit.TEMPORARY: "not now",
}


def worst(verdicts: Iterable[Exit]) -> Exit:
    """Return the verdict of several: "not now" outdoes a refusal, which outdoes success."""
    return max(verdicts, default=Exit.OK)


def printable(raw: bytes, bytes_max: int = SHOWN_BYTES_MAX) -> str:
    """Return bytes of others as text that does nothing to a terminal, cut where it is long."""
    cut = raw[:bytes_max]
    try:
        text = cut.decode()
    except UnicodeDecodeError:
        text = cut.decode("latin-1")
        text = "".join(one if " " <= one <= "~" else f"\\x{ord(one):02x}" for one in text)
    shown = "".join(one if one.isprintable() else _escaped(one) for one in text)
    return shown if cut == raw else f"{shown}... ({len(raw)} bytes)"


def _escaped(character: str) -> str:
    code = ord(character)
    return (
        f"\\x{code:02x}" if code < 256 else f"\\u{code:04x}" if code < 65536 else f"\\U{code:08x}"
    )


def reason_of(trouble: OSError | ValueError) -> str:
    """Return what went wrong, as a part of a line."""
    text = trouble.strerror if isinstance(trouble, OSError) else str(trouble)
    return printable((text or "unknown error").encode(errors="replace"))


def sentence(report: bytes) -> str:
    """Return what a program says at the end of a delivery, as a part of a line."""
    return printable(b" / ".join(report.strip().split(b"\n")))
