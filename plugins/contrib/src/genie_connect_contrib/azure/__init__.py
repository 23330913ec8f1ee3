"""Azure Communication Services: ``connector.py`` sends and tests, ``events.py`` reads its webhooks."""

from genie_connect_contrib.azure.connector import AzureSettings, connector

__all__ = ["AzureSettings", "connector"]
