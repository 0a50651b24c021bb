"""qmail-qread: list the queued messages and their recipients.

The output is the classic one, to the blank; mail that is not preprocessed is not listed. Root and
qmails read the queue; qmail-send tells anybody else of the messages which that user has queued.
Source: spec/programs.md 4.
"""

import os
import sys
import time
from collections.abc import Iterator, Sequence

from qmail.core.dates import mail_date
from qmail.core.fs import Fs, RealFs
from qmail.core.queue.layout import ENVELOPE_BYTES_MAX, Layout, find_layout, numbered
from qmail.edge.doors.control_call import CallError, ControlCall
from qmail.edge.machine.accounts import home_folder
from qmail.mail import Channel
from qmail.protocol.control_door import Question, RecipientRow, Row
from qmail.protocol.exits import Exit

_NOT_SHOWN = bytes(byte for byte in range(256) if not 32 <= byte <= 126)
PRINTABLE = bytes.maketrans(_NOT_SHOWN, b"_" * len(_NOT_SHOWN))


class DamagedRecordError(ValueError):
    """A queue file that does not hold what it ought to."""


def main(argv: Sequence[str]) -> int:
    """Print the list. Returns: 0, or 111 where the queue can't be read, nor qmail-send asked."""
    if argv:
        print("qmail-qread: usage: qmail-qread", file=sys.stderr)
        return Exit.PERMANENT
    home = home_folder()
    try:
        for lines in everything(home) if may_read(home) else own_messages(home):
            sys.stdout.buffer.write(lines)
        sys.stdout.buffer.flush()
    except BrokenPipeError:
        # The reader has seen enough; nothing may be written when the interpreter ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    except OSError as trouble:
        print(f"qmail-qread: fatal: {home}/queue: {trouble.strerror}", file=sys.stderr)
        return Exit.TEMPORARY
    except (ValueError, CallError) as trouble:
        print(f"qmail-qread: fatal: {trouble}", file=sys.stderr)
        return Exit.TEMPORARY
    return Exit.OK


def may_read(home: str) -> bool:
    """Say whether the caller may read the whole queue, or would be told that there is none."""
    folder = f"{home}/queue/info"
    return os.access(folder, os.R_OK | os.X_OK) or not os.path.exists(f"{home}/queue")


def everything(home: str) -> Iterator[bytes]:
    """Yield the lines of all messages. Raises: OSError, ValueError: the queue can't be read."""
    fs = RealFs(f"{home}/queue")
    yield from listing(fs, find_layout(fs))


def own_messages(home: str) -> Iterator[bytes]:
    """Yield the lines of the messages that the caller has queued, recipients that are left.

    Raises: CallError: qmail-send can't be asked.
    """
    call = ControlCall(home, "mailq")
    try:
        for answer in call.ask(Question(tag=1, verb="show")):
            if answer.kind == "row":
                row = Row.of(answer)
                date = mail_date(int(time.time()) - row.age_s).removesuffix(b"-0000")
                about = (date, row.number, row.size, shown(row.sender))
                yield b"%sGMT  #%d  %d  <%s> \n" % about
            elif answer.kind == "recipient":
                person = RecipientRow.of(answer)
                yield b"\t%s\t%s\n" % (person.channel.encode(), shown(person.address))
    finally:
        call.close()


def listing(fs: Fs, layout: Layout) -> Iterator[bytes]:
    """Yield the lines of one message after the other, in the order of the folders.

    Raises: OSError: the folders of the queue can't be read.
    """
    for index in range(layout.split):
        for number in numbered(fs, f"info/{index}"):
            try:
                yield describe(fs, layout, number)
            except FileNotFoundError:
                # It was delivered while this was reading.
                continue
            except (OSError, DamagedRecordError) as trouble:
                reason = trouble.strerror if isinstance(trouble, OSError) else str(trouble)
                yield f"warning: trouble with #{number}: {reason}\n".encode()


def describe(fs: Fs, layout: Layout, number: int) -> bytes:
    """Return the lines of one message.

    Raises: OSError: its files can't be read. DamagedRecordError: they make no sense.
    """
    info = fs.info(layout.info(number))
    mess = fs.info(layout.mess(number))
    if info is None or mess is None:
        raise FileNotFoundError
    sender = fs.read(layout.info(number), ENVELOPE_BYTES_MAX)
    if sender[:1] != b"F" or sender[-1:] != b"\0":
        raise DamagedRecordError("unknown record type in info")
    date = mail_date(int(info.mtime)).removesuffix(b"-0000")
    head = b"%sGMT  #%d  %d  <%s> " % (date, number, mess.size, shown(sender[1:-1]))
    if fs.info(layout.bounce(number)) is not None:
        head += b" bouncing"
    lines = [
        head,
        *(line for channel in Channel for line in recipients(fs, layout, number, channel)),
    ]
    return b"\n".join(lines) + b"\n"


def recipients(fs: Fs, layout: Layout, number: int, channel: Channel) -> Iterator[bytes]:
    """Yield the line of each recipient of one channel; none where the file is gone."""
    try:
        records = fs.read(layout.channel(channel.word, number), ENVELOPE_BYTES_MAX)
    except FileNotFoundError:
        return
    for record in records.split(b"\0")[:-1]:
        if record[:1] not in (b"T", b"D"):
            raise DamagedRecordError(f"unknown record type in {channel.word}")
        done = b"  done" if record[:1] == b"D" else b""
        yield b"%s\t%s\t%s" % (done, channel.word.encode(), shown(record[1:]))


def shown(text: bytes) -> bytes:
    """Return `text` with every byte that does not print as `_`."""
    return text.translate(PRINTABLE)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
