"""The resident server's line to qmail-verify, and the answers that are still fresh.

Questions wait for each other's answer, for the line to come up again, and never for long: after
QUESTION_S_MAX the verdict is that there is no telling. A question may be asked twice without harm,
so what was under way when the line broke is asked again.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final, Protocol

from qmail.edge.doors.line import DoorLine
from qmail.edge.doors.verify_call import NO_SERVICE
from qmail.protocol.doors import REPORT_FRAME_MAX, Report
from qmail.protocol.verify_door import Question, Verdict, verdict_of

QUESTION_S_MAX: Final = 4.0
KNOWN_LIVES_S: Final = 10.0
UNKNOWN_LIVES_S: Final = 3.0
"""So long an answer is used again; a new mailbox is seen after this time."""
ANSWERS_MAX: Final = 10000
"""So many of each kind are kept: guesses can't push out what is known."""


class Asker(Protocol):
    """Who waits for a verdict: one client's connection."""

    def on_verdict(self, verdict: Verdict) -> None:
        """Take the verdict on the recipient that was asked for."""
        ...


class Answers:
    """Recipients and how long their answer lives, the oldest first; bounded."""

    def __init__(self, lives_s: float) -> None:
        self._lives_s = lives_s
        self._until: dict[bytes, float] = {}

    def has(self, recipient: bytes, now: float) -> bool:
        """Say whether the answer on `recipient` is still fresh."""
        return self._until.get(recipient, 0.0) > now

    def add(self, recipient: bytes, now: float) -> None:
        """Keep an answer."""
        until = self._until
        until.pop(recipient, None)
        if len(until) >= ANSWERS_MAX:
            del until[next(iter(until))]
        until[recipient] = now + self._lives_s


@dataclass(slots=True)
class _Asked:
    tag: int
    recipient: bytes
    until: float
    askers: list[Asker] = field(default_factory=list)


class VerifyLine(DoorLine):
    """The connection to run/verify."""

    DOOR = "verify"
    FRAME_BYTES_MAX = REPORT_FRAME_MAX

    def __init__(
        self,
        home: str,
        peer_uids: frozenset[int],
        on_work: Callable[[], None],
        now: Callable[[], float],
    ) -> None:
        super().__init__(home, peer_uids, on_work)
        self._now = now
        self._known = Answers(KNOWN_LIVES_S)
        self._unknown = Answers(UNKNOWN_LIVES_S)
        self._by_recipient: dict[bytes, _Asked] = {}
        """What is asked; the oldest first."""
        self._by_tag: dict[int, _Asked] = {}
        self._last_tag = 0
        self._is_absent = False

    def verdict(self, recipient: bytes, asker: Asker) -> Verdict | None:
        """Return what is known of `recipient`; None: `asker` is told later, and soon."""
        now = self._now()
        if self._is_absent or self._known.has(recipient, now):
            return Verdict.KNOWN
        if self._unknown.has(recipient, now):
            return Verdict.UNKNOWN
        if self.is_full:
            return Verdict.UNSURE
        asked = self._by_recipient.get(recipient)
        if asked is None:
            self._last_tag += 1
            asked = _Asked(self._last_tag, recipient, now + QUESTION_S_MAX)
            self._by_recipient[recipient] = self._by_tag[asked.tag] = asked
            self._ask(asked)
        asked.askers.append(asker)
        return None

    def forget(self) -> None:
        """Forget all answers: the settings have changed."""
        self._known = Answers(KNOWN_LIVES_S)
        self._unknown = Answers(UNKNOWN_LIVES_S)

    def sweep(self) -> None:
        """Give up what was asked too long ago."""
        now = self._now()
        while self._by_recipient:
            asked = next(iter(self._by_recipient.values()))
            if asked.until > now:
                return
            self._settle(asked, Verdict.UNSURE)

    def _ask(self, asked: _Asked) -> None:
        if self.is_up:
            self.send(Question(asked.tag, asked.recipient).pack())

    def _settle(self, asked: _Asked, verdict: Verdict) -> None:
        del self._by_recipient[asked.recipient], self._by_tag[asked.tag]
        for asker in asked.askers:
            asker.on_verdict(verdict)

    # --- the connection -------------------------------------------------------------------------

    def on_up(self) -> None:
        """Ask what waits for an answer."""
        self._is_absent = False
        for asked in self._by_recipient.values():
            self._ask(asked)

    def on_payload(self, payload: bytes) -> None:
        """Give a report to who waits for it. Raises: FrameError: it is none."""
        report = Report.unpack(payload)
        asked = self._by_tag.get(report.delivery)
        if asked is None:
            return
        verdict = verdict_of(report.text)
        if verdict is Verdict.KNOWN:
            self._known.add(asked.recipient, self._now())
        elif verdict is Verdict.UNKNOWN:
            self._unknown.add(asked.recipient, self._now())
        self._settle(asked, verdict)

    def on_refused(self, trouble: OSError) -> None:
        """Ask nothing where there is nobody to be asked."""
        self._is_absent = trouble.errno in NO_SERVICE
        if self._is_absent:
            for asked in list(self._by_recipient.values()):
                self._settle(asked, Verdict.KNOWN)
