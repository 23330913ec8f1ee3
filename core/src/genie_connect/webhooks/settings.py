"""Settings by which a connection knows the webhooks of its provider: a secret, and its predecessor while it is rotated.

::

    @settings
    class AcmeSettings(ApiSettings):
        webhook_secret: Secret | None = signing_secret(raw_key, help="Acme > Webhooks > your endpoint.")
        previous_webhook_secret: Secret | None = previous_secret(raw_key)

They are of the group ``webhooks``. What a parser needs of its settings has to be in that group and may not be required:
a connection of another kind, SMTP for one, may use the parser with these settings alone.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from genie_connect.model.secret import Secret
from genie_connect.model.settings import WEBHOOKS, setting
from genie_connect.webhooks.signatures.shared_secret import shared_key


def signing_secret(
    read: Callable[[str], object],
    *,
    help: str,  # noqa: A002  # what a setting calls it
    title: str = "Webhook signing secret",
    example: str | None = None,
) -> Any:
    """What a provider's signatures are checked with. ``read`` makes a key of it and raises ``ValueError``."""
    return setting(
        title=title,
        help=f"{help} Without it no webhook is taken.",
        group=WEBHOOKS,
        secret=True,
        default=None,
        example=example,
        check=_check(read),
    )


def previous_secret(read: Callable[[str], object], *, title: str = "Previous webhook signing secret") -> Any:
    """The one before, which still counts while it is rotated. Its name is ``previous_`` and that of the current one."""
    return setting(
        title=title,
        help="Still good while you rotate.",
        group=WEBHOOKS,
        secret=True,
        default=None,
        check=_check(read),
    )


def shared_secret(*, title: str = "Webhook secret", of: str = "webhook") -> Any:
    """For a provider that signs nothing: a secret that stands in the URL it is given."""
    return setting(
        title=title,
        help=(
            "user:password, put into the URL at the provider (https://user:password@...), or a secret of 22 characters"
            f" or more, which ends the URL's path. Without it no {of} is taken."
        ),
        group=WEBHOOKS,
        secret=True,
        default=None,
        check=_check(shared_key),
    )


def previous_shared_secret(*, title: str = "Previous webhook secret") -> Any:
    """The one before."""
    return previous_secret(shared_key, title=title)


def _check(read: Callable[[str], object]) -> Callable[[Secret | None], str | None]:
    def check(value: Secret | None) -> str | None:
        # A reference is not followed here: what it leads to may not be there yet.
        if value is None or value.reference:
            return None
        try:
            read(value.reveal())
        except ValueError as error:
            return str(error)
        return None

    return check
