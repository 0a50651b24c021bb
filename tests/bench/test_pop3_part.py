"""The benchmark's part about POP3: what it gives to both servers, and what it makes of figures."""

import os
from pathlib import Path

import pytest
from tests.bench.parts import part

from qmail.core.login.passwd_line import parse_passwd_line

mailboxes = part("mailboxes")
pop3 = part("pop3")
report = part("report")


@pytest.mark.skipif(os.geteuid() == 0, reason="as root they are an account's of the benchmark")
def test_the_mailboxes_are_full_and_their_lines_are_understood(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mailboxes, "MAILBOXES", 1)
    made = mailboxes.make_mailboxes(str(tmp_path), 1.8e9)
    assert len(os.listdir(tmp_path / "box0/Maildir/cur")) == mailboxes.MESSAGES
    entry = parse_passwd_line(made.lines.strip().encode(), 1)
    assert (entry.name, entry.scheme, entry.uid) == (b"box0", "SCRAM-SHA-256", os.geteuid())


def test_the_password_is_kept_as_both_servers_read_it() -> None:
    entry = parse_passwd_line(f"box:{mailboxes.secret()}".encode(), 1)
    assert entry.keys is not None
    assert entry.keys.iterations == mailboxes.ITERATIONS


def test_a_ratio_is_taken_in_each_round() -> None:
    ours = [pop3.Reading(sessions=100, seconds=seconds, cpu_s=0.5) for seconds in (1.0, 2.0)]
    theirs = [pop3.Reading(sessions=50, seconds=1.0, cpu_s=1.0) for _ in range(2)]
    rates, ratio = report.reading_singles([ours, theirs])
    assert rates.ours == "75/s (50 to 100), 5.0 ms CPU each"
    assert rates.postfix == "Dovecot 50/s (50 to 50), 20.0 ms CPU each"
    assert ratio.ours == "1.50 (1.00 to 2.00)"


def test_without_dovecot_there_is_no_ratio() -> None:
    one = pop3.Reading(sessions=1, seconds=1.0, cpu_s=1.0)
    assert [single.postfix for single in report.reading_singles([[one]])] == [report.NONE]


def test_a_client_that_is_refused_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    assert pop3.main(["1", "nobody", "1"]) == 1
    assert "refused" in capsys.readouterr().err
