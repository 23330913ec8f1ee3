"""What every scheme needs: keys from settings, a window of time, and comparing without telling where it failed."""

from __future__ import annotations

import binascii
import hmac
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Final, TypeVar

import attrs

from genie_connect.errors import SecretUnavailable, WebhookRejected
from genie_connect.model.secret import Secret

Key = TypeVar("Key")
MAX_SIGNATURES: Final = 16
"""How many signatures of a header field are looked at: more than any rotation needs, few enough to stay quick."""
MAX_KEYS: Final = 16
_SECONDS: Final = re.compile(r"[0-9]{1,12}\Z")


@attrs.frozen(kw_only=True)
class Window:
    """How far from the time of receipt a webhook may have been signed, in seconds.

    ``past_s`` has to cover the retries of a provider that signs once and sends the same again; what is sent twice does
    no harm, since events are kept once.
    """

    past_s: float = 300.0
    future_s: float = 300.0

    def check(self, signed_s: float, received_at: datetime, *, field: str) -> None:
        """Raises ``WebhookRejected`` where it was signed too early or too late."""
        age_s = received_at.timestamp() - signed_s
        if not -self.future_s <= age_s <= self.past_s:
            raise WebhookRejected(
                f"it was signed more than {self.past_s:g} seconds before or {self.future_s:g} seconds after it was"
                " received",
                field=field,
                hint="check the clock of this machine",
            )


FIVE_MINUTES: Final = Window()


def signing_keys(secrets: Iterable[Secret | None], read: Callable[[str], Key]) -> list[Key]:
    """The keys in a connection's secrets, which are those of a rotation: the current one and its predecessor.

    ``read`` makes a key of the text and raises ``ValueError`` where it is none. Raises ``WebhookRejected``: 401 where
    there is no secret at all, 503 where one cannot be used, which is our fault and may pass.
    """
    given = [secret for secret in secrets if secret is not None][:MAX_KEYS]
    if not given:
        raise WebhookRejected("this connection has no signing secret", hint="copy it from the provider's settings")
    try:
        return [read(secret.reveal()) for secret in given]
    except (SecretUnavailable, ValueError):
        raise WebhookRejected("the signing secret of this connection cannot be used", status=503) from None


def raw_key(secret: str) -> bytes:
    """A secret that is the key as it stands."""
    if not secret:
        raise ValueError("is empty")
    return secret.encode("utf-8", "surrogatepass")


def signed_seconds(value: str, *, field: str) -> int:
    """A timestamp in whole seconds since 1970. Raises ``WebhookRejected``."""
    if not _SECONDS.match(value):
        raise WebhookRejected("the time of signing is not a whole number of seconds", field=field)
    return int(value)


def required(headers: Mapping[str, str], name: str) -> str:
    """A header field that has to be there. Raises ``WebhookRejected``."""
    value = headers.get(name)
    if not value:
        raise WebhookRejected("it is not signed", field=name, hint="switch signing on at the provider")
    return value


def equals_one(candidate: bytes, expected: Sequence[bytes]) -> bool:
    """Whether it is one of these, in a time that says neither where nor which."""
    found = False
    for each in expected:
        found |= hmac.compare_digest(candidate, each)
    return found


def as_bytes(text: str) -> bytes:
    """Text from a header, to be compared: ``compare_digest`` raises ``TypeError`` for text that is not ASCII."""
    return text.encode("utf-8", "surrogatepass")


def base64_bytes(text: str) -> bytes | None:
    """What base64 holds, or ``None`` where it is none, or not as an encoder writes it."""
    given = as_bytes(text)
    try:
        content = binascii.a2b_base64(given, strict_mode=True)
    except (binascii.Error, ValueError):
        return None
    # The last character may hold bits that count for nothing: one signature would have several spellings.
    return content if binascii.b2a_base64(content, newline=False) == given else None


def wrong(field: str) -> WebhookRejected:
    """The refusal of a signature that is right for no key."""
    return WebhookRejected(
        "no signature of it is right",
        field=field,
        hint="check that the signing secret is that of this endpoint, and that nothing in between changes the body",
    )
