"""DKIM for this connection: keys from the settings, and what the connector test says of them."""

from __future__ import annotations

import asyncio
import re
from typing import Final

import attrs

from genie_connect.errors import ConfigurationError, Problem, SecretUnavailable, SettingsError, ValidationError
from genie_connect.mime.dkim import DkimSigner
from genie_connect.mime.dkim_key import Algorithm, DkimKey
from genie_connect.mime.signing import SigningPool
from genie_connect.model.address import Address
from genie_connect.model.diagnosis import Diagnosis
from genie_connect.model.secret import Secret
from genie_connect_smtp.hints import diagnosis
from genie_connect_smtp.settings import SmtpSettings

# https://docs.aws.amazon.com/ses/latest/dg/header-fields.html
_REWRITES_DATE: Final = re.compile(r"\.amazonaws\.com(?:\.cn)?\.?\Z", re.IGNORECASE)

# The setting that each argument of DkimKey.load comes from.
_FIRST: Final = {
    "domain": "dkim_domain",
    "selector": "dkim_selector",
    "private_key": "dkim_private_key",
}
_SECOND: Final = {
    "domain": "dkim_domain",
    "selector": "dkim_ed25519_selector",
    "private_key": "dkim_ed25519_private_key",
}


async def signing_of(settings: SmtpSettings) -> SigningPool | None:
    """What signs the messages of this connection, or ``None`` where nothing does.

    Raises ``SettingsError`` for a key that cannot be read or used, ``ConfigurationError`` without the extra ``dkim``.
    """
    if settings.dkim_domain is None:
        return None
    try:
        # Checking the numbers of an RSA key takes tens of milliseconds.
        keys = await asyncio.to_thread(_keys, settings)
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] != "cryptography":
            raise
        message = "DKIM needs the package cryptography, which is not installed"
        raise ConfigurationError(message, hint='pip install "genie-connect-smtp[dkim]"') from None
    return SigningPool(DkimSigner(keys))


def _keys(settings: SmtpSettings) -> list[DkimKey]:
    keys = [_key(settings, _FIRST)]
    if settings.dkim_ed25519_private_key is not None:
        second = _key(settings, _SECOND)
        if second.algorithm is not Algorithm.ED25519_SHA256:
            fix = "give an Ed25519 key; an RSA key goes into dkim_private_key"
            raise SettingsError([Problem("dkim_ed25519_private_key", "is not an Ed25519 key", fix)], connector="smtp")
        keys.append(second)
    return keys


def _key(settings: SmtpSettings, names: dict[str, str]) -> DkimKey:
    secret: Secret = getattr(settings, names["private_key"])
    try:
        return DkimKey.load(
            domain=getattr(settings, names["domain"]),
            selector=getattr(settings, names["selector"]),
            private_key=secret.reveal(),
        )
    except ValidationError as error:
        problems = [Problem(names[problem.path], problem.message, problem.fix) for problem in error.problems]
        raise SettingsError(problems, connector="smtp") from None
    except SecretUnavailable as error:
        problem = Problem(names["private_key"], f"cannot be read: {error.reference}: {error.cause}", error.hint)
        raise SettingsError([problem], connector="smtp") from None


def diagnosis_of_key(error: SettingsError | ConfigurationError) -> Diagnosis:
    """Why nothing can be signed, as the connector test tells it."""
    if isinstance(error, SettingsError):
        problem = error.problems[0]
        found = diagnosis("dkim_key_unusable", evidence=f"{problem.path} {problem.message}", advice=problem.fix)
        return attrs.evolve(found, field=problem.path)
    return diagnosis("dkim_key_unusable", evidence=error.message, advice=error.hint)


def warnings_of(signer: DkimSigner, settings: SmtpSettings, default_from: Address | None) -> list[str]:
    """What keeps receivers from making the most of the signatures."""
    warnings = [key.advice for key in signer.keys if key.advice]
    if all(key.algorithm is not Algorithm.RSA_SHA256 for key in signer.keys):
        warnings.append("many receivers know no Ed25519: add a signature with an RSA key")
    if _REWRITES_DATE.search(settings.host):
        warnings.append("Amazon SES replaces Date and Message-ID, which breaks the signature: let SES sign (Easy DKIM)")
    domain = signer.keys[0].domain
    # DMARC (RFC 9989) wants the organizational domain to be the same; what that is only the DNS says. Where neither
    # domain is part of the other they are hardly one organization.
    if default_from is not None and not _related(domain, default_from.domain):
        warnings.append(f"{default_from.domain}, the domain of the default From, is another than {domain}: DMARC fails")
    return warnings


def _related(one: str, other: str) -> bool:
    return f".{one}".endswith(f".{other}") or f".{other}".endswith(f".{one}")


def records_of(signer: DkimSigner) -> dict[str, str]:
    """The TXT records that must be published, by their names."""
    return {f"TXT {key.record_name}": key.record_value for key in signer.keys}
