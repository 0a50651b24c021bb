"""The kinds of faults that `qmail queue check` knows, by the names that it prints.

The table of docs/queue-repair.md is compared with this one.
"""

from enum import Enum
from typing import NamedTuple


class Fault(Enum):
    """Name, how it is found, what the repair does."""

    def __init__(self, word: str, found: str, repair: str) -> None:
        self.word = word
        self.found = found
        self.repair = repair

    # --- folders and files as such ---
    MISSING_FOLDER = "missing-folder", "a folder of the queue is not there", "made"
    NOT_A_FOLDER = (
        "not-a-folder",
        "a file, a link or something else has the name of a folder",
        "moved to lost, and the folder made",
    )
    FOLDER_OWNER = "folder-owner", "owner, group or mode of a folder is another", "set"
    FILE_OWNER = "file-owner", "owner or mode of a file is another", "set"
    SECOND_NAME = (
        "second-name",
        "a file has more than one name",
        "names in pid and intd are removed, others moved to lost",
    )
    SPECIAL_FILE = (
        "special-file",
        "a link, folder, pipe, socket or device in place of a file",
        "moved to lost",
    )
    UNKNOWN_NAME = "unknown-name", "a name that no file of the queue has", "moved to lost"
    LOCK_FILE = (
        "lock-file",
        "lock/trigger is no named pipe, lock/sendmutex no file, lock/tcpto of another size",
        "moved to lost and made anew; tcpto gets its size",
    )
    SPLIT = (
        "split",
        "folders of another number than control/split says",
        "made; files are moved to the folders of their numbers, and those too many removed",
    )
    # --- where files are ---
    UNFINISHED_REPAIR = "unfinished-repair", "a repair was interrupted", "finished"
    UNFINISHED_IMPORT = (
        "unfinished-import",
        "an import was interrupted",
        "finished where all of it had arrived, else taken back: run it again",
    )
    WRONG_FOLDER = (
        "wrong-folder",
        "a file lies in another folder than its number says",
        "moved to its folder",
    )
    DUPLICATE = (
        "duplicate",
        "a number has two files of one kind, in two folders",
        "the one whose inode is the number stays, else the one in its folder; the other to lost",
    )
    WRONG_NUMBER = (
        "wrong-number",
        "a message whose inode is another than its number: copied or restored",
        "all its files get the number of the inode",
    )
    # --- what they hold ---
    TORN = (
        "torn",
        "the seal in todo does not fit the message: never accepted, or the disk is bad",
        "the whole message moved to lost",
    )
    BAD_ENVELOPE = (
        "bad-envelope",
        "todo is no complete envelope",
        "the whole message moved to lost",
    )
    BAD_SENDER = "bad-sender", "info is no sender", "the whole message moved to lost"
    BAD_RECIPIENTS = (
        "bad-recipients",
        "local or remote is no list of recipients",
        "the whole message moved to lost",
    )
    BAD_BOUNCE = (
        "bad-bounce",
        "bounce is empty, cut or holds zeros",
        "what can be read stays, the old file is moved to lost",
    )
    EMPTY_MESSAGE = "empty-message", "mess of size 0", "the whole message moved to lost"
    NO_SENDER = (
        "no-sender",
        "a message with recipients or a bounce, and without info and todo",
        "the whole message moved to lost",
    )
    LEFTOVER = (
        "leftover",
        "an envelope, sender, recipients or bounce whose message is gone",
        "moved to lost",
    )
    ABANDONED = (
        "abandoned",
        "a message without envelope, untouched for 36 hours",
        "moved to lost",
    )
    STALE_SPARE = (
        "stale-spare",
        "the mark of a finished message's files that can't be written again",
        "removed, with the files of the finished message",
    )
    PID_LEFTOVER = "pid-leftover", "a file in pid, untouched for 36 hours", "removed"
    PARKED = (
        "parked",
        "a message in parked: qmail-clean put it there because its envelope makes no sense",
        "put back where the envelope was mended, else told, and left",
    )
    UNREADABLE = (
        "unreadable",
        "a file or folder can't be read: not allowed, or the disk is bad",
        "nothing: told, and left",
    )


class Finding(NamedTuple):
    """One fault. `done` is what was done about it, "" where nothing was."""

    fault: Fault
    path: str
    why: str
    done: str = ""

    @property
    def key(self) -> tuple[str, str]:
        """What tells two findings apart."""
        return self.fault.word, self.path
