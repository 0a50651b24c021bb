"""A new message taken apart, a slice at a time: each recipient to its channel."""

from collections.abc import Iterator
from io import BytesIO
from itertools import islice
from typing import Final

from qmail.core.addresses.routing import Routes, route
from qmail.core.send.values import Message
from qmail.mail import Channel

SLICE: Final = 2000
"""Recipients that are looked at in one go: some milliseconds."""


def sort_one(recipient: bytes, routes: Routes) -> dict[Channel, bytes]:
    """Return the records of a message to one recipient."""
    channel, address = route(recipient, routes)
    return {channel: b"T%b\0" % address}


class Sorting:
    """The recipients of one message on their way to the channels."""

    def __init__(self, message: Message) -> None:
        assert message.arrival is not None
        self.message = message
        self._rest: Iterator[bytes] = iter(message.arrival.recipients)
        # Their value is handed on without a copy, which counts where there are very many.
        self._records: dict[Channel, BytesIO] = {}

    def go_on(self, routes: Routes) -> bool:
        """Sort one slice. Returns: whether that was the last one; then the message has them."""
        recipients = list(islice(self._rest, SLICE))
        for recipient in recipients:
            channel, address = route(recipient, routes)
            records = self._records.get(channel)
            if records is None:
                records = self._records[channel] = BytesIO()
            records.write(b"T%b\0" % address)
        if len(recipients) == SLICE:
            return False
        self.message.records = {
            channel: records.getvalue() for channel, records in self._records.items()
        }
        self._records.clear()
        return True
