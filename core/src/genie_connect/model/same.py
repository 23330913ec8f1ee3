"""When two spellings name the same message or the same mailbox."""

from __future__ import annotations

from genie_connect.errors import ValidationError
from genie_connect.model.address import Address


def same_mailbox(one: str, other: str) -> bool:
    """Whether two bare addresses are found under the same spelling."""
    try:
        return one == other or Address.parse(one).key == Address.parse(other).key
    except ValidationError:
        return False


def bracketed(message_id: str) -> str:
    """A Message-ID between its angle brackets, which some providers leave out."""
    return f"<{message_id.strip().strip('<>')}>"
