"""Mailtrap: ``connector.py`` sends and tests, ``events.py`` reads its webhooks."""

from genie_connect_contrib.mailtrap.connector import MailtrapSettings, connector

__all__ = ["MailtrapSettings", "connector"]
