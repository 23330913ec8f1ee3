"""Settings of a sandbox connection."""

from __future__ import annotations

from collections.abc import Iterable

from genie_connect.errors import Problem
from genie_connect.http.target import Origin
from genie_connect.model.secret import Secret
from genie_connect.model.settings import setting, settings
from genie_connect.webhooks.signatures import signing_key


def _url_problem(value: str) -> str | None:
    try:
        Origin.of(value)
    except ValueError as error:
        return str(error)
    return None


def _webhook_secret_problem(value: Secret | None) -> str | None:
    # A reference is not followed here: what it leads to may not be there yet.
    if value is None or value.reference:
        return None
    try:
        signing_key(value.reveal())
    except ValueError as error:
        return str(error)
    return None


@settings
class SandboxSettings:
    """Settings of a sandbox connection."""

    base_url: str = setting(
        title="Base URL",
        help="Where the sandbox provider listens.",
        default="http://127.0.0.1:8925",
        check=_url_problem,
    )
    api_key: Secret = setting(
        title="API key",
        help="The key the provider was started with.",
        group="auth",
        secret=True,
        example="env:SANDBOX_KEY",
    )
    webhook_secret: Secret | None = setting(
        title="Webhook signing secret",
        help="whsec_ and base64, as the provider shows it. Without it no webhook is taken.",
        group="webhooks",
        secret=True,
        default=None,
        check=_webhook_secret_problem,
    )
    previous_webhook_secret: Secret | None = setting(
        title="Previous webhook signing secret",
        help="Still good while you rotate.",
        group="webhooks",
        secret=True,
        default=None,
        check=_webhook_secret_problem,
    )
    timeout_s: float = setting(
        title="Time-out (seconds)",
        help="For one request, from connecting to the last byte of the answer.",
        group="advanced",
        default=30.0,
        minimum=0.1,
        maximum=600,
    )

    def rules(self) -> Iterable[Problem]:
        """What the settings cannot be together."""
        if self.previous_webhook_secret is not None and self.webhook_secret is None:
            yield Problem("previous_webhook_secret", "is given without a current one", "give webhook_secret")
