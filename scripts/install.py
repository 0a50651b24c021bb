"""make install: make .venv with the package, its dependencies and its programs; quick when done.

Runs under the interpreter that is to carry the programs; `--dev` adds what tests and checks need.
"""

import hashlib
import json
import os
import shutil
import stat
import subprocess
import sys
from collections.abc import Sequence

from places import Places, find_places

PIP_SECONDS_MAX = 900


def main(argv: Sequence[str]) -> int:
    """Bring .venv up to date. Returns 0, or 1 where a step failed; the step has said why."""
    os.umask(0o022)
    places = find_places()
    try:
        prepare(places)
        install(places, dev="--dev" in argv)
        run(places, "-m", "qmail.launchers", places.bin_folder)
        if os.geteuid() == 0:
            open_package(places)
    except (OSError, subprocess.SubprocessError) as problem:
        print(f"install: {problem}", file=sys.stderr)
        return 1
    return 0


def prepare(places: Places) -> None:
    """Make the virtual environment where there is none that works."""
    link = f"{places.checkout}/.venv"
    if places.closed:
        print(f"install: {places.closed} is closed to other accounts, so programs and home go to")
        print(f"install: {os.path.dirname(places.venv)} ({link} points there)", flush=True)
        os.makedirs(os.path.dirname(places.venv), mode=0o755, exist_ok=True)
        if not os.path.islink(link) or os.readlink(link) != places.venv:
            remove(link)
            os.symlink(places.venv, link)
    elif os.path.islink(link):
        os.unlink(link)
    if works(places):
        return
    print(f"install: making {places.venv} with {sys.executable}", flush=True)
    command = (sys.executable, "-m", "venv", "--clear", places.venv)
    subprocess.run(command, check=True, timeout=PIP_SECONDS_MAX, stdin=subprocess.DEVNULL)


def works(places: Places) -> bool:
    """Say whether the environment is there and made with the interpreter that runs this."""
    stamp, python = stamp_of(places), f"{places.bin_folder}/python"
    if stamp:
        return stamp.get("python") == interpreter() and os.access(python, os.X_OK)
    # Made by somebody else, or left half done: it will do if it can install something.
    has_pip = os.access(f"{places.bin_folder}/pip", os.X_OK) and os.access(python, os.X_OK)
    return has_pip and os.path.samefile(python, sys.executable)


def install(places: Places, *, dev: bool) -> None:
    """Install the package and its dependencies unless the stamp says that they are there."""
    stamp = stamp_of(places)
    dev = dev or bool(stamp.get("dev"))
    wanted = {
        "python": interpreter(),
        "dev": dev,
        "project": digest([f"{places.checkout}/pyproject.toml"]),
        "source": digest(sources(places)) if places.closed else "",
    }
    if stamp == wanted:
        return
    what = f"{places.checkout}[dev]" if dev else places.checkout
    print("install: installing the package and its dependencies", flush=True)
    pip = ("-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-input")
    # What an earlier build left would be packed again, also modules that are no more.
    remove(f"{places.checkout}/build")
    # A copy where the checkout is closed; else the programs run what stands in src.
    run(places, *pip, *(() if places.closed else ("-e",)), what)
    if places.closed:
        run(places, *pip, "--no-deps", "--force-reinstall", places.checkout)
    write_stamp(places, wanted)


def open_package(places: Places) -> None:
    """Let the accounts read the package: an editor or a strict umask may have closed a file."""
    opened = 0
    for folder, _, names in os.walk(f"{places.checkout}/src/qmail"):
        for path in (folder, *(f"{folder}/{name}" for name in names)):
            mode = stat.S_IMODE(os.lstat(path).st_mode)
            wanted = mode | (0o055 if path == folder else 0o044)
            if mode != wanted and not os.path.islink(path):
                os.chmod(path, wanted)
                opened += not path.endswith(".pyc")
    if opened:
        print(f"install: opened {opened} files of the package to the accounts of qmail")


def run(places: Places, *arguments: str) -> None:
    """Run the environment's interpreter."""
    environ = {**os.environ, "PIP_ROOT_USER_ACTION": "ignore"}
    for name in ("PYTHONPATH", "PYTHONDONTWRITEBYTECODE", "PYTHONHOME"):
        environ.pop(name, None)
    subprocess.run(
        (f"{places.bin_folder}/python", *arguments),
        check=True,
        timeout=PIP_SECONDS_MAX,
        stdin=subprocess.DEVNULL,
        env=environ,
    )


def interpreter() -> str:
    """Name the interpreter that runs this, so that another one makes another environment."""
    return f"{os.path.realpath(sys.executable)} {sys.version}"


def stamp_of(places: Places) -> dict[str, object]:
    """Read what the environment was made from; empty where nothing is known."""
    try:
        with open(f"{places.venv}/qmail-stamp.json", encoding="utf-8") as file:
            found = json.load(file)
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def write_stamp(places: Places, stamp: dict[str, object]) -> None:
    """Remember what the environment was made from."""
    with open(f"{places.venv}/qmail-stamp.json", "w", encoding="utf-8") as file:
        json.dump(stamp, file)


def sources(places: Places) -> list[str]:
    """List the package's files."""
    return sorted(
        os.path.join(folder, name)
        for folder, _, names in os.walk(f"{places.checkout}/src/qmail")
        for name in names
        if not name.endswith(".pyc")
    )


def digest(paths: list[str]) -> str:
    """Return one hash over the names and contents of `paths`."""
    total = hashlib.sha256()
    for path in paths:
        total.update(os.fsencode(path) + b"\0")
        with open(path, "rb") as file:
            total.update(hashlib.sha256(file.read()).digest())
    return total.hexdigest()


def remove(path: str) -> None:
    """Remove a link or a whole folder, if there is one."""
    if os.path.isdir(path) and not os.path.islink(path):
        shutil.rmtree(path)
    elif os.path.lexists(path):
        os.unlink(path)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
