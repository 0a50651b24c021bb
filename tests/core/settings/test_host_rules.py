"""Rules for host names (spec/inject.md 9), and the names of ofmipd's users."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qmail.core.cdb import Cdb, CdbError, write_cdb
from qmail.core.inject.ofmip_names import BadNameError, Person, look_up, read_names
from qmail.core.inject.rewriting import Hosts, Rewriter, envelope_address
from qmail.core.settings.host_rules import (
    Rules,
    default_rules,
    parse_rules,
    read_own_rules,
    read_rewriting,
)
from qmail.core.settings.lines import ControlError, split_lines
from qmail.protocol.address_list import addresses, parse_list

HOSTS = Hosts(b"dh.ex", b"dd.ex", b"pd.ex", b"id")


def rules(text: bytes) -> Rules:
    return Rules(parse_rules("rewrite", split_lines(text)))


@pytest.mark.parametrize(
    ("rule", "host", "after"),
    [
        (b"=h.ex:new", b"H.ex", b"new"),
        (b"=h.ex:new", b"a.h.ex", b"a.h.ex"),
        (b"=:new", b"", b"new"),
        (b"*.h:.new", b"a.H", b"a.new"),
        (b"*:x", b"a", b"ax"),
        (b"?.h:.new", b"a.h", b"a.new"),
        (b"?.h:.new", b"a.b.h", b"a.b.h"),
        (b"?:.new", b"[1]", b"[1]"),
        (b"-.h:new", b"a.b.h", b"new"),
        (b"-h:", b"ah", b""),
        (b"*a:b:c", b"a", b"b:c"),
    ],
)
def test_a_rule_does_what_its_first_byte_says(rule: bytes, host: bytes, after: bytes) -> None:
    assert rules(rule + b"\n").host(host) == after


def test_each_rule_counts_once_and_in_order() -> None:
    found = rules(b"*a:b\n# no rule\n\n*b:a\n*a:aa\n")
    assert found.host(b"xa") == b"xaa"


@pytest.mark.parametrize("line", [b"a:b", b"=ab", b"+a:b", b" =a:b", b"=a:b\x01", b"*\xffa"])
def test_another_line_is_told_with_its_number(line: bytes) -> None:
    with pytest.raises(ControlError, match=r"^control/rewrite:2: "):
        rules(b"=a:b\n" + line + b"\n")


@given(
    local=st.sampled_from([b"a", b"b.c"]),
    host=st.sampled_from([b"", b"@c", b"@e+", b"@e.f+", b"@[1.2.3.4]", b"@w.", b"@d.ex", b"@"]),
)
def test_without_a_file_addresses_become_what_qmail_inject_makes_of_them(
    local: bytes, host: bytes
) -> None:
    (address,) = addresses(parse_list(local + host))
    theirs = envelope_address(Rewriter(HOSTS).rewrite(address))
    assert default_rules(HOSTS).address(local + host) == theirs


def test_the_empty_address_stays_empty_and_the_last_sign_counts() -> None:
    found = rules(b"=h:new\n")
    assert [found.address(text) for text in (b"", b"@", b"a@b@h", b"@h")] == [
        b"", b"", b"a@b@new", b"@new",
    ]  # fmt: skip


def test_a_file_of_ones_own_comes_first(tmp_path: Path) -> None:
    own = tmp_path / "own"
    environ = {b"QMAILREWRITEFILE": bytes(own), b"QMAILIDHOST": b"h"}
    assert read_own_rules({}) is None
    assert read_own_rules(environ) is None
    own.write_bytes(b"=h:own\n")
    files = {"rewrite": b"=h:control\n", "me": b"me.ex\n"}
    found = read_rewriting(environ, files.get, read_own_rules(environ))
    assert (found.rules.host(b"h"), found.idhost) == (b"own", b"own")
    assert read_rewriting(environ, files.get).rules.host(b"h") == b"control"
    del files["rewrite"]
    assert read_rewriting(environ, files.get).idhost == b"h.me.ex"
    own.write_bytes(b"x\n")
    with pytest.raises(ControlError, match=r"/own:1: \"x\" is not "):
        read_own_rules(environ)


# --- names of ofmipd's users --------------------------------------------------------------------


def test_names_are_looked_up(tmp_path: Path) -> None:
    text = b"# comment\n\njoe@h.ex:Joe S:j.s@corp.ex:\nann@h.ex::x@y:more\njoe@h.ex:2:3:\n"
    path = str(tmp_path / "names")
    write_cdb(path, path + ".tmp", read_names(text))
    with Cdb(path) as table:
        assert look_up(table, b"joe@h.ex") == Person(b"j.s@corp.ex", b"Joe S")
        assert look_up(table, b"ann@h.ex") == Person(b"x@y", b"")
        assert look_up(table, b"bea@h.ex") == Person(b"bea@h.ex", None)
    assert look_up(None, b"joe@h.ex") == Person(b"joe@h.ex", None)


def test_a_table_of_another_kind_is_told(tmp_path: Path) -> None:
    path = str(tmp_path / "names")
    write_cdb(path, path + ".tmp", [(b"joe", b"no NUL")])
    with Cdb(path) as table, pytest.raises(CdbError, match="ofmipname"):
        look_up(table, b"joe")


@pytest.mark.parametrize("line", [b"joe", b"joe:x:y", b"a:b\x01:c:", b"a\0:b:c:"])
def test_another_line_is_refused_with_its_number(line: bytes) -> None:
    with pytest.raises(BadNameError, match=r"^input:2: "):
        read_names(b"a:b:c:\n" + line + b"\n")
