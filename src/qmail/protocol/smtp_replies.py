"""What an SMTP server answers, read by a client that believes nothing (RFC 5321 4.2).

A reply has three digits, a blank or a hyphen, text; a hyphen says that another line with the same
digits follows. What breaks that form, or is longer than a reply may be, becomes a `Reply` with code
0, and nothing is read after it.
"""

from typing import Final, NamedTuple

LINE_BYTES_MAX: Final = 4096
LINES_MAX: Final = 200
KEPT_BYTES_MAX: Final = 5000
"""How much of a reply goes into a report (spec/smtp.md B.6)."""
MALFORMED: Final = 0
_CODES: Final = {b"%d" % code: code for code in range(200, 600)}


class Reply(NamedTuple):
    """One whole reply: its code, and its lines as they came."""

    code: int
    raw: bytes

    @property
    def said(self) -> bytes:
        """The part of a report that quotes this reply; ends with LF."""
        text = self.raw.replace(b"\r", b"").replace(b"\0", b"?")[:KEPT_BYTES_MAX]
        return b"Remote host said: %b\n" % text.rstrip(b"\n")


class ReplyReader:
    """Cuts a stream of bytes into replies, each of at most LINES_MAX lines."""

    __slots__ = ("_is_broken", "_lines", "_rest")

    def __init__(self) -> None:
        self._rest = b""
        self._lines: list[bytes] = []
        self._is_broken = False

    def feed(self, data: bytes) -> list[Reply]:
        """Take the next bytes; return every reply that is now complete."""
        if self._is_broken:
            return []
        lines = (self._rest + data if self._rest else data).split(b"\n")
        rest = self._rest = lines.pop()
        replies: list[Reply] = []
        for line in lines:
            code = _CODES.get(line[:3])
            if code and line[3:4] == b" " and len(line) <= LINE_BYTES_MAX and not self._lines:
                # Nearly every reply there is.
                replies.append(Reply(code, line))
                continue
            reply = self._take(line, code)
            if reply is not None:
                replies.append(reply)
                if not reply.code:
                    return replies
        if len(rest) > LINE_BYTES_MAX:
            replies.append(self._broken(rest))
        return replies

    @property
    def is_empty(self) -> bool:
        """True when no part of a reply is waiting for its end."""
        return not self._rest and not self._lines

    def _take(self, line: bytes, code: int | None) -> Reply | None:
        mark = line[3:4]
        if code is None or mark not in (b" ", b"-", b"\r", b"") or len(line) > LINE_BYTES_MAX:
            return self._broken(line)
        lines = self._lines
        lines.append(line)
        if lines[0][:3] != line[:3] or len(lines) > LINES_MAX:
            return self._broken(line)
        if mark == b"-":
            return None
        self._lines = []
        return Reply(code, b"\n".join(lines))

    def _broken(self, line: bytes) -> Reply:
        self._is_broken = True
        self._rest = b""
        self._lines = []
        return Reply(MALFORMED, line[:LINE_BYTES_MAX])
