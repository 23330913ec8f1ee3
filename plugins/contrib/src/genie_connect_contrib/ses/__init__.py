"""Amazon SES: ``connector.py`` is the connector, ``content.py`` writes what it sends, ``sigv4.py`` signs its requests,
``events.py`` reads its webhooks.
"""

from genie_connect_contrib.ses.connector import connector
from genie_connect_contrib.ses.settings import SesSettings

__all__ = ["SesSettings", "connector"]
