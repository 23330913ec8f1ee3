"""What the kit has to know of the SMTP connector."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from genie_connect_spec.kit import ConnectorContract, SmtpProvider
from genie_connect_spec.kit.signatures import SigningKey


class Smtp(ConnectorContract):
    """The SMTP connector keeps the contract."""

    connector = "smtp"
    provider_kind = "smtp"

    def settings_of(self, provider: SmtpProvider) -> dict[str, Any]:
        """Leading to the kit's server."""
        return {
            "host": provider.host,
            "port": provider.port,
            "security": "none",
            "username": "kit",
            "password": "the-password-of-the-kit",
            "allow_password_without_tls": True,
        }

    def encrypted(self, settings: Mapping[str, Any], security: str, ca_file: str) -> dict[str, Any]:
        """As its documentation says."""
        return {**settings, "security": security, "ca_file": ca_file, "allow_password_without_tls": False}

    def signed(self, settings: Mapping[str, Any], keys: Sequence[SigningKey]) -> dict[str, Any]:
        """With one key or with two."""
        first, *others = keys
        named = {"dkim_domain": first.domain, "dkim_selector": first.selector, "dkim_private_key": first.reference}
        for second in others:
            named |= {"dkim_ed25519_selector": second.selector, "dkim_ed25519_private_key": second.reference}
        return {**settings, **named}
