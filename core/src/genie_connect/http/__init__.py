"""HTTP for API connectors: one client for each connection, bound to one origin, that knows whether a request left.

Importing this package costs nothing; httpx2 (extra ``http``) or aiohttp (extra ``aiohttp``) is imported when a
client is opened.
"""

from genie_connect.http.client import HttpClient, Library, Limits, Response, open_client
from genie_connect.http.diagnose import Stopwatch, diagnosis_of, diagnosis_of_status, reach
from genie_connect.http.errors import NoAnswer, NotSent, TransportError
from genie_connect.http.fake import FakeHttpClient, Request
from genie_connect.http.outcomes import STATUS, Verdict, outcome_of, outcomes_of, verdict_of, verdict_of_error
from genie_connect.http.retry_after import retry_after_s
from genie_connect.http.strict_json import strict_json

__all__ = [
    "STATUS",
    "FakeHttpClient",
    "HttpClient",
    "Library",
    "Limits",
    "NoAnswer",
    "NotSent",
    "Request",
    "Response",
    "Stopwatch",
    "TransportError",
    "Verdict",
    "diagnosis_of",
    "diagnosis_of_status",
    "open_client",
    "outcome_of",
    "outcomes_of",
    "reach",
    "retry_after_s",
    "strict_json",
    "verdict_of",
    "verdict_of_error",
]
