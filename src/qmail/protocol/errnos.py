"""Which system errors pass by themselves (spec/programs.md 0, "temporary errno")."""

from __future__ import annotations

import errno

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

TEMPORARY_ERRNOS: Final = frozenset({
    errno.EINTR, errno.ENOMEM, errno.ETXTBSY, errno.EIO, errno.ETIMEDOUT, errno.EAGAIN,
    errno.EDEADLK, errno.EBUSY, errno.ENFILE, errno.EMFILE, errno.EFBIG, errno.ENOSPC,
    errno.ENETDOWN, errno.ENETUNREACH, errno.ENETRESET, errno.ECONNABORTED, errno.ECONNRESET,
    errno.ENOBUFS, errno.ETOOMANYREFS, errno.ECONNREFUSED, errno.EHOSTDOWN, errno.EHOSTUNREACH,
    errno.EUSERS, errno.EDQUOT, errno.ESTALE, errno.ENOLCK,
})  # fmt: skip


def is_temporary(trouble: OSError) -> bool:
    """Say whether trying again later may help."""
    return trouble.errno in TEMPORARY_ERRNOS
