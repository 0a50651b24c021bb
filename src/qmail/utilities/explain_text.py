"""An explanation as lines for people: a step a line, in columns; two where a path is long."""

import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from qmail.core.explain.explanation import Explanation, Step, printable
from qmail.protocol.exits import Exit

WHERE_WIDTH_MAX: Final = 42
TEXT_WIDTH_MIN: Final = 30
_BOLD: Final = "\x1b[1m"
_PLAIN: Final = "\x1b[0m"
VERDICTS: Final = {
    Exit.OK: "deliverable",
    Exit.PERMANENT: "refused, at once or by a bounce",
    Exit.TEMPORARY: "not now: it waits in the queue, or there is no telling",
}


@dataclass(frozen=True, slots=True)
class Style:
    """How it is shown. `width` 0: lines are as long as they are."""

    width: int = 0
    is_bold: bool = False

    def heading(self, text: str) -> str:
        """Return a line that begins an explanation."""
        return f"{_BOLD}{text}{_PLAIN}" if self.is_bold else text

    def column(self, text: str, start: int) -> list[str]:
        """Return `text` in lines that fit into a column from `start` on."""
        room = self.width - start
        if self.width <= 0 or room < TEXT_WIDTH_MIN:
            return [text]
        return textwrap.wrap(text, room, break_on_hyphens=False) or [""]


PLAIN: Final = Style()


def lines_of(explanation: Explanation, style: Style = PLAIN) -> Iterator[str]:
    """Yield the lines of one explanation."""
    question = explanation.question
    sender = printable(question.sender) or "<>, the null sender"
    origin = f" ({question.origin})" if question.origin else ""
    yield style.heading(f"{printable(question.address)}, from {sender}{origin}")
    verdict = Step("verdict", VERDICTS[explanation.verdict])
    steps = (*explanation.steps, verdict)
    parts = max(len(step.part) + 2 * step.depth for step in steps)
    middles = [len(_middle(step)) for step in steps]
    where = max((one for one in middles if one <= WHERE_WIDTH_MAX), default=0)
    for step in steps:
        yield from _step_lines(step, (parts, where), style)


def _middle(step: Step) -> str:
    # Below a file its lines speak for themselves.
    return step.quote if step.depth and step.quote else step.where


def _step_lines(step: Step, widths: tuple[int, int], style: Style) -> Iterator[str]:
    parts, where = widths
    first = f"  {'  ' * step.depth + step.part:<{parts}}  "
    middle = _middle(step)
    start = len(first) + where + 2
    texts = style.column(step.text, start)
    if len(middle) > where:
        yield (first + middle).rstrip()
    else:
        yield f"{first}{middle:<{where}}  {texts.pop(0)}".rstrip()
    for text in texts:
        yield " " * start + text
