"""Makes random alias files, tables, lists and .forward files from a seed. Nothing is done here.

A case is a dictionary of what JSON knows. `record_aliases.py` adds what the package fastforward and
dot-forward make of it, `test_aliases.py` what ours do. What ours refuses or takes on purpose where
they do otherwise is left out here, and has tests of its own in tests/core.
"""

from collections.abc import Iterator
from random import Random
from typing import Any

Case = dict[str, Any]

COUNTS = {"aliases": 120, "source": 100, "include": 80, "forward": 80}
"""So many cases are of each kind."""
USER, HOST = "joe", "h.ex"
HOSTS = {"me": "dh.ex", "defaultdomain": "dd.ex", "plusdomain": "pd.ex"}
"""The control files that complete addresses."""

NAMES = ("a", "b", "joe", "Joe", "list", "owner-list", "owner-a", "x.y", '"q r"', "\\joe", "a+")
DOMAINS = ("h", "h.ex", "x+", "h.ex+", "[1.2.3.4]", "Far.EX")
PROGRAMS = ('"|prog one"', "|/bin/p", '"|/bin/p \\"x\\""', '"|a, b; c: <d> (e) #f"', "|/x/y.sh")
LISTS = (":include:/no/l", ":include:l2", ":include: ./l3")
ODD = ("/file", "a b", "<>", "")
RECIPIENTS = ("a@dh.ex", "list@h.ex", "LIST@dh.ex", "x@h.ex", "joe@V.ex", "owner-a@x", "q r@h", "b")
SENDERS = ("", "#@[]", "s@t", "s@t")
SOURCE_TOKENS = (
    "a", "b@h", "@h", "joe@", ":", ": ", ",", ",", ", ", ";", ";\n", "?", "|p\\ x", "!q", "./l",
    "/m", "&", "#c\n", "\\,", "\\:", " ", "\n",
)  # fmt: skip
SOURCE_COMMANDS = ("x", "&y", "?o", "|p", "!q", "/l", "")


def cases(seed: int) -> Iterator[Case]:
    """Yield cases of all kinds, the same for the same seed."""
    makers = {"aliases": _aliases, "source": _source, "include": _lines, "forward": _lines}
    for kind, count in COUNTS.items():
        for number in range(count):
            random = Random(f"{seed} {kind} {number}")
            yield {"kind": kind, "number": number, **makers[kind](random, kind)}


def _aliases(random: Random, _kind: str) -> Case:
    entries = [_entry(random) for _ in range(random.randrange(1, 7))]
    pairs = [(random.choice(RECIPIENTS), random.choice(SENDERS)) for _ in range(6)]
    # They lose a last line that does not end.
    return {"text": "\n".join(entries) + "\n", "asks": pairs}


def _entry(random: Random) -> str:
    if random.random() < 0.15:
        return random.choice(("# comment", "", "#a: b"))
    target = random.choice((_address(random), random.choice(NAMES), "@h.ex", "@V.ex"))
    words = [_word(random, LISTS) for _ in range(random.randrange(1, 4))]
    between = random.choice((", ", ",", "\n ,", ",\n\t", ",\n\n  "))
    return target + random.choice((": ", ":", " : ")) + between.join(words)


def _word(random: Random, lists: tuple[str, ...]) -> str:
    address = _address(random)
    makers = (
        (6, address),
        (1, f"Some Body <{address}>"),
        (1, f"{address} (comment)"),
        (1, random.choice(PROGRAMS)),
        (1, random.choice(lists or ("a",))),
        (0.3, random.choice(ODD)),
    )
    weights = [weight for weight, _ in makers]
    return random.choices([word for _, word in makers], weights)[0]


def _address(random: Random) -> str:
    name = random.choice(NAMES)
    return name if random.random() < 0.5 else f"{name}@{random.choice(DOMAINS)}"


def _source(random: Random, _kind: str) -> Case:
    if random.random() < 0.4:
        count = random.randrange(1, 14)
        return {"text": "".join(random.choice(SOURCE_TOKENS) for _ in range(count))}
    text = ""
    for _ in range(random.randrange(4)):
        commands = [random.choice(SOURCE_COMMANDS) for _ in range(random.randrange(4))]
        text += f"{random.choice(('a', 'b@h', 'J@'))}:{','.join(commands)};"
    return {"text": text}


def _lines(random: Random, kind: str) -> Case:
    text = ""
    for _ in range(random.choice((0, 1, 1, 2, 2, 3))):
        words = [_word(random, LISTS if kind == "include" else ()) for _ in range(3)]
        if kind == "forward" and random.random() < 0.3:
            words.append(random.choice(("joe@h.ex", "JOE@H.ex", "b@dh.ex")))
        text += random.choice(("# comment", "", ", ".join(random.sample(words, 2)))) + "\n"
    return {"text": text}
