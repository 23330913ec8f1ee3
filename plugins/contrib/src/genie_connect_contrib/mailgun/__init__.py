"""Mailgun: ``connector.py`` sends and tests, ``events.py`` reads its webhooks."""

from genie_connect_contrib.mailgun.connector import MailgunSettings, connector

__all__ = ["MailgunSettings", "connector"]
