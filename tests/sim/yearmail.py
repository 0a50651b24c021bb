"""What a simulated year brings: mail of all kinds, and what the administrator writes."""

from random import Random

from tests.sim.network import DAY_S, HOUR_S
from tests.sim.simworld import Mail

from qmail.core.send.values import Policy
from qmail.core.settings.controls import load
from qmail.core.settings.programs import SendControls
from qmail.programs.send import policy_from

Files = dict[str, bytes]
CONTROLS: Files = {
    "me": b"here\n",
    "locals": b"here\n",
    "virtualdomains": b"virt.example:virt\n",
    "concurrencyhosts": b"limited.example:2\nrated.example:5:30\n",
}
CHANGES: tuple[Files, ...] = (
    {},
    {"concurrencylocal": b"3\n", "concurrencyremote": b"5\n"},
    {"concurrencylocal": b"0\n"},
    {"concurrencyremote": b"120\n", "concurrencyhost": b"50\n"},
    {"concurrencyhost": b"1\n"},
    {"concurrencyhosts": b"limited.example:1\nrated.example:0:5\n.example:30\n"},
    {"queuelifetime": b"86400\n"},
    {"queuelifetime": b"259200\n"},
    {"locals": b"here\nquiet2.example\n"},
    {"virtualdomains": b"virt.example:virt\nhost3.example:virt\n"},
    {"virtualdomains": b""},
    {"doublebounceto": b"nobody\n"},
    {"bounceformat": b"dsn\n"},
    {"bouncemaxbytes": b"20\n"},
)
"""What a HUP may find; whatever is not in it is as in CONTROLS."""
BUSY_HOURS = (1, 1, 1, 1, 1, 1, 2, 4, 8, 12, 12, 10, 8, 10, 12, 10, 8, 6, 4, 3, 3, 2, 2, 1)


def policy_of(files: Files) -> Policy:
    """Return what qmail-send makes of control files."""
    return policy_from(load(SendControls, {**CONTROLS, **files}.get))


class Writers:
    """Those who send mail."""

    def __init__(self, random: Random, domains: list[bytes]) -> None:
        self._random = random
        self._domains = domains
        self._weights = [1 / (1 + index) for index in range(len(domains))]
        self._mails = 0

    def times(self, day: float, average: float) -> list[float]:
        """Return when mail comes on a day: more by day, less on Sundays, some days are wild."""
        random = self._random
        factor = random.choice((0.1, 0.7, 1.0, 1.0, 1.0, 1.0, 1.5, 3.0))
        hours = random.choices(range(24), BUSY_HOURS, k=int(average * factor))
        return [day + hour * HOUR_S + random.uniform(0, HOUR_S) for hour in hours]

    def mail(self) -> Mail:
        """Return the next message."""
        random = self._random
        kind = random.random()
        count = 1 if kind < 0.8 else random.randint(2, 5) if kind < 0.96 else random.randint(20, 60)
        return self._mail([self._recipient() for _ in range(count)])

    def to_list(self, count: int) -> Mail:
        """Return a message to a long list: half of it here, the rest everywhere."""
        random = self._random
        here = [b"member%d@here" % index for index in range(count // 2)]
        there = [
            b"member%d@%b" % (index, random.choice(self._domains)) for index in range(count // 2)
        ]
        return self._mail([*here, *there], b"list-@here-@[]")

    def _mail(self, recipients: list[bytes], sender: bytes | None = None) -> Mail:
        self._mails += 1
        names = tuple(dict.fromkeys(recipients))
        return Mail(self._mails, self._sender() if sender is None else sender, names)

    def _sender(self) -> bytes:
        return self._random.choices(
            (
                b"anne@here",
                b"carl@quiet1.example",
                b"",
                b"gone@dead.example",
                b"nobody@here",
                b"nobody@quiet3.example",
                b"verp-@here-@[]",
                b"#@[]",
            ),
            (70, 10, 5, 3, 4, 3, 4, 1),
        )[0]

    def _recipient(self) -> bytes:
        random = self._random
        person = random.choices(
            (b"user%d" % random.randrange(50), b"slow%d", b"nobody", b"full", b"heavy"),
            (89, 4, 4, 1, 2),
        )[0].replace(b"%d", b"")
        place = random.random()
        if place < 0.4:
            return person + b"@here"
        if place < 0.46:
            return person + b"@virt.example"
        if place < 0.6:
            return b"%b@quiet%d.example" % (person, random.randrange(10))
        return person + b"@" + random.choices(self._domains, self._weights)[0]


def days(start: float, count: int) -> list[float]:
    """Return when each day begins."""
    return [start + index * DAY_S for index in range(count)]
