"""Our own connectors under the kit, as a stranger's are."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from genie_connect.webhooks.signatures import sign, signing_key
from genie_connect_spec.kit import Answer, ConnectorContract, HttpProvider, HttpRequest, SmtpProvider

SECRET = "whsec_" + base64.b64encode(b"the signing secret of the kit 01").decode()
NEXT_SECRET = "whsec_" + base64.b64encode(b"the signing secret of the kit 02").decode()


class TestSandbox(ConnectorContract):
    """The sandbox connector keeps the contract."""

    connector = "sandbox"
    provider_kind = "http"

    def answer(self, request: HttpRequest) -> Answer:
        """The provider takes everything."""
        if request.path == "/v1/account":
            account = {"name": "Kit", "max_recipients": 500, "max_message_bytes": 10_000_000}
            return Answer(body=json.dumps(account).encode())
        results = [
            {"message_id": copy["message_id"], "recipient": recipient, "status": "accepted", "id": f"kit-{number}"}
            for number, copy in enumerate(json.loads(request.body)["copies"])
            for recipient in copy["recipients"]
        ]
        return Answer(body=json.dumps({"results": results}).encode())

    def settings_of(self, provider: HttpProvider) -> dict[str, Any]:
        """Leading to the kit's provider."""
        return {"base_url": provider.base_url, "api_key": "the-key-of-the-kit", "webhook_secret": SECRET}

    def rotated(self, settings: Mapping[str, Any]) -> dict[str, Any]:
        """A new secret, and the one before it."""
        return {**settings, "webhook_secret": NEXT_SECRET, "previous_webhook_secret": settings["webhook_secret"]}

    def webhook_body(self) -> bytes:
        """A delivery and a bounce."""
        usual = {"time": "2026-11-25T10:00:00+00:00", "recipient": "ada@example.com"}
        events = [{"id": "evt_1", "type": "delivered", **usual}, {"type": "bounced", "bounce": "hard", **usual}]
        return json.dumps({"events": events}).encode()

    def unknown_webhook_body(self) -> bytes:
        """Something that the provider may say one day."""
        return b'{"events": [{"id": "evt_9", "type": "teleported", "time": "2026-11-25T10:00:00+00:00"}]}'

    def sign_webhook(self, body: bytes, settings: Mapping[str, Any], at: datetime) -> dict[str, str]:
        """As Standard Webhooks says."""
        key = signing_key(settings["webhook_secret"])
        return sign([key], webhook_id="msg_kit", timestamp_s=int(at.timestamp()), body=body)


class TestSmtp(ConnectorContract):
    """The SMTP connector keeps the contract."""

    connector = "smtp"
    provider_kind = "smtp"

    def settings_of(self, provider: SmtpProvider) -> dict[str, Any]:
        """Leading to the kit's server."""
        return {
            "host": provider.host,
            "port": provider.port,
            "security": "none",
            "username": "kit",
            "password": "the-password-of-the-kit",
            "allow_password_without_tls": True,
        }
