"""Which connectors are installed, and one handle for each."""

from genie_connect.registry.handle import ConnectorHandle
from genie_connect.registry.loader import Failure
from genie_connect.registry.registry import Changes, Registry

__all__ = ["Changes", "ConnectorHandle", "Failure", "Registry"]
