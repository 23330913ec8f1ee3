"""Keys for the tests, and dkimpy as the receiver who verifies what was signed with them."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from functools import cache

import dkim
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1
from cryptography.hazmat.primitives.asymmetric.ec import generate_private_key as new_ec_key
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateNumbers, RSAPublicNumbers
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key as new_rsa_key
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from genie_connect.mime.dkim_key import DkimKey

# Fixed, so that hypothesis finds the same failures again. RFC 8463 appendix A.2 publishes it: never sign with it.
SEED = "nWGxne/9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A="


def rsa_pem(bits: int = 2048) -> str:
    """An RSA key of that size, made once in a test run."""
    return _rsa_pem(bits)


@cache
def _rsa_pem(bits: int) -> str:
    key = new_rsa_key(65537, bits)
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


def short_rsa_pem() -> str:
    """An RSA key of 648 bits: nobody makes such keys any more, so it is put together from two well-known primes."""
    p, q, e = 2**521 - 1, 2**127 - 1, 65537
    d = pow(e, -1, (p - 1) * (q - 1))
    numbers = RSAPrivateNumbers(p, q, d, d % (p - 1), d % (q - 1), pow(q, -1, p), RSAPublicNumbers(e, p * q))
    return numbers.private_key().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


@cache
def ed25519_pem() -> str:
    """The Ed25519 key in PEM."""
    key = Ed25519PrivateKey.from_private_bytes(base64.b64decode(SEED))
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


@cache
def unusable_keys() -> Mapping[str, str]:
    """What people give instead of a key, by what it is."""
    key = new_rsa_key(65537, 2048)
    public = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
    plain = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    lines = plain.splitlines()
    return {
        "a passphrase": key.private_bytes(
            Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"canary")
        ).decode(),
        "an old passphrase": key.private_bytes(
            Encoding.PEM, PrivateFormat.TraditionalOpenSSL, BestAvailableEncryption(b"canary")
        ).decode(),
        "OpenSSH": key.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption()).decode(),
        "public": public,
        "record": "v=DKIM1; k=rsa; p=" + "".join(public.splitlines()[1:-1]),
        "certificate": "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n",
        "cut off": "\n".join(lines[: len(lines) // 2]),
        "without its lines": "".join(lines[1:-1]),
        "a bit changed": plain.replace(lines[9], lines[9][::-1]),
        "elliptic": new_ec_key(SECP256R1()).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode(),
        "too short a seed": base64.b64encode(b"k" * 31).decode(),
        "too long a seed": base64.b64encode(b"k" * 64).decode(),
        "a password": "hunter2-canary-hunter2-canary",
        "umlauts": "schlüssel-canary",
        "blank": " ",
    }


def rsa_key(bits: int = 2048, *, domain: str = "example.com", selector: str = "rsa") -> DkimKey:
    """An RSA key under example.com."""
    return DkimKey.load(domain=domain, selector=selector, private_key=rsa_pem(bits))


def ed25519_key(*, domain: str = "example.com", selector: str = "ed") -> DkimKey:
    """An Ed25519 key under example.com."""
    return DkimKey.load(domain=domain, selector=selector, private_key=SEED)


def verified(wire: bytes, *keys: DkimKey) -> list[bool]:
    """What dkimpy says of each signature, from the top, with the records of these keys in its DNS."""
    records = {f"{key.record_name}.": key.record_value for key in keys}

    def look_up(name: bytes, timeout: int = 5) -> bytes | None:
        record = records.get(name.decode())
        return None if record is None else record.encode()

    return [_verifies(wire, index, look_up) for index in range(wire.count(b"DKIM-Signature:"))]


def _verifies(wire: bytes, index: int, look_up: object) -> bool:
    try:
        return bool(dkim.DKIM(wire, minkey=1024).verify(index, dnsfunc=look_up))
    except dkim.DKIMException:
        return False
