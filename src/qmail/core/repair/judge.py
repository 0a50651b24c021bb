"""What is wrong with one message, from the files that it has and what they hold."""

from collections.abc import Container
from typing import Final, NamedTuple

from qmail.core.fs import Fs
from qmail.core.queue.records import read_record, wrong_with
from qmail.core.queue.seal import is_whole
from qmail.core.repair.faults import Fault

CHANNELS: Final = ("local", "remote")


class Verdict(NamedTuple):
    """A fault of a message, the kind of file that shows it, and why."""

    fault: Fault
    kind: str
    why: str


class Judge:
    """Looks at one message after the other.

    `oldest`: what was not touched since is abandoned; `spares`: the numbers of finished messages.
    """

    def __init__(self, fs: Fs, oldest: float, spares: Container[int]) -> None:
        self._fs = fs
        self._oldest = oldest
        self._spares = spares

    def look(self, number: int, files: dict[str, str]) -> Verdict | None:
        """Judge a message by its files; None where nothing is wrong, or where it went meanwhile."""
        try:
            return self._look(number, files)
        except FileNotFoundError:
            return None
        except OSError as trouble:
            return Verdict(Fault.UNREADABLE, next(iter(files)), str(trouble.strerror))

    def _look(self, number: int, files: dict[str, str]) -> Verdict | None:
        if "mess" not in files:
            return Verdict(Fault.LEFTOVER, next(iter(files)), "its message is gone")
        if "todo" in files:
            return self._empty(files) or self._queued(files)
        if "info" in files:
            return self._empty(files) or self._preprocessed(files)
        others = [kind for kind in (*CHANNELS, "bounce") if kind in files]
        if others:
            return Verdict(Fault.NO_SENDER, "mess", f"it has {' and '.join(others)}, and no info")
        return None if number in self._spares else self._alone(files)

    def _empty(self, files: dict[str, str]) -> Verdict | None:
        found = self._fs.info(files["mess"])
        if found is not None and not found.size:
            return Verdict(Fault.EMPTY_MESSAGE, "mess", "its text is gone")
        return None

    def _queued(self, files: dict[str, str]) -> Verdict | None:
        records = read_record(self._fs, "todo", files["todo"])
        wrong = wrong_with("todo", records)
        if wrong:
            return Verdict(Fault.BAD_ENVELOPE, "todo", wrong)
        if not is_whole(self._fs, files["mess"], records):
            return Verdict(Fault.TORN, "todo", "size or sum of the message is another")
        return None

    def _preprocessed(self, files: dict[str, str]) -> Verdict | None:
        faults = {
            "info": Fault.BAD_SENDER,
            "local": Fault.BAD_RECIPIENTS,
            "remote": Fault.BAD_RECIPIENTS,
            "bounce": Fault.BAD_BOUNCE,
        }
        for kind, fault in faults.items():
            if kind in files:
                wrong = wrong_with(kind, read_record(self._fs, kind, files[kind]))
                if wrong:
                    return Verdict(fault, kind, wrong)
        return None

    def _alone(self, files: dict[str, str]) -> Verdict | None:
        found = self._fs.info(files["mess"])
        if found is None or found.newest >= self._oldest:
            return None
        return Verdict(
            Fault.ABANDONED, "mess", "it has no envelope, and was not touched for 36 hours"
        )
