"""MailerSend: ``connector.py`` sends and tests, ``events.py`` reads its webhooks."""

from genie_connect_contrib.mailersend.connector import MailerSendSettings, connector

__all__ = ["MailerSendSettings", "connector"]
