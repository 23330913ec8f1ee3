"""Twilio SendGrid: ``connector.py`` sends and tests, ``events.py`` reads its webhooks."""

from genie_connect_contrib.sendgrid.connector import SendGridSettings, connector

__all__ = ["SendGridSettings", "connector"]
