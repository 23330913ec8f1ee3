"""Postmark: ``connector.py`` sends and tests, ``events.py`` reads its webhooks."""

from genie_connect_contrib.postmark.connector import PostmarkSettings, connector

__all__ = ["PostmarkSettings", "connector"]
