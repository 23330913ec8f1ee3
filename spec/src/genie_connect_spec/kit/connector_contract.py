"""The class that an author inherits."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, ClassVar

import attrs
import pytest

from genie_connect.contract import WebhookRequest
from genie_connect_spec.kit.check import Check, catalogue
from genie_connect_spec.kit.evaluation import Result
from genie_connect_spec.kit.http_provider import Answer, HttpProvider, HttpRequest, delivers
from genie_connect_spec.kit.provider import Provider
from genie_connect_spec.kit.signatures import SigningKey
from genie_connect_spec.kit.smtp_provider import SmtpProvider


class ConnectorContract:
    """Every check of the kit, for one connector.

    ``connector`` is its id; it is found among the installed packages, or given as ``plugin`` while there is no package
    yet. ``provider_kind`` is ``http`` or ``smtp``: the kit then has a fake provider, which the fixture ``settings``
    leads to. ``waivers`` maps ids of checks to the reason why they may fail; they stand in the summary of the run.
    """

    connector: ClassVar[str] = ""
    plugin: ClassVar[object | None] = None
    provider_kind: ClassVar[str] = ""
    heavy_modules: ClassVar[tuple[str, ...]] = ()
    """Modules that are slow to import, beside those the kit knows: none of them may be loaded by listing."""
    waivers: ClassVar[Mapping[str, str]] = {}
    webhook_ages_s: ClassVar[float | None] = 86_400.0
    """After how many seconds a signed webhook is too old for sure; ``None`` where the provider signs no time."""
    one_event_each: ClassVar[bool] = False
    """The provider writes a single event into each webhook, and so has the sample."""
    template_id: ClassVar[str] = "1234"
    """The id of a template, in the form that the provider gives them."""
    quality: ClassVar[str] = "quality.yaml"
    """The file with what is stated beside the checks, below the folder that pytest runs for."""

    results: ClassVar[dict[str, Result]]
    probes: ClassVar[dict[str, Any]]

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """Each connector has results of its own."""
        super().__init_subclass__(**kwargs)
        cls.results = {}
        cls.probes = {}

    # What the author says

    def answer(self, request: HttpRequest) -> Answer:
        """What the provider answers when all is well."""
        raise NotImplementedError

    def delivers(self, request: HttpRequest) -> bool:
        """Whether a request hands a message over; by default every POST does."""
        return delivers(request)

    def webhook_body(self) -> bytes:
        """The body of a webhook as the provider writes it; nothing where it has none.

        It has two events or more, or one where the class says ``one_event_each``.
        """
        return b""

    def unknown_webhook_body(self) -> bytes:
        """The body of a webhook with one event of a type that nobody has heard of."""
        return b""

    def sign_webhook(self, body: bytes, settings: Mapping[str, Any], at: datetime) -> dict[str, str]:
        """The header fields of a webhook with this body, signed at that time with the secret in the settings.

        For a provider that signs nothing, the header field with the secret that it shares (``authorization``).
        """
        return {}

    def webhook_request(self, body: bytes, settings: Mapping[str, Any], at: datetime) -> WebhookRequest:
        """How this body is posted. Override it where the signature stands in what is posted, or the secret in the path.

        What ``webhook_body`` gives is then what the signature is put around.
        """
        headers = self.sign_webhook(body, settings, at)
        return WebhookRequest(method="POST", path="/hooks/kit", headers=headers, body=body, received_at=at)

    def unsigned_webhook(self, request: WebhookRequest) -> WebhookRequest:
        """The same by somebody who has no secret: by default without header fields but those about the content."""
        headers = {name: value for name, value in request.headers.items() if name.startswith("content-")}
        return attrs.evolve(request, headers=headers)

    def altered_webhooks(self, request: WebhookRequest) -> Sequence[WebhookRequest]:
        """The same, changed where the signature covers it: by default five bodies that differ in a byte or more."""
        body = request.body
        changed = (body + b" ", b" " + body, body[:-1], b"", body.replace(b":", b": ", 1))
        return [attrs.evolve(request, body=each) for each in changed if each != body]

    def rotated(self, settings: Mapping[str, Any]) -> dict[str, Any]:
        """The settings after the signing secret was rotated: the one there was still counts. Empty without rotation."""
        return {}

    def encrypted(self, settings: Mapping[str, Any], security: str, ca_file: str) -> dict[str, Any]:
        """The settings of an SMTP connection that is encrypted, or nothing where the connector cannot do that.

        ``security`` is ``starttls``, without which nothing may leave, or ``tls`` from the first byte; ``ca_file`` has
        the authority to trust.
        """
        return {}

    def signed(self, settings: Mapping[str, Any], keys: Sequence[SigningKey]) -> dict[str, Any]:
        """The settings of an SMTP connection that signs all it sends (DKIM) with these keys, or nothing.

        The first key is an RSA key, the second, where there is one, an Ed25519 key of the same domain.
        """
        return {}

    def settings_of(self, provider: Any) -> dict[str, Any]:
        """Valid settings, leading to the provider; or give a fixture ``settings``."""
        raise NotImplementedError(
            f"{type(self).__name__} has no settings: give it a method settings_of(provider) or a fixture settings"
        )

    # What the kit makes of it

    @property
    def brings_a_provider(self) -> bool:
        """Whether its provider is none of the kit's, whose answers the kit can see."""
        return type(self).new_provider is not ConnectorContract.new_provider

    def new_provider(self) -> HttpProvider | SmtpProvider | None:
        """A provider that has not been started."""
        if self.provider_kind == "http":
            if type(self).answer is ConnectorContract.answer:
                raise NotImplementedError(
                    f"{type(self).__name__} says provider_kind = 'http': give it a method answer(request), which says "
                    "what the provider answers when all is well"
                )
            return HttpProvider(self.answer, delivers=self.delivers)
        if self.provider_kind == "smtp":
            return SmtpProvider()
        if self.provider_kind:
            raise ValueError(f"provider_kind is {self.provider_kind!r}; use 'http', 'smtp', or leave it out")
        return None

    @pytest.fixture(scope="class")
    def provider(self) -> Iterator[Provider | None]:
        """The fake provider, where ``provider_kind`` names one: for all checks, and it has forgotten them each time."""
        try:
            provider = self.new_provider()
        except (NotImplementedError, ValueError) as error:
            pytest.fail(str(error), pytrace=False)
        if provider is None:
            yield None
            return
        with provider:
            yield provider

    @pytest.fixture
    def settings(self, provider: Provider | None) -> dict[str, Any]:
        """Valid settings, leading to the provider."""
        try:
            return self.settings_of(provider)
        except NotImplementedError as error:
            pytest.fail(str(error), pytrace=False)

    @pytest.mark.parametrize("check", catalogue(), ids=str)
    def test_contract(
        self, check: Check, settings: dict[str, Any], provider: Provider | None, genie_connect_report: Any
    ) -> None:
        """The connector keeps this part of the contract."""
        genie_connect_report(self, check, settings, provider)
