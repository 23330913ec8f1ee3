"""Bounce mail that none of our own forms fits, read by flufl.bounce where it is installed (extra ``bounces``).

It knows the forms of many servers that are no longer made, and of some that nobody has described. What it says of an
address is that mail to it fails for good or for now, and not why: it is believed in that, and suppresses nobody.
"""

from __future__ import annotations

import logging
from typing import Final

import attrs

from genie_connect.webhooks.inbound import parsed_mime

MOST_BYTES: Final = 20_000
"""What a server wrote stands before the mail that it returns."""
MOST_LINES: Final = 1_000
"""All of its patterns are tried on every line, which takes some hundredths of a millisecond."""
MOST_OF_A_LINE: Final = 400
"""Some of its patterns take time that grows with the square of a line: half a second for one of 16,000 bytes."""
_ASCII: Final = bytes(range(128)) + b"?" * 128
"""It reads no other addresses, and bytes beyond would be decoded by whatever charset is named."""
_logger = logging.getLogger("genie_connect.bounces")


@attrs.frozen(kw_only=True)
class Guess:
    """An address that a mail seems to be about, as it is spelled there, and whether mail to it fails for good."""

    recipient: str
    for_good: bool


def guesses_of(raw: bytes) -> list[Guess]:
    """Whom a mail server's mail seems to be about; nobody without flufl.bounce. Raises nothing."""
    try:
        from flufl.bounce import all_failures  # an extra, and needed for a mail in a thousand
    except ModuleNotFoundError:
        return []
    try:
        message = parsed_mime(_bounded(raw))
        if not str(message.get("from", "")).strip():
            # One of its forms is known by who wrote, and logs an error with its traceback where that is nobody.
            del message["from"]
            message["from"] = "MAILER-DAEMON"
        for_now, for_good = all_failures(message)
    except Exception as error:  # noqa: BLE001  # made for mail that keeps to no rule, it raises for some of it
        _logger.info("a bounce mail could not be read by flufl.bounce (%s)", type(error).__name__)
        return []
    named = {address.decode("ascii", "replace"): False for address in sorted(for_now)}
    named |= {address.decode("ascii", "replace"): True for address in sorted(for_good)}
    return [Guess(recipient=recipient, for_good=sure) for recipient, sure in named.items()]


def _bounded(raw: bytes) -> bytes:
    return b"\n".join([line[:MOST_OF_A_LINE] for line in raw[:MOST_BYTES].translate(_ASCII).splitlines()[:MOST_LINES]])
