"""Who may relay, and which recipients are taken."""

import ipaddress
from pathlib import Path

import pytest

from qmail.core.cdb import CdbFile, write_cdb
from qmail.core.settings.controls import ControlError
from qmail.core.smtp.policy import SmtpPolicy, read_policy
from qmail.core.smtp.relay import Recipients, Refusal, RelayClients, more_hosts_of
from qmail.mail import ADDRESS_BYTES_MAX
from qmail.protocol.smtp_server import MailFrom, RcptTo
from qmail.protocol.verify_door import Verdict

OURS = frozenset({b"test.example", b".sub.example"})


def own_addresses() -> frozenset[str]:
    return frozenset({"192.0.2.1", "2001:db8::1"})


def recipients(rcpthosts: frozenset[bytes] = OURS) -> Recipients:
    return Recipients(rcpthosts, b"here.example", own_addresses)


def policy(files: dict[str, bytes], environ: dict[str, str] | None = None) -> SmtpPolicy:
    return read_policy({"me": b"mx.example\n", **files}.get, environ or {}, own_addresses)


@pytest.mark.parametrize(
    "address", [b"a@test.example", b"a@TEST.Example", b"a@x.sub.example", b"a@b@x.y.sub.example"]
)
def test_control_files_4_4_a_listed_domain_is_taken(address: bytes) -> None:
    assert recipients().judge(address, None) == address


@pytest.mark.parametrize(
    "address",
    [b"a@other.example", b"a@sub.example", b"a@x.test.example", b"a@test.example.", b"a@example",
     b"a@", b"a@test.example@other.example", b"a%other.example@b.example"],
)  # fmt: skip
def test_control_files_4_4_any_other_domain_is_refused(address: bytes) -> None:
    assert recipients().judge(address, None) is Refusal.NOT_OURS


def test_issue_2_a_missing_rcpthosts_closes() -> None:
    reply, _ = policy({}).judge(RcptTo(b"a@mx.example"), None)
    assert (reply.code, reply.enhanced) == (553, b"5.7.1")


def test_an_empty_rcpthosts_refuses_every_domain() -> None:
    reply, _ = policy({"rcpthosts": b""}).judge(RcptTo(b"a@mx.example"), None)
    assert reply.code == 553


def test_oddities_2_an_address_without_domain_is_taken_for_postmaster_only() -> None:
    assert recipients().judge(b"PostMaster", None) == b"PostMaster"
    assert recipients().judge(b"joe", None) is Refusal.NO_DOMAIN


@pytest.mark.parametrize("address", [b"", b"@test.example"])
@pytest.mark.parametrize("suffix", [None, b"", b".x"])
def test_oddities_2_an_empty_recipient_is_refused(address: bytes, suffix: bytes | None) -> None:
    assert recipients().judge(address, suffix) is Refusal.EMPTY


def test_control_files_4_4_relayclient_opens_and_its_value_is_appended() -> None:
    assert recipients().judge(b"a@other.example", b"") == b"a@other.example"
    assert recipients().judge(b"a@other.example", b".fixme") == b"a@other.example.fixme"
    assert recipients().judge(b"joe", b"") == b"joe"


def test_an_address_made_too_long_by_relayclient_is_refused() -> None:
    address = b"a" * (ADDRESS_BYTES_MAX - 2) + b"@b"
    assert recipients().judge(address, b"") == address
    assert recipients().judge(address, b"x") is Refusal.TOO_LONG


@pytest.mark.parametrize(
    ("address", "found"),
    [
        (b"a@[192.0.2.1]", b"a@here.example"),
        (b"a@[IPv6:2001:DB8::1]", b"a@here.example"),
        (b"a@[192.0.2.2]", b"a@[192.0.2.2]"),
        (b"a@[nonsense]", b"a@[nonsense]"),
        (b"a@x[192.0.2.1]", b"a@x[192.0.2.1]"),
        (b"[192.0.2.1]", b"[192.0.2.1]"),
        (b"a@\xff]", b"a@\xff]"),
    ],
)
def test_smtp_a4_localiphost_replaces_an_address_of_this_host(address: bytes, found: bytes) -> None:
    assert recipients().localised(address) == found
    assert recipients().judge(address, b"") == found


def test_an_address_literal_of_this_host_is_judged_as_localiphost() -> None:
    ours = recipients(frozenset({b"here.example"}))
    assert ours.judge(b"a@[192.0.2.1]", None) == b"a@here.example"
    assert ours.judge(b"a@[192.0.2.2]", None) is Refusal.NOT_OURS


def test_relayclients_are_addresses_and_networks() -> None:
    networks = ("10.0.0.0/8", "192.0.2.7/32", "2001:db8:1::/48")
    clients = RelayClients(ipaddress.ip_network(text) for text in networks)
    for ip in ("10.1.2.3", "192.0.2.7", "2001:db8:1::5", "::ffff:10.1.2.3"):
        assert clients.may_relay(ip)
        assert clients.may_relay(ip)
    for ip in ("11.1.2.3", "192.0.2.8", "2001:db8:2::5", "::ffff:11.1.2.3", "", "unknown"):
        assert not clients.may_relay(ip)


def test_nobody_may_relay_by_default() -> None:
    assert not policy({}).clients.may_relay("127.0.0.1")


def test_the_memory_for_clients_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("qmail.core.smtp.relay.CLIENTS_KEPT_MAX", 4)
    clients = RelayClients([ipaddress.ip_network("10.0.0.0/8")])
    assert all(clients.may_relay(f"10.0.0.{last}") for last in range(20))
    assert len(clients._known) <= 4


def test_the_policy_answers_mail_with_the_sender_to_keep() -> None:
    reply, sender = policy({"localiphost": b"here.example\n"}).judge(
        MailFrom(b"a@[192.0.2.1]"), None
    )
    assert (reply.code, sender) == (250, b"a@here.example")


def test_smtpgreeting_defaults_to_me_and_one_of_them_is_needed() -> None:
    assert policy({}).session_settings.greeting.text == b"mx.example ESMTP"
    greeting = policy({"smtpgreeting": b"mail.example hello\n"}).session_settings.greeting.text
    assert greeting == b"mail.example hello ESMTP"
    with pytest.raises(ControlError, match="control/smtpgreeting:1: "):
        read_policy(lambda _name: None, {}, own_addresses)


@pytest.mark.parametrize(
    ("environ", "databytes"),
    [(None, 500), ("100", 100), ("", 0), ("x", 0), ("70k", 70), ("99999999999999", 4294967294)],
)
def test_control_files_4_2_databytes_of_the_environment_wins(
    environ: str | None, databytes: int
) -> None:
    variables = {} if environ is None else {"DATABYTES": environ}
    found = policy({"databytes": b"500\n"}, variables).session_settings.databytes
    assert found == databytes


@pytest.mark.parametrize("word", ["defer", "accept", "off"])
@pytest.mark.parametrize("suffix", [None, b"", b"@relay.example"])
def test_only_an_unknown_recipient_is_refused_for_good(word: str, suffix: bytes | None) -> None:
    rules = policy({"verifyrcpt": word.encode()})
    codes = {verdict: rules.verified(verdict, suffix).code for verdict in Verdict}
    unsure = 451 if (word, suffix) in (("defer", None), ("off", None)) else 250
    assert codes == {Verdict.KNOWN: 250, Verdict.UNKNOWN: 550, Verdict.UNSURE: unsure}


def test_off_in_verifyrcpt_verifies_nobody() -> None:
    assert not policy({"verifyrcpt": b"off\n"}).verifies
    assert policy({}).verifies


def test_control_files_3_a_timeout_of_0_becomes_1() -> None:
    assert policy({"timeoutsmtpd": b"0\n"}).timeout_s == 1


def test_a_bad_line_names_file_and_line() -> None:
    with pytest.raises(ControlError, match="control/relayclients:2: "):
        policy({"relayclients": b"10.0.0.0/8\n10.0.0.300\n"})


# --- morercpthosts.cdb (spec/control-files.md 4.4) ------------------------------------------------


def more_hosts(tmp_path: Path, *domains: bytes) -> CdbFile:
    (tmp_path / "control").mkdir(exist_ok=True)
    path = str(tmp_path / "control/morercpthosts.cdb")
    write_cdb(path, f"{path}.tmp", [(domain, b"") for domain in domains])
    return more_hosts_of(str(tmp_path))


def with_more(more: CdbFile, files: dict[str, bytes]) -> SmtpPolicy:
    return read_policy({"me": b"mx.example\n", **files}.get, {}, own_addresses, more)


def code(rules: SmtpPolicy, recipient: bytes) -> int:
    return rules.judge(RcptTo(recipient), None)[0].code


def test_control_files_4_4_the_cdb_is_asked_after_rcpthosts_for_the_same_keys(
    tmp_path: Path,
) -> None:
    more = more_hosts(tmp_path, b"more.example", b".deep.example", b"")
    rules = with_more(more, {"rcpthosts": b"a.example\n"})
    for taken in (b"x@a.example", b"x@More.EXAMPLE", b"x@y.z.deep.example"):
        assert code(rules, taken) == 250
    for refused in (b"x@deep.example", b"x@y.more.example", b"x@other.example", b"x@"):
        assert code(rules, refused) == 553


def test_control_files_4_4_the_cdb_counts_only_where_rcpthosts_is_there(tmp_path: Path) -> None:
    more = more_hosts(tmp_path, b"more.example")
    assert code(with_more(more, {}), b"x@more.example") == 553
    assert code(with_more(more, {"rcpthosts": b""}), b"x@more.example") == 250


def test_control_files_4_4_a_cdb_that_can_not_be_read_is_421(tmp_path: Path) -> None:
    more = more_hosts(tmp_path, b"more.example")
    rules = with_more(more, {"rcpthosts": b"a.example\n"})
    (tmp_path / "control/morercpthosts.cdb").write_bytes(b"short")
    assert code(rules, b"x@more.example") == 421
    assert code(rules, b"x@a.example") == 250
    assert rules.judge(RcptTo(b"x@more.example"), b"")[0].code == 250


def test_a_new_cdb_is_seen_at_the_next_recipient(tmp_path: Path) -> None:
    rules = with_more(more_hosts_of(str(tmp_path)), {"rcpthosts": b"a.example\n"})
    assert code(rules, b"x@more.example") == 553
    more_hosts(tmp_path, b"more.example")
    assert code(rules, b"x@more.example") == 250
    more_hosts(tmp_path, b"less.example")
    assert code(rules, b"x@more.example") == 553
    (tmp_path / "control/morercpthosts.cdb").unlink()
    assert code(rules, b"x@less.example") == 553
