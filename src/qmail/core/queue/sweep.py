"""The recovery table: what every combination of a message's files means (docs/INTERNALS.md).

Total on purpose: whatever a crash, a power cut or a hand can leave has an answer here.
"""

from dataclasses import dataclass
from enum import Enum, auto


class Action(Enum):
    """What is done with a message that is found at start or by the sweep."""

    NOTHING = auto()
    """S1: there is no such message."""
    SWEEP_IF_OLD = auto()
    """S2, S3: not accepted, perhaps being written; removed after 36 hours."""
    PREPROCESS = auto()
    """S4: accepted; todo says everything, so info, local, remote and bounce are made anew."""
    DELIVER = auto()
    """S5: accepted and preprocessed; each channel file says who is left."""
    REMOVE_LEFTOVERS = auto()
    """The message is finished and gone; files of it came back with the power."""
    PARK = auto()
    """Its envelope makes no sense and the message is in parked/ already: the envelope follows."""
    QUARANTINE = auto()
    """No state of ours holds a message like this: it is reported and not touched."""


@dataclass(frozen=True, slots=True)
class Files:
    """Which files of one message exist. intd does not matter: todo is what counts.

    `parked` is the message file in parked/.
    """

    mess: bool = False
    todo: bool = False
    info: bool = False
    local: bool = False
    remote: bool = False
    bounce: bool = False
    parked: bool = False


def action_for(files: Files) -> Action:
    """Answer for one combination of files."""
    others = files.local or files.remote or files.bounce
    match files.mess, files.todo, files.info:
        case False, False, False:
            return Action.REMOVE_LEFTOVERS if others else Action.NOTHING
        case False, True, _ if files.parked:
            return Action.PARK
        case False, _, _:
            return Action.REMOVE_LEFTOVERS
        case True, True, _:
            return Action.PREPROCESS
        case True, False, True:
            return Action.DELIVER
        case _:
            # Recipients without a sender: info is always the last to go.
            return Action.QUARANTINE if others else Action.SWEEP_IF_OLD
