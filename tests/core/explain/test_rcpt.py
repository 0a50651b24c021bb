"""What `qmail explain` says of RCPT (spec/control-files.md 4.4, spec/smtp.md A.4)."""

from pathlib import Path
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qmail.core.cdb import CdbFile, write_cdb
from qmail.core.explain.explanation import Part, Question
from qmail.core.explain.rcpt import RcptSources, answered, explain_rcpt
from qmail.protocol.exits import Exit
from qmail.protocol.verify_door import Verdict

FILES: Final = {
    "me": b"mx.here.example\n",
    "rcpthosts": b"here.example\n.w.example\n",
    "relayclients": b"192.0.2.0/24\n2001:db8::/32\n",
}
NO_MORE: Final = CdbFile("/nonexistent/cdb")


def said(part: Part) -> list[tuple[str, str]]:
    return [(step.where, step.text) for step in part.steps]


def rcpt(
    address: bytes,
    client: str = "",
    files: dict[str, bytes] | None = None,
    verdict: Verdict | None = Verdict.KNOWN,
    more_hosts: CdbFile = NO_MORE,
) -> Part:
    read_file = (FILES if files is None else files).get
    question = Question(address, b"")
    sources = RcptSources(read_file, lambda: frozenset({"192.0.2.1"}), more_hosts)
    return answered(explain_rcpt(question, client, sources), question, verdict)


@pytest.mark.parametrize(
    ("address", "where", "text"),
    [
        (b"joe@Here.Example", "control/rcpthosts:1", "here.example is accepted"),
        (b"joe@a.w.example", "control/rcpthosts:2", ".w.example is accepted"),
        (
            b"joe@a.far.example",
            "control/rcpthosts",
            "no entry for a.far.example, .far.example, .example",
        ),
    ],
)
def test_control_files_4_4_the_entry_that_takes_it_is_named(
    address: bytes, where: str, text: str
) -> None:
    assert said(rcpt(address))[0] == (where, text)


def test_control_files_4_4_the_answer_is_the_servers_own() -> None:
    assert said(rcpt(b"joe@here.example"))[-1] == ("", "RCPT is answered 250 2.1.5 ok")
    assert rcpt(b"joe@here.example").verdict is Exit.OK
    refused = rcpt(b"joe@far.example")
    assert refused.verdict is Exit.PERMANENT
    assert refused.steps[-1].text.startswith("RCPT is answered 553 5.7.1")


@pytest.mark.parametrize(
    ("address", "answer"),
    [
        ("jö@here.example".encode(), "553 5.6.7"),
        (b"a\rb@here.example", "501 5.1.3"),
        (b"a b@here.example", "250"),
        (b"", "553 5.1.3"),
    ],
)
def test_rfc5321_4_1_2_an_address_that_no_command_can_carry(address: bytes, answer: str) -> None:
    assert rcpt(address).steps[-1].text.startswith(f"RCPT is answered {answer}")


def test_without_rcpthosts_no_domain_is_taken() -> None:
    part = rcpt(b"joe@here.example", files={"me": b"mx.here.example"})
    assert said(part)[0] == ("control/rcpthosts", "not there: mail is taken for no domain")
    assert part.verdict is Exit.PERMANENT


@pytest.mark.parametrize("client", ["192.0.2.77", "::ffff:192.0.2.77", "2001:db8::7"])
def test_a_client_of_relayclients_may_send_anywhere(client: str) -> None:
    part = rcpt(b"joe@far.example", client)
    line = 2 if client.startswith("2001") else 1
    assert said(part)[0] == (f"control/relayclients:{line}", f"{client} may send to any domain")
    assert part.verdict is Exit.OK


def test_another_client_may_not() -> None:
    part = rcpt(b"joe@far.example", "198.51.100.1")
    assert said(part)[0][0] == "control/relayclients"
    assert part.verdict is Exit.PERMANENT


def test_an_address_of_this_host_in_brackets_is_queued_for_localiphost() -> None:
    files = FILES | {"localiphost": b"here.example\n"}
    part = rcpt(b"joe@[192.0.2.1]", files=files)
    assert part.facts == (b"joe@here.example",)
    assert part.steps[-1].text.endswith("and queued for joe@here.example")


def test_without_a_name_to_greet_with_there_is_no_telling() -> None:
    part = rcpt(b"joe@here.example", files={})
    assert part.verdict is Exit.TEMPORARY
    assert part.steps[0].where == "control/smtpgreeting:1"


@pytest.mark.parametrize(
    ("verdict", "word", "outcome", "code"),
    [
        (Verdict.KNOWN, b"defer", Exit.OK, "250"),
        (Verdict.UNKNOWN, b"defer", Exit.PERMANENT, "550 5.1.1"),
        (Verdict.UNSURE, b"defer", Exit.TEMPORARY, "451"),
        (Verdict.UNSURE, b"accept", Exit.OK, "250"),
        (Verdict.UNKNOWN, b"off", Exit.OK, "250"),
    ],
)
def test_an_unknown_recipient_is_refused_as_verifyrcpt_says(
    verdict: Verdict, word: bytes, outcome: Exit, code: str
) -> None:
    part = rcpt(b"joe@here.example", files=FILES | {"verifyrcpt": word}, verdict=verdict)
    assert part.verdict is outcome
    assert part.steps[-1].text.startswith(f"RCPT is answered {code}")
    assert ("control/verifyrcpt:1" in dict(said(part))) == (word != b"off")


def test_of_a_mailbox_that_was_not_looked_for_the_answer_has_an_if() -> None:
    part = rcpt(b"joe@here.example", verdict=None)
    assert part.steps[-1].text == "RCPT is answered 250 2.1.5 ok, if there is such a mailbox"


@given(address=st.binary(max_size=40), client=st.sampled_from(["", "192.0.2.7", "::1"]))
def test_whatever_the_address_there_is_an_answer(address: bytes, client: str) -> None:
    part = rcpt(address, client)
    assert part.steps[-1].text.startswith("RCPT is answered ")
    assert Part.unpack(part.pack()) == part


# --- morercpthosts.cdb --------------------------------------------------------------------------

MORE: Final = b"# more\nmany.example\n.wild.example\n"


@pytest.fixture
def more(tmp_path: Path) -> CdbFile:
    """control/morercpthosts.cdb of MORE."""
    path = str(tmp_path / "morercpthosts.cdb")
    write_cdb(path, f"{path}.tmp", [(b"many.example", b""), (b".wild.example", b"")])
    return CdbFile(path)


@pytest.mark.parametrize(
    ("address", "line", "key"),
    [(b"a@Many.example", 2, "many.example"), (b"a@b.wild.example", 3, ".wild.example")],
)
def test_control_files_4_4_what_rcpthosts_does_not_have_the_cdb_may_have(
    more: CdbFile, address: bytes, line: int, key: str
) -> None:
    part = rcpt(address, files=FILES | {"morercpthosts": MORE}, more_hosts=more)
    assert part.verdict is Exit.OK
    assert said(part)[0][0] == "control/rcpthosts"
    assert said(part)[1] == (f"control/morercpthosts:{line}", f"{key} is accepted")


@pytest.mark.parametrize("text", [None, b"other.example\n", b"a b\n"])
def test_a_morercpthosts_that_differs_is_told(more: CdbFile, text: bytes | None) -> None:
    files = FILES if text is None else FILES | {"morercpthosts": text}
    step = said(rcpt(b"a@many.example", files=files, more_hosts=more))[1]
    assert step[0] == "control/morercpthosts.cdb"
    assert step[1].endswith("run qmail-newmrh")


def test_control_files_4_4_what_neither_has_is_refused(more: CdbFile) -> None:
    part = rcpt(b"a@far.example", more_hosts=more)
    assert part.verdict is Exit.PERMANENT
    assert said(part)[1] == ("control/morercpthosts.cdb", "no entry either")


def test_control_files_4_4_the_cdb_counts_only_beside_rcpthosts(more: CdbFile) -> None:
    part = rcpt(b"a@many.example", files={"me": b"mx.here.example\n"}, more_hosts=more)
    assert part.verdict is Exit.PERMANENT
    assert all("morercpthosts" not in where for where, _ in said(part))


def test_control_files_4_4_a_damaged_cdb_is_trouble(tmp_path: Path) -> None:
    path = tmp_path / "morercpthosts.cdb"
    path.write_bytes(b"x")
    part = rcpt(b"a@many.example", more_hosts=CdbFile(str(path)))
    assert part.verdict is Exit.TEMPORARY
    assert said(part)[1][0] == "control/morercpthosts.cdb"
    assert part.steps[-1].text.startswith("RCPT is answered 421")
