"""The exit codes of <sysexits.h>, as far as sendmail ends with them: plain numbers start fast.

sendmail.8 says which stands for what. A code that a delivery takes for a refusal
(protocol/refusals.py) stands for something that no later try can mend, and no other does.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

OK: Final = 0
USAGE: Final = 64
DATA: Final = 65
NO_USER: Final = 67
UNAVAILABLE: Final = 69
SYSTEM: Final = 71
SYSTEM_FILE: Final = 72
READING: Final = 74
TRY_AGAIN: Final = 75
"""Never for a message that is not queued: to Sendmail's callers it means that it is, and PHP's
mail() takes it for success."""
NOT_ALLOWED: Final = 77
