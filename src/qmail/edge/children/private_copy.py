"""A message for a program that is not ours: a copy, where the queue may write the file again.

The file of a short message holds another message later (core/queue/spares.py). A program that a
user leaves in the background must not see that one through the descriptor it was given.
"""

import os

from qmail.mail import SPARE_BYTES_MAX


def private_copy(fd: int) -> int:
    """Return a descriptor of a copy in memory, at its start, or `fd` itself for a long message.

    Raises: OSError: it can't be read, or there is no memory.
    """
    if os.fstat(fd).st_size > SPARE_BYTES_MAX:
        return fd
    data = os.pread(fd, SPARE_BYTES_MAX + 1, 0)
    copy = os.memfd_create("message", os.MFD_CLOEXEC)
    written = 0
    while written < len(data):
        written += os.write(copy, data[written:])
    os.lseek(copy, 0, os.SEEK_SET)
    return copy
