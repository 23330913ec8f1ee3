"""What the errors of Amazon SES mean."""

from __future__ import annotations

from typing import Final

from genie_connect.api import verdicts

# The errors of SendEmail, and those of every AWS service:
# https://docs.aws.amazon.com/ses/latest/APIReference-V2/CommonErrors.html
ERRORS: Final = {
    "MessageRejected": verdicts.NOT_ALLOWED,
    "MessageRejected: not verified": verdicts.SENDER,
    "MailFromDomainNotVerifiedException": verdicts.SENDER,
    "AccountSuspendedException": verdicts.SUSPENDED,
    "SendingPausedException": verdicts.SUSPENDED,
    "BadRequestException": verdicts.MALFORMED,
    "NotFoundException": verdicts.TEMPLATE,
    "LimitExceededException": verdicts.QUOTA,
    "TooManyRequestsException": verdicts.THROTTLED,
    "ThrottlingException": verdicts.THROTTLED,
    "ThrottlingException: quota": verdicts.QUOTA,
    "AccessDeniedException": verdicts.AUTH,
    "ExpiredTokenException": verdicts.AUTH,
    "IncompleteSignature": verdicts.AUTH,
    "InvalidClientTokenId": verdicts.AUTH,
    "InvalidSignatureException": verdicts.AUTH,
    "OptInRequired": verdicts.AUTH,
    "RequestExpired": verdicts.AUTH,
    "SignatureDoesNotMatch": verdicts.AUTH,
    "UnrecognizedClientException": verdicts.AUTH,
}

# BulkEmailEntryResult.Status:
# https://docs.aws.amazon.com/ses/latest/APIReference-V2/API_BulkEmailEntryResult.html
OF_ENTRIES: Final = {
    "MESSAGE_REJECTED": verdicts.NOT_ALLOWED,
    "MAIL_FROM_DOMAIN_NOT_VERIFIED": verdicts.SENDER,
    "CONFIGURATION_SET_NOT_FOUND": verdicts.MALFORMED,
    "TEMPLATE_NOT_FOUND": verdicts.TEMPLATE,
    "ACCOUNT_SUSPENDED": verdicts.SUSPENDED,
    "ACCOUNT_THROTTLED": verdicts.THROTTLED,
    "ACCOUNT_DAILY_QUOTA_EXCEEDED": verdicts.QUOTA,
    "INVALID_SENDING_POOL_NAME": verdicts.MALFORMED,
    "ACCOUNT_SENDING_PAUSED": verdicts.SUSPENDED,
    "CONFIGURATION_SET_SENDING_PAUSED": verdicts.SUSPENDED,
    "INVALID_PARAMETER": verdicts.MALFORMED,
    "TRANSIENT_FAILURE": verdicts.TEMPORARY,
    "FAILED": verdicts.TEMPORARY,
}
