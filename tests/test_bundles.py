"""Bundles: a program starts from one file, and without it where that does not fit."""

import marshal
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from qmail import bundle_loader, bundles, launchers

TAG = sys.implementation.cache_tag
MODULE = "qmail.programs.sendmail"


class Copy:
    """A copy of the package that may be changed, and a launcher of its sendmail."""

    def __init__(self, folder: Path) -> None:
        self.root = folder / "src"
        shutil.copytree(
            Path(launchers.package_folder()) / "qmail",
            self.root / "qmail",
            ignore=shutil.ignore_patterns("__pycache__"),
        )
        self.bin = folder / "bin"
        self.bin.mkdir()
        self.python("import sys; from qmail.launchers import main; sys.exit(main(sys.argv[1:]))")
        self.bundle = self.root / f"qmail/__pycache__/{MODULE}.{TAG}.bundle"
        self.script = self.bin / "sendmail"

    def python(self, code: str) -> None:
        subprocess.run(
            [sys.executable, "-c", code, str(self.bin)],
            env={"PYTHONPATH": str(self.root), "PATH": os.environ["PATH"]},
            check=True,
            timeout=300,
        )

    def loader(self) -> str:
        """Return by what the launcher finds the program."""
        text = self.script.read_text().replace("    code = main(sys.argv[1:])\n", "    code = 0\n")
        probe = "import sys\n" + text.replace(
            f"from {MODULE} import main\n",
            f"import {MODULE}\nprint({MODULE}.__spec__.loader)\n",
        )
        done = subprocess.run(
            [sys.executable, "-IS", "-c", probe], capture_output=True, text=True, check=True
        )
        return done.stdout

    def run(self) -> bytes:
        done = subprocess.run([self.script, "-z"], capture_output=True, check=False, timeout=60)
        assert done.returncode == 64
        return done.stderr


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Copy:
    return Copy(tmp_path_factory.mktemp("copy"))


def test_a_program_starts_from_its_bundle(copy: Copy) -> None:
    assert "Bundle object" in copy.loader()
    assert b"illegal option -- z" in copy.run()


def test_a_source_that_changed_counts(copy: Copy) -> None:
    source = copy.root / "qmail/protocol/options.py"
    text, before = source.read_text(), source.stat()
    source.write_text(text.replace("illegal option", "odd option"))
    try:
        assert "SourceFileLoader" in copy.loader()
        assert b"odd option -- z" in copy.run()
    finally:
        source.write_text(text)
        os.utime(source, ns=(before.st_atime_ns, before.st_mtime_ns))


@pytest.mark.parametrize("change", ["gone", "torn", "empty", "nonsense"])
def test_without_a_bundle_a_program_starts_all_the_same(copy: Copy, change: str) -> None:
    whole = copy.bundle.read_bytes()
    sizes = {"gone": None, "torn": whole[: len(whole) // 2], "empty": b"", "nonsense": b"i1234"}
    try:
        copy.bundle.unlink()
        text = sizes[change]
        if text is not None:
            copy.bundle.write_bytes(text)
        assert b"illegal option -- z" in copy.run()
    finally:
        copy.bundle.write_bytes(whole)


def test_every_quick_program_has_a_bundle_of_all_it_imports(copy: Copy) -> None:
    for module in launchers.QUICK:
        path = copy.root / f"qmail/__pycache__/{module}.{TAG}.bundle"
        _, sources, codes = marshal.loads(path.read_bytes())
        assert {"qmail", module} <= set(codes)
        assert len(sources) == len(codes)
        # Of Python itself, what it does not have within.
        assert {name.split(".")[0] for name in codes} <= {"qmail", "struct", "__future__"}


def test_a_bundle_that_can_not_be_made_is_told(tmp_path: Path) -> None:
    def path_of(module: str, tag: str) -> str:
        return str(tmp_path / f"none/{module}.{tag}")

    found = list(bundles.write_bundles(["qmail.mail", "qmail.none"], [], path_of))
    assert len(found) == 2
    assert "none" in found[1]
    with pytest.raises(bundles.BundleError):
        bundles.code_of("sys")


def test_a_package_finds_what_its_bundle_has_not(copy: Copy) -> None:
    _, _, codes = marshal.loads(copy.bundle.read_bytes())
    spec = bundle_loader.Bundle(codes).find_spec("qmail.protocol")
    assert spec is not None
    assert spec.submodule_search_locations == [str(copy.root / "qmail/protocol")]
    assert bundle_loader.Bundle(codes).find_spec("qmail.programs.sendmail_modes") is None
