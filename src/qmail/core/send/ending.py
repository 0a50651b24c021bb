"""The end of a message: tell the sender, forget it, have its files removed (spec/queue.md 7.6)."""

from collections.abc import Callable, Iterator
from functools import partial
from typing import NamedTuple

from qmail.core.bounce.rules import NOBODY, BounceControls, Notice, bounce_envelope, original_sender
from qmail.core.clock import Clock
from qmail.core.queue.engine import Arrival, EngineError, QueueEngine
from qmail.core.queue.schedule import SYSTEM_FAILURE_S
from qmail.core.send.orders import Orders
from qmail.core.send.turn import Turn
from qmail.core.send.values import Bounce, Journal, Message, Stage
from qmail.protocol.logtext import safe


class _Removal(NamedTuple):
    """The order to remove a message's last files; `arrival`: it removes its entry in todo."""

    message: Message
    order: bytes
    arrival: Arrival | None


class Ending:
    """What happens once nobody is left. `bounces` gathers those to be queued."""

    def __init__(
        self, engine: QueueEngine, clock: Clock, controls: BounceControls, turn: Turn
    ) -> None:
        self.journal = Journal()
        self.orders = Orders()
        self.messages: dict[int, Message] = {}
        self.bounces: list[Bounce] = []
        self._engine = engine
        self._clock = clock
        self._controls = controls
        self._turn = turn
        self._refusals: dict[int, bytes] = {}
        """Why qmail-queue refused a message's bounce for good: its double bounce tells of that."""

    def reread(self, controls: BounceControls) -> None:
        """HUP: bounce by these from now on."""
        self._controls = controls

    def complete(self, message: Message) -> None:
        """Nobody is left: tell the sender, if there is something to tell (spec/queue.md 7.6)."""
        message.stage = Stage.ENDING
        try:
            reports = self._engine.reports(message.number)
        except EngineError as trouble:
            self._complete_later(message, trouble)
            return
        if reports is None:
            self._end(message)
            return
        sender, refusal = original_sender(message.sender), self._refusals.get(message.number, b"")
        envelope = bounce_envelope(sender, self._controls, is_refused=bool(refusal))
        if envelope is None:
            self._discard(message, b"triple" if sender == NOBODY else b"double")
            return
        notice = Notice(
            sender=sender,
            recipient=envelope.recipients[0],
            controls=self._controls,
            now=int(self._clock.now()),
            refusal=refusal,
        )
        body = self._engine.body(message.number)
        self.bounces.append(Bounce(message, envelope, notice, reports, body))

    def _complete_later(self, message: Message, trouble: object) -> None:
        self.journal.warn(trouble)
        self._turn.later(SYSTEM_FAILURE_S, lambda: self.complete(message))

    def bounced(
        self, message: Message, qp: int | None, trace_id: bytes = b"", *, refusal: bytes = b""
    ) -> None:
        """The bounce of `message` is queued as `qp`, with an id of its own; None: it is not.

        `refusal` says why it will never be; without one it is tried again.
        """
        if qp is None:
            if refusal:
                self._refused(message, refusal)
            else:
                self._complete_later(message, "trouble injecting bounce message, will try later")
            return
        self.journal.add(b"bounce msg %d qp %d%b" % (message.number, qp, message.tail))
        self.journal.child_of(message.tail, trace_id)
        self._end(message)

    def _refused(self, message: Message, refusal: bytes) -> None:
        """The postmaster gets what the sender can't get; what nobody can get is dropped aloud."""
        number, reason = message.number, safe(refusal) + message.tail
        if original_sender(message.sender) and number not in self._refusals:
            self.journal.add(b"warning: bounce of msg %d refused: %b" % (number, reason))
            self._refusals[number] = refusal
            self.complete(message)
        else:
            self.journal.add(b"alert: double bounce of msg %d refused: %b" % (number, reason))
            self._discard(message, b"double")

    def _discard(self, message: Message, degree: bytes) -> None:
        text = b"%b bounce: discarding bounce/%d" % (degree, message.number)
        self.journal.add(text + message.tail)
        self._end(message)

    def _end(self, message: Message) -> None:
        try:
            self._engine.forget(message.number)
        except EngineError as trouble:
            self._complete_later(message, trouble)
            return
        self._refusals.pop(message.number, None)
        self.journal.add(b"end msg %d%b" % (message.number, message.tail))
        self.remove(message, b"foop/%d" % message.number)

    def remove(self, message: Message, order: bytes) -> None:
        """Have qmail-clean remove the last files."""
        message.stage = Stage.ENDING
        arrival = message.arrival if order.startswith(b"done/") else None
        self._give(_Removal(message, order, arrival))

    def _give(self, removal: _Removal) -> None:
        self.orders.give(removal.order, partial(self._removed, removal), removal.arrival)

    def _removed(self, removal: _Removal, is_gone: bool) -> None:
        if not is_gone:
            self.journal.warn(f"qmail-clean unable to clean up {removal.order.decode()}")
            if removal.arrival is not None:
                # Forgotten now, its entry in todo would have it delivered once more.
                self._turn.later(SYSTEM_FAILURE_S, partial(self._remove_again, removal))
                return
        self._forget(removal.message)

    def _remove_again(self, removal: _Removal) -> None:
        if removal.arrival is not None and self._is_there(removal.arrival):
            self._give(removal)
        else:
            self._forget(removal.message)

    def _forget(self, message: Message) -> None:
        if self.messages.get(message.number) is message:
            del self.messages[message.number]

    def is_removing(self, arrival: Arrival) -> bool:
        """Tell whether this message has ended, and only its files are not gone yet."""
        known = self.messages.get(arrival.message)
        return known is not None and known.arrival is not None and known.arrival.qp == arrival.qp

    def _is_there(self, arrival: Arrival) -> bool:
        """Tell whether that very message is still in todo, and not another under its number."""
        found = self._engine.arrival(arrival.message)
        return found is not None and found.qp == arrival.qp

    def sweep(self) -> None:
        """Have removed what was begun long ago and never accepted; a part of it in each turn."""
        self._sweep_on(self._engine.sweep())

    def _sweep_on(self, numbers: Iterator[int | None]) -> None:
        try:
            for number in numbers:
                if number is None:
                    self._turn.later(0, lambda: self._sweep_on(numbers))
                    return
                self.orders.give(b"foop/%d" % number, self._swept(number))
        except OSError as trouble:
            self.journal.warn(f"unable to sweep the queue: {trouble}")

    def _swept(self, number: int) -> Callable[[bool], None]:
        def swept(is_gone: bool) -> None:
            if not is_gone:
                self.journal.warn(f"qmail-clean unable to clean up foop/{number}")

        return swept

    def clean_lost(self) -> None:
        """qmail-clean is gone. What it did of its orders is on the disk to see.

        An order is never given again blindly: the number may belong to another message by now.
        """
        for order in self.orders.take_lost():
            if order.arrival is not None and self._is_there(order.arrival):
                self.orders.give(order.text, order.done, order.arrival)
            else:
                # Gone, or a foop whose rest the sweep finds.
                order.done(True)
