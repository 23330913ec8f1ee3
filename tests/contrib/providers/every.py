"""Every provider that has an API connector of ours."""

from __future__ import annotations

from tests.contrib.providers import (
    ahasend,
    azure,
    brevo,
    cloudflare,
    gmail,
    mailersend,
    mailgun,
    mailjet,
    mailtrap,
    mandrill,
    msgraph,
    postal,
    postmark,
    resend,
    sendgrid,
    ses,
    sparkpost,
)

PROVIDERS = [
    module.PROVIDER
    for module in (
        ahasend,
        azure,
        brevo,
        cloudflare,
        gmail,
        mailersend,
        mailgun,
        mailjet,
        mailtrap,
        mandrill,
        msgraph,
        postal,
        postmark,
        resend,
        sendgrid,
        ses,
        sparkpost,
    )
]
