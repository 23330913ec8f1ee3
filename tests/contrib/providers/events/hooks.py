"""The webhooks of every provider that has a parser."""

from __future__ import annotations

from tests.contrib.providers.events import (
    brevo,
    mailersend,
    mailgun,
    mailjet,
    mailtrap,
    postmark,
    resend,
    sendgrid,
    ses,
)

HOOKS = [module.HOOK for module in (brevo, mailersend, mailgun, mailjet, mailtrap, postmark, resend, sendgrid, ses)]
