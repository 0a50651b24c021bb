"""The machine's list of accounts, asked so that "no such user" and "no answer" differ.

The module pwd says KeyError to both; an outage of a directory service would bounce mail.
"""

import ctypes
import errno
import os
from typing import Final

from qmail.protocol.local_door import Owner

_RECORD_BYTES: Final = 4096
_RECORD_BYTES_MAX: Final = 1 << 20
_NOT_FOUND: Final = {0, errno.ENOENT, errno.ESRCH, errno.EBADF, errno.EPERM}
_NO_FOLDER: Final = {errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENAMETOOLONG, errno.EACCES}


class _Record(ctypes.Structure):
    _fields_ = (
        ("pw_name", ctypes.c_char_p),
        ("pw_passwd", ctypes.c_char_p),
        ("pw_uid", ctypes.c_uint),
        ("pw_gid", ctypes.c_uint),
        ("pw_gecos", ctypes.c_char_p),
        ("pw_dir", ctypes.c_char_p),
        ("pw_shell", ctypes.c_char_p),
    )


class Machine:
    """The accounts and home folders of this machine (`core.addresses.users.Directory`)."""

    def __init__(self) -> None:
        self._getpwnam_r = ctypes.CDLL(None).getpwnam_r

    def account(self, name: bytes) -> Owner | None:
        """Return the account `name` (dash and ext empty), None: there is none of that name.

        Raises: OSError: the list of accounts can't be read now.
        """
        getpwnam_r = self._getpwnam_r
        size = _RECORD_BYTES
        while True:
            record = _Record()
            found = ctypes.POINTER(_Record)()
            buffer = ctypes.create_string_buffer(size)
            code = getpwnam_r(
                name, ctypes.byref(record), buffer, ctypes.c_size_t(size), ctypes.byref(found)
            )
            if found:
                return Owner(record.pw_name, record.pw_uid, record.pw_gid, record.pw_dir, b"", b"")
            if code in _NOT_FOUND:
                return None
            if code != errno.ERANGE or size >= _RECORD_BYTES_MAX:
                raise OSError(code, os.strerror(code))
            size *= 4

    def folder_owner(self, path: bytes) -> int | None:
        """Return the uid that owns a folder, None: no such folder, or nobody may look.

        Raises: OSError: the file system does not answer now.
        """
        try:
            return os.stat(path).st_uid
        except OSError as trouble:
            if trouble.errno in _NO_FOLDER:
                return None
            raise
