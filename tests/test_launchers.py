"""The table of commands, and the scripts that start them."""

import os
import subprocess
import sys
import tomllib
from importlib.util import find_spec
from pathlib import Path

import pytest

from qmail import launchers

ROOT = Path(__file__).parent.parent
HEAVY = ("asyncio", "email", "dataclasses", "typing", "re", "enum", "socket", "subprocess", "site")
LINE_TOOLS = (
    "forward",
    "condredirect",
    "bouncesaying",
    "except",
    "preline",
    "qreceipt",
    "qbiff",
    "qsmhook",
    "iftocc",
)
START_FOR_EVERY_MESSAGE = (
    "sendmail",
    "qmail-inject",
    "new-inject",
    *LINE_TOOLS,
    "mailsubj",
    "predate",
    "datemail",
)


def test_pyproject_lists_the_same_commands() -> None:
    with open(ROOT / "pyproject.toml", "rb") as file:
        scripts = tomllib.load(file)["project"]["scripts"]
    assert scripts == dict.fromkeys(launchers.PROGRAMS, "qmail.launchers:run")


@pytest.mark.parametrize("module", sorted(set(launchers.PROGRAMS.values())))
def test_every_command_has_a_module_with_main(module: str) -> None:
    spec = find_spec(module)
    assert spec is not None
    assert spec.origin is not None
    assert "\ndef main(argv: Sequence[str]) -> int:\n" in Path(spec.origin).read_text()


def test_a_script_runs_its_program(tmp_path: Path) -> None:
    launchers.write_launchers(str(tmp_path))
    assert sorted(os.listdir(tmp_path)) == sorted(launchers.PROGRAMS)
    script = tmp_path / "sendmail"
    assert script.stat().st_mode & 0o777 == 0o755
    assert script.read_text().startswith(f"#!{sys.executable} -IS\n")
    ended = subprocess.run([script, "-z"], capture_output=True, check=False, cwd="/", timeout=60)
    assert ended.returncode == 64
    assert ended.stderr.startswith(b"sendmail: illegal option -- z\n")


def test_an_interpreter_at_an_odd_place_is_started_by_sh(tmp_path: Path) -> None:
    folder = tmp_path / "a 'b\" $c"
    folder.mkdir()
    python = folder / "python"
    os.symlink(os.path.realpath(sys.executable), python)
    for interpreter in (str(python), "/" + "/".join(["."] * 60) + os.path.realpath(sys.executable)):
        text = launchers.script_of(
            "qmail.programs.sendmail", interpreter, launchers.import_folders()
        )
        assert text.startswith("#!/bin/sh\n")
        script = folder / "sendmail"
        script.write_text(text)
        script.chmod(0o755)
        ended = subprocess.run([script, "-f"], capture_output=True, check=False, timeout=60)
        assert (ended.returncode, ended.stderr[:19]) == (64, b"sendmail: option re")


def test_installed_scripts_find_the_program_by_their_name(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["/usr/bin/praliases"])
    assert launchers.run() == 100
    assert "no program of this name" in capsys.readouterr().err
    monkeypatch.setattr(sys, "argv", ["/usr/bin/sendmail", "-bd"])
    assert launchers.run() == 64


def test_third_party_packages_can_be_imported() -> None:
    code = f"import sys; sys.path += {launchers.import_folders()!r}; import dns, uvloop"
    subprocess.run([sys.executable, "-IS", "-c", code], check=True, timeout=60)


def test_compiling_works_where_python_is_told_not_to(tmp_path: Path) -> None:
    code = "import sys; from qmail.launchers import main; sys.exit(main([sys.argv[1]]))"
    environ = {
        **os.environ,
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONPYCACHEPREFIX": str(tmp_path / "c"),
    }
    (tmp_path / "bin").mkdir()
    subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "bin")], check=True, env=environ, timeout=300
    )
    assert list((tmp_path / "c").rglob("qmail/programs/sendmail.*.pyc"))


def test_wrong_arguments_and_folders_are_told(capsys: pytest.CaptureFixture[str]) -> None:
    assert launchers.main([]) == 100
    assert launchers.main(["/nonexistent/bin"]) == 111
    assert "/nonexistent/bin: No such file" in capsys.readouterr().err


@pytest.mark.parametrize("name", START_FOR_EVERY_MESSAGE)
def test_a_program_starts_without_what_costs_more_than_its_work(name: str) -> None:
    code = (
        f"import sys; sys.path += {launchers.import_folders()!r}\n"
        f"import {launchers.PROGRAMS[name]}\n"
        "print(*sys.modules)"
    )
    command = [sys.executable, "-IS", "-c", code]
    found = subprocess.run(command, capture_output=True, check=True, timeout=60, text=True)
    assert not set(HEAVY) & set(found.stdout.split())
