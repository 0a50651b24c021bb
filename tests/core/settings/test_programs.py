"""Every control file of every program: good lines, bad lines, defaults."""

import contextlib
import ipaddress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qmail.core.settings.controls import ControlError, load, split_lines
from qmail.core.settings.controls import settings as settings_of
from qmail.core.settings.programs import (
    PROGRAM_CONTROLS,
    BounceFormat,
    InjectControls,
    Listener,
    RemoteControls,
    Route,
    SendControls,
    SmtpdControls,
    StartControls,
    Verify,
    parse_bounce_format,
    parse_listeners,
    parse_networks,
    parse_routes,
    parse_user,
    parse_virtualdomains,
)


def no_files(_name: str) -> bytes | None:
    return None


def only_me(name: str) -> bytes | None:
    return b"host.ex\n" if name == "me" else None


# --- listeners ------------------------------------------------------------------------------------


def test_listeners_are_a_service_and_an_address_a_line() -> None:
    raw = (
        b"# in\nsmtp 0.0.0.0:25\n\nsmtp\t127.0.0.1:2525 \nsmtp [::]:25\nsmtp [2001:DB8::1]:65535\n"
    )
    assert parse_listeners("listeners", split_lines(raw)) == (
        Listener("smtp", "0.0.0.0", 25),
        Listener("smtp", "127.0.0.1", 2525),
        Listener("smtp", "::", 25),
        Listener("smtp", "2001:db8::1", 65535),
    )


def test_listeners_know_which_address_is_ipv6() -> None:
    v4, v6 = parse_listeners("listeners", split_lines(b"smtp 1.2.3.4:1\nsmtp [::1]:1"))
    assert (v4.is_ipv6, v6.is_ipv6) == (False, True)


@pytest.mark.parametrize(
    ("line", "wrong"),
    [
        (b"smtp", "SERVICE HOST:PORT"),
        (b"smtp 127.0.0.1:25 x", "SERVICE HOST:PORT"),
        (b"gopher 127.0.0.1:70", "SERVICE HOST:PORT"),
        (b"SMTP 127.0.0.1:25", "SERVICE HOST:PORT"),
        (b"smtp localhost:25", "not an IP address"),
        (b"smtp 127.0.0.256:25", "not an IP address"),
        (b"smtp 127.0.0.1", "not an IP address"),
        (b"smtp :25", "not an IP address"),
        (b"smtp ::1:25", "in brackets"),
        (b"smtp [127.0.0.1]:25", "in brackets"),
        (b"smtp 127.0.0.1:0", "not a port"),
        (b"smtp 127.0.0.1:65536", "not a port"),
        (b"smtp 127.0.0.1:", "not a port"),
        (b"smtp 127.0.0.1:+25", "not a port"),
        (b"smtp 127.0.0.1:2_5", "not a port"),
        (b"smtp 127.0.0.1:" + b"9" * 5000, "not a port"),
        (b"smtp 127.0.0.1:\xb2", "not a port"),
    ],
)
def test_a_bad_listener_is_refused_with_file_line_and_reason(line: bytes, wrong: str) -> None:
    with pytest.raises(ControlError, match=r"^control/listeners:2: ") as caught:
        parse_listeners("listeners", split_lines(b"smtp 127.0.0.1:25\n" + line + b"\n"))
    assert wrong in str(caught.value)


def test_a_listener_that_stands_twice_is_refused() -> None:
    with pytest.raises(ControlError, match="twice"):
        parse_listeners("listeners", split_lines(b"smtp 127.0.0.1:25\nsmtp 127.0.0.1:25"))


def test_design_without_the_file_smtp_listens_on_the_loopback_only() -> None:
    assert load(StartControls, no_files).listeners == (Listener("smtp", "127.0.0.1", 25),)


# --- networks, routes, virtual domains ------------------------------------------------------------


def test_networks_are_addresses_or_networks_of_both_families() -> None:
    assert parse_networks("n", split_lines(b"10.0.0.0/8\n192.0.2.1\n2001:db8::/32\n::1 \n")) == (
        ipaddress.ip_network("10.0.0.0/8"),
        ipaddress.ip_network("192.0.2.1/32"),
        ipaddress.ip_network("2001:db8::/32"),
        ipaddress.ip_network("::1/128"),
    )


@pytest.mark.parametrize("line", [b"10.0.0.1/8", b"10.0.0", b"host.ex", b"1.2.3.4/33", b"\xff"])
def test_a_bad_network_is_refused_with_file_and_line(line: bytes) -> None:
    with pytest.raises(ControlError, match=r"^control/relayclients:2: "):
        parse_networks("relayclients", split_lines(b"#\n" + line))


def test_control_files_4_5_routes_have_a_relay_a_port_or_neither() -> None:
    raw = b"A.ex:relay.ex\n.b.ex:1.2.3.4:26\nc.ex:\nd.ex::27\n:[2001:db8::1]:2525\ne.ex:[1.2.3.4]\n"
    assert parse_routes("smtproutes", split_lines(raw)) == {
        b"a.ex": Route(b"relay.ex", 25),
        b".b.ex": Route(b"1.2.3.4", 26),
        b"c.ex": Route(b"", 25),
        b"d.ex": Route(b"", 27),
        b"": Route(b"[2001:db8::1]", 2525),
        b"e.ex": Route(b"[1.2.3.4]", 25),
    }


@pytest.mark.parametrize(
    ("line", "wrong"),
    [
        (b"a.ex", "no colon"),
        (b"a.ex:relay:", "not a port"),
        (b"a.ex:relay:smtp", "not a port"),
        (b"a.ex:relay:0", "not a port"),
        (b"a.ex:relay:70000", "not a port"),
        (b"a.ex:relay:" + b"1" * 5000, "not a port"),
        (b"a.ex:relay:25:26", "not a port"),
        (b"a.ex:re lay", "not a host"),
        (b"a.ex:caf\xe9", "not a host"),
        (b"a.ex:[::1", "no closing bracket"),
        (b"a.ex:[::1]25", "no closing bracket"),
    ],
)
def test_a_bad_route_is_refused_with_file_line_and_reason(line: bytes, wrong: str) -> None:
    with pytest.raises(ControlError, match=r"^control/smtproutes:1: ") as caught:
        parse_routes("smtproutes", split_lines(line))
    assert wrong in str(caught.value)


def test_control_files_4_6_virtual_domains_are_addresses_domains_suffixes_or_everything() -> None:
    raw = b"Info@a.ex:joe\nv.ex:joe-v\n.w.ex:joe-w\ns.w.ex:\n:rest\n"
    assert parse_virtualdomains("virtualdomains", split_lines(raw)) == {
        b"info@a.ex": b"joe",
        b"v.ex": b"joe-v",
        b".w.ex": b"joe-w",
        b"s.w.ex": b"",
        b"": b"rest",
    }


@pytest.mark.parametrize("line", [b"v.ex", b"v ex:joe", b" v.ex:joe", b"v.ex:j\x01", b"v.ex:j\0"])
def test_a_bad_virtual_domain_is_refused_with_file_and_line(line: bytes) -> None:
    with pytest.raises(ControlError, match=r"^control/virtualdomains:2: "):
        parse_virtualdomains("virtualdomains", split_lines(b"a.ex:joe\n" + line))


def test_a_prepend_longer_than_an_address_may_be_is_refused() -> None:
    parse_virtualdomains("virtualdomains", split_lines(b"v.ex:" + b"j" * 1002))
    with pytest.raises(ControlError, match="too long"):
        parse_virtualdomains("virtualdomains", split_lines(b"v.ex:" + b"j" * 1003))


# --- the programs ---------------------------------------------------------------------------------


def test_control_files_3_defaults_of_qmail_send() -> None:
    found = load(SendControls, only_me)
    assert (found.concurrencylocal, found.concurrencyremote, found.queuelifetime) == (
        10,
        20,
        604800,
    )
    assert (found.bouncefrom, found.doublebounceto) == (b"MAILER-DAEMON", b"postmaster")
    assert (found.bouncehost, found.doublebouncehost, found.envnoathost) == (b"host.ex",) * 3
    assert found.locals == frozenset((b"host.ex",))
    assert (found.virtualdomains, found.percenthack) == ({}, frozenset())


def test_control_files_3_defaults_of_qmail_smtpd() -> None:
    found = load(SmtpdControls, only_me)
    assert (found.smtpgreeting, found.localiphost, found.databytes) == (b"host.ex", b"host.ex", 0)
    assert found.timeoutsmtpd == 1200


def test_a_missing_rcpthosts_closes_and_does_not_open() -> None:
    found = load(SmtpdControls, only_me)
    assert (found.rcpthosts, found.relayclients) == (frozenset(), ())


def test_control_files_3_defaults_of_qmail_remote() -> None:
    found = load(RemoteControls, only_me)
    assert (found.helohost, found.smtproutes) == (b"host.ex", {})
    assert (found.timeoutconnect, found.timeoutremote) == (60, 1200)


def test_control_files_3_defaults_of_qmail_inject_without_me_are_their_own_names() -> None:
    found = load(InjectControls, no_files)
    assert (found.defaulthost, found.defaultdomain) == (b"defaulthost", b"defaultdomain")
    assert (found.plusdomain, found.idhost) == (b"plusdomain", b"idhost")
    assert load(InjectControls, only_me).idhost == b"host.ex"


@pytest.mark.parametrize("program", PROGRAM_CONTROLS)
def test_every_setting_of_every_program_has_a_sentence(program: str) -> None:
    for setting in settings_of(PROGRAM_CONTROLS[program]):
        assert setting.doc.endswith(".")
        assert setting.kind in ("line", "integer", "list")


@pytest.mark.parametrize("program", PROGRAM_CONTROLS)
@settings(max_examples=50)
@given(raw=st.binary(max_size=60))
def test_no_control_file_raises_anything_but_control_error(program: str, raw: bytes) -> None:
    for setting in settings_of(PROGRAM_CONTROLS[program]):
        with contextlib.suppress(ControlError):
            setting.parse(setting.name, split_lines(raw))


@pytest.mark.parametrize("word", list(Verify))
def test_verifyrcpt_is_one_of_three_words(word: Verify) -> None:
    files = {"verifyrcpt": f"{word}\n".encode(), "me": b"host.ex\n"}
    assert load(SmtpdControls, files.get).verifyrcpt is word


def test_without_verifyrcpt_recipients_are_verified_and_doubt_is_deferred() -> None:
    assert load(SmtpdControls, {"me": b"host.ex\n"}.get).verifyrcpt is Verify.DEFER


@pytest.mark.parametrize("text", [b"", b"\n", b"on\n", b"Off\n", b"\xff\n"])
def test_another_word_in_verifyrcpt_is_an_error_that_names_the_words(text: bytes) -> None:
    with pytest.raises(ControlError, match=r"control/verifyrcpt:1: .*off, defer, accept"):
        load(SmtpdControls, {"me": b"host.ex\n", "verifyrcpt": text}.get)


# --- defaultdelivery ------------------------------------------------------------------------------


def test_the_default_delivery_is_the_lines_of_its_file() -> None:
    raw = b"# first .forward\n|dot-forward .forward \n\n./Maildir/"
    controls = load(StartControls, {"defaultdelivery": raw}.get)
    assert controls.defaultdelivery == (b"|dot-forward .forward", b"./Maildir/")
    assert load(StartControls, no_files).defaultdelivery == (b"./Mailbox",)
    with pytest.raises(ControlError, match=r"^control/defaultdelivery:2: a NUL byte"):
        load(StartControls, {"defaultdelivery": b"a\n|b\0"}.get)


# --- bounces --------------------------------------------------------------------------------------


def test_defaults_of_bounces() -> None:
    found = load(SendControls, only_me)
    assert (found.bouncemaxbytes, found.bounceformat) == (65536, BounceFormat.QSBMF)


@pytest.mark.parametrize("form", BounceFormat)
def test_bounceformat_is_one_of_its_words(form: BounceFormat) -> None:
    assert parse_bounce_format("bounceformat", split_lines(form.encode() + b" \n")) is form


@pytest.mark.parametrize("raw", [b"", b"\n", b"DSN\n", b"rfc3464\n", b"\xff\n"])
def test_bounceformat_is_nothing_else(raw: bytes) -> None:
    with pytest.raises(ControlError, match=r"control/bounceformat:1: .* is none of: qsbmf, dsn"):
        parse_bounce_format("bounceformat", split_lines(raw))


@pytest.mark.parametrize("raw", [b"", b"\n", b"postmaster\n", b"post master\n"])
def test_oddities_2_doublebounceto_is_a_user_or_nothing(raw: bytes) -> None:
    assert parse_user("doublebounceto", split_lines(raw)) == raw.rstrip()


@pytest.mark.parametrize("raw", [b"a\rb\n", b"a\tb\n", b"caf\xe9\n", b"a\0b\n"])
def test_a_user_in_a_header_has_no_byte_that_begins_a_field(raw: bytes) -> None:
    with pytest.raises(ControlError, match="control/bouncefrom:1: "):
        parse_user("bouncefrom", split_lines(raw))
