"""Resend: ``connector.py`` sends and tests, ``events.py`` reads its webhooks."""

from genie_connect_contrib.resend.connector import ResendSettings, connector

__all__ = ["ResendSettings", "connector"]
