"""Brevo: ``connector.py`` sends and tests, ``events.py`` reads its webhooks."""

from genie_connect_contrib.brevo.connector import BrevoSettings, connector

__all__ = ["BrevoSettings", "connector"]
