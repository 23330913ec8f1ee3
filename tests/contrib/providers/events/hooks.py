"""The webhooks of every provider that has a parser."""

from __future__ import annotations

from tests.contrib.providers.events import (
    ahasend,
    azure,
    brevo,
    mailersend,
    mailgun,
    mailjet,
    mailtrap,
    mandrill,
    postal,
    postmark,
    resend,
    sendgrid,
    ses,
    sparkpost,
)

HOOKS = [
    module.HOOK
    for module in (
        ahasend,
        azure,
        brevo,
        mailersend,
        mailgun,
        mailjet,
        mailtrap,
        mandrill,
        postal,
        postmark,
        resend,
        sendgrid,
        ses,
        sparkpost,
    )
]
