"""A connector for tests: what becomes of a message stands in the recipient's name, what arrived in a folder.

``bounce@`` is rejected, ``later@`` deferred, ``lost@`` unknown, everybody else accepted.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from genie_connect.contract import ConnectorInfo, Runtime, SendContext, TestContext
from genie_connect.hookspecs import hookimpl
from genie_connect.mime import compose
from genie_connect.model.batch import Batch
from genie_connect.model.capability import CapabilityTable, host, no, yes
from genie_connect.model.codec import unstructure
from genie_connect.model.diagnosis import Diagnosis, Status, Step
from genie_connect.model.frozen import FrozenMap
from genie_connect.model.outcome import Outcome, Retry, State
from genie_connect.model.secret import Secret
from genie_connect.model.settings import setting, settings

STEPS = ("resolve", "connect", "greeting", "ehlo", "tls", "auth", "sender", "message")
SAID = {
    "bounce": {"state": State.REJECTED, "code": 550, "enhanced": "5.1.1", "text": "no such mailbox", "suppress": True},
    "later": {"state": State.DEFERRED, "code": 451, "text": "come back later", "retry": Retry.NEVER},
    "lost": {"state": State.UNKNOWN, "reason": "no_answer"},
}


@settings
class AcmeSettings:
    """Settings of the test connector."""

    folder: str | None = setting(title="Folder", default=None, help="Where messages are kept.")
    api_key: Secret | None = setting(title="Key", secret=True, default=None, group="auth")
    port: int = setting(title="Port", default=25, minimum=1, maximum=65535)
    fail_at: str | None = setting(title="Step at which the test fails", default=None)
    html: bool = setting(title="HTML", default=True)


@hookimpl
def connector_info() -> ConnectorInfo:
    """What it is."""
    return ConnectorInfo(
        id="acme", title="Acme Mail", kind="api", settings_class=AcmeSettings, summary="A connector for tests."
    )


@hookimpl
def connector_capabilities(settings: AcmeSettings | None) -> CapabilityTable:
    """No HTML where a connection says so."""
    html = yes("send.html") if settings is None or settings.html else no("send.html", "it is switched off")
    names = (
        "broadcast",
        "merge",
        "attachments",
        "inline_images",
        "cc_bcc",
        "reply_to",
        "headers",
        "envelope_sender",
        "metadata",
    )
    offered = (yes(f"send.{name}") for name in names)
    limited = yes("send.transactional", max_message_bytes=100_000)
    return CapabilityTable(connector="acme", entries=(limited, html, *offered, host("send.tags", "kept by the host")))


@hookimpl
async def connector_open(settings: AcmeSettings, runtime: Runtime) -> AcmeSettings:
    """Fail where the key cannot be read."""
    if settings.api_key is not None:
        settings.api_key.reveal()
    return settings


@hookimpl
async def connector_send(state: AcmeSettings, batch: Batch, context: SendContext) -> list[Outcome]:
    """Keep the message, and say of each recipient what its name asks for."""
    if state.folder is not None:
        for number, delivery in enumerate(batch.deliveries):
            path = Path(state.folder) / f"{context.attempt_id}-{number}"
            composed = compose(batch, delivery, date=datetime.now(UTC), eight_bit=True)
            path.with_suffix(".eml").write_bytes(composed.as_bytes())
            facts = {
                # Whom it goes to stands in the delivery: the gate may have let through fewer than the message named.
                "message": unstructure(batch.message)
                | {name: [str(address) for address in getattr(delivery, name)] for name in ("to", "cc", "bcc")},
                "recipients": [address.email for address in batch.recipients],
                "idempotency_key": context.idempotency_key,
            }
            path.with_suffix(".json").write_text(json.dumps(facts))
    accepted: dict[str, Any] = {"state": State.ACCEPTED, "code": 250, "provider_id": "acme-1"}
    return [
        Outcome(recipient=address.email, stage="final", **SAID.get(address.local, accepted))
        for address in batch.recipients
    ]


@hookimpl
async def connector_test(settings: AcmeSettings, context: TestContext) -> AsyncIterator[Step]:
    """Pass every step up to the one that is to fail."""
    for step in STEPS[: -1 if context.send_to is None else None]:
        if step == settings.fail_at:
            diagnosis = Diagnosis(
                code=f"acme_{step}",
                title=f"{step} failed",
                cause="The server said no.",
                evidence="535 5.7.8 go away",
                fixes=("Ask nicely.", "Ask again."),
                field="port",
            )
            yield Step(id=step, title=step.title(), status=Status.FAIL, summary="no", ms=1.5, diagnosis=diagnosis)
            return
        facts = FrozenMap({"addresses": ["192.0.2.1", "192.0.2.2"]}) if step == "resolve" else FrozenMap()
        yield Step(id=step, title=step.title(), status=Status.OK, summary="fine", facts=facts, ms=1.5)


@hookimpl
async def connector_close(state: AcmeSettings) -> None:
    """Nothing is held."""
