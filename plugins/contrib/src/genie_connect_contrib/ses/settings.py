"""The settings of an Amazon SES connection."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from genie_connect.api import ApiSettings, credential
from genie_connect.model.secret import Secret
from genie_connect.model.settings import setting, settings
from genie_connect.webhooks.signatures import topic_arn

_REGION: Final = re.compile(r"[a-z]{2,3}(-[a-z]+){1,2}-[0-9]{1,2}\Z")


def _region_problem(value: str) -> str | None:
    return None if _REGION.match(value) else "is not a region, as eu-central-1"


def _topics_problem(value: Sequence[str]) -> str | None:
    try:
        for each in value:
            topic_arn(each)
    except ValueError as error:
        return f"holds one that {error}"
    return None


@settings
class SesSettings(ApiSettings):
    """Settings of an Amazon SES connection."""

    access_key_id: str = setting(
        title="Access key ID",
        help="Of an IAM user or role that may ses:SendEmail, and for the connection test ses:GetAccount.",
        group="auth",
        example="AKIAIOSFODNN7EXAMPLE",
    )
    secret_access_key: Secret = credential(
        title="Secret access key",
        help="Shown once, when the access key is made.",
        example="env:AWS_SECRET_ACCESS_KEY",
    )
    session_token: Secret | None = setting(
        title="Session token",
        help="Only for keys that are lent for some time.",
        group="auth",
        secret=True,
        default=None,
        example="env:AWS_SESSION_TOKEN",
    )
    region: str = setting(
        title="Region",
        help="The region in which the identity is verified.",
        example="eu-central-1",
        check=_region_problem,
    )
    configuration_set: str | None = setting(
        title="Configuration set",
        help="Decides where events go; without it the identity's default.",
        default=None,
    )
    webhook_topics: tuple[str, ...] = setting(
        title="Webhook topics",
        help="ARNs of the SNS topics whose messages are taken. Without one no webhook is.",
        group="webhooks",
        default=(),
        check=_topics_problem,
        example=("arn:aws:sns:eu-central-1:123456789012:mail",),
    )
