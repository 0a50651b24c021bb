"""Makes random messages, host rules and dialogues from a seed, for the programs of mess822.

A case is a dictionary of what JSON knows; bytes are text, a character each (Latin-1).
`record_mess822.py` adds what another mess822 makes of it, `test_mess822.py` what ours does.
"""

from collections.abc import Iterator
from random import Random
from typing import Any

Case = dict[str, Any]

COUNTS = {"inject": 420, "tool": 260, "ofmipd": 120}
"""So many cases of each kind are recorded."""

WORDS = ("a", "joe", "Joe", "x+", "long-name_1", "J.R", "owner-list", '"a b"', '"q\\"x"', '"."')
HOSTS = ("h", "h.ex", "Far.EX", "x+", "h.ex+", "[1.2.3.4]", "w.", "sub.h", "Here.Local", "local+")
NAMES = ("Joe Shmoe", '"Joe, Q"', "J. R.", "x", "J\xc3\xb6rg", "=?utf-8?q?J=C3=B6rg?= S", "a[b]")
COMMENTS = ("(c)", "(a (b) d)", "(x\\)y)", "( two  words )", "(A.B)")
LOOSE = (
    "<>", "<@>", "<@r1,@r2:s@t>", "a b c", "@d", "u@", "list: a, b@c;", "empty: ;", ",,",
    "list: <a@b>, Joe <c@d>", "unfinished (comment", "a@b.c <d@e>", "<a@b> stray",
    "a(c)@(d)b", "joe @ h . ex", "a;b",
)  # fmt: skip
LISTS = (
    *("To", "Cc") * 4, "Bcc", "Apparently-To", "From", "Sender", "Reply-To", "Mail-Reply-To",
    "Mail-Followup-To", "Notice-Requested-Upon-Delivery-To",
)  # fmt: skip
ENVELOPE = ("Return-Path", "Envelope-Sender", "Envelope-Recipients")
TEXT_FIELDS = (
    "Subject", "Received", "Delivered-To", "Resent-To", "Resent-Date", "Errors-To", "X-Any",
    "Content-Length", "Content-Type", "Return-Receipt-To", "References", "In-Reply-To",
)  # fmt: skip
TEXTS = (
    "hello", "", "two\n lines", "x" * 200, "J\xc3\xb6rg", "a\tb", "<1@h> <2@h>", "spaced  out ",
    "from h (h [1.2.3.4]) by me with SMTP id x; 29 Feb 2024 1:2:3 -0000", "(qmail 5 invoked by x)",
    "by h for <a@b>; Mon, 1 Jan 2001 00:00:00 +0000 (UTC)", "from a\n\tby b ; 5 May 95 5:5 EST",
)  # fmt: skip
DATES = (
    "Sat, 15 aug 1998 13:32:12 cdt", "1 jan 0 0:0:0 jst", "29 feb 2000 0:0:0 -0000", "junk",
    "1 jan 100 0:0:0 gmt", "1 jan 10 0:0:0 met dst", "15 Aug 1998 13:32", "15 Aug 1998 13:32 EST",
    "5 May 1970 05 : 06 : 07 +0130", "Fri, 31 Dec 1999 23:59:59 -0330 (NST)", "1 x 2000 0:0:0 UT",
)  # fmt: skip
BODIES = ("", "\n", "\nbody\n", "\nbody", "body\n", "\nTo: a\n.\nFrom x\n\n", "no field here\nx\n")
RULES = (
    "*.:", "=:dh.ex", "*+:.pd.ex", "?:.dd.ex", "=local:my.ex", "*.local:.my.ex", "-.h:all.ex",
    "# none", "", "?x:y.ex", "*EX:org", "=h.ex:h.org",
)  # fmt: skip
OPTIONS = ("-a", "-h", "-A", "-H", "-F", "-I", "-M", "-R", "-S", "-FS", "-ah")
ARGUMENTS = ("a", "b@c", "d@e+", "u@[1.2.3.4]", "v@w.", "a b@c", "foo@", "A@Here.Local", "@d")
ENVIRON = {
    "QMAILUSER": ("qu", "q u", "q.u"),
    "USER": ("us", "us+"),
    "QMAILHOST": ("v", "v.ex", "v+"),
    "MAILHOST": ("mh.ex", ""),
    "QMAILNAME": ("Q. Name", 'Q "x" \\ y', "[x]"),
    "QMAILSUSER": ("su",),
    "QMAILSHOST": ("sh", "sh.ex"),
    "QMAILDEFAULTHOST": ("edh.ex",),
    "QMAILPLUSDOMAIN": ("epd.ex",),
    "QMAILIDHOST": ("eid", "eid."),
    "QMAILINJECT": ("s", "F", "i", "M", "r", "xSy", "mR"),
}


def cases(seed: int) -> Iterator[Case]:
    """Yield all cases of a seed."""
    random = Random(seed)
    makers = {"inject": make_inject, "tool": make_tool, "ofmipd": make_ofmipd}
    for kind, count in COUNTS.items():
        for number in range(count):
            yield {"kind": kind, "number": number, **makers[kind](random)}


def some(random: Random, choices: tuple[str, ...], most: int) -> list[str]:
    """Return up to so many of the choices."""
    return random.choices(choices, k=random.randint(0, most))


def make_address(random: Random) -> str:
    """Return one entry of a list."""
    if random.random() < 0.25:
        return random.choice(LOOSE)
    address = random.choice(WORDS)
    if random.random() < 0.7:
        address += "@" + random.choice(HOSTS)
    form = random.random()
    if form < 0.2:
        return f"{random.choice(NAMES)} <{address}>"
    return f"{address} {random.choice(COMMENTS)}" if form < 0.3 else address


def make_list(random: Random) -> str:
    """Return the value of a field with addresses."""
    joint = random.choice((", ", ", ", ",", ",\n ", " ", ",\n\t"))
    return joint.join(make_address(random) for _ in range(random.choice((1, 1, 1, 2, 3, 6))))


def make_fields(random: Random, lists: tuple[str, ...]) -> str:
    """Return a header."""
    fields = [(name, make_list(random)) for name in some(random, lists, 4)]
    fields += [(name, random.choice(TEXTS)) for name in some(random, TEXT_FIELDS, 3)]
    fields += [("Date", random.choice(DATES)) for _ in range(random.choice((0, 0, 1, 1, 2)))]
    if random.random() < 0.3:
        fields.append(("Message-ID", "<1@h>"))
    random.shuffle(fields)
    cased = [(random.choice((str, str.lower, str.upper))(name), value) for name, value in fields]
    blank = [random.choice((":", ": ", ": ", " : ")) for _ in cased]
    return "".join(f"{name}{at}{value}\n" for (name, value), at in zip(cased, blank, strict=True))


def make_controls(random: Random) -> dict[str, str]:
    """Return control files."""
    found = {"me": random.choice(("me.ex\n", "me\n"))}
    for name in some(random, ("defaulthost", "defaultdomain", "plusdomain", "idhost"), 3):
        found[name] = random.choice(("c.ex", "c", "c+")) + "\n"
    if random.random() < 0.4:
        found["rewrite"] = "".join(f"{rule}\n" for rule in some(random, RULES, 6))
    return found


def make_inject(random: Random) -> Case:
    """Return a case for new-inject."""
    environ = {
        name: random.choice(ENVIRON[name]) for name in sorted(set(some(random, tuple(ENVIRON), 4)))
    }
    options = some(random, OPTIONS, 2)
    if random.random() < 0.2:
        options += ["-f", random.choice((*ARGUMENTS, ""))]
    return {
        "controls": make_controls(random),
        "environ": environ,
        "rules": "".join(f"{rule}\n" for rule in some(random, RULES, 5))
        if random.random() < 0.3
        else None,
        "lists": random.choice((None, None, "joe@h.ex\n# x\n\nA@ME.EX\na@c.ex\n")),
        "options": options,
        "arguments": some(random, ARGUMENTS, 2),
        "message": make_fields(random, LISTS * 2 + ENVELOPE) + random.choice(BODIES),
    }


TOOLS = (
    ("822header",), ("822field",), ("822field", "to"), ("822field", "X-ANY"), ("822date",),
    ("822date", "resent-date"), ("822received",), ("822print",), ("iftocc", "joe@h.ex"),
    ("iftocc", "A@H", "x@y"), ("iftocc", "a@"),
)  # fmt: skip


def make_tool(random: Random) -> Case:
    """Return a case for one of the tools that look at a header."""
    message = make_fields(random, LISTS + ENVELOPE[:1]) + random.choice(BODIES)
    return {"command": list(random.choice(TOOLS)), "message": message}


COMMANDS = ("RSET", "NOOP", "HELP", "VRFY x", "EXPN", "DATA", "helo x", "EHLO y", "RCPT TO:<z@z>")
PATHS = (
    "<joe>", "<Joe@h>", "<a@b+>", "<>", "<@r:s@t.ex>", '<"a b"@c>', "<u@[1.2.3.4]>", "joe@h.ex",
    "x y", "<a\\%b@c>", "<j@h.ex> SIZE=5",
)  # fmt: skip
TO = tuple(path for path in PATHS if path != "<>")
KEYS = "joe@me.ex:Joe Shmoe:j.shmoe@corp.ex:\nJoe@h.me.ex::x@y.ex:\n#c\njoe@h.ex:A:b@c.ex:x\n"


def make_ofmipd(random: Random) -> Case:
    """Return a dialogue: what the client sends, all at once."""
    lines = some(random, COMMANDS, 2)
    for _ in range(random.choice((1, 1, 2))):
        lines.append("MAIL FROM:" + random.choice(PATHS))
        lines += ["RCPT TO:" + random.choice(TO) for _ in range(random.choice((1, 1, 2)))]
        lines += some(random, COMMANDS, 1) if random.random() < 0.2 else []
        lines.append("DATA")
        message = make_fields(random, LISTS + ENVELOPE) + random.choice(BODIES)
        message = message if message.endswith("\n") else message + "\n"
        dotted = "".join(
            "." + line if line.startswith(".") else line for line in message.splitlines(True)
        )
        lines += [*dotted.split("\n")[:-1], "."]
    lines += [*some(random, COMMANDS, 1), "QUIT"]
    end = random.choice(("\r\n", "\r\n", "\n"))
    return {
        "controls": make_controls(random) | {"me": "me.ex\n"},
        "environ": random.choice(({}, {"TCPREMOTEIP": "1.2.3.4", "TCPREMOTEINFO": "a(b"})),
        "names": random.choice((None, KEYS)),
        "sent": "".join(line + end for line in lines),
    }
