"""Amazon SES: ``connector.py`` is the connector, ``sigv4.py`` signs its requests."""

from genie_connect_contrib.ses.connector import SesSettings, connector

__all__ = ["SesSettings", "connector"]
