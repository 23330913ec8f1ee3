"""What SMTP can do: declared before the server has been asked, effective once it has answered EHLO."""

from __future__ import annotations

from typing import Final

from genie_connect.model.capability import Capability, CapabilityTable, conditional, host, no, yes
from genie_connect_smtp.extensions import Extensions
from genie_connect_smtp.settings import SmtpSettings

_KEPT: Final = "kept by GenieOS and joined to events by Message-ID"
_EXTENSIONS: Final = {
    "8bitmime": "8BITMIME (RFC 6152)",
    "smtputf8": "SMTPUTF8 (RFC 6531)",
    "pipelining": "PIPELINING (RFC 2920)",
    "chunking": "CHUNKING (RFC 3030)",
    "dsn": "DSN (RFC 3461)",
    "requiretls": "REQUIRETLS (RFC 8689)",
    "enhancedstatuscodes": "ENHANCEDSTATUSCODES (RFC 2034)",
}

_DECLARED: Final = CapabilityTable(
    connector="smtp",
    entries=(
        yes("send.transactional"),
        conditional("send.broadcast", "limited by provider throughput"),
        conditional("send.attachments", "subject to server size limits"),
        conditional("send.inline_images", "when accepted by the SMTP server"),
        conditional(
            "events.webhook",
            "of the provider behind the server, through its own connector",
            support="Optional and provider-specific",
        ),
        host("suppressions", support="GenieOS suppressions checked before send"),
        yes("send.html"),
        yes("send.amp"),
        yes("send.cc_bcc"),
        yes("send.reply_to"),
        yes("send.headers"),
        yes("send.envelope_sender"),
        conditional("send.international_addresses", "if the server offers SMTPUTF8"),
        yes("send.batch", "one transaction for each copy"),
        host("send.tags", _KEPT),
        host("send.metadata", _KEPT),
        yes("send.merge", "merge fields rendered for each copy"),
        no("send.schedule"),
        no("send.idempotency", "SMTP has no key that a server would honour"),
        no("send.track_opens"),
        no("send.track_clicks"),
        no("send.templates"),
        no("lookup"),
        yes("test.connection"),
        yes("test.message"),
    ),
)


def declared(settings: SmtpSettings | None) -> CapabilityTable:
    """The table before any server has been asked; with settings, with their limits."""
    if settings is None:
        return _DECLARED
    return _DECLARED.replaced([yes("send.transactional", max_recipients=settings.max_recipients)], effective=False)


def effective(settings: SmtpSettings, extensions: Extensions) -> CapabilityTable:
    """The table of a connection whose server has answered EHLO, with the numbers it announced."""
    most = min(settings.max_recipients, extensions.max_recipients or settings.max_recipients)
    size_bytes = extensions.max_message_bytes
    if size_bytes is None:
        entries = [yes("send.transactional", max_recipients=most)]
    else:
        note = f"messages up to {_megabytes(size_bytes)}"
        entries = [
            yes("send.transactional", max_recipients=most, max_message_bytes=size_bytes),
            conditional("send.attachments", note, max_message_bytes=size_bytes),
            conditional("send.inline_images", note, max_message_bytes=size_bytes),
        ]
    if "smtputf8" in extensions:
        entries.append(yes("send.international_addresses"))
    else:
        entries.append(no("send.international_addresses", "the server does not offer SMTPUTF8"))
    return _DECLARED.replaced([*entries, *_announced(extensions)], effective=True)


def _announced(extensions: Extensions) -> list[Capability]:
    rows = [_size_row(extensions)]
    for keyword, title in _EXTENSIONS.items():
        name = f"x-smtp.{keyword}"
        rows.append(yes(name, title) if keyword in extensions else no(name, title))
    limits = extensions.keywords.get("limits")
    rows.append(no("x-smtp.limits", "LIMITS (RFC 9422)") if limits is None else yes("x-smtp.limits", limits))
    mechanisms = ", ".join(name.upper() for name in extensions.auth_mechanisms)
    rows.append(yes("x-smtp.auth", mechanisms) if mechanisms else no("x-smtp.auth", "no sign-in offered"))
    return rows


def _size_row(extensions: Extensions) -> Capability:
    if "size" not in extensions:
        return no("x-smtp.size", "SIZE (RFC 1870)")
    size_bytes = extensions.max_message_bytes
    if size_bytes is None:
        return yes("x-smtp.size", "no fixed limit")
    return yes("x-smtp.size", f"{size_bytes} bytes", max_message_bytes=size_bytes)


def _megabytes(size_bytes: int) -> str:
    return f"{size_bytes / 1_000_000:.1f} MB" if size_bytes >= 100_000 else f"{size_bytes} bytes"
