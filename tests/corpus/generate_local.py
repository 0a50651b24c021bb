"""Makes random cases of local delivery from a seed: homes, owners, routes. It does nothing else.

A case is a dictionary of what JSON knows; bytes are text, a character each (Latin-1). `@HOME@`
stands for the home of a case, `@HOMES@` for the folder of all homes. `record_local.py` adds what
another qmail decides, `test_local.py` what ours does.
"""

from collections.abc import Iterator
from random import Random
from typing import Any

Case = dict[str, Any]

SHARES = {"home": 360, "owner": 90, "pw2u": 60, "route": 150}
"""So many of 660 cases are of each kind."""

WORDS = ("list", "a", "b", "Ext", "default", "Default", "owner", "A.b", "x.y.z", "joe", "", "1")
DOMAINS = ("test.ex.org", "EX.org", "x", "a.b", ".b", "a.", "one.two.three.four.five")
SENDERS = (
    *["s@t.ex"] * 6,
    "",
    "",
    "#@[]",
    "S.T@Ex.Org",
    "with space@x",
    "tab\there@x",
    "line\nfeed@x",
    '"quo ted"@x',
    "l-owner-@l.ex-@[]",
    "noat",
    "a@b@c",
    "\xe9t\xe9@x",
    "x..y@z",
    ".x@y",
    "x.@y",
    "(c)@d",
    "back\\slash@x",
    "<a>@b",
    "@",
    "@host",
    "a@",
)


def cases(seed: int, count: int = 660) -> Iterator[Case]:
    """Yield `count` random cases, the same for the same seed; then one of all exits of programs."""
    makers = {"home": home_case, "owner": owner_case, "pw2u": pw2u_case, "route": route_case}
    whole = sum(SHARES.values())
    for kind, share in SHARES.items():
        for number in range(count * share // whole):
            made = makers[kind](Random(f"{seed} {kind} {number}"))
            yield {"kind": kind, "number": number, **made}
    yield {"kind": "exits", "number": 0}


def some(random: Random, *weighted: tuple[int, Any]) -> Any:
    """Choose by weights."""
    weights = [weight for weight, _ in weighted]
    return random.choices([value for _, value in weighted], weights)[0]


# --- homes --------------------------------------------------------------------------------------

HOME_MODES = ((30, 0o700), (4, 0o755), (2, 0o775), (1, 0o777), (1, 0o702), (1, 0o1700), (1, 0o1755))
FILE_MODES = (
    (12, 0o600),
    (8, 0o644),
    (2, 0o664),
    (1, 0o602),
    (1, 0o666),
    (2, 0o700),
    (1, 0o755),
    (1, 0o000),
    (1, 0o200),
    (1, 0o611),
)
DEFAULT_DELIVERIES = (
    *["./Maildir/"] * 4,
    "./box",
    "|exit 0\n./Maildir/",
    "",
    "#",
    "&default@x.ex",
    "./Maildir/\n&two@x.ex\n",
)
MESSAGES = (
    "Subject: x\n\nbody\n",
    "Subject: x\n\nFrom here\n>From there\n>>From\nFrom\nfrom me\n",
    "From: a@b\nFrom a@b\n\nno end",
    "Subject: only a header\n",
    "",
    "\n",
    "no end of line",
    "Subject: x\n\n\n\n",
    "Subject: x\r\n\r\nFrom cr\r\n",
    "Subject: bytes\n\n\x00\xff\x80From \n",
    "X: " + "y" * 3000 + "\n\n" + "z" * 2000 + "\n",
)
PROGRAMS = (
    *[f"exit {code}" for code in (0, 0, 0, 99, 99, 100, 111, 64, 65, 66, 70, 71, 75, 76, 77, 78)],
    *[f"exit {code}" for code in (1, 2, 98, 112, 113, 126, 127, 255)],
    "echo said; echo more >&2",
    "cat >>copy",
    "head -c 7 >>first",
    "kill -9 $$",
    "kill -PIPE $$",
    *["env -0 >env"] * 8,
    "umask >mask",
    'test "$(pwd)" = "$HOME" && echo at home',
    "/nonexistent/program",
    "false || exit 100",
    'echo "$SENDER" "$EXT" "$DEFAULT" "$HOST2"; exit 0',
    "",
    " exit 0",
)
LINES = (
    *["./Maildir/", "./box"] * 4,
    "./Maildir/ ",
    "@HOME@/Maildir/",
    "./missing/",
    "Maildir/",
    " ./Maildir/",
    "./",
    "./box2 \t",
    "@HOME@/box",
    "./missing/box",
    ".",
    "./Maildir",
    "/dev/null",
    *["&a@b.ex", "joe@x.ex", "joe"] * 2,
    "& sp@x.ex",
    "<a@b.ex>",
    "a@b.ex (c)",
    "&&x@y.ex",
    "&",
    "& ",
    "\xe9@x.ex",
    "&x\r",
    *["# comment", "#", "", " \t"] * 2,
    "+list",
    "+list ",
    "+lists",
    "+",
    "./nul\0box",
    "&nul\0@x",
    "\0",
    "+list\0",
    "#\0",
)


def home_case(random: Random) -> Case:
    """Make a home, an address in it and a message."""
    dash, ext = _dash_and_ext(random)
    local = "joe" + (dash[:1] or "" if ext or dash else "") + ext
    domain = random.choice(DOMAINS)
    return {
        "mode": some(random, *HOME_MODES),
        "files": _files(random, dash, ext),
        "dash": dash,
        "ext": ext,
        "local": local,
        "domain": domain,
        "sender": random.choice(SENDERS),
        "default": random.choice(DEFAULT_DELIVERIES),
        "message": _message(random, f"{local}@{domain}"),
        "queue_exit": some(random, (12, 0), (1, 31), (1, 11), (1, 53), (1, 71), (1, 81), (1, 120)),
        "inherited": random.choice(({}, {"DEFAULT": "stale", "EXT3": "stale"})),
    }


def exit_case(code: int) -> Case:
    """Make a home with a program that ends with `code`; an mbox shows whether it goes on."""
    text = f"|exit {code}\n./box\n"
    return {
        "mode": 0o700,
        "files": [{"name": ".qmail", "kind": "file", "mode": 0o600, "text": text}],
        **dict.fromkeys(("dash", "ext"), ""),
        "local": "joe",
        "domain": "x",
        "sender": "s@t.ex",
        "default": "./Maildir/",
        "message": "\n",
        "queue_exit": 0,
        "inherited": {},
    }


def _dash_and_ext(random: Random) -> tuple[str, str]:
    ext = "-".join(random.choice(WORDS) for _ in range(random.randint(1, 3)))
    if random.random() < 0.3:
        ext = "".join(random.choice((one.upper(), one)) for one in ext)
    dash, chosen = some(
        random, (25, ("", "")), (60, ("-", ext)), (6, ("-/", ext)), (6, ("", ext)), (3, ("-", ""))
    )
    return dash, chosen


def _file_names(random: Random, dash: str, ext: str) -> Iterator[str]:
    """Yield names near to those that are looked for."""
    safe = ext.lower().replace(".", ":")
    cuts = [0, *(at + 1 for at, one in enumerate(safe) if one == "-")]
    while True:
        start = random.choice(cuts)
        name = f".qmail{dash}" + some(
            random,
            (5, safe),
            (5, safe[:start] + "default"),
            (2, safe + "-owner"),
            (2, safe + "-owner-default"),
            (1, ext),
            (1, safe[:start]),
            (1, safe[:start] + "owner"),
        )
        if not name.endswith("/"):
            yield name


def _files(random: Random, dash: str, ext: str) -> list[Case]:
    names = _file_names(random, dash, ext)
    found: dict[str, Case] = {}
    for _ in range(some(random, (1, 0), (4, 1), (3, 2), (2, 3), (1, 5))):
        name = next(names)
        found[name] = _file(random, name)
    return list(found.values())


def _file(random: Random, name: str) -> Case:
    kind = some(random, (40, "file"), (2, "folder"), (1, "fifo"), (2, "link"))
    if kind in ("folder", "fifo"):
        return {"name": name, "kind": kind}
    if kind == "link":
        return {"name": name, "kind": kind, "to": random.choice((".qmail", "nowhere", name, "."))}
    return {
        "name": name,
        "kind": kind,
        "mode": some(random, *FILE_MODES),
        "text": _text(random, name),
    }


def _text(random: Random, name: str) -> str:
    """Make a `.qmail` file; most of them say which one they are."""
    if random.random() < 0.08:
        return ""
    lines = [
        some(random, (3, random.choice(LINES)), (1, "|" + random.choice(PROGRAMS)))
        for _ in range(random.randint(0, 4))
    ]
    if random.random() < 0.7:
        lines.insert(0, f"&{name}@marker.ex")
    return "\n".join(lines) + random.choice(("\n", "\n", ""))


def _message(random: Random, address: str) -> str:
    message = random.choice(MESSAGES)
    if random.random() < 0.15:
        line = some(
            random,
            (3, f"Delivered-To: {address}\n"),
            (1, f"Delivered-To: {address} \n"),
            (1, f"delivered-to: {address}\n"),
            (1, f"Subject: x\n\nDelivered-To: {address}\n"),
        )
        return str(line) + message
    return message


# --- owners -------------------------------------------------------------------------------------

NAMES = ("joe", "ann", "ann-lee", "a", "list", "Upper", "x" * 31, "y" * 32, "joe.doe", "sys", "1")


def owner_case(random: Random) -> Case:
    """Make the accounts of a machine, users/assign or none, and recipients to look up."""
    names = random.sample(NAMES, random.randint(2, 6))
    accounts = [_account(random, name, number) for number, name in enumerate(names)]
    accounts.append({"name": "alias", "uid": 7790, "gid": 2108, "home_of": 7790})
    assign = None if random.random() < 0.4 else _assign(random)
    asks = [_recipient(random, names) for _ in range(6)]
    return {"accounts": accounts, "assign": assign, "asks": asks}


def _account(random: Random, name: str, number: int) -> Case:
    """`home_of`: which uid its home belongs to, None where there is no such folder."""
    uid = some(random, (8, 30001 + number), (2, 501 + number), (1, 0), (1, 65534))
    owner = some(random, (8, uid), (1, 30900), (1, 0), (2, None))
    return {"name": name, "uid": uid, "gid": 30500 + number, "home_of": owner}


def _assign(random: Random) -> str:
    lines = []
    for number in range(random.randint(1, 6)):
        local = "-".join(
            random.sample(("joe", "ann", "list", "Big", "a.b", "x"), random.randint(1, 2))
        )
        if random.random() < 0.6:
            local += random.choice(("", "-", "-", "."))
            local = "+" + some(random, (8, local), (1, ""))
        else:
            local = "=" + local
        uid = some(random, (9, 31000 + number), (1, 0))
        dash, ext = some(random, (4, ("-", "")), (2, ("", "")), (1, ("-", "pre-")), (1, ("-/", "")))
        lines.append(f"{local}:user{number}:{uid}:{32000 + number}:@HOMES@/u{number}:{dash}:{ext}:")
    return "\n".join([*lines, ".", ""])


def _recipient(random: Random, names: list[str]) -> Case:
    local = some(
        random,
        (4, random.choice(names)),
        (2, random.choice(NAMES)),
        (2, random.choice(("big", "list", "a.b", "x", "nobody"))),
        (1, ""),
        (1, "-"),
        (1, "root"),
    )
    for _ in range(some(random, (3, 0), (4, 1), (2, 2))):
        local += "-" + random.choice(WORDS)
    if random.random() < 0.2:
        local = local.upper()
    if random.random() < 0.05:
        local += "@" + random.choice(DOMAINS)
    at = some(random, (19, "@"), (1, ""))
    return {
        "recipient": local + at + (random.choice(DOMAINS) if at else ""),
        "sender": random.choice(SENDERS),
    }


# --- users/assign from accounts -----------------------------------------------------------------

OPTIONS: tuple[list[str], ...] = (
    [],
    ["-o"],
    ["-h"],
    ["-H"],
    ["-u"],
    ["-C"],
    ["-c+"],
    ["-c", "."],
    ["-/"],
    ["-uH"],
)


def pw2u_case(random: Random) -> Case:
    """Make the accounts of a machine, the files that choose from them, and options."""
    names = random.sample(NAMES, random.randint(2, 7))
    accounts = [_account(random, name, number) for number, name in enumerate(names)]
    if random.random() < 0.95:
        accounts.append({"name": "alias", "uid": 7790, "gid": 2108, "home_of": 7790})
    files = {}
    if random.random() < 0.2:
        files["include"] = _list(random, [*random.sample(names, len(names) // 2), "alias"])
    if random.random() < 0.3:
        files["exclude"] = _list(random, [random.choice(names)])
    if random.random() < 0.4:
        files["mailnames"] = _list(random, [f"{random.choice(names)}:one:Two.x", "nobody:x"])
    if random.random() < 0.4:
        user = random.choice((*names, *names, *names, "nobody"))
        files["subusers"] = _list(random, [f"sub:{user}:pre:", f"Sub2:{user}::"])
    if random.random() < 0.3:
        files["append"] = "=more:x:30001:30002:/more:-:ext:\n"
    return {"accounts": accounts, "files": files, "options": random.choice(OPTIONS)}


# --- routes -------------------------------------------------------------------------------------

HOSTS = (
    "me.ex", "here.ex", "v.ex", "sub.v.ex", "w.ex", "a.w.ex", "b.a.w.ex", "far.ex", "p.ex", "q.ex",
    "Mixed.Ex", "x", "ex", "",
)  # fmt: skip
PREPENDS = ("joe", "joe-v", "alias-x", "A.B", "")


def route_case(random: Random) -> Case:
    """Make the control files of qmail-send, and messages of one recipient each."""
    controls = {"me": "me.ex\n"}
    if random.random() < 0.8:
        controls["locals"] = _list(random, [random.choice(HOSTS[:10]) for _ in range(3)])
    if random.random() < 0.9:
        entries = [_virtual(random) for _ in range(random.randint(1, 6))]
        controls["virtualdomains"] = _list(random, entries)
    if random.random() < 0.6:
        controls["percenthack"] = _list(random, random.sample(("p.ex", "q.ex", "v.ex", "me.ex"), 2))
    if random.random() < 0.5:
        controls["envnoathost"] = random.choice(("v.ex", "none.ex", "p.ex", "here.ex")) + "\n"
    return {"controls": controls, "mails": [_mail(random) for _ in range(8)]}


def _virtual(random: Random) -> str:
    host = random.choice(HOSTS[2:12])
    key = some(
        random, (5, host), (4, "." + host), (3, random.choice(("u", "info")) + "@" + host), (1, "")
    )
    return f"{_cased(random, key)}:{random.choice(PREPENDS)}"


def _list(random: Random, entries: list[str]) -> str:
    lines = []
    for entry in entries:
        lines.append(_cased(random, entry) + random.choice(("", "", "", " ", "\t")))
        if random.random() < 0.1:
            lines.append(random.choice(("", "# comment", "#")))
    return "\n".join(lines) + "\n"


def _cased(random: Random, text: str) -> str:
    return text if random.random() < 0.8 else text.upper()


def _mail(random: Random) -> Case:
    local = random.choice(("u", "info", "Any", "a.b", "x-y", "", "\xe9", "sp ace", "@"))
    for _ in range(some(random, (6, 0), (3, 1), (1, 2))):
        local += "%" + _cased(random, random.choice(HOSTS))
    at = some(random, (9, "@"), (1, ""))
    recipient = local + at + (_cased(random, random.choice(HOSTS)) if at else "")
    sender = some(
        random,
        (6, "s@t.ex"),
        (1, ""),
        (3, "l-owner-@l.ex-@[]"),
        (1, "l@x-owner-@l.ex-@[]"),
        (1, "-@[]"),
        (1, "x-@[]"),
        (1, "@-@[]"),
    )
    return {"sender": sender, "recipient": recipient}
