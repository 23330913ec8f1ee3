"""The key of a DKIM signature, and the DNS record that lets others verify it (RFC 6376, RFC 8301, RFC 8463)."""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from collections.abc import Callable
from enum import StrEnum
from typing import TYPE_CHECKING, Final

import attrs

from genie_connect.errors import Problem, ValidationError
from genie_connect.model.address import Address

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

LEAST_RSA_BITS: Final = 1024
"""RFC 8301 section 3.2: with less, a verifier must not take the signature."""
ADVISED_RSA_BITS: Final = 2048
MOST_RSA_BITS: Final = 4096
"""The same section: verifiers need not know longer ones."""

_LABEL = r"[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?"
_SELECTOR = re.compile(rf"{_LABEL}(?:\.{_LABEL})*\Z")
_MAX_NAME_CHARACTERS = 253
_SEED_BYTES = 32
_MAKE_RSA = "make one with: openssl genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:2048"
_PEM = "give a private key in PEM, beginning with -----BEGIN PRIVATE KEY-----"

_DECRYPT = "decrypt it with: openssl pkey -in key.pem -out plain.pem"
_PRIVATE_ONE = "give the private key; the public one goes into the DNS"

# What people paste by mistake; the first that stands in the text tells.
_MISTAKEN: Final = (
    ("BEGIN ENCRYPTED PRIVATE KEY", "is protected by a passphrase", _DECRYPT),
    ("4,ENCRYPTED", "is protected by a passphrase", _DECRYPT),
    ("BEGIN OPENSSH PRIVATE KEY", "is an OpenSSH key", _MAKE_RSA),
    ("BEGIN PUBLIC KEY", "is a public key", _PRIVATE_ONE),
    ("BEGIN RSA PUBLIC KEY", "is a public key", _PRIVATE_ONE),
    ("BEGIN CERTIFICATE", "is a certificate", _PRIVATE_ONE),
    ("v=DKIM1", "is a DNS record", _PRIVATE_ONE),
)


class Algorithm(StrEnum):
    """How the signature is made: the ``a=`` tag."""

    RSA_SHA256 = "rsa-sha256"
    ED25519_SHA256 = "ed25519-sha256"


@attrs.frozen(kw_only=True, eq=False)
class DkimKey:
    """A private key with the domain and the selector that its public half is published under.

    Made with ``load``; shows nothing of the key and cannot be pickled.
    """

    domain: str
    selector: str
    algorithm: Algorithm
    bits: int
    _public: bytes = attrs.field(repr=False)
    _sign: Callable[[bytes], bytes] = attrs.field(repr=False)

    @classmethod
    def load(cls, *, domain: str, selector: str, private_key: str) -> DkimKey:
        """Read an RSA or Ed25519 key in PEM, or the 32 bytes of an Ed25519 key in base64.

        Takes tens of milliseconds for RSA, whose numbers are checked. Raises ``ValidationError``, which names
        ``domain``, ``selector`` or ``private_key`` and never quotes the key; ``ModuleNotFoundError`` without the extra
        ``dkim``.
        """
        domain = _domain(domain)
        if problem := selector_problem(selector):
            raise ValidationError.single("selector", problem)
        if len(f"{selector}._domainkey.{domain}") > _MAX_NAME_CHARACTERS:
            raise ValidationError.single("selector", "is too long for a name in the DNS", "choose a shorter one")
        # 15 MiB that only those need who sign; by whoever opens a connection, not by whoever lists connectors.
        from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

        key = _parsed(private_key)
        if isinstance(key, RSAPrivateKey):
            _check_size(key.key_size)
            return cls(
                domain=domain,
                selector=selector,
                algorithm=Algorithm.RSA_SHA256,
                bits=key.key_size,
                public=_rsa_public(key),
                sign=_rsa_signing(key),
            )
        return cls(
            domain=domain,
            selector=selector,
            algorithm=Algorithm.ED25519_SHA256,
            bits=8 * _SEED_BYTES,
            public=key.public_key().public_bytes_raw(),
            # RFC 8463 section 3: what Ed25519 signs is the hash.
            sign=lambda data: key.sign(hashlib.sha256(data).digest()),
        )

    def sign(self, data: bytes) -> bytes:
        """The signature over ``data``."""
        return self._sign(data)

    @property
    def record_name(self) -> str:
        """The name of the TXT record to publish (RFC 6376 section 3.6.2.1)."""
        return f"{self.selector}._domainkey.{self.domain}"

    @property
    def record_value(self) -> str:
        """The text of that record. In a zone file what is longer than 255 characters takes several strings."""
        kind = "rsa" if self.algorithm is Algorithm.RSA_SHA256 else "ed25519"
        return f"v=DKIM1; k={kind}; p={base64.b64encode(self._public).decode()}"

    @property
    def advice(self) -> str:
        """Why another key would be better, or nothing."""
        if self.algorithm is not Algorithm.RSA_SHA256 or ADVISED_RSA_BITS <= self.bits <= MOST_RSA_BITS:
            return ""
        if self.bits < ADVISED_RSA_BITS:
            return f"the RSA key has {self.bits} bits, and some receivers want {ADVISED_RSA_BITS} (RFC 8301)"
        return f"the RSA key has {self.bits} bits, and receivers need not know more than {MOST_RSA_BITS} (RFC 8301)"

    def covers(self, domain: str) -> bool:
        """Whether ``domain`` is that of the key or below it."""
        return f".{domain.lower()}".endswith(f".{self.domain}")


def domain_problem(domain: str) -> str | None:
    """What keeps a text from being the domain of a key, or ``None``."""
    try:
        _domain(domain)
    except ValidationError as error:
        problem = error.problems[0]
        return f"{problem.message}: {problem.fix}" if problem.fix else problem.message
    return None


def selector_problem(selector: str) -> str | None:
    """What keeps a text from being a selector, or ``None``."""
    return None if _SELECTOR.match(selector) else f"{selector!r} is not a selector: write it as mail2026"


def _domain(domain: str) -> str:
    try:
        return Address(local="postmaster", domain=domain).domain
    except ValidationError as error:
        raise ValidationError([Problem("domain", problem.message, problem.fix) for problem in error.problems]) from None


def _parsed(text: str) -> RSAPrivateKey | Ed25519PrivateKey:
    """The key; whatever is wrong, the error holds nothing of ``text``."""
    for mark, problem, fix in _MISTAKEN:
        if mark in text:
            raise _unusable(problem, fix)
    if "-----BEGIN" not in text:
        return _from_seed(text)
    return _from_pem(text)


def _from_seed(text: str) -> Ed25519PrivateKey:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    try:
        seed = base64.b64decode("".join(text.split()), validate=True)
    except (binascii.Error, ValueError):
        seed = b""
    if len(seed) != _SEED_BYTES:
        raise _unusable("is neither PEM nor the 32 bytes of an Ed25519 key in base64", _PEM)
    return Ed25519PrivateKey.from_private_bytes(seed)


def _from_pem(text: str) -> RSAPrivateKey | Ed25519PrivateKey:
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    # Environment variables often carry line ends as \n, which PEM itself never holds.
    pem = text.replace("\\n", "\n").strip().encode()
    try:
        key = load_pem_private_key(pem, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise _unusable("is damaged, or not complete", _PEM) from None
    if not isinstance(key, RSAPrivateKey | Ed25519PrivateKey):
        raise _unusable("is neither RSA nor Ed25519, and DKIM knows no other", _MAKE_RSA)
    return key


def _check_size(bits: int) -> None:
    if bits < LEAST_RSA_BITS:
        problem = f"is an RSA key of {bits} bits; receivers take none below {LEAST_RSA_BITS} (RFC 8301)"
        raise _unusable(problem, _MAKE_RSA)


def _rsa_public(key: RSAPrivateKey) -> bytes:
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    # RFC 6376 section 3.6.1 says RSAPublicKey, its example and everybody since use SubjectPublicKeyInfo (erratum 3017).
    return key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def _rsa_signing(key: RSAPrivateKey) -> Callable[[bytes], bytes]:
    from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
    from cryptography.hazmat.primitives.hashes import SHA256

    padding, sha256 = PKCS1v15(), SHA256()
    return lambda data: key.sign(data, padding, sha256)


def _unusable(problem: str, fix: str) -> ValidationError:
    return ValidationError.single("private_key", problem, fix)
