"""From a batch to a request, and from an answer to outcomes."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from typing import Any

from genie_connect.http import Limits, Response, Verdict, strict_json
from genie_connect.model.address import Address
from genie_connect.model.attachment import Attachment
from genie_connect.model.batch import Batch, Delivery
from genie_connect.model.codec import unstructure
from genie_connect.model.frozen import EMPTY
from genie_connect.model.outcome import Outcome, Retry, Scope, State
from genie_connect.model.plain_data import thawed

ERRORS = {
    "sender_refused": Verdict(
        state=State.REJECTED,
        reason="sender_rejected",
        scope=Scope.MESSAGE,
        retry=Retry.OTHER,
        hint="The account may not use this From; give another, or a connection that may.",
    ),
}
"""Error codes of the provider that say more than the status does."""

_REFUSALS: dict[str, dict[str, Any]] = {
    "hard": {"state": State.REJECTED, "reason": "recipient_rejected", "suppress": True, "hint": "No such mailbox."},
    "soft": {"state": State.DEFERRED, "reason": "temporary", "retry": Retry.ANY},
    "blocked": {
        "state": State.REJECTED,
        "reason": "policy",
        "scope": Scope.CONNECTION,
        "retry": Retry.OTHER,
        "hint": "The provider blocks this sender.",
    },
}
"""Kinds of refusal of one recipient. "Blocked" is about the sender, so the recipient may be reached another way."""

_OTHER_REFUSAL: dict[str, Any] = {"state": State.REJECTED, "reason": "permanent"}


def request_body(batch: Batch) -> bytes:
    """The body of POST /v1/messages. Raises ``OSError`` or ``ValidationError`` for an attachment that is gone."""
    message = batch.message
    return json.dumps(
        {
            "from": mailbox(batch.sender),
            "envelope_from": batch.envelope_from.email,
            "reply_to": [mailbox(address) for address in message.reply_to],
            "subject": message.subject,
            "text": message.text,
            "html": message.html,
            "attachments": [_attachment(attachment) for attachment in message.attachments],
            "headers": dict(message.headers),
            "tags": list(message.tags),
            "metadata": dict(message.metadata),
            "amp": message.amp,
            "template": None if message.template is None else unstructure(message.template),
            "send_at": None if message.send_at is None else message.send_at.isoformat(),
            "track_opens": message.track_opens,
            "track_clicks": message.track_clicks,
            "options": thawed(message.provider_options.get("sandbox", EMPTY)),
            "copies": [_copy(delivery) for delivery in batch.deliveries],
        }
    ).encode()


def _copy(delivery: Delivery) -> dict[str, Any]:
    return {
        "message_id": delivery.message_id,
        "recipients": [address.email for address in delivery.addresses],
        "to": [mailbox(address) for address in delivery.to],
        "cc": [mailbox(address) for address in delivery.cc],
        "merge": None if delivery.merge is None else dict(delivery.merge),
        "headers": dict(delivery.headers),
        "metadata": dict(delivery.metadata),
    }


def mailbox(address: Address) -> dict[str, str]:
    """An address as the provider writes it."""
    return {"email": address.email, "name": address.name}


def _attachment(attachment: Attachment) -> dict[str, Any]:
    return {
        "filename": attachment.filename,
        "content_type": attachment.content_type,
        "content": base64.b64encode(attachment.read()).decode("ascii"),
        "content_id": attachment.content_id,
    }


def answer_of(response: Response) -> Mapping[str, Any]:
    """The object in an answer, or an empty one where there is none."""
    try:
        data = strict_json(response.body, max_bytes=Limits().max_response_bytes)
    except ValueError:
        return {}
    return data if isinstance(data, dict) else {}


def results_of(response: Response) -> dict[tuple[str, str], Mapping[str, Any]]:
    """The results in an answer, by Message-ID and recipient."""
    results = answer_of(response).get("results")
    whole = [result for result in results if isinstance(result, dict)] if isinstance(results, list) else []
    return {(str(result.get("message_id")), str(result.get("recipient"))): result for result in whole}


def error_of(response: Response) -> tuple[str, str | None]:
    """The code and the text of an error answer, each as far as it is there."""
    if response.ok:
        return "", None
    error = answer_of(response).get("error")
    if not isinstance(error, dict):
        return "", None
    return str(error.get("code", "")), str(error.get("message", "")) or None


def outcome_of_result(recipient: str, result: Mapping[str, Any] | None, status: int) -> Outcome:
    """One recipient's outcome from its result in an answer with the status 200."""
    if result is None or result.get("status") not in ("accepted", "refused"):
        # The provider said 200 and nothing of this recipient: it may well have been taken.
        return Outcome(recipient=recipient, state=State.UNKNOWN, stage="final", code=status, reason="in_doubt")
    if result["status"] == "accepted":
        provider_id = str(result["id"]) if result.get("id") else None
        return Outcome(recipient=recipient, state=State.ACCEPTED, stage="final", code=status, provider_id=provider_id)
    code = result.get("code")
    return Outcome(
        recipient=recipient,
        stage="final",
        code=code if isinstance(code, int) else status,
        enhanced=str(result["enhanced"]) if result.get("enhanced") else None,
        text=str(result.get("text", "")),
        **_REFUSALS.get(str(result.get("kind")), _OTHER_REFUSAL),
    )


def unreadable(recipient: Address, error: Exception) -> Outcome:
    """The outcome where an attachment could not be read, before anything was sent."""
    cause = (error.strerror if isinstance(error, OSError) else str(error)) or "it cannot be read"
    return Outcome(
        recipient=recipient.email,
        state=State.REJECTED,
        stage="connect",
        reason="permanent",
        scope=Scope.MESSAGE,
        text=f"an attachment cannot be read: {cause}",
        hint="Attach it again.",
    )
