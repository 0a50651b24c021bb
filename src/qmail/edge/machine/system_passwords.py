"""Passwords of the machine's own accounts: the C library's shadow records and crypt(3).

Python's modules for both are gone since 3.13. Only root can read the records.
"""

import ctypes
import errno
import os
from typing import Any, Final

from qmail.edge.machine.passwd import Machine
from qmail.protocol.shadow import Shadow

LIBRARIES: Final = ("libcrypt.so.1", "libcrypt.so.2", None)
"""libxcrypt under its two names; None: the C library itself, as with musl."""
_WORK_BYTES: Final = 256 * 1024
"""At least a `struct crypt_data`, which is 32 KB in libxcrypt, 129 KB in old C libraries."""
_RECORD_BYTES: Final = 4096
_RECORD_BYTES_MAX: Final = 1 << 20
_NOT_FOUND: Final = {0, errno.ENOENT, errno.ESRCH}
_SETTINGS: Final = (b"$y$j9T$nobodysaltnobodysalt..$", b"$6$nobodysaltnobody$")


class _Record(ctypes.Structure):
    _fields_ = (
        ("sp_namp", ctypes.c_char_p),
        ("sp_pwdp", ctypes.c_char_p),
        ("sp_lstchg", ctypes.c_long),
        ("sp_min", ctypes.c_long),
        ("sp_max", ctypes.c_long),
        ("sp_warn", ctypes.c_long),
        ("sp_inact", ctypes.c_long),
        ("sp_expire", ctypes.c_long),
        ("sp_flag", ctypes.c_ulong),
    )


class SystemPasswords(Machine):
    """The accounts of this machine, with their passwords (`core.login.password_check.SystemTools`).

    Several threads may ask; both calls leave them running meanwhile.
    """

    def __init__(self) -> None:
        super().__init__()
        self._crypt_r = _crypt_r()
        self._getspnam_r = ctypes.CDLL(None).getspnam_r

    def hashed(self, password: bytes, setting: bytes) -> bytes | None:
        """Hash a password as crypt(3) does by a setting, or a whole hash; None: unknown form."""
        if self._crypt_r is None or b"\0" in password or b"\0" in setting:
            return None
        work = ctypes.create_string_buffer(_WORK_BYTES)
        found: bytes | None = self._crypt_r(password, setting, work)
        ctypes.memset(work, 0, _WORK_BYTES)
        # A failure may be told by a text that is no hash of anything (crypt(3)).
        return None if found is None or found.startswith(b"*") else found

    def shadow(self, name: bytes) -> Shadow | None:
        """Return an account's record; None: it has none.

        Raises: OSError: the records can't be read now, or not by this user.
        """
        size = _RECORD_BYTES
        while True:
            record = _Record()
            found = ctypes.POINTER(_Record)()
            buffer = ctypes.create_string_buffer(size)
            code = self._getspnam_r(
                name, ctypes.byref(record), buffer, ctypes.c_size_t(size), ctypes.byref(found)
            )
            if found:
                times = (record.sp_lstchg, record.sp_max, record.sp_expire)
                shadow = Shadow(record.sp_pwdp or b"", *times)
                ctypes.memset(buffer, 0, size)
                return shadow
            if code in _NOT_FOUND:
                return None
            if code != errno.ERANGE or size >= _RECORD_BYTES_MAX:
                raise OSError(code, os.strerror(code))
            size *= 4

    def usual_setting(self) -> bytes:
        """Return a setting that takes as long as those of real accounts: the strongest known."""
        for setting in _SETTINGS:
            if self.hashed(b"x", setting) is not None:
                return setting
        return _SETTINGS[-1]


def _crypt_r() -> Any:
    for name in LIBRARIES:
        try:
            found = ctypes.CDLL(name).crypt_r
        except (OSError, AttributeError):
            continue
        found.restype = ctypes.c_char_p
        found.argtypes = (ctypes.c_char_p, ctypes.c_char_p, ctypes.c_char_p)
        return found
    return None
