"""Mandrill: ``connector.py`` sends and tests, ``events.py`` reads its webhooks."""

from genie_connect_contrib.mandrill.connector import MandrillSettings, connector

__all__ = ["MandrillSettings", "connector"]
