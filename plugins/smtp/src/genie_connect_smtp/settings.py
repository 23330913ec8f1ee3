"""The settings of an SMTP connection, and which of their combinations cannot work."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable
from pathlib import Path
from types import MappingProxyType
from typing import Final, Literal

from genie_connect.errors import Problem
from genie_connect.mime.dkim_key import domain_problem, selector_problem
from genie_connect.model.secret import Secret
from genie_connect.model.settings import setting, settings

PORTS: Final = MappingProxyType({"tls": 465, "starttls": 587, "none": 25})
"""The port of each security mode where none is given (RFC 8314, RFC 6409, RFC 5321)."""

_TLS_FIRST_PORTS: Final = frozenset({465})
_PLAIN_FIRST_PORTS: Final = frozenset({25, 587})
_LABEL: Final = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?\Z")
# RFC 5321 section 4.1.1.1: a domain, or an address literal.
_EHLO_DOMAIN: Final = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9.-]{0,252}[A-Za-z0-9])?\Z")
_EHLO_LITERAL: Final = re.compile(r"\[(?:IPv6:)?[0-9A-Fa-f.:]{2,45}\]\Z")


def _host_problem(host: str) -> str | None:
    if "://" in host or "/" in host:
        return "is a URL: give only the server's name, as in smtp.example.com"
    if "@" in host:
        return "holds an @: give only the server's name; the user name has a setting of its own"
    if any(character.isspace() for character in host):
        return "holds white space: give one server name, as in smtp.example.com"
    try:
        ipaddress.ip_address(host)
    except ValueError:
        pass
    else:
        return None
    name, colon, port = host.rpartition(":")
    if colon and port.isdigit():
        return f"holds a port: use host = {name} and port = {port}"
    labels = host.removesuffix(".").split(".")
    if len(host) > 253 or not all(_LABEL.match(label) or not label.isascii() for label in labels):
        return "is not a host name or an IP address: write it as smtp.example.com"
    return None


def _ehlo_problem(name: str) -> str | None:
    if _EHLO_DOMAIN.match(name) and ".." not in name:
        return None
    if _EHLO_LITERAL.match(name):
        return None
    # Anything else could carry a second command or parameter onto the EHLO line.
    return "is not a name that EHLO can carry: use this machine's domain name, or an address as [192.0.2.1]"


@settings
class SmtpSettings:
    """Where the server is, how the connection is secured, who we are, and how much we ask of it."""

    host: str = setting(
        title="Server",
        help="Name or IP address of the SMTP server.",
        example="smtp.example.com",
        placeholder="smtp.example.com",
        max_length=253,
        check=_host_problem,
    )
    port: int | None = setting(
        title="Port",
        help="Without it, the usual port of the security mode: 465 for tls, 587 for starttls, 25 for none.",
        default=None,
        example=587,
        minimum=1,
        maximum=65535,
    )
    security: Literal["tls", "starttls", "none"] = setting(
        title="Security",
        help="How the connection is encrypted. There is no mode that goes on in clear when encryption fails.",
        default="starttls",
        titles={
            "starttls": "STARTTLS, required (port 587)",
            "tls": "TLS from the start (port 465)",
            "none": "None (private network only)",
        },
    )
    username: str | None = setting(
        title="User name", help="Often the full address.", group="auth", default=None, max_length=255
    )
    password: Secret | None = setting(
        title="Password",
        help="Password, app password or API key; for XOAUTH2 the access token.",
        group="auth",
        secret=True,
        default=None,
        example="env:SMTP_PASSWORD",
    )
    auth: Literal["auto", "plain", "login", "cram-md5", "xoauth2"] = setting(
        title="Sign-in method",
        help="auto takes the best method for passwords that the server offers.",
        group="auth",
        default="auto",
        titles={
            "auto": "Automatic",
            "plain": "PLAIN",
            "login": "LOGIN",
            "cram-md5": "CRAM-MD5",
            "xoauth2": "XOAUTH2 (OAuth access token)",
        },
    )
    allow_password_without_tls: bool = setting(
        title="Allow the password to cross the network unencrypted",
        help="Only for security = none on a private network; everybody on the way can read the password.",
        group="advanced",
        default=False,
        show_if={"security": "none"},
    )
    ca_file: str | None = setting(
        title="Certificate authority file",
        help="PEM file of the authority that signed the server's certificate, trusted instead of the system's.",
        group="advanced",
        default=None,
        example="/etc/ssl/private-ca.pem",
    )
    ehlo_name: str | None = setting(
        title="EHLO name",
        help="The name this machine gives itself. Without it, the domain of the default From.",
        group="advanced",
        default=None,
        example="mail.example.com",
        max_length=255,
        check=_ehlo_problem,
    )
    connect_timeout_s: float = setting(
        title="Connect time-out",
        help="Seconds for finding the server, for connecting, for the TLS handshake and for the greeting, each.",
        group="advanced",
        default=15.0,
        minimum=0.1,
        maximum=300,
    )
    reply_timeout_s: float = setting(
        title="Reply time-out",
        help="Seconds to wait for the reply to a command (RFC 5321 section 4.5.3.2 asks for 300).",
        group="advanced",
        default=300.0,
        minimum=0.1,
        maximum=3600,
    )
    final_timeout_s: float = setting(
        title="Final time-out",
        help="Seconds to wait for the answer to a whole message (RFC 5321 section 4.5.3.2.6 asks for 600). "
        "Shorter leaves messages in doubt that the server took.",
        group="advanced",
        default=600.0,
        minimum=0.1,
        maximum=3600,
    )
    max_connections: int = setting(
        title="Connections at once",
        help="Some providers allow few (Microsoft 365: 3).",
        group="advanced",
        default=3,
        minimum=1,
        maximum=100,
    )
    messages_per_connection: int = setting(
        title="Messages for each connection",
        help="After so many a new connection is made.",
        group="advanced",
        default=100,
        minimum=1,
        maximum=10_000,
    )
    rate_per_second: float | None = setting(
        title="Messages a second",
        help="Never faster than this, over all connections. Without it, as fast as the server takes them.",
        group="advanced",
        default=None,
        example=14.0,
        minimum=0.001,
        maximum=100_000,
    )
    adaptive: bool = setting(
        title="Adapt to the server's limits",
        help="Learn from answers such as 454 Throttling failure how fast the server takes messages, and keep to it.",
        group="advanced",
        default=True,
    )
    idle_timeout_s: float = setting(
        title="Idle time",
        help="Seconds a connection is kept open for the next message.",
        group="advanced",
        default=30.0,
        minimum=0,
        maximum=300,
    )
    max_age_s: float = setting(
        title="Age of a connection",
        help="Seconds after which a connection carries no further message.",
        group="advanced",
        default=300.0,
        minimum=1,
        maximum=86_400,
    )
    pipelining: Literal["auto", "off", "envelope", "next", "chunking"] = setting(
        title="Pipelining",
        help="How far commands run ahead of their replies. auto takes what the server offers, and BDAT only for "
        "broadcasts; a server that cannot follow is noticed and spared.",
        group="advanced",
        default="auto",
        titles={
            "auto": "Automatic",
            "off": "One command at a time",
            "envelope": "The envelope together (RFC 2920)",
            "next": "A message with the next envelope (RFC 2920)",
            "chunking": "Many messages at once (BDAT, RFC 3030)",
        },
    )
    pipelining_window: int = setting(
        title="Messages on their way at once",
        help="With BDAT. So many are in doubt at most when a connection breaks.",
        group="advanced",
        default=16,
        minimum=1,
        maximum=1000,
    )
    pipelining_window_bytes: int = setting(
        title="Bytes on their way at once",
        help="With BDAT: the messages on their way have no more bytes than this together, if there are two or more.",
        group="advanced",
        default=256 * 1024,
        minimum=1024,
        maximum=64 * 1024 * 1024,
    )
    max_recipients: int = setting(
        title="Recipients for each transaction",
        help="More are split. Servers take at least 100 (RFC 5321 section 4.5.3.1.8).",
        group="advanced",
        default=100,
        minimum=1,
        maximum=1000,
    )

    dkim_domain: str | None = setting(
        title="DKIM domain",
        help="Sign every message as this domain, which should be that of the From addresses. Without it nothing is "
        "signed here, as where the provider signs.",
        group="advanced",
        default=None,
        example="example.com",
        max_length=253,
        check=domain_problem,
    )
    dkim_selector: str | None = setting(
        title="DKIM selector",
        help="The name that the key is published under: SELECTOR._domainkey.DOMAIN.",
        group="advanced",
        default=None,
        example="mail2026",
        max_length=200,
        check=selector_problem,
    )
    dkim_private_key: Secret | None = setting(
        title="DKIM private key",
        help="RSA key in PEM, of 2048 bits or more.",
        group="advanced",
        secret=True,
        default=None,
        example="file:/etc/ssl/private/dkim.pem",
    )
    dkim_ed25519_selector: str | None = setting(
        title="DKIM selector of a second key",
        help="With it every message carries a second signature (RFC 8463), for receivers that know Ed25519.",
        group="advanced",
        default=None,
        example="ed2026",
        max_length=200,
        check=selector_problem,
    )
    dkim_ed25519_private_key: Secret | None = setting(
        title="DKIM private key, Ed25519",
        help="Ed25519 key, in PEM or as 32 bytes in base64.",
        group="advanced",
        secret=True,
        default=None,
        example="file:/etc/ssl/private/dkim-ed25519.pem",
    )

    webhook_provider: str | None = setting(
        title="Provider behind the server",
        help="Id of the connector that reads its webhooks; the webhook settings of that one stand beside this.",
        group="webhooks",
        default=None,
        example="sendgrid",
        max_length=64,
    )

    @property
    def effective_port(self) -> int:
        """The port given, or the usual one of the security mode."""
        return PORTS[self.security] if self.port is None else self.port

    @property
    def loopback(self) -> bool:
        """Whether the server is named as this very machine."""
        if self.host.lower().removesuffix(".") == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False

    def rules(self) -> Iterable[Problem]:
        """Combinations that cannot work, or would give the password away."""
        yield from self._port_rules()
        yield from self._sign_in_rules()
        yield from self._ca_file_rules()
        yield from self._dkim_rules()

    def _port_rules(self) -> Iterable[Problem]:
        port = self.effective_port
        if port in _TLS_FIRST_PORTS and self.security != "tls":
            yield Problem("security", f"port {port} speaks TLS from the start", "use security = tls")
        if port in _PLAIN_FIRST_PORTS and self.security == "tls":
            yield Problem("security", f"port {port} starts in plain text", "use security = starttls, or port 465")

    def _sign_in_rules(self) -> Iterable[Problem]:
        if self.username is not None and self.password is None:
            yield Problem("password", "is missing, and there is a user name", "give the password, or leave both out")
        if self.password is not None and self.username is None:
            yield Problem("username", "is missing, and there is a password", "give the user name, or leave both out")
        if self.auth != "auto" and self.username is None and self.password is None:
            yield Problem("auth", f"is {self.auth}, and there is nothing to sign in with", "give username and password")
        if (
            self.security == "none"
            and self.password is not None
            and not self.loopback
            and not self.allow_password_without_tls
        ):
            fix = "use security = starttls or tls; on a private network you may set allow_password_without_tls"
            yield Problem("security", "would send the password unencrypted over the network", fix)

    def _ca_file_rules(self) -> Iterable[Problem]:
        if self.ca_file is None:
            return
        if self.security == "none":
            yield Problem("ca_file", "has no use without encryption", "use security = starttls or tls, or leave it out")
            return
        try:
            content = Path(self.ca_file).read_bytes()
        except OSError as error:
            yield Problem("ca_file", f"cannot be read: {error.strerror}", "check path and rights")
            return
        if b"-----BEGIN CERTIFICATE-----" not in content:
            yield Problem("ca_file", "holds no PEM certificate", "it must have a BEGIN CERTIFICATE line")

    def _dkim_rules(self) -> Iterable[Problem]:
        first = ("dkim_domain", "dkim_selector", "dkim_private_key")
        second = ("dkim_ed25519_selector", "dkim_ed25519_private_key")
        yield from self._together(first)
        yield from self._together(second)
        if self.dkim_domain is None and any(getattr(self, name) is not None for name in second):
            yield Problem("dkim_domain", "is missing, and there is a second key", f"give {', '.join(first)} as well")
        if self.dkim_selector is not None and self.dkim_selector == self.dkim_ed25519_selector:
            fix = "publish the second key under a selector of its own"
            yield Problem("dkim_ed25519_selector", "is that of the first key", fix)

    def _together(self, names: tuple[str, ...]) -> Iterable[Problem]:
        missing = [name for name in names if getattr(self, name) is None]
        if len(missing) < len(names):
            for name in missing:
                yield Problem(name, "is missing", f"give {', '.join(names)} together, or none of them")
