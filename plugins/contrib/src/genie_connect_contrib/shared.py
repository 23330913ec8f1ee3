"""What several providers write alike."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterable, Mapping

from genie_connect.api import Copy
from genie_connect.errors import ValidationError
from genie_connect.model.address import Address
from genie_connect.model.capability import host
from genie_connect.model.event import MESSAGE_ID
from genie_connect.model.frozen import EMPTY, FrozenMap

KEPT = (
    host("send.tags", "kept in our own records; the recipient sees nothing"),
    host("send.metadata", "kept in our own records; the recipient sees nothing"),
)
"""The rows for who takes a whole message, in which tags and metadata have no place."""
_WORD = re.compile(r"[A-Za-z0-9_-]{1,256}\Z")


def email_name(address: Address) -> dict[str, str]:
    """``{"email": ..., "name": ...}``, without a name where there is none."""
    return {"email": address.email, "name": address.name} if address.name else {"email": address.email}


def emails_names(addresses: Iterable[Address]) -> list[dict[str, str]]:
    """The same for several."""
    return [email_name(address) for address in addresses]


def to_cc_bcc(copy: Copy) -> dict[str, list[dict[str, str]]]:
    """Whom the copy has to reach, so written, by the field that shows them."""
    return {"to": emails_names(copy.to), "cc": emails_names(copy.cc), "bcc": emails_names(copy.bcc)}


def mailboxes(addresses: Iterable[Address]) -> list[str]:
    """``Ada <ada@example.com>``, one by one."""
    return [str(address) for address in addresses]


def tag_words(title: str, tags: Iterable[str], metadata: Mapping[str, str]) -> dict[str, str]:
    """For providers whose tags are names with values: ours get the value 1, metadata stands as it is.

    Raises ``ValidationError`` for characters that such tags have not.
    """
    given = {**dict.fromkeys(tags, "1"), **metadata}
    wrong = [name for name, value in given.items() if not (_WORD.match(name) and _WORD.match(value))]
    if wrong:
        cause = f"holds {wrong[0]!r}, with characters that {title} takes in no tag"
        raise ValidationError.single("tags and metadata", cause, "use letters, digits, _ and - only")
    return given


def message_id_word(message_id: str) -> dict[str, str]:
    """Our Message-ID beside such tags, so that an event tells of which message it is; nothing where it is too long."""
    word = base64.urlsafe_b64encode(message_id.encode()).decode("ascii").rstrip("=")
    return {MESSAGE_ID: word} if _WORD.match(word) else {}


def message_id_of(word: str) -> str | None:
    """The Message-ID that ``message_id_word`` wrote; nothing where it is none."""
    if not word:
        return None
    try:
        found = base64.urlsafe_b64decode(word + "=" * (-len(word) % 4)).decode("ascii")
    except ValueError:
        return None
    return found if found.startswith("<") and found.isprintable() else None


def tags_and_metadata(given: Mapping[str, str]) -> tuple[tuple[str, ...], FrozenMap[str]]:
    """What ``tag_words`` made one of, told apart again: tags are what has the value 1."""
    if not given:
        return (), EMPTY
    tags = tuple([name for name, value in given.items() if value == "1"])
    return tags, FrozenMap({name: value for name, value in given.items() if value != "1"})
