"""Rows of the tables of API connectors, and those that every such table has."""

from __future__ import annotations

from typing import Final

from genie_connect.model.capability import Capability, host, no, yes

MIB: Final = 1024 * 1024
SUPPRESSIONS: Final = host("suppressions", support="GenieOS suppressions checked before send")
"""The row of every table: the host's list comes first, whatever list the provider keeps."""
COMMON: Final = (
    yes("send.broadcast"),
    yes("send.html"),
    # So such a copy goes by a connection that carries it (RFC 6531), and is not refused, or bent, over there.
    no("send.international_addresses", "the provider documents no address that is not ASCII"),
    SUPPRESSIONS,
    yes("test.connection"),
    yes("test.message"),
)
"""What every table has, unless it says otherwise."""


def event_rows(
    configured: bool, *, signature: str = "", inbound: bool = False, note: str = ""
) -> tuple[Capability, ...]:
    """The rows for webhooks. Without a secret nothing could be verified, so there are none.

    ``signature`` names the scheme of a provider that signs; one that does not shares a secret with us.
    """
    if not configured:
        return ()
    rows = [yes("events.webhook", note or ("signed" if signature else "by a shared secret"))]
    if signature:
        rows.append(yes("events.signature", signature))
    if inbound:
        rows.append(yes("events.inbound"))
    return tuple(rows)
