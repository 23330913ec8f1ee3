"""What an HTTP request can end in beside a response.

::

    TransportError
    ├── NotSent       nothing was written: another attempt, here or elsewhere, cannot be a second copy
    └── NoAnswer      something was written and no whole answer came: the request may have been carried out

Neither holds a header, a body or the query of a URL.
"""

from __future__ import annotations

from genie_connect.errors import GenieConnectError


class TransportError(GenieConnectError):
    """A request had no whole answer.

    ``reason`` is one of ``dns``, ``connect``, ``certificate``, ``tls``, ``pool``, ``time_out``, ``closed``,
    ``protocol``, ``oversize``, ``refused_locally``; for want of a token also ``auth`` and ``busy``.
    """

    code = "http_transport"

    def __init__(self, reason: str, message: str, *, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.reason = reason


class NotSent(TransportError):
    """Nothing was written: the request cannot have been carried out.

    ``retry_after_s`` is how long to wait, where somebody said so.
    """

    code = "http_not_sent"
    retryable = True

    def __init__(self, reason: str, message: str, *, hint: str = "", retry_after_s: float | None = None) -> None:
        super().__init__(reason, message, hint=hint)
        self.retry_after_s = retry_after_s


class NoAnswer(TransportError):
    """Something was written, and no whole answer came. ``status`` is set where at least the status line did."""

    code = "http_no_answer"

    def __init__(self, reason: str, message: str, *, hint: str = "", status: int | None = None) -> None:
        super().__init__(reason, message, hint=hint)
        self.status = status
