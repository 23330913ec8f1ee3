"""What a connector for an HTTP API is made of: the hooks once for all, and the pieces that a provider's mapping needs.

A provider's module has a settings class, a table, and a class that inherits from ``ApiConnector``; see there. Importing
this package loads no HTTP client: that is for whoever opens a connection.
"""

from genie_connect.api import verdicts
from genie_connect.api.call import (
    JSON,
    Call,
    Result,
    Said,
    decoded,
    encoded,
    filled,
    json_call,
    object_in,
    text_at,
    with_options,
)
from genie_connect.api.connector import ApiConnector, ApiState
from genie_connect.api.job import Copy, File, Job, job_of
from genie_connect.api.multipart import FilePart, multipart_call
from genie_connect.api.oauth import TokenSource
from genie_connect.api.oauth_connector import OAuthConnector, OAuthState
from genie_connect.api.records import Entry, items_at, moment_of, outcomes_of, window_of
from genie_connect.api.rows import MIB, SUPPRESSIONS, event_rows
from genie_connect.api.settings import ApiSettings, credential
from genie_connect.api.steps import Account
from genie_connect.api.tokens import Tokens, tokens_of
from genie_connect.api.webhooks import WebhookConnector, webhook_secrets
from genie_connect.model.event import ATTEMPT, MESSAGE_ID

__all__ = [
    "ATTEMPT",
    "JSON",
    "MESSAGE_ID",
    "MIB",
    "SUPPRESSIONS",
    "Account",
    "ApiConnector",
    "ApiSettings",
    "ApiState",
    "Call",
    "Copy",
    "Entry",
    "File",
    "FilePart",
    "Job",
    "OAuthConnector",
    "OAuthState",
    "Result",
    "Said",
    "TokenSource",
    "Tokens",
    "WebhookConnector",
    "credential",
    "decoded",
    "encoded",
    "event_rows",
    "filled",
    "items_at",
    "job_of",
    "json_call",
    "moment_of",
    "multipart_call",
    "object_in",
    "outcomes_of",
    "text_at",
    "tokens_of",
    "verdicts",
    "webhook_secrets",
    "window_of",
    "with_options",
]
