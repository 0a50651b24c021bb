"""qmail-clean's four orders: which queue files go, and in what order (spec/queue.md 10).

| order    | removes                  | when                                                    |
|----------|--------------------------|---------------------------------------------------------|
| `todo/N` | intd, then todo          | info, local and remote say all that todo says           |
| `foop/N` | intd, then mess          | nothing but the message is left                         |
| `done/N` | todo, then mess          | delivered at the first try: it never had info           |
| `park/N` | nothing, see below       | the envelope makes no sense                             |

`done` and `park` are ours; the other two are the original's. `park` looks for itself, then moves
mess and todo to parked/ (core/queue/parking.py). `done` makes a spare of the two files, see
core/queue/spares.py: the envelope is renamed, the message stays where it is for the next one. The
envelope always goes before the message: what a crash leaves is then a message without envelope,
which the sweep removes after 36 hours.
"""

import contextlib
import math
from typing import Final

from qmail.core.fs import Fs
from qmail.core.queue.layout import OSSIFIED_S, Layout, is_number
from qmail.core.queue.parking import Fate, park
from qmail.core.queue.spares import spare_envelope
from qmail.mail import SPARE_BYTES_MAX

ORDER_BYTES_MIN: Final = 7
ORDER_BYTES_MAX: Final = 100
DONE: Final = b"+"
TROUBLE: Final = b"!"
NONSENSE: Final = b"x"


def clean(fs: Fs, layout: Layout, order: bytes, booted: float = math.inf) -> bytes:
    """Carry out one order; the machine was started at `booted`, seconds since 1970.

    Returns: DONE, TROUBLE (the disk refused) or NONSENSE (nothing done).
    """
    kind, digits = order[:5], order[5:]
    if not ORDER_BYTES_MIN <= len(order) + 1 <= ORDER_BYTES_MAX or not is_number(
        digits.decode("ascii", "replace")
    ):
        return NONSENSE
    number = int(digits)
    if kind == b"done/":
        return _spare(fs, layout, number)
    if kind == b"foop/":
        return _unlink(fs, layout.intd(number), layout.mess(number))
    if kind == b"todo/":
        return _unlink(fs, layout.intd(number), layout.todo(number))
    if kind == b"park/":
        return _park(fs, layout, number, booted)
    return NONSENSE


def _park(fs: Fs, layout: Layout, number: int, booted: float) -> bytes:
    try:
        return TROUBLE if park(fs, layout, number, booted) is Fate.NO_ROOM else DONE
    except OSError:
        return TROUBLE


def _spare(fs: Fs, layout: Layout, number: int) -> bytes:
    mess, todo = layout.mess(number), layout.todo(number)
    try:
        found = fs.info(mess)
        if found is not None and found.size <= SPARE_BYTES_MAX:
            with contextlib.suppress(PermissionError):
                fs.rename(todo, spare_envelope(number))
                return DONE
        fs.unlink(todo)
    except FileNotFoundError:
        # Done before: by now mess/N may be a new message that has no envelope yet.
        return DONE
    except OSError:
        return TROUBLE
    return _unlink(fs, mess)


def _unlink(fs: Fs, *paths: str) -> bytes:
    for path in paths:
        try:
            fs.unlink(path)
        except FileNotFoundError:
            continue
        except OSError:
            return TROUBLE
    return DONE


def clean_pid(fs: Fs, now: float) -> int:
    """Remove what interrupted programs left in pid/ 36 hours ago. Returns: how many."""
    count = 0
    for name, _ in list(fs.names("pid")):
        found = fs.info(f"pid/{name}")
        if found is not None and found.newest + OSSIFIED_S <= now:
            count += _unlink(fs, f"pid/{name}") == DONE
    return count
