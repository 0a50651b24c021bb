"""qmail-clean's three orders: which queue files go, and in what order (spec/queue.md 10).

| order    | removes                  | when                                                    |
|----------|--------------------------|---------------------------------------------------------|
| `todo/N` | intd, then todo          | info, local and remote say all that todo says           |
| `foop/N` | intd, then mess          | nothing but the message is left                         |
| `done/N` | todo, then mess          | delivered at the first try: it never had info           |

`done` is ours; the other two are the original's. The files of a `done` message become spares in
pid/, which qmail-queue writes again: that is cheaper than to free an inode and to find a new one.
The envelope always goes before the message: what a crash leaves is then a message without envelope,
which the sweep removes after 36 hours.
"""

from typing import Final

from qmail.core.fs import Fs
from qmail.core.queue_layout import (
    OSSIFIED_S,
    SPARE,
    Layout,
    is_number,
)
from qmail.mail import SPARE_BYTES_MAX

ORDER_BYTES_MIN: Final = 7
ORDER_BYTES_MAX: Final = 100
DONE: Final = b"+"
TROUBLE: Final = b"!"
NONSENSE: Final = b"x"


def clean(fs: Fs, layout: Layout, order: bytes) -> bytes:
    """Carry out one order. Returns: DONE, TROUBLE (an unlink failed) or NONSENSE (nothing done)."""
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
    return NONSENSE


def _spare(fs: Fs, layout: Layout, number: int) -> bytes:
    mess, todo = layout.mess(number), layout.todo(number)
    found, envelope = fs.info(mess), fs.info(todo)
    if found is None or envelope is None or found.size > SPARE_BYTES_MAX:
        return _unlink(fs, todo, mess)
    try:
        # Named by its own inode: another message that has number N now may use another one.
        fs.rename(todo, f"pid/{SPARE}{envelope.inode}.todo")
        fs.rename(mess, f"pid/{SPARE}{number}")
    except OSError:
        return _unlink(fs, todo, mess)
    return DONE


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
