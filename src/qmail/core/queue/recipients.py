"""The recipients of a message to many, as the bytes they are stored in: no object for each."""

from collections.abc import Collection, Iterator


class PackedRecipients(Collection[bytes]):
    """Records `T` address NUL, from `start` to the end of `records`."""

    __slots__ = ("_records", "_start")

    def __init__(self, records: bytes, start: int) -> None:
        self._records = records
        self._start = start

    def __len__(self) -> int:
        """Return how many there are."""
        return self._records.count(b"\0", self._start)

    def __iter__(self) -> Iterator[bytes]:
        """Yield each address."""
        records, start = self._records, self._start
        while start < len(records):
            end = records.index(b"\0", start)
            yield records[start + 1 : end]
            start = end + 1

    def __contains__(self, address: object) -> bool:
        """Tell whether `address` is one of them."""
        return any(address == each for each in self)
