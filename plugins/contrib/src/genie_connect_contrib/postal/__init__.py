"""Postal: ``connector.py`` sends and tests, ``events.py`` reads its webhooks."""

from genie_connect_contrib.postal.connector import PostalSettings, connector

__all__ = ["PostalSettings", "connector"]
