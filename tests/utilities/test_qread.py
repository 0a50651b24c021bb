"""qmail-qread prints the classic lines, to the blank (spec/programs.md 4)."""

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from qmail.core.fs import FileInfo, RealFs
from qmail.core.queue.layout import Layout
from qmail.utilities import qread

BIRTH = 1_000_000_000
"""9 September 2001, 01:46:40 GMT."""


def put(home: Path, number: int, **files: bytes) -> None:
    """Write queue files of message `number`: mess, info, local, remote, bounce."""
    for folder, data in files.items():
        below = f"{folder}/{number}" if folder == "bounce" else f"{folder}/{number % 23}/{number}"
        (home / "queue" / below).write_bytes(data)
    if "info" in files:
        os.utime(home / f"queue/info/{number % 23}/{number}", (BIRTH, BIRTH))


def output(capfdbinary: pytest.CaptureFixture[bytes]) -> bytes:
    assert qread.main([]) == 0
    return capfdbinary.readouterr().out


def test_a_message_with_both_channels(
    home: Path, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    put(
        home,
        47,
        mess=b"m" * 123,
        info=b"Fjoe@example.org\0",
        local=b"Tann@here\0Dbob@here\0",
        remote=b"Tcid@there\0",
    )
    assert output(capfdbinary) == (
        b"9 Sep 2001 01:46:40 GMT  #47  123  <joe@example.org> \n"
        b"\tlocal\tann@here\n"
        b"  done\tlocal\tbob@here\n"
        b"\tremote\tcid@there\n"
    )


def test_a_bouncing_message_says_so(home: Path, capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    put(home, 5, mess=b"m", info=b"F\0", remote=b"Da@b\0", bounce=b"text")
    assert output(capfdbinary) == (
        b"9 Sep 2001 01:46:40 GMT  #5  1  <>  bouncing\n  done\tremote\ta@b\n"
    )


def test_bytes_that_do_not_print_become_underscores(
    home: Path, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    put(home, 5, mess=b"", info=b"Fa\x1b\xff\n@b\0", local=b"T\x7f\t@c\0")
    assert output(capfdbinary) == (b"9 Sep 2001 01:46:40 GMT  #5  0  <a___@b> \n\tlocal\t__@c\n")


def test_mail_that_is_not_preprocessed_is_not_listed(
    home: Path, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    put(home, 5, mess=b"m")
    (home / "queue/todo/5").write_bytes(b"u0\0p1\0Fa\0Tb\0")
    assert output(capfdbinary) == b""


def test_a_message_that_vanishes_is_left_out(
    home: Path, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    put(home, 5, info=b"Fa\0", local=b"Tb\0")
    put(home, 6, mess=b"m", info=b"Fa\0")
    assert output(capfdbinary) == b"9 Sep 2001 01:46:40 GMT  #6  1  <a> \n"


@pytest.mark.parametrize("info", [b"", b"a\0", b"Fa"])
def test_a_damaged_message_is_told_and_the_rest_listed(
    home: Path, capfdbinary: pytest.CaptureFixture[bytes], info: bytes
) -> None:
    put(home, 5, mess=b"m", info=info)
    put(home, 6, mess=b"m", info=b"Fa\0", local=b"Xb\0")
    put(home, 7, mess=b"m", info=b"Fa\0")
    lines = output(capfdbinary).splitlines()
    assert lines[0] == b"warning: trouble with #5: unknown record type in info"
    assert lines[1] == b"warning: trouble with #6: unknown record type in local"
    assert lines[2].endswith(b"#7  1  <a> ")


class VanishingFs(RealFs):
    """A queue in which the message is delivered after `calls` more looks at its files."""

    def __init__(self, root: str, victim: Path, calls: int) -> None:
        super().__init__(root)
        self._victim = victim
        self._calls = calls

    def _count(self) -> None:
        self._calls -= 1
        if self._calls == 0:
            self._victim.unlink()

    def info(self, path: str) -> FileInfo | None:
        self._count()
        return super().info(path)

    def read(self, path: str, bytes_max: int) -> bytes:
        self._count()
        return super().read(path, bytes_max)


@pytest.mark.parametrize("calls", range(1, 7))
@pytest.mark.parametrize("folder", ["info", "mess", "local"])
def test_files_may_vanish_between_any_two_steps(home: Path, calls: int, folder: str) -> None:
    put(home, 5, mess=b"m", info=b"Fa\0", local=b"Tb\0")
    fs = VanishingFs(str(home / "queue"), home / f"queue/{folder}/5/5", calls)
    lines = b"".join(qread.listing(fs, Layout())).splitlines()
    assert lines in (
        [],
        [b"9 Sep 2001 01:46:40 GMT  #5  1  <a> "],
        [b"9 Sep 2001 01:46:40 GMT  #5  1  <a> ", b"\tlocal\tb"],
    )


@settings(
    max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(info=st.binary(max_size=40), records=st.binary(max_size=60))
def test_whatever_stands_in_the_files_each_message_gets_its_lines(
    home: Path, info: bytes, records: bytes
) -> None:
    put(home, 5, mess=b"m", info=info, local=records)
    text = b"".join(qread.listing(RealFs(str(home / "queue")), Layout()))
    assert text.endswith(b"\n")
    assert b"#5" in text
    assert all(32 <= byte < 127 or byte in b"\t\n" for byte in text)


def test_without_a_queue_it_ends_with_111(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("QMAIL_HOME", str(tmp_path))
    assert qread.main([]) == 111
    assert "No such file" in capsys.readouterr().err
