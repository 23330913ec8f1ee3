"""What several providers write alike."""

from __future__ import annotations

from collections.abc import Iterable

from genie_connect.model.address import Address
from genie_connect.model.capability import host

SUPPRESSIONS = host("suppressions", support="GenieOS suppressions checked before send")
"""The row of every table: the host's list comes first, whatever list the provider keeps."""
MIB = 1024 * 1024


def email_name(address: Address) -> dict[str, str]:
    """``{"email": ..., "name": ...}``, without a name where there is none."""
    return {"email": address.email, "name": address.name} if address.name else {"email": address.email}


def emails_names(addresses: Iterable[Address]) -> list[dict[str, str]]:
    """The same for several."""
    return [email_name(address) for address in addresses]


def mailboxes(addresses: Iterable[Address]) -> list[str]:
    """``Ada <ada@example.com>``, one by one."""
    return [str(address) for address in addresses]
