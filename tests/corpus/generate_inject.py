"""Makes random messages, arguments, environments and control files from a seed.

A case is a dictionary of what JSON knows; bytes are text, a character each (Latin-1).
`record_inject.py` adds what another qmail-inject makes of it, `test_inject.py` what ours does.
"""

from collections.abc import Iterator
from random import Random
from typing import Any

Case = dict[str, Any]

COUNT = 560
"""So many cases are recorded."""

ATOMS = ("a", "b", "joe", "Joe", "x+", "long-name_1", "a'b=c", "+", "owner-list")
HOSTS = ("h", "h.ex", "Far.EX", "x+", "h.ex+", "+", "[1.2.3.4]", "[]", "w.", "sub.h", "h.ex.")
QUOTED = ('"a b"', '"Joe, Q."', '"x\\"y"', '""', '"a(b"', '"j@k"', '"."', '"tab\tin"')
COMMENTS = ("(c)", "(a (b) d)", "(x\\)y)", "()", '(q"r)', "(a, b <c>)")
ESCAPED = ("a\\.b", "a\\@b", 'a\\"b', "a\\ b", "a]b", "a)b", "\\a", "a\\\\b", '"c\n d"')
FOREIGN = ("j\xc3\xb6rg", "\xe2\x82\xac", "j\xf6rg", '"M\xc3\xbc ller"', "(\xc3\xb6)", "\x01")
NAMES = ("Joe Shmoe", "Joe Q Shmoe", '"Joe, Q"', "J.R.", "a@b Joe", "Joe (x) S", "", "'J' *!")
DOTTED = ("Joe Q. Shmoe", "J. R.", ". . x")
GROUPS = ("u", "my list", '"q g"')
TOKENS = (
    "a", "b", "c.d", "@", "@", ".", ",", ", ", "<", ">", "<a>", "<b@c>", ":", ";", "x: a;", "(c)",
    '"q r"', "[1]", " ", " ", "\n ", "(", ")", "]", '"', "\\", "\\\\", "\t", "<>", "@d", "<@r:a@b>",
)  # fmt: skip
BLANKS = ("", "", "", " ", " ", "  ", "\t", "\n ", "\n\t", " \n  ", "\r\n ")

PLAIN_FIELDS = (*("To", "Cc", "Bcc") * 5, "Apparently-To")
RESENT_FIELDS = ("Resent-To", "Resent-Cc", "Resent-Bcc", "Resent-Sender", "Resent-From")
SENDER_FIELDS = ("From", "Sender", "Reply-To", "Return-Receipt-To", "Errors-To", "Return-Path")
TEXT_FIELDS = (
    "Subject", "Received", "Delivered-To", "Content-Length", "Content-Type", "X-Any", "Comments",
    "Content-Transfer-Encoding", "Notice-Requested-Upon-Delivery-To", "Mail-Reply-To", "Bcc-X",
)  # fmt: skip
UNIQUE_FIELDS = (
    *("Date", "Message-ID", "Mail-Followup-To") * 3,
    "Resent-Date",
    "Resent-Message-ID",
)
TEXTS = (
    "hello", "", "a: b, c <d", 'unbalanced ( ] "', "J\xc3\xb6rg", "\xff\x80", "x" * 200,
    "two\n lines", "1\r", "a\n \n b", "  spaced  ",
)  # fmt: skip
BAD_LINES = (
    "no field", "Sub ject: x", ": x", "\xc3\xb6: x", "To", "-- ", ".", " leading", "\r", "a\x7f: b",
)  # fmt: skip
RARE_LINES = (
    "From : joe@h.ex", "From \t:x", "Return-Path: <>", "Return-Path: <>", "Return-Path: <a b@c>",
    f"Cc: {'y' * 80}@h.ex,", "Resent-To: a", "To:", "Bcc: a\n b",
)  # fmt: skip
BODIES = ("", "\n", "\nbody\n", "\nbody", "\nTo: a\n.\nFrom x\n\n", "\n\x00\xff\r\n", "\n\n\n")
OPTIONS = ("-a", "-h", "-A", "-H", "-n", "-N", "-ah", "-hA", "-aH")
BAD_OPTIONS = ("-x", "-ax", "-F")
ARGUMENTS = (
    "a", "b@c", "d@e+", "a b@c", "u@[1.2.3.4]", "r+", "x@y@z.w", "foo@", "v@w.", "a.b@h.ex", '"q@h',
    "@route:a@b.c", "@d", "l@[]", "a@b.c(note)", "b+@h.", "-dash", "a(b@c",
    "j\xc3\xb6@m\xc3\xbc.de",
)  # fmt: skip
BAD_ARGUMENTS = (
    "", "a@b c", "<a@b.c>", "Joe <a@b.c>", "a@[b", "a@b,c", "a@b;", "a@b)", "a@b\\", "a@(", "<>",
    "a@b c d",
)  # fmt: skip
VALUES = ("v", "v.ex", "v+", "x.y+", "[9.8.7.6]", "v.")
ENVIRON = {
    "QMAILUSER": ("qu", "q u", "", "q.u", ".q"),
    "MAILUSER": ("mu",),
    "USER": ("us", "us+", "u@s", 'u"s', "\xc3\xbcs"),
    "LOGNAME": ("ln",),
    "QMAILHOST": VALUES,
    "MAILHOST": (*VALUES, "", "two words", "a,b"),
    "QMAILNAME": ("Q. Name", "", 'Q "x" \\ y', "(paren)", "<x>", "J\xc3\xb6rg M", "J\xf6rg"),
    "MAILNAME": ("M Name",),
    "NAME": ("N", "line\nbreak"),
    "QMAILSUSER": ("su", "s u", "", "s@u"),
    "QMAILSHOST": ("sh", "sh.ex", "sh+", ""),
    "QMAILDEFAULTHOST": ("edh.ex", "edh", "edh+", "[1.1.1.1]", ""),
    "QMAILDEFAULTDOMAIN": ("edd.ex", "edd", ""),
    "QMAILPLUSDOMAIN": ("epd.ex", "epd"),
    "QMAILIDHOST": ("eid.ex", "eid"),
}
LETTERS = ("c", "s", "f", "i", "r", "m", "rm", "fi", "cf", "sr", "xyz", "csfirm", "")
CONTROLS = {
    "me": ("me.ex\n", "me\n", "me.ex \t\nsecond\n"),
    "defaulthost": ("dh.ex\n", "dh\n", "dh+\n", "dh.ex"),
    "defaultdomain": ("dd.ex\n", "dd.ex \n"),
    "plusdomain": ("pd.ex\n",),
    "idhost": ("id.ex\n", "id\n"),
}
LISTS = ("a@h.ex", "JOE@dh.ex", "# a@b", "", "joe@far.ex  ", "a@dh.ex", "b@h.dd.ex", "Joe@me.ex")


def cases(seed: int, count: int = COUNT) -> Iterator[Case]:
    """Yield the cases of a seed, the same for the same seed."""
    for number in range(count):
        yield {"number": number, **make_case(Random(f"{seed} {number}"))}


def make_case(random: Random) -> Case:
    """Make one case."""
    return {
        "options": _options(random),
        "arguments": _arguments(random),
        "environ": _environ(random),
        "controls": _controls(random),
        "lists": _lists(random),
        "message": _message(random),
    }


def _often(random: Random, share: float) -> bool:
    return random.random() < share


# --- what is around the message -----------------------------------------------------------------


def _options(random: Random) -> list[str]:
    found = random.choices(OPTIONS, k=random.choice((0, 0, 1, 1, 2)))
    if _often(random, 0.15):
        sender = random.choice(ARGUMENTS if _often(random, 0.9) else BAD_ARGUMENTS)
        found += random.choice((["-f", sender], [f"-f{sender}"]) if sender else (["-f", ""],))
    if _often(random, 0.01):
        found.append(random.choice(BAD_OPTIONS))
    return found


def _arguments(random: Random) -> list[str]:
    found = random.choices(ARGUMENTS, k=random.choice((0, 0, 0, 1, 1, 2, 3)))
    if found and _often(random, 0.08):
        found.append(random.choice(BAD_ARGUMENTS))
    return found


def _environ(random: Random) -> dict[str, str]:
    share = random.choice((0.02, 0.02, 0.2))
    found = {
        name: random.choice(values) for name, values in ENVIRON.items() if _often(random, share)
    }
    if _often(random, 0.3):
        found["QMAILINJECT"] = random.choice(LETTERS)
    return found


def _controls(random: Random) -> dict[str, str]:
    if _often(random, 0.5):
        return {name: values[0] for name, values in CONTROLS.items()}
    return {name: random.choice(values) for name, values in CONTROLS.items() if _often(random, 0.6)}


def _lists(random: Random) -> str | None:
    """Make the file that QMAILMFTFILE names; None: the variable is not set, "" the file is not."""
    if _often(random, 0.7):
        return None
    return "".join(line + "\n" for line in random.choices(LISTS, k=random.randrange(6)))


# --- the message --------------------------------------------------------------------------------


def _message(random: Random) -> str:
    fields = [_field(random) for _ in range(random.choice((0, 1, 2, 3, 3, 4, 5)))]
    if _often(random, 0.9):
        fields.insert(random.randrange(len(fields) + 1), f"To:{_list(random)}\n")
    if _often(random, 0.06):
        fields.insert(random.randrange(len(fields) + 1), random.choice(BAD_LINES) + "\n")
    if _often(random, 0.15):
        fields.insert(random.randrange(len(fields) + 1), random.choice(RARE_LINES) + "\n")
    if _often(random, 0.05):
        fields.insert(0, "From joe Mon Nov 23 10:00:00 2026\n")
    text = "".join(fields) + random.choice(BODIES)
    return text[:-1] if _often(random, 0.05) else text


def _field(random: Random) -> str:
    kind = random.random()
    if kind < 0.3:
        name, value = random.choice(PLAIN_FIELDS), _list(random)
    elif kind < 0.34:
        name, value = random.choice(RESENT_FIELDS), _list(random)
    elif kind < 0.6:
        name, value = random.choice(SENDER_FIELDS), _list(random)
    elif kind < 0.7:
        name, value = random.choice(UNIQUE_FIELDS), " " + random.choice(TEXTS)
    else:
        name, value = random.choice(TEXT_FIELDS), " " + random.choice(TEXTS)
    if _often(random, 0.1):
        name = random.choice((name.upper(), name.lower(), name + " ", name + "\t "))
    return f"{name}:{value}\n"


def _list(random: Random) -> str:
    kind = random.random()
    if kind < 0.04:
        return " " + "".join(random.choices(TOKENS, k=random.randrange(1, 9)))
    count = random.choice((1, 1, 1, 1, 2, 2, 2, 3, 5, 9)) if _often(random, 0.97) else 0
    found = [_member(random) for _ in range(count)]
    between = random.choice((", ", ", ", ", ", ",", ",\n\t", " , ", " ", ",, "))
    return (
        random.choice((" ", " ", "", "\t", "\n "))
        + between.join(found)
        + ("," if _often(random, 0.03) else "")
    )


def _member(random: Random) -> str:
    kind = random.random()
    address = _address(random)
    if kind < 0.55:
        return address
    if kind < 0.80:
        return f"{_name(random)}{random.choice(BLANKS)}<{address}>"
    if kind < 0.86:
        return f"{address}{random.choice(BLANKS)}{random.choice(COMMENTS)}"
    if kind < 0.90:
        return f"{random.choice(COMMENTS)}{random.choice(BLANKS)}{address}"
    if kind < 0.97:
        inside = ", ".join(_address(random) for _ in range(random.randrange(3)))
        return f"{random.choice(GROUPS)}:{random.choice(BLANKS)}{inside};"
    return random.choice(("<>", f"<@r1,@r2:{address}>", f"@r:{address}", "@d", f"<{address}.>"))


def _name(random: Random) -> str:
    if _often(random, 0.03):
        return random.choice(random.choice((FOREIGN, DOTTED)))
    return random.choice(NAMES)


def _address(random: Random) -> str:
    blank = random.choice(BLANKS) if _often(random, 0.1) else ""
    local = _local(random)
    if _often(random, 0.35):
        return local
    host = random.choice(HOSTS)
    if _often(random, 0.015):
        host = random.choice(("m\xc3\xbc.de", f"h{random.choice(COMMENTS)}.ex", "y@z"))
    return f"{local}{blank}@{blank}{host}"


def _local(random: Random) -> str:
    kind = random.random()
    if kind < 0.7:
        return random.choice(ATOMS)
    if kind < 0.82:
        return f"{random.choice(ATOMS)}.{random.choice(ATOMS)}"
    if kind < 0.97:
        return random.choice(QUOTED)
    return random.choice(random.choice((ESCAPED, FOREIGN[:3])))
