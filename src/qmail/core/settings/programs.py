"""Every control file of every program: one dataclass for each program (spec/control-files.md 3)."""

import ipaddress
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from qmail.core.settings.controls import (
    ME,
    ME_OR_NAME,
    ControlError,
    Line,
    control,
    entries,
    parse_colon_map,
    parse_domains,
    parse_host,
    parse_integer,
    parse_line,
    parse_word,
    shown,
)
from qmail.core.settings.host_limits import HostLimit, parse_host_limits
from qmail.core.settings.host_rules import parse_rules
from qmail.core.settings.local import LocalControls
from qmail.core.settings.log import LogSettings, parse_log
from qmail.core.settings.login import LoginControls
from qmail.core.settings.pop3 import PopupControls
from qmail.mail import ADDRESS_BYTES_MAX

Network = ipaddress.IPv4Network | ipaddress.IPv6Network

SERVICES: Final = ("smtp", "pop3", "pop3s")
"""Services that control/listeners may name."""


@dataclass(frozen=True, slots=True)
class Listener:
    """One line of control/listeners: a service and the address it listens on."""

    service: str
    host: str
    port: int

    @property
    def is_ipv6(self) -> bool:
        """True where `host` is an IPv6 address."""
        return ":" in self.host


@dataclass(frozen=True, slots=True)
class Route:
    """Where smtproutes sends a domain. An empty relay with a port means: MX, at that port."""

    relay: bytes
    port: int


DEFAULT_LISTENERS: Final = (Listener("smtp", "127.0.0.1", 25),)
DEFAULT_DELIVERY: Final = (b"./Mailbox",)


def parse_listeners(name: str, lines: list[Line]) -> tuple[Listener, ...]:
    """`service host:port` lines; an IPv6 host stands in brackets."""
    found = []
    for line in entries(lines):
        words = line.text.decode("ascii", "replace").split()
        if len(words) != 2 or words[0] not in SERVICES:
            known = ", ".join(SERVICES)
            raise ControlError(
                name,
                line.number,
                f"{shown(line.text)} is not 'SERVICE HOST:PORT' with a service of: {known}",
            )
        found.append(_listener(name, line.number, words[0], words[1]))
    if len(set(found)) != len(found):
        raise ControlError(name, lines[-1].number, "the same line stands there twice")
    return tuple(found)


def _listener(name: str, number: int, service: str, where: str) -> Listener:
    host, _, port = where.rpartition(":")
    bracketed = host.startswith("[") and host.endswith("]")
    host = host[1:-1] if bracketed else host
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        raise ControlError(name, number, f'"{host}" is not an IP address') from None
    if (address.version == 6) != bracketed:
        raise ControlError(name, number, "an IPv6 address stands in brackets, an IPv4 one does not")
    if not (port.isascii() and port.isdigit() and len(port) <= 5 and 0 < int(port) < 65536):
        raise ControlError(name, number, f'"{port}" is not a port (1 to 65535)')
    return Listener(service, str(address), int(port))


def parse_networks(name: str, lines: list[Line]) -> tuple[Network, ...]:
    """An address or a network (`10.0.0.0/8`, `2001:db8::/32`) a line."""
    found: list[Network] = []
    for line in entries(lines):
        try:
            found.append(ipaddress.ip_network(line.text.decode("ascii", "replace").strip()))
        except ValueError as wrong:
            raise ControlError(name, line.number, str(wrong)) from None
    return tuple(found)


def parse_routes(name: str, lines: list[Line]) -> dict[bytes, Route]:
    """`domain:relay` or `domain:relay:port` lines; a relay may be an address in brackets."""
    found: dict[bytes, Route] = {}
    for line in entries(lines):
        domain, colon, rest = line.text.partition(b":")
        if not colon:
            raise ControlError(name, line.number, f"no colon in {shown(line.text)}")
        if rest.startswith(b"["):
            relay, bracket, after = rest[1:].partition(b"]")
            if not bracket or (after and not after.startswith(b":")):
                raise ControlError(name, line.number, f"no closing bracket in {shown(rest)}")
            relay, port = b"[" + relay + b"]", after[1:] if after else b"25"
        else:
            relay, colon, port = rest.partition(b":")
            port = port if colon else b"25"
        if not (port.isdigit() and len(port) <= 5 and 0 < int(port) < 65536):
            raise ControlError(name, line.number, f"{shown(port)} is not a port (1 to 65535)")
        if any(byte <= 32 or byte >= 127 for byte in relay):
            raise ControlError(name, line.number, f"{shown(relay)} is not a host")
        found[domain.lower()] = Route(relay, int(port))
    return found


def parse_virtualdomains(name: str, lines: list[Line]) -> dict[bytes, bytes]:
    """`key:prepend` lines: an address, a domain, `.suffix` or nothing before the colon."""
    found = parse_colon_map(name, lines)
    for line in entries(lines):
        key, _, prepend = line.text.partition(b":")
        if any(byte <= 32 for byte in key) or any(byte < 32 for byte in prepend):
            raise ControlError(name, line.number, f"a blank or control byte in {shown(line.text)}")
        if len(prepend) > ADDRESS_BYTES_MAX:
            raise ControlError(name, line.number, f"{shown(prepend)} is too long for an address")
    return found


class Verify(StrEnum):
    """What control/verifyrcpt may say."""

    OFF = "off"
    """Recipients are not verified; mail for unknown ones bounces later."""
    DEFER = "defer"
    """They are; one that can't be verified now gets a temporary refusal."""
    ACCEPT = "accept"
    """They are; one that can't be verified now is accepted."""


def parse_verify(name: str, lines: list[Line]) -> Verify:
    """First line as one of the words of `Verify`."""
    return parse_word(Verify, name, lines)


class BounceFormat(StrEnum):
    """What control/bounceformat may say."""

    QSBMF = "qsbmf"
    """qmail's own form: plain paragraphs."""
    DSN = "dsn"
    """A delivery status notification (RFC 3464)."""


def parse_bounce_format(name: str, lines: list[Line]) -> BounceFormat:
    """First line as one of the words of `BounceFormat`."""
    return parse_word(BounceFormat, name, lines)


def parse_user(name: str, lines: list[Line]) -> bytes:
    """First line as the local part of an address; it may be empty."""
    text = parse_line(name, lines)
    if any(byte < 32 or byte >= 127 for byte in text):
        raise ControlError(name, 1, f"{shown(text)} has bytes that no address has")
    return text


def parse_delivery(name: str, lines: list[Line]) -> tuple[bytes, ...]:
    """Lines as in a `.qmail` file."""
    for line in entries(lines):
        if b"\0" in line.text:
            raise ControlError(name, line.number, "a NUL byte inside the line")
    return tuple(line.text for line in entries(lines))


@dataclass(frozen=True, slots=True, kw_only=True)
class StartControls:
    """What qmail-start reads."""

    listeners: tuple[Listener, ...] = control(
        parse_listeners,
        DEFAULT_LISTENERS,
        kind="list",
        doc="What qmail-start opens, SERVICE HOST:PORT a line.",
    )
    defaultdelivery: tuple[bytes, ...] = control(
        parse_delivery,
        DEFAULT_DELIVERY,
        kind="list",
        doc="What a missing or empty .qmail stands for, unless qmail-start is told.",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class SmtpdControls:
    """What qmail-smtpd reads."""

    me: bytes | None = control(parse_host, doc="The name of this host.")
    smtpgreeting: bytes | None = control(
        parse_line, ME, doc="Text after 220, 250 and 221; the first word is the host's name."
    )
    databytes: int = control(
        parse_integer, 0, unit="bytes", kind="integer", doc="Largest message; 0 is no limit."
    )
    timeoutsmtpd: int = control(
        parse_integer,
        1200,
        unit="seconds",
        kind="integer",
        doc="Longest wait for one read or write.",
    )
    rcpthosts: frozenset[bytes] = control(
        parse_domains,
        frozenset(),
        kind="list",
        doc="Domains that mail is accepted for; .domain covers all below it.",
    )
    relayclients: tuple[Network, ...] = control(
        parse_networks,
        (),
        kind="list",
        doc="Client addresses and networks that may send to any domain.",
    )
    localiphost: bytes | None = control(
        parse_host, ME, doc="Replaces [address] where that address is one of this host."
    )
    verifyrcpt: Verify = control(
        parse_verify,
        Verify.DEFER,
        doc="Unknown recipients are refused, unless it says off; what can't be verified now is"
        " deferred (defer) or accepted (accept).",
    )


CONCURRENCYHOST: Final[int] = control(
    parse_integer,
    20,
    kind="integer",
    doc="Connections at once to one address, and half the deliveries to one domain; 0 is no limit.",
)
"""qmail-send and qmail-rspawn read it: the one for domains, the other for addresses."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NewmrhControls:
    """What qmail-newmrh makes morercpthosts.cdb of, which qmail-smtpd asks."""

    morercpthosts: frozenset[bytes] = control(
        parse_domains,
        frozenset(),
        kind="list",
        doc="More domains that mail is accepted for, where rcpthosts is there.",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class SendControls:
    """What qmail-send reads."""

    me: bytes | None = control(parse_host, doc="The name of this host.")
    locals: frozenset[bytes] | None = control(
        parse_domains, ME, kind="list", doc="Domains delivered here."
    )
    virtualdomains: dict[bytes, bytes] = control(
        parse_virtualdomains,
        {},
        kind="list",
        doc="KEY:PREPEND: mail for KEY is delivered here to PREPEND-address.",
    )
    percenthack: frozenset[bytes] = control(
        parse_domains, frozenset(), kind="list", doc="Domains whose user%host@domain is rewritten."
    )
    envnoathost: bytes | None = control(
        parse_host, ME, doc="Appended to an envelope recipient without @."
    )
    bouncefrom: bytes = control(parse_user, b"MAILER-DAEMON", doc="User name in From of bounces.")
    bouncehost: bytes | None = control(parse_host, ME, doc="Host in From of bounces.")
    bouncemaxbytes: int = control(
        parse_integer,
        65536,
        unit="bytes",
        kind="integer",
        doc="Longest message that comes back whole with its bounce; of others the header does.",
    )
    bounceformat: BounceFormat = control(
        parse_bounce_format,
        BounceFormat.QSBMF,
        doc="Form of bounces: qsbmf (qmail's own) or dsn (RFC 3464).",
    )
    doublebounceto: bytes = control(
        parse_user,
        b"postmaster",
        doc="Who gets double bounces; an empty line: nobody, they are dropped.",
    )
    doublebouncehost: bytes | None = control(parse_host, ME, doc="The host of doublebounceto.")
    concurrencylocal: int = control(
        parse_integer, 10, kind="integer", doc="Local deliveries at once; 0 holds them."
    )
    concurrencyremote: int = control(
        parse_integer, 20, kind="integer", doc="Remote deliveries at once; 0 holds them."
    )
    concurrencyhost: int = CONCURRENCYHOST
    concurrencyhosts: dict[bytes, HostLimit] = control(
        parse_host_limits,
        {},
        kind="list",
        doc="DOMAIN:DELIVERIES or DOMAIN:DELIVERIES:PER-MINUTE: limits of one domain; 0 is none.",
    )
    queuelifetime: int = control(
        parse_integer,
        604800,
        unit="seconds",
        kind="integer",
        doc="How long a message that can't be delivered is tried.",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoteControls:
    """What qmail-rspawn and qmail-remote read."""

    helohost: bytes | None = control(parse_host, ME, doc="The name said in EHLO and HELO.")
    smtproutes: dict[bytes, Route] = control(
        parse_routes, {}, kind="list", doc="DOMAIN:RELAY:PORT: where mail for DOMAIN is sent."
    )
    concurrencyhost: int = CONCURRENCYHOST
    timeoutconnect: int = control(
        parse_integer, 60, unit="seconds", kind="integer", doc="Longest wait for a connection."
    )
    timeoutremote: int = control(
        parse_integer,
        1200,
        unit="seconds",
        kind="integer",
        doc="Longest wait for one read or write.",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class InjectControls:
    """What qmail-inject and sendmail read."""

    defaulthost: bytes = control(parse_host, ME_OR_NAME, doc="Appended to an address without host.")
    defaultdomain: bytes = control(
        parse_host, ME_OR_NAME, doc="Appended to a host name without dot."
    )
    plusdomain: bytes = control(
        parse_host, ME_OR_NAME, doc="Appended to a host name that ends in +."
    )
    idhost: bytes = control(parse_host, ME_OR_NAME, doc="Right side of Message-ID.")


def parse_rewrite(name: str, lines: list[Line]) -> tuple[bytes, ...]:
    """Rules for host names, a line each; they are checked, and stay text."""
    parse_rules(name, lines)
    return tuple(line.text for line in entries(lines))


@dataclass(frozen=True, slots=True, kw_only=True)
class NewInjectControls:
    """What new-inject and ofmipd read, besides those of qmail-inject."""

    rewrite: tuple[bytes, ...] | None = control(
        parse_rewrite,
        kind="list",
        doc="=POST:NEW, *POST:NEW, ?POST:NEW, -POST:NEW: how host names are rewritten.",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class LogControls:
    """What qmail-log and qmail-start read."""

    log: LogSettings = control(
        parse_log,
        LogSettings(),
        kind="list",
        doc="The log's form and place: format, time, to, trace, trace-days, trace-mb.",
    )


PROGRAM_CONTROLS: Final[dict[str, type]] = {
    "qmail-start": StartControls,
    "qmail-smtpd": SmtpdControls,
    "qmail-newmrh": NewmrhControls,
    "qmail-send": SendControls,
    "qmail-lspawn": LocalControls,
    "qmail-pspawn": LoginControls,
    "qmail-rspawn": RemoteControls,
    "qmail-inject": InjectControls,
    "new-inject": NewInjectControls,
    "qmail-popup": PopupControls,
    "qmail-log": LogControls,
}
"""Which program reads which dataclass, the main one of several: `qmail check` and qmail-showctl
walk this."""
