"""The sandbox connector and its provider: everything an email API does, on this machine, delivering nothing.

Hosts test against it, and authors of connectors read it: ``connector.py`` is the connector, with all of its hooks,
``mapping.py`` has what it writes and reads, ``checks.py`` its test and ``webhooks.py`` its events. The provider is
``genie_connect_contrib.sandbox.provider.SandboxProvider``, an HTTP server that keeps what it is sent and misbehaves on
request; ``python -m genie_connect_contrib.sandbox`` runs it by hand. It is not imported here: whoever lists connectors
needs no server.
"""

from genie_connect_contrib.sandbox.connector import (
    connector_capabilities,
    connector_close,
    connector_info,
    connector_lookup,
    connector_open,
    connector_parse_webhook,
    connector_send,
    connector_test,
)
from genie_connect_contrib.sandbox.settings import SandboxSettings

__all__ = [
    "SandboxSettings",
    "connector_capabilities",
    "connector_close",
    "connector_info",
    "connector_lookup",
    "connector_open",
    "connector_parse_webhook",
    "connector_send",
    "connector_test",
]
