"""Exit codes with which a program of a delivery refuses a message for good.

Apart from `protocol.local_exits`, which is built on it, because enums take long to import.
Source: spec/delivery.md 5, "Program lines".
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

REFUSALS: Final = frozenset({64, 65, 70, 76, 77, 78, 100, 112})
