"""Tidy checks: sizes, the direction of imports, unfinished words, a page and a line per program.

Prints one line for each finding, `file:line: what`, and ends with 1 where there is any.
"""

import ast
import os
import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

FUNCTION_LINES_MAX: Final = 70
FUNCTION_LINES_USUAL: Final = 40
FUNCTION_USUAL_SHARE: Final = 0.95
FILE_LINES_MAX: Final = 500
POSITIONAL_MAX: Final = 4
WIDTH_MAX: Final = 100

FLOORS: Final = {
    "mail": frozenset({"mail"}),
    "protocol": frozenset({"mail", "protocol"}),
    "core": frozenset({"mail", "protocol", "core"}),
    "edge": frozenset({"mail", "protocol", "edge"}),
    "programs": frozenset({"mail", "protocol", "core", "edge"}),
    "utilities": frozenset({"mail", "protocol", "core", "edge", "launchers"}),
    "launchers": frozenset({"launchers", "mail"}),
}
"""Which floors each floor may import: mail <- protocol <- core, edge <- programs, utilities."""
IMPURE: Final = frozenset({"os", "socket", "asyncio", "time", "random", "logging"})
"""What protocol never imports: it turns bytes into values and does nothing else."""
HEAVY: Final = frozenset({"asyncio", "email"})
"""What a program that starts for one message never imports: each costs tens of milliseconds."""
ONE_MESSAGE: Final = frozenset({
    "inject", "newinject", "sendmail", "local", "queue", "getpw",
    "forward", "condredirect", "bouncesaying", "except", "preline", "qreceipt", "qbiff", "qsmhook",
    "mailsubj", "predate", "datemail", "fastforward", "dotforward", "iftocc",
})  # fmt: skip
"""The programs that start for one message; modules named after one (`local_lines`) count too."""
FRONT: Final = "front"
"""The one utility that starts others: its sub-commands are files of their own."""

UNFINISHED: Final = re.compile(r"\b(?:TO" "DO|FIX" r"ME|XX" r"X)\b")
UNFINISHED_NAME: Final = "NotImplemented" + "Error"
CODE_FOLDERS: Final = ("src", "tests", "bench", "checks", "scripts")


@dataclass(frozen=True, slots=True)
class Source:
    """One Python file of the tree: its path from the root, its text, its syntax tree."""

    path: str
    text: str
    tree: ast.Module


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing to mend. `line` 0: the file as a whole."""

    path: str
    line: int
    what: str

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {self.what}"


Function = ast.FunctionDef | ast.AsyncFunctionDef
Assignment = ast.Assign | ast.AnnAssign


def read_sources(root: str) -> Iterator[Source | Finding]:
    """Yield every Python file below the code folders of `root`; a finding for one that is none."""
    for top in CODE_FOLDERS:
        for folder, folders, names in os.walk(f"{root}/{top}"):
            folders[:] = sorted(name for name in folders if not name.startswith((".", "__")))
            for name in sorted(names):
                if name.endswith(".py"):
                    yield read_source(root, os.path.relpath(f"{folder}/{name}", root))


def read_source(root: str, path: str) -> Source | Finding:
    """Read and parse one file."""
    with open(f"{root}/{path}", encoding="utf-8") as file:
        text = file.read()
    try:
        return Source(path, text, ast.parse(text))
    except SyntaxError as wrong:
        return Finding(path, wrong.lineno or 0, f"does not parse: {wrong.msg}")


# --- sizes --------------------------------------------------------------------------------------


def functions(source: Source) -> list[Function]:
    """List every function and method of a file."""
    found = ast.walk(source.tree)
    return [node for node in found if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]


def length(function: Function) -> int:
    """Count the lines of a function, decorators left out."""
    return (function.end_lineno or function.lineno) - function.lineno + 1


def check_sizes(source: Source) -> Iterator[Finding]:
    """Long functions, long files, wide lines, many positional parameters."""
    lines = source.text.splitlines()
    if len(lines) > FILE_LINES_MAX:
        yield Finding(source.path, 0, f"{len(lines)} lines; {FILE_LINES_MAX} at most")
    for number, line in enumerate(lines, 1):
        if len(line) > WIDTH_MAX:
            yield Finding(source.path, number, f"{len(line)} wide; {WIDTH_MAX} at most")
    for function in functions(source):
        where = source.path, function.lineno
        if length(function) > FUNCTION_LINES_MAX:
            what = f"{function.name} has {length(function)} lines; {FUNCTION_LINES_MAX} at most"
            yield Finding(*where, what)
        positional = positional_count(function)
        if positional > POSITIONAL_MAX and not source.path.startswith("tests/"):
            what = f"{function.name} has {positional} positional parameters; {POSITIONAL_MAX}"
            yield Finding(*where, f"{what} at most, the rest keyword-only")


def positional_count(function: Function) -> int:
    """Count the parameters a caller may give by position, without self and cls."""
    names = [argument.arg for argument in (*function.args.posonlyargs, *function.args.args)]
    return len(names) - (names[:1] in (["self"], ["cls"]))


def check_usual_length(sources: Iterable[Source]) -> Iterator[Finding]:
    """Of all functions in the tree, 95 of 100 are under 40 lines."""
    lengths = [length(function) for source in sources for function in functions(source)]
    usual = sum(1 for lines in lengths if lines < FUNCTION_LINES_USUAL)
    if lengths and usual < FUNCTION_USUAL_SHARE * len(lengths):
        share = f"{100 * usual / len(lengths):.1f} % of {len(lengths)} functions"
        wanted = f"{100 * FUNCTION_USUAL_SHARE:.0f} % at least"
        yield Finding("src", 0, f"{share} are under {FUNCTION_LINES_USUAL} lines; {wanted}")


# --- direction ----------------------------------------------------------------------------------


def imported(source: Source) -> Iterator[tuple[int, str]]:
    """Yield line and full name of everything a file imports, wherever in the file it does so."""
    for node in ast.walk(source.tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node.lineno, alias.name
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                # House rule: full names only, so that this check and the reader see the floor.
                yield node.lineno, f"{'.' * node.level}{base}"
            else:
                yield from ((node.lineno, f"{base}.{alias.name}") for alias in node.names)


def module_of(path: str) -> tuple[str, str]:
    """Return floor and module of a file of the package: `programs`, `smtpd`.

    A file that lies beside mail.py is on the floor of mail.
    """
    parts = path.removesuffix(".py").split("/")[2:]
    if len(parts) > 1:
        return parts[0], parts[1]
    return ("launchers", "launchers") if parts == ["launchers"] else ("mail", parts[0])


def floor_of(name: str) -> tuple[str, str]:
    """Return floor and module of an imported name of the package: `qmail.core.fs.Fs`."""
    parts = name.split(".")[1:]
    if parts[0] in FLOORS:
        return parts[0], parts[1] if len(parts) > 1 else ""
    return "mail", parts[0]


def check_direction(source: Source) -> Iterator[Finding]:
    """Every import arrow points down the house."""
    if not source.path.startswith("src/qmail/"):
        return
    floor, module = module_of(source.path)
    for line, name in imported(source):
        top = name.split(".")[0]
        if name.startswith("."):
            yield Finding(source.path, line, f"relative import {name}: write the full name")
        elif top == "qmail" and name.count("."):
            what = wrong_arrow((floor, module), floor_of(name))
            if what:
                yield Finding(source.path, line, f"imports {name}: {what}")
        elif floor == "protocol" and top in IMPURE:
            yield Finding(source.path, line, f"imports {top}: protocol is pure")
        elif top in HEAVY and handles_one_message(floor, module):
            what = "this program starts for every message"
            yield Finding(source.path, line, f"imports {top}: {what}")


def wrong_arrow(importer: tuple[str, str], target: tuple[str, str]) -> str:
    """Say what is wrong with an import from one module of the package to another; "" if nothing."""
    floor, module = importer
    target_floor, target_module = target
    if floor not in FLOORS:
        return f"there is no floor {floor} in the house plan"
    if target_floor in FLOORS[floor]:
        return ""
    if floor == target_floor and floor in ("programs", "utilities"):
        same = program_of(module) == program_of(target_module)
        return "" if same or module == FRONT else "no program imports another one"
    return f"{floor} may import {', '.join(sorted(FLOORS[floor]))} only"


def program_of(module: str) -> str:
    """Return the program that a module belongs to: `queue_service` is a part of `queue`."""
    return module.split("_", maxsplit=1)[0]


def handles_one_message(floor: str, module: str) -> bool:
    """Say whether a module belongs to a program that starts for one message."""
    return floor in ("programs", "utilities") and program_of(module) in ONE_MESSAGE


# --- words and pages ----------------------------------------------------------------------------


def check_words(source: Source) -> Iterator[Finding]:
    """No words that say a thing is unfinished."""
    for number, line in enumerate(source.text.splitlines(), 1):
        found = UNFINISHED.search(line)
        if found:
            yield Finding(source.path, number, f"unfinished: {found.group()}")
        elif UNFINISHED_NAME in line:
            yield Finding(source.path, number, f"unfinished: {UNFINISHED_NAME}")


def program_names(root: str) -> list[str]:
    """List the commands, as the table of qmail.launchers has them; none where there is no table."""
    path = "src/qmail/launchers.py"
    source = read_source(root, path) if os.path.exists(f"{root}/{path}") else None
    for node in source.tree.body if isinstance(source, Source) else ():
        names = [node.target] if isinstance(node, ast.AnnAssign) else getattr(node, "targets", [])
        if any(isinstance(name, ast.Name) and name.id == "PROGRAMS" for name in names):
            value = node.value if isinstance(node, Assignment) else None
            return list(ast.literal_eval(value)) if value is not None else []
    return []


def check_pages(root: str, programs: Sequence[str]) -> Iterator[Finding]:
    """Every command has a man page docs/man/NAME.SECTION and a line in README.

    Each of the two is asked for from the moment that it exists at all.
    """
    folder = f"{root}/docs/man"
    pages = os.listdir(folder) if os.path.isdir(folder) else []
    for name in programs if pages else ():
        if not any(re.fullmatch(rf"{re.escape(name)}\.[1-8]", page) for page in pages):
            yield Finding("docs/man", 0, f"no page for {name}")
    readme = f"{root}/README.md"
    if not os.path.exists(readme):
        yield Finding("README.md", 0, "missing")
        return
    with open(readme, encoding="utf-8") as file:
        text = file.read()
    for name in programs:
        if not re.search(rf"(?<![\w-]){re.escape(name)}(?![\w-])", text):
            yield Finding("README.md", 0, f"no line about {name}")


# --- all of it ----------------------------------------------------------------------------------


def check_tree(root: str) -> list[Finding]:
    """Run every check over the tree at `root`."""
    found: list[Finding] = []
    sources: list[Source] = []
    for item in read_sources(root):
        if isinstance(item, Finding):
            found.append(item)
            continue
        sources.append(item)
        for check in (check_sizes, check_direction, check_words):
            found += check(item)
    found += check_usual_length(sources)
    found += check_pages(root, program_names(root))
    return found


def main(argv: Sequence[str]) -> int:
    """Check the tree that `argv` names, else the one this file is in."""
    root = argv[0] if argv else os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    found = check_tree(root)
    for finding in found:
        print(finding)
    print(f"tidy: {len(found)} findings" if found else "tidy: nothing to mend")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
