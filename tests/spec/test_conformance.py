"""Our own connectors under the kit, as a stranger's are."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, ClassVar

import attrs
import pytest

from genie_connect import Registry
from genie_connect.contract import WebhookRequest
from genie_connect.http import Response
from genie_connect.http.fake import Request
from genie_connect.webhooks.signatures import sign, signing_key
from genie_connect_spec.kit import Answer, ConnectorContract, HttpProvider, HttpRequest
from genie_connect_spec.kit.evaluation import Verdict
from genie_connect_spec.kit.levels import conformance
from genie_connect_spec.kit.quality import read
from genie_connect_spec.kit.whole import results_of
from tests.contrib.providers.events.hook import Hook
from tests.contrib.providers.events.hooks import HOOKS
from tests.contrib.providers.every import PROVIDERS
from tests.contrib.providers.harness import Provider
from tests.docs.pages import ROOT
from tests.spec.folder_provider import FolderProvider
from tests.spec.smtp_contract import Smtp

SECRET = "whsec_" + base64.b64encode(b"the signing secret of the kit 01").decode()
NEXT_SECRET = "whsec_" + base64.b64encode(b"the signing secret of the kit 02").decode()


class Sandbox(ConnectorContract):
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


class FolderContract(ConnectorContract):
    """A connector that puts messages into a folder."""

    def new_provider(self) -> Any:
        """A folder."""
        return FolderProvider()

    def settings_of(self, provider: FolderProvider) -> dict[str, Any]:
        """Leading to the folder."""
        return {"folder": str(provider.folder), "create": False}


class ApiContract(ConnectorContract):
    """A connector of ``plugins/contrib``, over the answers that its provider's documentation shows."""

    provider_kind = "http"
    of: ClassVar[Provider]
    hook: ClassVar[Hook | None] = None

    def answer(self, request: HttpRequest) -> Answer:
        """To a message, that it was taken; to anything else, what the account is."""
        found = self.of.accepts(_asked(request)) if self.delivers(request) else self.of.account
        found = self.of.token(request.target) or found or Response(status=404)
        return Answer(status=found.status, headers=found.headers, body=found.body)

    def delivers(self, request: HttpRequest) -> bool:
        """A request that would have mail sent to somebody."""
        return request.method == "POST" and bool(self.of.reached(_asked(request)))

    def settings_of(self, provider: HttpProvider) -> dict[str, Any]:
        """Leading to the kit's provider."""
        also = self.hook.settings if self.hook else {}
        return {**also, **self.of.settings, **self._keyed(1, None), "base_url": provider.base_url}

    def _keyed(self, number: int, previous: int | None) -> Mapping[str, Any]:
        return self.hook.keyed(number, previous) if self.hook else {}

    def rotated(self, settings: Mapping[str, Any]) -> dict[str, Any]:
        """The second key, and the first one before it."""
        return {**settings, **self._keyed(2, 1)} if self.hook else {}

    def webhook_body(self) -> bytes:
        """Samples of the suite of its events: four, or one where the provider writes no more into a webhook."""
        return self.hook.body(*self.hook.told_apart(4)) if self.hook else b""

    def unknown_webhook_body(self) -> bytes:
        """Something that the provider may say one day."""
        return self.hook.body(self.hook.unheard()) if self.hook else b""

    def webhook_request(self, body: bytes, settings: Mapping[str, Any], at: datetime) -> WebhookRequest:
        """Posted as the provider does, with the key of the settings."""
        assert self.hook is not None
        first = all(settings.get(name) == value for name, value in self._keyed(1, None).items())
        return attrs.evolve(self.hook.post(body, at, 1 if first else 2), received_at=at)

    def unsigned_webhook(self, request: WebhookRequest) -> WebhookRequest:
        """Without what shows who sent it."""
        unsigned = self.hook.unsigned if self.hook else None
        return unsigned(request) if unsigned else super().unsigned_webhook(request)

    def altered_webhooks(self, request: WebhookRequest) -> Sequence[WebhookRequest]:
        """With something else than was signed."""
        altered = self.hook.altered if self.hook else None
        return altered(request) if altered else super().altered_webhooks(request)


def _contract_of(provider: Provider) -> type[ApiContract]:
    hook = next((each for each in HOOKS if each.id == provider.id), None)
    known: dict[str, Any] = {"connector": provider.id, "of": provider, "hook": hook}
    if hook is not None:
        # Of these, every signature is too old, or too early.
        known["webhook_ages_s"] = None if hook.window_s is None else hook.window_s + 7200
        known["one_event_each"] = hook.wrapped is None
    return type("Contract", (ApiContract,), known)


def _asked(request: HttpRequest) -> Request:
    return Request(method=request.method, url=request.target, headers=request.headers, content=request.body)


CONTRACTS = {provider.id: _contract_of(provider) for provider in PROVIDERS} | {
    contract.connector: contract for contract in (Sandbox, Smtp)
}
CONTRACTS |= {name: type("Contract", (FolderContract,), {"connector": name}) for name in ("file", "maildir")}
CONTRACTS["mailtrap"].template_id = "0b8f2f6e-0a4b-4d1c-9a55-0a1b2c3d4e5f"
BEYOND_THEM: dict[str, set[str]] = {
    # The name beside the sender's address is set in the portal and cannot be sent.
    "azure": {"GC-SEND-009"},
    # Its key stands in the body of the request, which is how Mandrill asks for it.
    "mandrill": {"GC-SAFE-016"},
}
"""Checks that a connector cannot pass, since its provider's API leaves it no way."""
AT_LEAST = 165
"""So many checks say something of a connector that takes no webhooks and names no lookup."""
AT_LEAST_OF_FOLDERS = 140
"""So many do where nothing is connected to, which could refuse or be silent."""


QUICK = ("resend", "sandbox", "ses", "smtp")
"""Looked at in every run of the tests: those of all the guides, an API in JSON, and one that takes whole messages."""


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[] if name in QUICK else [pytest.mark.long]) for name in sorted(CONTRACTS)]
)
def test_our_connector_keeps_the_contract(name: str) -> None:
    """All that applies to it and that its provider lets it do, without a waiver. It is as good as it says."""
    contract: Any = CONTRACTS[name]()
    found = list(results_of(contract))
    wrong = {each.check: each.reason for each in found if each.verdict is Verdict.FAILED}
    assert wrong.keys() == BEYOND_THEM.get(name, set()), wrong
    least = AT_LEAST if contract.provider_kind else AT_LEAST_OF_FOLDERS
    assert sum(each.verdict is Verdict.PASSED for each in found) >= least
    (path,) = ROOT.glob(f"plugins/*/quality/{name}.yaml")
    statement, handle = read(path), Registry.discover(allow=[name])[name]
    assert statement.unproven(handle.capabilities()) == ()
    verdicts = {each.check: each.verdict.value for each in found}
    assert conformance(name, verdicts, {}, statement).level is handle.quality, path


@pytest.mark.long
def test_a_connector_over_aiohttp_keeps_the_contract_as_well() -> None:
    """Silence, cancellation, leaks and all: whichever library speaks HTTP."""

    class OverAiohttp(CONTRACTS["resend"]):  # type: ignore[misc]  # chosen by name
        def settings_of(self, provider: HttpProvider) -> dict[str, Any]:
            return {**super().settings_of(provider), "http_client": "aiohttp"}

    found = list(results_of(OverAiohttp()))
    assert {each.check: each.reason for each in found if each.verdict is Verdict.FAILED} == {}
    assert sum(each.verdict is Verdict.PASSED for each in found) >= AT_LEAST
