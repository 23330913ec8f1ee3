"""What the suite needs of a provider: its settings, its description, its answers; and a batch handed over to it."""

from __future__ import annotations

import email.policy
import json
import os
from collections.abc import Callable, Mapping, Sequence
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import attrs
import pytest
from jsonschema import Draft202012Validator
from referencing import Registry as Schemas
from referencing import Resource
from referencing.jsonschema import DRAFT202012

from genie_connect import Registry
from genie_connect.api import ApiConnector, ApiState, OAuthConnector, OAuthState
from genie_connect.clock import SystemClock
from genie_connect.contract import SendContext
from genie_connect.delivery.suppression import SuppressionGate
from genie_connect.http import FakeHttpClient, Response, TransportError
from genie_connect.http.fake import Request
from genie_connect.model.address import Address
from genie_connect.model.batch import Batch, Delivery, Recipient
from genie_connect.model.frozen import FrozenMap
from genie_connect.model.message import Message
from genie_connect.model.outcome import Outcome
from genie_connect.model.settings import structure_settings
from genie_connect.registry import ConnectorHandle

SECRET = "key-that-nobody-may-see"
TOKEN = "token-that-nobody-may-see"
SHOP = Address.parse("Shop <shop@example.com>")
SPECS = os.environ.get("GENIE_CONNECT_PROVIDER_SPECS", "")


@attrs.frozen(kw_only=True)
class Expected:
    """An answer, and the outcome that everybody it is about has."""

    name: str
    answer: Response | TransportError
    state: str
    reason: str | None
    retry: str = "never"
    retry_after_s: float | None = None


@attrs.frozen(kw_only=True, eq=False)
class Provider:
    """A provider as the suite sees it.

    ``accepts`` answers a good request. ``reached`` are the addresses that a request would have mail sent to. ``check``
    raises for a request that the vendor's description does not allow; ``unchecked`` are requests by path that the
    description does not have; ``described`` is that description where it is one of OpenAPI. ``accepted_id`` is the id
    in ``accepts`` for a single copy. ``token_path`` is where tokens are had; every one is ``TOKEN``.
    """

    connector: ApiConnector[Any]
    settings: Mapping[str, Any]
    accepts: Callable[[Request], Response]
    reached: Callable[[Request], Sequence[str]]
    check: Callable[[Request], None]
    accepted_id: str
    answers: Sequence[Expected]
    credentials: Mapping[str, str]
    account: Response | None = None
    described: Described | None = None
    token_path: str = ""

    def token(self, url: str) -> Response | None:
        """The answer of the token endpoint, where the request goes there."""
        if not self.token_path or url != self.token_path:
            return None
        return answer(200, {"access_token": TOKEN, "token_type": "Bearer", "expires_in": 3599})

    @property
    def id(self) -> str:
        """The connector's id."""
        return self.connector.info.id

    def made_settings(self, **more: Any) -> Any:
        """Settings with a secret that can be looked for."""
        return structure_settings(self.connector.info.settings_class, {**self.settings, **more})

    def handle(self) -> ConnectorHandle:
        """The connector as a host calls it; faults in it raise."""
        registry = Registry(strict=True)
        registry.register(self.id, self.connector)
        return registry[self.id]

    def state(self, client: FakeHttpClient, **more: Any) -> ApiState[Any]:
        """An open connection over a client that never leaves the process."""
        settings = self.made_settings(**more)
        authorization = self.connector.authorization(settings)
        if isinstance(self.connector, OAuthConnector):
            endpoint = FakeHttpClient(lambda request: self.token(request.url) or answer(404))
            tokens = self.connector.tokens(settings, endpoint, SystemClock())
            return OAuthState(settings=settings, client=client, authorization=authorization, tokens=tokens)
        return ApiState(settings=settings, client=client, authorization=authorization)

    async def send(
        self, batch: Batch, answer: Callable[[Request], Response | TransportError] | None = None, **more: Any
    ) -> tuple[list[Request], list[Outcome]]:
        """The requests that a batch becomes, and its outcomes."""
        client = FakeHttpClient(answer or self.accepts)
        handle = self.handle()
        state = self.state(client, **more)
        table = handle.capabilities(state.settings)
        return client.requests, list(await handle.send(state, batch, context(), table))


def context(*, key: str | None = "key-1", attempt: str = "a1b2c3d4e5f60718") -> SendContext:
    """A context with a minute left."""
    return SendContext(attempt_id=attempt, deadline=SystemClock().monotonic() + 60, idempotency_key=key)


async def batch_of(message: Message, recipients: Sequence[Recipient] = ()) -> Batch:
    """One copy to everybody in the message, or one to each recipient, as the core hands them over."""
    gate = SuppressionGate()
    if not recipients:
        cleared = (await gate.clear(message.recipients, message.purpose)).cleared
        deliveries = [Delivery(message_id="<1@example.com>", recipients=cleared, to=message.to, cc=message.cc)]
    else:
        merging = "{{" in f"{message.subject}{message.text}{message.html}{message.amp}" or message.template is not None
        deliveries = [
            Delivery(
                message_id=f"<{number}@example.com>",
                recipients=(await gate.clear([each.address], message.purpose)).cleared,
                to=(each.address,),
                merge=each.merge if merging else None,
                headers=each.headers,
                metadata=each.metadata,
            )
            for number, each in enumerate(recipients)
        ]
    said = attrs.evolve(message, to=(), cc=(), bcc=())
    return Batch(message=said, sender=message.from_ or SHOP, deliveries=tuple(deliveries))


def document(path: str) -> Any:
    """A description of a vendor; the test is skipped where there are none."""
    return json.loads(text_of(path))


def text_of(path: str) -> str:
    """A description as it is written; the test is skipped where there are none."""
    if not SPECS:
        pytest.skip("GENIE_CONNECT_PROVIDER_SPECS names no folder with the vendors' descriptions")
    return (Path(SPECS) / path).read_text(encoding="utf-8")


@attrs.frozen(kw_only=True, eq=False)
class Described:
    """A vendor's OpenAPI description. Called, it checks the body of a request, by its path in the description.

    ``overlay`` corrects what is known to be wrong in the description.
    """

    path: str
    media: str = "application/json"
    overlay: Callable[[Any], None] | None = None
    _validators: dict[str, Draft202012Validator] = attrs.field(factory=dict, init=False, repr=False)

    def document(self) -> Any:
        """The description, corrected; the test is skipped where there is none."""
        described = document(self.path)
        if self.overlay:
            self.overlay(described)
        return described

    def __call__(self, operation: str, body: Any) -> None:
        """Fail for a body that the description does not allow."""
        if operation not in self._validators:
            described = self.document()
            schemas = Schemas().with_resource("urn:spec", Resource.from_contents(described, DRAFT202012))
            pointer = _pointer(described, "paths", operation, "post", "requestBody", "content", self.media, "schema")
            self._validators[operation] = Draft202012Validator({"$ref": f"urn:spec#{pointer}"}, registry=schemas)
        errors = self._validators[operation].iter_errors(body)
        assert not [f"{error.json_path}: {error.message[:300]}" for error in errors]


def openapi(path: str, *, media: str = "application/json", overlay: Callable[[Any], None] | None = None) -> Described:
    """The description in a file."""
    return Described(path=path, media=media, overlay=overlay)


def _pointer(document: Any, *steps: str) -> str:
    """The JSON pointer to a place in a document, references on the way followed."""
    way: list[str] = []
    for step in steps:
        way.append(step)
        node = document
        for part in way:
            node = node[part]
        if isinstance(node, dict) and set(node) == {"$ref"}:
            way = [_unescaped(part) for part in node["$ref"].removeprefix("#/").split("/")]
    return "".join("/" + part.replace("~", "~0").replace("/", "~1") for part in way)


def _unescaped(part: str) -> str:
    return part.replace("~1", "/").replace("~0", "~")


def answer(status: int, body: Any = None, **headers: str) -> Response:
    """An answer with JSON, or with nothing."""
    named = FrozenMap({name.replace("_", "-"): value for name, value in headers.items()})
    return Response(status=status, headers=named, body=b"" if body is None else json.dumps(body).encode())


def said(request: Request) -> Any:
    """The JSON of a request."""
    return json.loads(request.content)


def whole(content: bytes) -> EmailMessage:
    """A message as another reader has it; it must be one without defects."""
    message = email.message_from_bytes(content, policy=email.policy.SMTP.clone(raise_on_defect=True))
    assert isinstance(message, EmailMessage)
    for part in message.walk():
        if not part.is_multipart():
            part.get_content()
    assert all(message[name] for name in ("From", "To", "Date", "Message-ID")), message.keys()
    return message


def emails_in(message: EmailMessage) -> list[str]:
    """The addresses in To, Cc and Bcc, as who reads the recipients out of a message has them."""
    fields = [message[name] for name in ("To", "Cc", "Bcc") if message[name]]
    return [address.addr_spec for field in fields for address in field.addresses]


def emails(text: str | Sequence[str] | None) -> list[str]:
    """The addresses in a list of mailboxes, as text or one by one."""
    from email.utils import getaddresses

    return [email for _, email in getaddresses([text] if isinstance(text, str) else list(text or []))]
