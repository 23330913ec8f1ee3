"""Amazon SES: ``connector.py`` is the connector, ``sigv4.py`` signs its requests, ``events.py`` reads
its webhooks.
"""

from genie_connect_contrib.ses.connector import SesSettings, connector

__all__ = ["SesSettings", "connector"]
