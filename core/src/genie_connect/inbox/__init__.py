"""A local SMTP server that shows what arrives, and the sans-I/O session it is made of."""

from genie_connect.inbox.certificate import CertificateFiles, local_certificate
from genie_connect.inbox.policy import Policy, Received
from genie_connect.inbox.reply import Reply
from genie_connect.inbox.server import InboxServer, Security
from genie_connect.inbox.session import Session
from genie_connect.inbox.turn import DEFAULT_EXTENSIONS, SessionSettings, State, Turn

__all__ = [
    "DEFAULT_EXTENSIONS",
    "CertificateFiles",
    "InboxServer",
    "Policy",
    "Received",
    "Reply",
    "Security",
    "Session",
    "SessionSettings",
    "State",
    "Turn",
    "local_certificate",
]
