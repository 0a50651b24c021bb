"""From todo to info, local and remote: a message that is to outlast its first try is written down.

Source: spec/queue.md 7.3.
"""

from collections.abc import Callable

from qmail.core.queue.engine import EngineError
from qmail.core.send.run import Run
from qmail.core.send.values import Message, Stage


class Keeping:
    """Writes messages down. `on_drop` is called when one could not be and has to arrive again."""

    def __init__(self, run: Run, on_drop: Callable[[], None]) -> None:
        self._run = run
        self._on_drop = on_drop

    def keep(self, message: Message, then: Callable[[], None]) -> bool:
        """Write info, local and remote, sync, have todo removed, then go on.

        Returns: False where it could not be written: it has to arrive again.
        """
        run, arrival = self._run, message.arrival
        assert arrival is not None
        message.stage = Stage.KEEPING
        try:
            run.engine.keep(arrival, message.records)
        except EngineError as trouble:
            self._drop(message, trouble)
            return False
        run.turn.commit_then(
            lambda: run.ending.orders.give(b"todo/%d" % message.number, cleaned, arrival),
            lambda: self._drop(message, "trouble syncing"),
        )

        def cleaned(is_gone: bool) -> None:
            if not is_gone:
                self._drop(message, f"qmail-clean unable to clean up todo/{message.number}")
                return
            message.stage = Stage.KEPT
            then()

        return True

    def _drop(self, message: Message, why: object) -> None:
        """Forget a message that is still in todo; the next scan starts over with it."""
        run = self._run
        run.journal.warn(why)
        run.engine.start_over(message.number)
        if run.messages.get(message.number) is message:
            del run.messages[message.number]
        self._on_drop()
