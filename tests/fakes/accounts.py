"""Accounts of the machine that a test makes and removes. Needs root."""

import os
import pwd
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest


def own_name(stem: str) -> str:
    """Return a name that no other run has taken, nor left behind where it was killed."""
    return f"{stem}{os.getpid()}"


@contextmanager
def account(name: str, home: Path, *options: str) -> Iterator[pwd.struct_passwd]:
    """Make an account, its home being only a name; skipped aloud where there can be none."""
    if os.geteuid() != 0 or shutil.which("useradd") is None:
        pytest.skip("needs root, and useradd")
    command = ["useradd", "--no-log-init", "--no-create-home", "--home-dir", str(home), *options]
    done = subprocess.run([*command, name], check=False, capture_output=True, text=True)
    if done.returncode != 0:
        pytest.skip(f"no account can be made here: {done.stderr.strip()}")
    try:
        yield pwd.getpwnam(name)
    finally:
        subprocess.run(["userdel", name], check=True, capture_output=True)


def set_password(name: str, hashed: str) -> None:
    """Give an account a password, hashed as the machine does it; skipped aloud without the tool."""
    if shutil.which("chpasswd") is None:
        pytest.skip("chpasswd is not installed")
    subprocess.run(["chpasswd", "-e"], input=f"{name}:{hashed}\n", text=True, check=True)
