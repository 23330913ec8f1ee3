"""The data vectors say what this implementation does; another one can be held to them."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from importlib import resources
from typing import Any

import attrs
import pytest

from genie_connect import Address, Batch, Delivery, Message, ValidationError, WebhookRejected, WebhookRequest, structure
from genie_connect.bounces import events_of_mail
from genie_connect.delivery.suppression import SuppressionGate
from genie_connect.http import NoAnswer, NotSent, Response, verdict_of, verdict_of_error
from genie_connect.mime import compose
from genie_connect.webhooks.signatures import signing_key, verify_standard
from genie_connect_smtp.classify import classify
from genie_connect_smtp.stages import Stage


def cases(name: str) -> list[Any]:
    """The cases of a file."""
    text = resources.files("genie_connect_spec").joinpath("vectors", f"{name}.json").read_text(encoding="utf-8")
    found = json.loads(text)
    assert found["about"]
    return [pytest.param(case, id=str(number)) for number, case in enumerate(found["cases"])]


@pytest.mark.parametrize("case", cases("addresses"))
def test_addresses(case: dict[str, Any]) -> None:
    """What is an address, and which."""
    if case.get("refused"):
        with pytest.raises(ValidationError):
            Address.parse(case["input"])
        return
    address = Address.parse(case["input"])
    assert (address.email, address.name, address.key) == (case["email"], case["name"], case["key"])


@pytest.mark.parametrize("case", cases("outcomes"))
def test_outcomes(case: dict[str, Any]) -> None:
    """What an exchange over HTTP comes to."""
    if "status" in case:
        verdict = verdict_of(Response(status=case["status"]))
    elif "not_sent" in case:
        verdict = verdict_of_error(NotSent(case["not_sent"], ""))
    else:
        verdict = verdict_of_error(NoAnswer(case["no_answer"], ""))
    assert verdict is not None
    assert {name: getattr(verdict, name) for name in ("state", "reason", "scope", "retry")}.items() <= case.items()


@pytest.mark.parametrize("case", cases("classification"))
def test_classification(case: dict[str, Any]) -> None:
    """What an SMTP reply comes to."""
    verdict = classify(Stage(case["stage"]), case["code"], case["enhanced"], case["text"])
    found = {name: getattr(verdict, name) for name in ("state", "scope", "retry", "suppress")}
    assert {**found, "reason": verdict.kind}.items() <= case.items()


@pytest.mark.parametrize("case", cases("signatures"))
def test_signatures(case: dict[str, Any]) -> None:
    """Which webhooks are believed."""

    def look() -> str:
        received_at = datetime.fromtimestamp(case["received_at_s"], UTC)
        keys = [signing_key(case["secret"])]
        body = case["body"].encode()
        request = WebhookRequest(method="POST", path="/", headers=case["headers"], body=body, received_at=received_at)
        return verify_standard(request, keys)

    if case["right"]:
        assert look() == case["headers"]["webhook-id"]
    else:
        with pytest.raises(WebhookRejected):
            look()


@pytest.mark.parametrize("case", cases("mime"))
async def test_mime(case: dict[str, Any]) -> None:
    """What a message is on the wire."""
    message = structure(Message, case["message"])
    assert message.from_ is not None
    clearance = await SuppressionGate().clear(message.recipients, message.purpose)
    delivery = Delivery(message_id=case["message_id"], recipients=clearance.cleared, to=message.to, cc=message.cc)
    batch = Batch(message=attrs.evolve(message, to=(), cc=(), bcc=()), sender=message.from_, deliveries=(delivery,))
    composed = compose(batch, delivery, date=datetime.fromisoformat(case["date"]))
    assert b"".join(composed.chunks()).decode("ascii") == case["mime"]


@pytest.mark.parametrize("case", cases("events"))
def test_events(case: dict[str, Any]) -> None:
    """What mail in a bounce mailbox reports."""
    events = events_of_mail(case["mail"].encode(), received_at=datetime(2026, 11, 25, 12, tzinfo=UTC))
    pairs = zip(events, case["events"], strict=True)
    assert [{name: getattr(event, name) for name in expected} for event, expected in pairs] == case["events"]
