"""Each rule of checks/tidy.py can fail, and leaves alone what keeps to it."""

import importlib.util
import os
import sys
from pathlib import Path
from types import ModuleType

import pytest

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


def load_tidy() -> ModuleType:
    spec = importlib.util.spec_from_file_location("tidy", f"{ROOT}/checks/tidy.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["tidy"] = module
    spec.loader.exec_module(module)
    return module


tidy = load_tidy()


def findings(root: Path, files: dict[str, str]) -> list[str]:
    for path, text in {"README.md": "", **files}.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(text)
    return [str(finding) for finding in tidy.check_tree(str(root))]


def function_of(lines: int, name: str = "f") -> str:
    return f"def {name}() -> None:\n" + "    pass\n" * (lines - 1)


SHORT = "".join(function_of(3, f"short{number}") for number in range(40))


@pytest.mark.parametrize(
    ("path", "text", "what"),
    [
        ("src/qmail/core/a.py", SHORT + function_of(71), "f has 71 lines"),
        ("src/qmail/core/a.py", SHORT + "class C:\n" + "    a = 1\n" * 500, "500 at most"),
        ("src/qmail/core/a.py", "x = '" + "a" * 96 + "'\n", "102 wide"),
        ("src/qmail/core/a.py", "def f(a, b, c, d, e): ...\n", "5 positional parameters"),
        ("src/qmail/core/a.py", "class C:\n    def f(self, a, b, c, d, e): ...\n", "5 positional"),
        ("src/qmail/core/a.py", "def f(:\n", "does not parse"),
        ("src/qmail/core/a.py", "# FIX" + "ME later\n", "unfinished"),
        ("bench/a.py", "def f():\n    raise NotImplemented" + "Error\n", "unfinished"),
        ("tests/core/test_a.py", "# TO" + "DO: more\n", "unfinished"),
        ("src/qmail/mail.py", "from qmail.protocol import netstring\n", "mail may import"),
        ("src/qmail/protocol/a.py", "from qmail.core import fs\n", "protocol may import"),
        ("src/qmail/protocol/a.py", "import os\n", "protocol is pure"),
        ("src/qmail/protocol/a.py", "def f():\n    from time import time\n", "protocol is pure"),
        ("src/qmail/core/a.py", "from qmail.edge.log.lines import x\n", "core may import"),
        ("src/qmail/core/a.py", "from qmail import edge\n", "core may import"),
        ("src/qmail/edge/a.py", "import qmail.core.fs\n", "edge may import"),
        ("src/qmail/core/a.py", "from qmail.programs import send\n", "core may import"),
        ("src/qmail/core/a.py", "from .fs import Fs\n", "relative import"),
        ("src/qmail/cellar/a.py", "from qmail.core import fs\n", "no floor cellar"),
        ("src/qmail/programs/send.py", "from qmail.programs import clean\n", "no program imports"),
        ("src/qmail/programs/send.py", "from qmail.utilities import qread\n", "may import"),
        ("src/qmail/utilities/a.py", "from qmail.utilities.b import c\n", "no program imports"),
        ("src/qmail/programs/inject.py", "import asyncio\n", "starts for every message"),
        ("src/qmail/programs/local_a.py", "from email.utils import x\n", "starts for every"),
    ],
)
def test_each_rule_can_fail(tmp_path: Path, path: str, text: str, what: str) -> None:
    found = findings(tmp_path, {path: text})
    assert len(found) == 1
    assert what in found[0]
    assert found[0].startswith(f"{path}:")


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("src/qmail/core/a.py", SHORT + function_of(70)),
        ("src/qmail/core/a.py", "def f(a, b, c, d, *, e): ...\n"),
        ("src/qmail/core/a.py", "class C:\n    def f(self, a, b, c, d): ...\n"),
        ("src/qmail/core/a.py", "import os\nfrom qmail.protocol.netstring import pack\n"),
        ("src/qmail/core/a.py", 'NO_TODO = 66\nPATH = "todo"\n'),
        ("src/qmail/programs/send.py", "import qmail.core.fs\nimport qmail.edge.log.lines\n"),
        ("src/qmail/programs/queue.py", "from qmail.programs.queue_service import serve\n"),
        ("src/qmail/programs/smtpd.py", "import asyncio\n"),
        ("src/qmail/utilities/front.py", "from qmail.utilities import init\n"),
    ],
)
def test_what_keeps_to_the_rules_is_left_alone(tmp_path: Path, path: str, text: str) -> None:
    assert findings(tmp_path, {path: text}) == []


def test_more_than_one_function_in_twenty_of_forty_lines_is_too_many(tmp_path: Path) -> None:
    long = function_of(40, "a") + function_of(40, "b") + function_of(40, "c")
    assert findings(tmp_path, {"src/qmail/core/a.py": SHORT + function_of(40)}) == []
    assert "are under 40 lines" in findings(tmp_path, {"src/qmail/core/a.py": SHORT + long})[0]


LAUNCHERS = 'PROGRAMS: dict[str, str] = {"qmail-send": "m", "qmail": "n"}\n'


def test_every_program_has_a_line_in_readme(tmp_path: Path) -> None:
    files = {"src/qmail/launchers.py": LAUNCHERS, "README.md": "- qmail-send decides\n"}
    assert findings(tmp_path, files) == ["README.md:0: no line about qmail"]
    files["README.md"] += "- qmail is the front\n"
    assert findings(tmp_path, files) == []


def test_every_program_has_a_man_page_once_there_are_any(tmp_path: Path) -> None:
    files = {
        "src/qmail/launchers.py": LAUNCHERS,
        "README.md": "qmail-send, qmail\n",
        "docs/man/qmail.1": "",
    }
    assert findings(tmp_path, files) == ["docs/man:0: no page for qmail-send"]


def test_a_tree_without_readme_is_told_so(tmp_path: Path) -> None:
    assert [str(one) for one in tidy.check_tree(str(tmp_path))] == ["README.md:0: missing"]
