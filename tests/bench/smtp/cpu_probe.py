"""Work without a network: ``python -m tests.bench.smtp.cpu_probe CASE``, which takes lines "ROW COUNT"."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Iterator
from email.policy import SMTP

import attrs
import dkim
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

import genie_connect as gc
from genie_connect.mime import compile_message, compose
from genie_connect.mime.dkim import DkimSigner
from genie_connect.mime.dkim_key import DkimKey
from genie_connect.model.batch import Batch
from genie_connect.model.frozen import FrozenMap
from tests.bench.smtp import message as messages
from tests.bench.smtp.client import Clock, email_message, tell

Work = Callable[[int], object]
_COPIES = 64
_FIELDS = {"name": "Ada Lovelace", "order": "4711-0815"}
_DOMAIN = "example.com"


def _batch(message: gc.Message) -> Batch:
    """Copies of a message with two fields in the text and two in the HTML, and a header of each recipient's own."""
    with_fields = attrs.evolve(
        message,
        text=(message.text or "").replace("Ada", "{{ name }}").replace("Thank you", "{{ order }}: thank you"),
        html=(message.html or "").replace("<body>", "<body><p>{{ name }}, {{ order }}</p>"),
    )
    made = asyncio.run(messages.batch(with_fields, messages.recipients(_COPIES)))
    deliveries = tuple(
        attrs.evolve(
            delivery,
            merge=FrozenMap(_FIELDS),
            headers=FrozenMap({"List-Unsubscribe": f"<https://example.com/u/{number:06}>"}),
        )
        for number, delivery in enumerate(made.deliveries)
    )
    return attrs.evolve(made, deliveries=deliveries)


def composing(message: gc.Message) -> dict[str, Work]:
    """Ways to put a message together. Ours fill in fields; the standard library is spared that."""
    batch = _batch(message)
    compiled = compile_message(batch)

    def one_shot(count: int) -> int:
        total = 0
        for number in range(count):
            copy = compose(batch, batch.deliveries[number % _COPIES], date=messages.DATE, eight_bit=True)
            total += sum([len(chunk) for chunk in copy.chunks()])
        return total

    def spliced(count: int) -> int:
        total = 0
        for number in range(count):
            copy = compiled.compose(batch.deliveries[number % _COPIES], date=messages.DATE, eight_bit=True)
            total += sum([len(chunk) for chunk in copy.chunks()])
        return total

    def compiling(count: int) -> object:
        return [compile_message(batch).compose(batch.deliveries[0], date=messages.DATE) for _ in range(count)]

    def standard_library(count: int) -> int:
        policy = SMTP.clone(cte_type="8bit")
        return sum(
            len(email_message(message, messages.recipient(number)).as_bytes(policy=policy)) for number in range(count)
        )

    return {"one-shot": one_shot, "compiled": spliced, "compiling": compiling, "EmailMessage": standard_library}


def signing(message: gc.Message) -> dict[str, Work]:
    """Signatures of one message: ours, dkimpy's, and what RSA alone takes."""
    batch = asyncio.run(messages.batch(message, messages.recipients(1)))
    composed = compose(batch, batch.deliveries[0], date=messages.DATE)
    content = composed.as_bytes()
    rsa_key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    pem = rsa_key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
    )
    ed25519 = Ed25519PrivateKey.generate().private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )

    def ours(*private_keys: bytes) -> Work:
        keys = [
            DkimKey.load(domain=_DOMAIN, selector=f"s{number}", private_key=key.decode())
            for number, key in enumerate(private_keys)
        ]
        signer = DkimSigner(keys)
        return lambda count: [
            signer.sign(composed.head, composed.body_chunks(), now=messages.DATE) for _ in range(count)
        ]

    included = [b"from", b"to", b"subject", b"date", b"message-id", b"mime-version", b"content-type"]

    def dkimpy(count: int) -> object:
        domain = _DOMAIN.encode()
        choices = {"canonicalize": (b"relaxed", b"relaxed"), "include_headers": included}
        return [dkim.sign(content, b"s0", domain, pem, **choices) for _ in range(count)]

    def bare(count: int) -> object:
        return [rsa_key.sign(content[:32], padding.PKCS1v15(), hashes.SHA256()) for _ in range(count)]

    return {"rsa2048": ours(pem), "ed25519": ours(ed25519), "both": ours(pem, ed25519), "bare": bare, "dkimpy": dkimpy}


CASES: dict[str, Callable[[], dict[str, Work]]] = {
    "compose-2KB": lambda: composing(messages.message("2KB")),
    "compose-30KB": lambda: composing(messages.message("30KB")),
    "compose-files": lambda: composing(messages.with_files("2KB")),
    "sign-2KB": lambda: signing(messages.message("2KB")),
    "sign-30KB": lambda: signing(messages.message("30KB")),
}


def _lines() -> Iterator[str]:
    while line := sys.stdin.readline():
        yield line


def main() -> None:
    work = CASES[sys.argv[1]]()
    tell({"ready": True})
    for line in _lines():
        name, count = line.split()
        try:
            with Clock() as clock:
                work[name](int(count))
        except Exception as error:
            tell({"failed": f"{type(error).__name__}: {error}"[:500]})
        else:
            tell(clock.report(int(count)))


if __name__ == "__main__":
    main()
