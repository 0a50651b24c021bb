"""The documents say what the code says: pages, exit codes, control files, links, pictures."""

import os
import re
import shutil
import subprocess
import tomllib
from pathlib import Path
from typing import Final
from xml.etree import ElementTree as ET

import pytest

from qmail.core.repair.faults import Fault
from qmail.core.settings.controls import ME, ME_OR_NAME, Setting, settings
from qmail.core.settings.places import read_split
from qmail.core.settings.programs import PROGRAM_CONTROLS
from qmail.launchers import PROGRAMS
from qmail.protocol.exits import QueueExit
from qmail.utilities import front
from qmail.utilities.front import SUB_COMMANDS
from qmail.utilities.showctl import shown

ROOT: Final = Path(__file__).resolve().parents[2]
MAN: Final = ROOT / "docs/man"
SECTIONS: Final = ("NAME", "SYNOPSIS", "DESCRIPTION", "ENVIRONMENT", "EXIT STATUS", "SEE ALSO")
NO_ENVIRONMENT: Final = ("maildirmake",)
QUEUE_SOURCES: Final = (
    "core/queue/desk.py",
    "core/queue/write.py",
    "programs/queue.py",
    "programs/queue_service.py",
)
"""Where the exit codes of qmail-queue come from."""
PAGES: Final = sorted(path.name for path in MAN.iterdir())
FORMATS: Final = ("aliases.5", "dot-qmail.5", "maildir.5", "qmail-control.5", "qmail-passwd.5",
           "qmail-users.5")  # fmt: skip
FIELDS: Final = {
    setting.name: setting for owner in PROGRAM_CONTROLS.values() for setting in settings(owner)
}


def text_of(path: str) -> str:
    return (ROOT / path).read_text(encoding="utf-8")


def page_of(program: str) -> str:
    found = [name for name in PAGES if name.rpartition(".")[0] == program]
    assert len(found) == 1, f"pages of {program}: {found}"
    return (MAN / found[0]).read_text(encoding="utf-8")


def section(page: str, name: str) -> str:
    """Return what stands below a heading, "" where there is no such heading."""
    _, _, rest = page.partition(f"\n.SH {name}\n")
    return rest.partition("\n.SH ")[0]


def entries(text: str) -> dict[str, str]:
    """Return the tagged paragraphs of a page, `.TP` and a tag in bold, by tag."""
    found = {}
    for part in text.split("\n.TP\n")[1:]:
        tag, _, body = part.partition("\n")
        found[tag.removeprefix(".B ")] = body
    return found


# --- pages --------------------------------------------------------------------------------------


@pytest.mark.parametrize("program", PROGRAMS)
def test_every_program_has_a_page_with_all_sections(program: str) -> None:
    page = page_of(program)
    for name in SECTIONS:
        if name != "ENVIRONMENT" or program not in NO_ENVIRONMENT:
            assert section(page, name).strip(), f"{program}: no {name}"
    assert section(page, "NAME").startswith(f"{program} \\- ")
    assert program in section(page, "SYNOPSIS")


def test_there_is_no_page_of_something_that_is_not_there() -> None:
    programs = {name.rpartition(".")[0] for name in PAGES if name not in FORMATS}
    assert programs == set(PROGRAMS)


@pytest.mark.parametrize("name", PAGES)
def test_a_page_is_called_and_filed_as_its_title_says(name: str) -> None:
    page = (MAN / name).read_text(encoding="utf-8")
    stem, _, number = name.rpartition(".")
    assert page.startswith(f'.TH {stem} {number} "" qmail\n')


@pytest.mark.parametrize("name", PAGES)
def test_a_page_refers_to_pages_that_exist_and_not_to_itself(name: str) -> None:
    page = (MAN / name).read_text(encoding="utf-8")
    found = re.findall(r"^\.BR (\S+) \((\d)\)", page, re.MULTILINE)
    assert found
    assert {f"{stem}.{number}" for stem, number in found} <= set(PAGES)
    assert f".BR {name[:-2]} ({name[-1]})" not in section(page, "SEE ALSO")


@pytest.mark.parametrize("name", PAGES)
def test_a_page_renders_without_warnings(name: str) -> None:
    groff = shutil.which("groff")
    if groff is None:
        pytest.skip("groff is not installed: the pages are not rendered")
    command = [groff, "-man", "-Tutf8", "-ww", str(MAN / name)]
    done = subprocess.run(command, capture_output=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, b"")
    assert len(done.stdout) > 500


def queue_codes() -> set[QueueExit]:
    """Find the codes that the sources of qmail-queue name."""
    source = "".join(text_of(f"src/qmail/{path}") for path in QUEUE_SOURCES)
    return {QueueExit[name] for name in re.findall(r"\bQueueExit\.([A-Z_]+)", source)}


def test_every_exit_code_that_qmail_queue_can_give_is_in_its_page() -> None:
    codes = queue_codes()
    assert {QueueExit.QUEUED, QueueExit.WRITE_ERROR, QueueExit.BAD_ENVELOPE} <= codes
    listed = {int(tag) for tag in entries(section(page_of("qmail-queue"), "EXIT STATUS"))}
    # 100 is for wrong usage, as with every other program.
    assert listed == {int(code) for code in codes} | {100}


@pytest.mark.parametrize("program", PROGRAMS)
def test_a_page_names_exit_codes_by_number(program: str) -> None:
    listed = entries("\n" + section(page_of(program), "EXIT STATUS"))
    assert "0" in listed
    assert all(tag.isdigit() for tag in listed)


@pytest.mark.parametrize("command", SUB_COMMANDS)
def test_the_page_of_the_front_door_has_every_command_and_option(
    command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert front.main([command, "--help"]) == 0
    page = page_of("qmail").replace("\\-", "-")
    assert f"\n.B qmail {command}\n" in page
    for option in re.findall(r"^ +(?:-h, )?(--[a-z-]+)", capsys.readouterr().out, re.MULTILINE):
        assert option in page


# --- control files ------------------------------------------------------------------------------


def default_of(setting: Setting) -> str:
    """Return the default as people write it."""
    if setting.default in (ME, ME_OR_NAME):
        return ME
    return ", ".join(shown(setting.default)) or "none"


def operating_rows() -> dict[str, tuple[str, str, str]]:
    """Return default, reader and meaning of each control file in the table of OPERATING.md."""
    table = text_of("docs/OPERATING.md").partition("\n## Control files\n")[2].partition("\n## ")[0]
    found = {}
    for line in table.split("\n"):
        cells = [cell.strip().replace("`", "") for cell in line.strip("|").split("|")]
        if len(cells) != 4 or cells[0] == "file" or set(cells[0]) <= set("-"):
            continue
        names, defaults = cells[0].split(", "), cells[1].split(", ")
        # One default for all names of a row, or one for each.
        defaults = defaults * len(names) if len(defaults) == 1 else defaults
        for name, default in zip(names, defaults, strict=True):
            # After a colon stands what the default means.
            is_none = default.startswith("none:")
            found[name] = ("none" if is_none else default, cells[2], cells[3])
    return found


@pytest.mark.parametrize("name", FIELDS)
def test_every_control_file_is_in_the_page_with_its_kind_and_default(name: str) -> None:
    entry = entries(text_of("docs/man/qmail-control.5"))[name]
    setting = FIELDS[name]
    kind, *more = entry.partition("\n")[0].rstrip(".").split(", ")
    assert kind.lower() == setting.kind
    assert not setting.unit or more == [setting.unit]
    assert f"\nDefault: {default_of(setting)}.\n" in f"\n{entry}\n"


def test_the_page_has_no_control_file_that_nobody_reads() -> None:
    found = entries(text_of("docs/man/qmail-control.5"))
    files = {tag for tag, body in found.items() if "\nDefault: " in body}
    assert files == {*FIELDS, "split"}
    default = read_split(lambda _name: None)
    assert f"\nDefault: {default}.\n" in found["split"]


@pytest.mark.parametrize("name", FIELDS)
def test_every_control_file_is_in_operating_with_its_default_and_reader(name: str) -> None:
    default, reader, meaning = operating_rows()[name]
    assert default == default_of(FIELDS[name])
    readers = {
        program
        for program, owner in PROGRAM_CONTROLS.items()
        if name in {setting.name for setting in settings(owner)}
    }
    assert reader == "all" if name == ME else set(reader.split(", ")) == readers
    assert meaning


def test_operating_has_no_control_file_that_nobody_reads() -> None:
    assert set(operating_rows()) <= {*FIELDS, "split"}


@pytest.mark.parametrize("program", PROGRAM_CONTROLS)
def test_the_page_of_a_program_names_the_control_files_it_reads(program: str) -> None:
    files = section(page_of(program), "FILES")
    for setting in settings(PROGRAM_CONTROLS[program]):
        assert re.search(rf"(?:^\.IR? |/){setting.name}\b", files, re.MULTILINE), setting.name


# --- README and the rest ------------------------------------------------------------------------


def test_readme_names_every_program() -> None:
    readme = text_of("README.md")
    assert [name for name in PROGRAMS if f"`{name}`" not in readme] == []


def test_the_installed_commands_are_those_of_the_table() -> None:
    scripts = tomllib.loads(text_of("pyproject.toml"))["project"]["scripts"]
    assert set(scripts) == set(PROGRAMS)


DOCUMENTS: Final = ["README.md", *(f"docs/{path.name}" for path in sorted(ROOT.glob("docs/*.md")))]
MADE_BY_BENCH: Final = "docs/benchmarks.md"
"""`make bench` writes it: a fresh checkout may be without it."""


@pytest.mark.parametrize("document", DOCUMENTS)
def test_links_lead_to_files_that_exist(document: str) -> None:
    for link in re.findall(r"\]\(([^)\s]+)\)", text_of(document)):
        target, _, anchor = link.partition("#")
        if re.match(r"[a-z]+:", link) or not (target or anchor):
            continue
        path = os.path.normpath(os.path.join(os.path.dirname(document), target))
        path = path if target else document
        assert path == MADE_BY_BENCH or (ROOT / path).exists(), f"{document}: {link}"
        if anchor:
            assert anchor in anchors(text_of(path)), f"{document}: {link}"


def anchors(text: str) -> set[str]:
    """Return what a heading is called in a link."""
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w -]", "", line.lower()).replace(" ", "-") for line in headings}


def test_the_pictures_of_readme_are_well_formed() -> None:
    pictures = re.findall(r"!\[[^]]+\]\(([^)]+)\)", text_of("README.md"))
    assert pictures
    for picture in pictures:
        tree = ET.fromstring(text_of(picture))
        assert tree.tag == "{http://www.w3.org/2000/svg}svg"
        words = " ".join(tree.itertext())
        assert all(name in words for name in ("qmail-smtpd", "qmail-queue", "qmail-send"))


def test_every_fault_of_a_queue_is_in_the_table_of_repairs() -> None:
    page = text_of("docs/queue-repair.md")
    table = page.partition("<!-- faults -->")[2].partition("<!-- end of faults -->")[0]
    rows = [line for line in table.splitlines() if line.startswith("| `")]
    assert rows == [f"| `{fault.word}` | {fault.found} | {fault.repair} |" for fault in Fault]


def test_internals_names_every_folder_of_the_source_with_what_it_holds() -> None:
    text = (ROOT / "docs/INTERNALS.md").read_text(encoding="utf-8")
    source = ROOT / "src/qmail"
    for path in (*source.glob("core/*/__init__.py"), *source.glob("edge/*/__init__.py")):
        holds = path.read_text(encoding="utf-8").strip().strip('"').removesuffix(".")
        assert f"| `{path.parent.relative_to(source)}/` | {holds} |" in text
