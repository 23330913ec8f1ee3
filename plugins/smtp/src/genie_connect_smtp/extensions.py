"""What the server's EHLO answer offers (RFC 5321 section 4.1.1.1)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cached_property

import attrs

from genie_connect.model.frozen import EMPTY, FrozenMap
from genie_connect.model.text import clean_reply


@attrs.frozen(kw_only=True)
class Extensions:
    """Keywords with their parameters, and the AUTH mechanisms in the server's order; all lower case."""

    keywords: FrozenMap[str] = EMPTY
    auth_mechanisms: tuple[str, ...] = ()

    @classmethod
    def of(cls, keywords: Mapping[str, str], auth_mechanisms: Iterable[str]) -> Extensions:
        """From what the EHLO answer was read as."""
        cleaned = {clean_reply(keyword).lower(): clean_reply(value) for keyword, value in keywords.items()}
        mechanisms = dict.fromkeys(clean_reply(name).lower() for name in auth_mechanisms)
        return cls(keywords=FrozenMap(cleaned), auth_mechanisms=tuple(mechanisms))

    def __contains__(self, keyword: object) -> bool:
        return isinstance(keyword, str) and keyword.lower() in self.keywords

    @cached_property
    def max_message_bytes(self) -> int | None:
        """The SIZE limit; ``None`` where there is none or 0 was announced (RFC 1870 section 3)."""
        value = self.keywords.get("size", "").strip()
        return int(value) or None if value.isascii() and value.isdigit() and len(value) <= 20 else None

    @cached_property
    def max_recipients(self) -> int | None:
        """RCPTMAX of LIMITS (RFC 9422)."""
        return self._limit("rcptmax")

    @cached_property
    def max_transactions(self) -> int | None:
        """MAILMAX of LIMITS (RFC 9422): messages for each connection."""
        return self._limit("mailmax")

    @cached_property
    def max_recipient_domains(self) -> int | None:
        """RCPTDOMAINMAX of LIMITS (RFC 9422): different recipient domains for each connection."""
        return self._limit("rcptdomainmax")

    def _limit(self, name: str) -> int | None:
        for item in self.keywords.get("limits", "").lower().split():
            key, _, value = item.partition("=")
            # RFC 9422 section 4: one to six digits, not zero.
            if key == name and value.isascii() and value.isdigit() and len(value) <= 6 and int(value):
                return int(value)
        return None
