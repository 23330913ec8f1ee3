"""From a status or a transport error to outcomes, by table. Providers override single rows.

A status that does not prove that nothing was taken is ``unknown``: a 5xx comes as well from a gateway that lost the
answer of a machine that had taken the message.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping
from datetime import datetime

import attrs

from genie_connect.http.client import Response
from genie_connect.http.errors import NoAnswer, NotSent, TransportError
from genie_connect.http.retry_after import retry_after_s
from genie_connect.model.address import Address
from genie_connect.model.outcome import Outcome, Retry, Scope, State


@attrs.frozen(kw_only=True)
class Verdict:
    """What a status means for every recipient of a request."""

    state: State
    reason: str
    scope: Scope
    retry: Retry = Retry.NEVER
    hint: str | None = None


def _deferred(reason: str, retry: Retry, hint: str) -> Verdict:
    return Verdict(state=State.DEFERRED, reason=reason, scope=Scope.CONNECTION, retry=retry, hint=hint)


def _rejected(reason: str, retry: Retry, hint: str) -> Verdict:
    return Verdict(state=State.REJECTED, reason=reason, scope=Scope.MESSAGE, retry=retry, hint=hint)


UNKNOWN = Verdict(
    state=State.UNKNOWN,
    reason="in_doubt",
    scope=Scope.CONNECTION,
    hint="The provider may have taken the message; look it up there before sending it again.",
)
THROTTLED = _deferred("throttled", Retry.ANY, "The provider asks for fewer requests; it is asked again later.")
TEMPORARY = _deferred("temporary", Retry.ANY, "The provider did not take the message and asks to come back later.")
_AUTH = _deferred("auth", Retry.OTHER, "Check the API key and what it may do.")
_WRONG_URL = _deferred("protocol", Retry.OTHER, "Nothing takes messages at this address; check the base URL.")
_MALFORMED = _rejected("permanent", Retry.OTHER, "The provider cannot use the message as it stands; see its text.")

STATUS: dict[int, Verdict] = {
    301: _WRONG_URL,
    307: _WRONG_URL,
    308: _WRONG_URL,
    400: _MALFORMED,
    401: _AUTH,
    402: _deferred("policy", Retry.OTHER, "The provider wants to be paid; look at the account."),
    403: _AUTH,
    404: _WRONG_URL,
    405: _WRONG_URL,
    408: TEMPORARY,  # RFC 9110 section 15.5.9: the request had not come in whole
    410: _WRONG_URL,
    413: _rejected("too_large", Retry.OTHER, "The message is bigger than the provider takes."),
    415: _MALFORMED,
    421: TEMPORARY,  # RFC 9110 section 15.5.20: not for this server, and not carried out
    422: _MALFORMED,
    425: TEMPORARY,  # RFC 8470 section 5.2: refused since it might be a replay
    429: THROTTLED,  # RFC 6585 section 4
}
"""What a status means where its provider says nothing else. Any other outside 2xx is ``unknown``."""

_NOT_SENT: dict[str, Verdict] = {
    "dns": _deferred("connect", Retry.ANY, "Check the host in the base URL and this machine's name resolution."),
    "certificate": _deferred("tls", Retry.OTHER, "Check the host in the base URL, or give the CA that signs for it."),
    "tls": _deferred("tls", Retry.ANY, "Check that the base URL's port speaks TLS."),
    "refused_locally": _deferred("protocol", Retry.OTHER, "Check the settings of the connection."),
    "auth": _deferred("auth", Retry.OTHER, "Check the credentials that the connection asks for a token with."),
    "busy": _deferred("temporary", Retry.ANY, "The provider gives no token at the moment; it is asked again later."),
}
_NOT_CONNECTED = _deferred("connect", Retry.ANY, "The provider cannot be reached; check base URL and firewall.")


def verdict_of(
    response: Response, *, overrides: Mapping[int, Verdict] | None = None, not_accepted: Container[int] = ()
) -> Verdict | None:
    """What a response means for all its recipients, or ``None`` for a 2xx, which only the connector can read.

    ``overrides`` are the provider's own rows. ``not_accepted`` are statuses that, together with Retry-After, the
    provider documents as "not accepted, come back".
    """
    if response.ok:
        return None
    if response.status in not_accepted and "retry-after" in response.headers:
        return THROTTLED if response.status == 429 else TEMPORARY
    if overrides and response.status in overrides:
        return overrides[response.status]
    return STATUS.get(response.status, UNKNOWN)


def verdict_of_error(error: TransportError) -> Verdict:
    """What a transport error means: nothing was handed over, or nobody knows."""
    if isinstance(error, NotSent):
        return _NOT_SENT.get(error.reason, _NOT_CONNECTED)
    return UNKNOWN


def outcome_of(
    recipient: Address,
    verdict: Verdict,
    *,
    code: int | None = None,
    text: str | None = None,
    stage: str = "final",
    retry_s: float | None = None,
) -> Outcome:
    """One recipient's outcome."""
    return Outcome(
        recipient=recipient.email,
        state=verdict.state,
        stage=stage,
        code=code,
        text=text,
        reason=verdict.reason,
        hint=verdict.hint,
        scope=verdict.scope,
        retry=verdict.retry,
        retry_after_s=None if verdict.retry is Retry.NEVER else retry_s,
    )


def outcomes_of(
    recipients: Iterable[Address],
    found: TransportError | Response,
    verdict: Verdict,
    *,
    now: datetime,
    text: str | None = None,
) -> tuple[Outcome, ...]:
    """The same outcome for everybody: of a request that failed, or of a response that concerns all of it.

    ``text`` is what the provider said. The stage is ``connect`` where nothing was written, ``request`` where no
    answer came, and ``final`` for an answer.
    """
    code: int | None
    if isinstance(found, Response):
        code, stage, retry_s = found.status, "final", retry_after_s(found.headers, now)
    else:
        code = found.status if isinstance(found, NoAnswer) else None
        stage, retry_s = "request" if isinstance(found, NoAnswer) else "connect", None
        text = text or found.message
    return tuple(
        outcome_of(recipient, verdict, code=code, text=text, stage=stage, retry_s=retry_s) for recipient in recipients
    )
