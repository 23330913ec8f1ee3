"""Gmail: the connector, and how a service account asks for its token."""

from genie_connect_contrib.gmail.connector import GmailSettings, connector

__all__ = ["GmailSettings", "connector"]
