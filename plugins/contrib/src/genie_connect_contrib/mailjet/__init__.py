"""Mailjet: ``connector.py`` sends and tests, ``events.py`` reads its webhooks."""

from genie_connect_contrib.mailjet.connector import MailjetSettings, connector

__all__ = ["MailjetSettings", "connector"]
