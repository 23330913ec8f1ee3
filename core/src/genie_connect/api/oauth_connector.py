"""A connector whose provider wants an access token of OAuth 2.0.

::

    class Acme(OAuthConnector[AcmeSettings]):
        urls = {"": "https://api.acme.example"}
        token_urls = {"": "https://login.acme.example/oauth2/token"}

        def grant(self, settings, now):
            secret = settings.client_secret.reveal()
            return {"grant_type": "client_credentials", "client_id": settings.client_id, "client_secret": secret}

The rest is as of any ``ApiConnector``, but for ``authorization``, which is here.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import ClassVar, TypeVar

import attrs

from genie_connect.api.call import Call
from genie_connect.api.connector import ApiConnector, ApiState
from genie_connect.api.oauth import TokenSource
from genie_connect.api.settings import ApiSettings
from genie_connect.clock import Clock
from genie_connect.contract import Runtime, SendContext
from genie_connect.hookspecs import hookimpl
from genie_connect.http import HttpClient, Limits, Response, open_client
from genie_connect.http.target import Origin
from genie_connect.model.frozen import EMPTY

S = TypeVar("S", bound=ApiSettings)


@attrs.frozen(kw_only=True, eq=False, repr=False)
class OAuthState(ApiState[S]):
    """The state of an open connection."""

    tokens: TokenSource


class OAuthConnector(ApiConnector[S]):
    """An ``ApiConnector`` that fetches tokens. Where the settings have a ``base_url``, tokens are had there too."""

    token_urls: ClassVar[Mapping[str, str]] = EMPTY
    """Where tokens are had, by region as ``urls`` are."""

    def grant(self, settings: S, now: datetime) -> Mapping[str, str]:
        """The form that asks for a token (RFC 6749 section 4), with the credentials. Raises ``SecretUnavailable``."""
        raise NotImplementedError

    def token_url(self, settings: S) -> str:
        """The token endpoint that the settings choose."""
        return self.token_urls[getattr(settings, "region", "")]

    def authorization(self, settings: S) -> Mapping[str, str]:
        """Nothing that stays the same. Raises ``SecretUnavailable`` where the credentials cannot be read."""
        self.grant(settings, datetime.now(UTC))
        return EMPTY

    def tokens(self, settings: S, client: HttpClient, clock: Clock) -> TokenSource:
        """The tokens of a connection, over a client of the token endpoint's host."""
        path = Origin.of(self.token_url(settings)).prefix
        return TokenSource(client, path, lambda: self.grant(settings, clock.now()), clock)

    @hookimpl
    async def connector_open(self, settings: S, runtime: Runtime) -> OAuthState[S]:
        """Make the HTTP clients; nothing is connected to yet. Raises ``SecretUnavailable``."""
        state = await super().connector_open(settings, runtime)
        limits = Limits(read_s=settings.timeout_s, total_s=settings.timeout_s)
        host = attrs.evolve(Origin.of(self.token_url(settings)), prefix="").url
        client = await open_client(settings.base_url or host, limits=limits, library=settings.http_client)
        return OAuthState(
            settings=settings,
            client=state.client,
            authorization=EMPTY,
            tokens=self.tokens(settings, client, runtime.clock),
        )

    @hookimpl
    async def connector_close(self, state: ApiState[S]) -> None:
        """Close the HTTP clients."""
        if isinstance(state, OAuthState):
            await state.tokens.close()
        await super().connector_close(state)

    async def ask(self, state: ApiState[S], call: Call, context: SendContext) -> Response:
        """Send one request, with a new token once more where the provider takes the one that served no longer.

        A 401 says that nothing was done, so the second request is no second message. Raises ``TransportError``.
        """
        assert isinstance(state, OAuthState)  # noqa: S101  # connector_open makes no other
        response, bearer = await self._asked(state, call, context)
        if response.status == 401 and state.tokens.refused(bearer):
            response, bearer = await self._asked(state, call, context)
        if response.status != 401:
            state.tokens.served(bearer)
        return response

    async def _asked(self, state: OAuthState[S], call: Call, context: SendContext) -> tuple[Response, str]:
        bearer = await state.tokens.bearer(context.remaining_s())
        with_token = attrs.evolve(state, authorization={"authorization": f"Bearer {bearer}"})
        return await super().ask(with_token, call, context), bearer
