"""Variable envelope return paths: ``bounces+ada=example.com@example.org`` says whose copy came back."""

from __future__ import annotations

from genie_connect.errors import ValidationError
from genie_connect.model.address import Address


def verp_address(bounces: str, recipient: str) -> str:
    """The envelope sender for a recipient's copy. Raises ``ValidationError`` where it would be no address."""
    local, _, domain = bounces.rpartition("@")
    name, _, host = recipient.rpartition("@")
    return Address.parse(f"{local}+{name}={host}@{domain}").email


def verp_recipient(envelope_to: str) -> str | None:
    """Whose copy came back, told by the address that the bounce was sent to; ``None`` where it tells nothing."""
    _, plus, rest = envelope_to.rpartition("@")[0].partition("+")
    name, equals, host = rest.rpartition("=")
    if not plus or not equals:
        return None
    try:
        return Address.parse(f"{name}@{host}").email
    except ValidationError:
        return None
