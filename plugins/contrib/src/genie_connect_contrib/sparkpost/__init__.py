"""SparkPost: ``connector.py`` sends and tests, ``events.py`` reads its webhooks."""

from genie_connect_contrib.sparkpost.connector import SparkPostSettings, connector

__all__ = ["SparkPostSettings", "connector"]
