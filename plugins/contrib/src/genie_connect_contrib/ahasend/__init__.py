"""AhaSend: ``connector.py`` sends and tests, ``events.py`` reads its webhooks."""

from genie_connect_contrib.ahasend.connector import AhaSendSettings, connector

__all__ = ["AhaSendSettings", "connector"]
