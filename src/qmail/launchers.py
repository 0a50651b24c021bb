"""The commands of the suite: one table, and the small scripts that start them fast.

`python -m qmail.launchers BIN_DIR` writes a script for each program. It runs the interpreter
without its environment variables and without the scan of site-packages (`-IS`), which takes longer
than a small program's work; packages from there are found all the same. Programs that start for
every message have a bundle besides (qmail/bundles.py). Source: design.md, "Speed".
"""

from __future__ import annotations

import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Final

PROGRAMS: Final[Mapping[str, str]] = {
    "qmail-start": "qmail.programs.start",
    "qmail-smtpd": "qmail.programs.smtpd",
    "qmail-queue": "qmail.programs.queue",
    "qmail-send": "qmail.programs.send",
    "qmail-clean": "qmail.programs.clean",
    "qmail-lspawn": "qmail.programs.lspawn",
    "qmail-local": "qmail.programs.local",
    "qmail-verify": "qmail.programs.verify",
    "qmail-rspawn": "qmail.programs.rspawn",
    "qmail-pspawn": "qmail.programs.pspawn",
    "qmail-checkpassword": "qmail.programs.checkpassword",
    "qmail-remote": "qmail.programs.remote",
    "qmail-log": "qmail.programs.log",
    "qmail-getpw": "qmail.programs.getpw",
    "qmail-inject": "qmail.programs.inject",
    "new-inject": "qmail.programs.newinject",
    "sendmail": "qmail.programs.sendmail",
    "mailq": "qmail.programs.sendmail",
    "qmail-popup": "qmail.programs.popup",
    "qmail-pop3d": "qmail.programs.pop3d",
    "qmail-qread": "qmail.utilities.qread",
    "qmail-qstat": "qmail.utilities.qstat",
    "qmail-tcpto": "qmail.utilities.tcpto",
    "qmail-tcpok": "qmail.utilities.tcpok",
    "qmail-showctl": "qmail.utilities.showctl",
    "qmail-newu": "qmail.utilities.newu",
    "qmail-pw2u": "qmail.utilities.pw2u",
    "qmail-newmrh": "qmail.utilities.newmrh",
    "maildirmake": "qmail.utilities.maildirmake",
    "forward": "qmail.utilities.forward",
    "condredirect": "qmail.utilities.condredirect",
    "bouncesaying": "qmail.utilities.bouncesaying",
    "except": "qmail.utilities.except_",
    "preline": "qmail.utilities.preline",
    "qsmhook": "qmail.utilities.qsmhook",
    "qreceipt": "qmail.utilities.qreceipt",
    "qbiff": "qmail.utilities.qbiff",
    "maildir2mbox": "qmail.utilities.maildir2mbox",
    "maildirwatch": "qmail.utilities.maildirwatch",
    "elq": "qmail.utilities.readers",
    "pinq": "qmail.utilities.readers",
    "qail": "qmail.utilities.readers",
    "mailsubj": "qmail.utilities.mailsubj",
    "predate": "qmail.utilities.predate",
    "datemail": "qmail.utilities.datemail",
    "splogger": "qmail.utilities.splogger",
    "dot-forward": "qmail.utilities.dotforward",
    "fastforward": "qmail.utilities.fastforward",
    "newaliases": "qmail.utilities.newaliases",
    "newinclude": "qmail.utilities.newinclude",
    "setforward": "qmail.utilities.setforward",
    "printforward": "qmail.utilities.printforward",
    "setmaillist": "qmail.utilities.setmaillist",
    "printmaillist": "qmail.utilities.printmaillist",
    "ofmipd": "qmail.programs.ofmipd",
    "ofmipname": "qmail.utilities.ofmipname",
    "iftocc": "qmail.utilities.iftocc",
    "822header": "qmail.utilities.header822",
    "822field": "qmail.utilities.header822",
    "822date": "qmail.utilities.header822",
    "822received": "qmail.utilities.header822",
    "822print": "qmail.utilities.header822",
    "setlock": "qmail.utilities.setlock",
    "maildirserial": "qmail.utilities.maildirserial",
    "serialsmtp": "qmail.utilities.serialsmtp",
    "serialqmtp": "qmail.utilities.serialqmtp",
    "maildirsmtp": "qmail.utilities.maildirsmtp",
    "maildirqmtp": "qmail.utilities.maildirsmtp",
    "tcpclient": "qmail.utilities.tcpclient",
    "qmail": "qmail.utilities.front",
}
"""Every command, and the module whose `main` it calls. pyproject.toml lists the same names."""

QUICK: Final = (
    "qmail.programs.sendmail",
    "qmail.programs.inject",
    "qmail.programs.queue",
    "qmail.utilities.forward",
    "qmail.utilities.condredirect",
    "qmail.utilities.bouncesaying",
    "qmail.utilities.except_",
    "qmail.utilities.preline",
    "qmail.utilities.qsmhook",
    "qmail.utilities.qreceipt",
    "qmail.utilities.mailsubj",
    "qmail.utilities.predate",
    "qmail.utilities.datemail",
)
"""Those that start for every message: they have a bundle (qmail/bundles.py) and end at once."""

SHEBANG_BYTES_MAX: Final = 127
"""Longest first line that every kernel understands."""

_SCRIPT: Final = """\
import sys
sys.path += {folders!r}
from {module} import main
try:
    code = main(sys.argv[1:])
except Exception:
    # Anything unforeseen is temporary: Python's own exit code, 1, would bounce mail.
    import traceback
    traceback.print_exc()
    code = 111
sys.exit(code)
"""

_QUICK_SCRIPT: Final = """\
import sys
sys.path += {folders!r}
try:
    from gc import disable
    from marshal import loads
    # So short a life makes little garbage.
    disable()
    with open({start!r} + sys.implementation.cache_tag + ".bundle", "rb") as file:
        loader, sources, codes = loads(file.read())
    exec(loader)
    install(sources, codes)
except Exception:
    # The modules are found without it, one by one.
    pass
from {module} import main
try:
    code = main(sys.argv[1:])
    if sys.stdout is not None:
        sys.stdout.flush()
except Exception:
    # Anything unforeseen is temporary: Python's own exit code, 1, would bounce mail.
    import traceback
    traceback.print_exc()
    code = 111
# Taking the interpreter apart would cost as much as a tenth of its life.
from posix import _exit
_exit(code)
"""


def run() -> int:
    """Call the program whose name this process was started under: for pip's own scripts."""
    from importlib import import_module  # noqa: PLC0415 - only pip's scripts come here

    name = os.path.basename(sys.argv[0])
    module = PROGRAMS.get(name)
    if module is None:
        print(f"{name}: no program of this name", file=sys.stderr)
        return 100
    code: int = import_module(module).main(sys.argv[1:])
    return code


def package_folder() -> str:
    """Return the folder that holds the package."""
    return os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


def import_folders() -> list[str]:
    """List where the package and what it needs are imported from, besides the standard library."""
    import sysconfig  # noqa: PLC0415 - the installer needs it, `run` does not

    found = [package_folder(), sysconfig.get_path("purelib"), sysconfig.get_path("platlib")]
    return [folder for at, folder in enumerate(found) if folder not in found[:at]]


def script_of(module: str, python: str, folders: Sequence[str]) -> str:
    """Return the script that calls `main` of `module`."""
    first = f"#!{python} -IS\n"
    if len(os.fsencode(first)) > SHEBANG_BYTES_MAX or any(blank in python for blank in " \t"):
        # A string to Python, a command to the shell: the kernel cannot start this interpreter.
        quoted = "'" + python.replace("'", "'\"'\"'") + "'"
        first = f"#!/bin/sh\n'''exec' {quoted} -IS \"$0\" \"$@\"\n' '''\n"
    if module not in QUICK:
        return first + _SCRIPT.format(folders=list(folders), module=module)
    start = bundle_path(module, "").removesuffix(".bundle")
    return first + _QUICK_SCRIPT.format(folders=list(folders), module=module, start=start)


def bundle_path(module: str, tag: str) -> str:
    """Return where the bundle of a program lies, for the interpreter with that cache tag."""
    return os.path.join(package_folder(), "qmail", "__pycache__", f"{module}.{tag}.bundle")


def write_launchers(folder: str) -> None:
    """Write the script of every program into `folder`; each appears whole, or not at all.

    Raises: OSError: no such folder, or not allowed.
    """
    folders = import_folders()
    for name, module in PROGRAMS.items():
        path = os.path.join(folder, name)
        new = f"{path}.new{os.getpid()}"
        with open(new, "w", encoding="utf-8") as file:
            file.write(script_of(module, sys.executable, folders))
        os.chmod(new, 0o755)  # noqa: S103 - commands are for everybody
        os.rename(new, path)


def compile_package() -> bool:
    """Write the .pyc files of sources that changed, even where the environment forbids it.

    Returns: False where some could not be written; the programs then only start slower.
    """
    import compileall  # noqa: PLC0415 - the installer needs it, `run` does not

    return bool(compileall.compile_dir(os.path.join(package_folder(), "qmail"), quiet=2))


def main(argv: Sequence[str]) -> int:
    """Write the scripts into the folder that is the only argument."""
    if len(argv) != 1:
        print("usage: python -m qmail.launchers BIN_DIR", file=sys.stderr)
        return 100
    try:
        write_launchers(argv[0])
    except OSError as trouble:
        print(f"launchers: fatal: {argv[0]}: {trouble.strerror}", file=sys.stderr)
        return 111
    from qmail.bundles import write_bundles  # noqa: PLC0415 - only the installer needs it

    if not compile_package():
        print("launchers: warning: unable to write compiled files", file=sys.stderr)
    for wrong in write_bundles(QUICK, import_folders(), bundle_path):
        print(f"launchers: warning: {wrong}", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
