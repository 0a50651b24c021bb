"""docs/injection.md says what sendmail does: its tables are the code's, its recipes work."""

import re
import subprocess
from pathlib import Path
from typing import Final

import pytest
from tests.programs.injection import Injection

from qmail.protocol.sendmail_options import MODES, OPTIONS, Mode, Option

ROOT: Final = Path(__file__).resolve().parents[2]
PAGE: Final = (ROOT / "docs/injection.md").read_text(encoding="utf-8")


def option_row(option: Option) -> str:
    value = f" {option.value}" if option.value and option.value[0] != "[" else option.value
    effect = option.effect or f"no effect ({option.why})"
    return f"| `-{option.letter}{value}` | {effect} |"


def mode_row(mode: Mode) -> str:
    return f"| `-b{mode.letter}` | {mode.effect or f'refused: {mode.refusal}'} |"


def table(name: str) -> list[str]:
    text = PAGE.partition(f"<!-- {name} -->\n")[2].partition(f"<!-- end of {name} -->")[0]
    # The first two lines are the head.
    return text.splitlines()[2:]


def test_the_tables_are_those_of_the_code() -> None:
    assert table("options") == [option_row(option) for option in OPTIONS]
    assert table("modes") == [mode_row(mode) for mode in MODES]


def test_the_man_page_has_every_option() -> None:
    page = (ROOT / "docs/man/sendmail.8").read_text().replace("\\-", "-")
    letters = [option.letter for option in OPTIONS if option.letter != "b"]
    for letter in letters + [f"b{mode.letter}" for mode in MODES]:
        assert re.search(rf'[ "]-{letter}\b', page), letter


def blocks(kind: str) -> list[str]:
    return re.findall(rf"```{kind}\n(.*?)```", PAGE, re.DOTALL)


@pytest.fixture
def post(tmp_path: Path) -> Injection:
    made = Injection(tmp_path)
    (tmp_path / "report").write_text("all is well\n")
    (tmp_path / "message").write_text("Subject: x\n\nbody\n")
    return made


def run(post: Injection, line: str, *words: str) -> None:
    """Run a line of the page, with our sendmail in the place of the one that is named there."""
    command = line.replace("/usr/sbin/sendmail", str(post.home / "bin/sendmail"))
    subprocess.run(
        ["sh", "-c", command, "sh", *words],
        cwd=post.home.parent,
        env=post.environ,
        check=True,
        timeout=60,
    )


def test_the_lines_for_scripts_send(post: Injection) -> None:
    (lines,) = [block.splitlines() for block in blocks("sh") if "report" in block]
    run(post, lines[0])
    assert post.message.endswith(b"\nTo: ann@example.org\nSubject: backup\n\nall is well\n")
    run(post, lines[1])
    assert post.message.endswith(b"\nSubject: x\n\nbody\n")
    assert post.envelope.sender == b"backup@example.com"
    assert post.envelope.recipients == (b"ann@example.org",)


def test_the_unit_for_failures_sends(post: Injection) -> None:
    (unit,) = [block for block in blocks("ini") if "ExecStart" in block]
    script = re.search(r"ExecStart=/bin/sh -c '(.*)' sh %i", unit)
    assert script is not None
    # systemd makes one % of two.
    line = script[1].replace("%%", "%").replace("systemctl status --full", "echo")
    run(post, line, "pots.service")
    assert post.envelope.recipients == (b"root@dh.ex",)
    assert post.message.endswith(b"\nSubject: pots.service failed\n\npots.service\n")


def test_the_path_for_php_is_understood(post: Injection) -> None:
    (path,) = re.findall(r"^sendmail_path = \S+ (.*)$", PAGE, re.MULTILINE)
    assert post.run(["sendmail", *path.split()], b"To: a\r\n\r\nx").code == 0
    assert post.envelope.sender == b"shop@example.com"


def test_the_settings_for_mutt_are_understood(post: Injection) -> None:
    (options,) = re.findall(r'^set sendmail = "\S+ (.*)"$', PAGE, re.MULTILINE)
    words = [*options.split(), "-f", "joe@example.com", "--", "ann@example.org"]
    assert post.run(["sendmail", *words], b"x\n").code == 0
    assert post.envelope.sender == b"joe@example.com"
