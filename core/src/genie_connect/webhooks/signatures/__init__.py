"""Who sent a webhook: the schemes of the providers, each a function over a request and the keys.

Each looks at the raw bytes, takes several keys (a secret and its predecessor), compares in constant time, and raises
``WebhookRejected``, and nothing else, whatever stands in the request.
"""

from genie_connect.webhooks.signatures.checking import FIVE_MINUTES, Window, raw_key, signing_keys
from genie_connect.webhooks.signatures.keyed_hash import (
    verify_hmac_hex,
    verify_mailgun,
    verify_mandrill,
    verify_timestamped,
)
from genie_connect.webhooks.signatures.public_keys import ecdsa_key, rsa_key, verify_postal, verify_sendgrid
from genie_connect.webhooks.signatures.shared_secret import (
    basic_key,
    header_key,
    path_key,
    shared_key,
    verify_basic,
    verify_header,
    verify_path,
    verify_shared,
)
from genie_connect.webhooks.signatures.sns import SnsMessage, SnsType, confirmation_url, topic_arn, verify_sns
from genie_connect.webhooks.signatures.standard import (
    HEADERS,
    SVIX_HEADERS,
    sign,
    signing_key,
    verify_standard,
)

__all__ = [
    "FIVE_MINUTES",
    "HEADERS",
    "SVIX_HEADERS",
    "SnsMessage",
    "SnsType",
    "Window",
    "basic_key",
    "confirmation_url",
    "ecdsa_key",
    "header_key",
    "path_key",
    "raw_key",
    "rsa_key",
    "shared_key",
    "sign",
    "signing_key",
    "signing_keys",
    "topic_arn",
    "verify_basic",
    "verify_header",
    "verify_hmac_hex",
    "verify_mailgun",
    "verify_mandrill",
    "verify_path",
    "verify_postal",
    "verify_sendgrid",
    "verify_shared",
    "verify_sns",
    "verify_standard",
    "verify_timestamped",
]
