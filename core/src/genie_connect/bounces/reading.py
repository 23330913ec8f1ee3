"""One message of a bounce mailbox as events."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, Final

from genie_connect.bounces.informal import is_bounce, said_of
from genie_connect.bounces.last_resort import guesses_of
from genie_connect.bounces.returned import Returned, take_apart
from genie_connect.bounces.verp import verp_recipient
from genie_connect.errors import ValidationError
from genie_connect.model.address import Address
from genie_connect.model.event import BounceClass, Event, EventKind, Reason
from genie_connect.model.frozen import FrozenMap
from genie_connect.model.text import clean_reply
from genie_connect.replies import meaning_of
from genie_connect.webhooks.inbound import parse_mime

MAX_RECIPIENTS: Final = 100
_ACTIONS: Final[Mapping[str, EventKind]] = {
    "failed": EventKind.BOUNCED,
    "delayed": EventKind.DEFERRED,
    "delivered": EventKind.DELIVERED,
    "relayed": EventKind.SENT,
    "expanded": EventKind.SENT,
}
"""RFC 3464 section 2.3.3."""
_FEEDBACK: Final[Mapping[str, EventKind]] = {
    "abuse": EventKind.COMPLAINED,
    "fraud": EventKind.COMPLAINED,
    "other": EventKind.COMPLAINED,
    "opt-out": EventKind.UNSUBSCRIBED,
    "opt-out-list": EventKind.UNSUBSCRIBED,
}
"""RFC 5965 section 7.3; ``not-spam``, ``virus`` and ``auth-failure`` are no wish of the recipient's."""
_ADDRESS: Final = re.compile(r"[^\s<>;,]+@[^\s<>;,]+")
_XTEXT: Final = re.compile(r"\+([0-9A-F]{2})")
_AUTOMATIC: Final = re.compile(r"auto-(replied|generated|notified)", re.IGNORECASE)


def events_of_mail(raw: bytes, *, received_at: datetime, envelope_to: str | None = None) -> tuple[Event, ...]:
    """The events that a mail reports, one for each recipient that it names; at least one.

    ``envelope_to`` is the address that it was delivered to, which names the recipient where it is variable (VERP). A
    mail that reports nothing is an inbound message. Raises nothing, whatever it holds.
    """
    mail = take_apart(raw)
    base = _Base(raw, mail, received_at, None if envelope_to is None else verp_recipient(envelope_to))
    if mail.blocks:
        found = list(base.of_report())[:MAX_RECIPIENTS]
        if found:
            return tuple(found)
    if mail.feedback is not None:
        return (base.of_feedback(mail.feedback),)
    if is_bounce(mail):
        return tuple(base.of_words())
    if _is_automatic(mail):
        return (base.event(EventKind.AUTORESPONDED, recipient=base.sender()),)
    # RFC 5321 section 4.5.5: what nobody may answer comes from a mail server, whatever it calls itself.
    if mail.headers.get("return-path", "").strip() == "<>" and (guessed := base.of_guesses()):
        return tuple(guessed)
    return (base.inbound(),)


class _Base:
    """What all events of one mail share."""

    def __init__(self, raw: bytes, mail: Returned, received_at: datetime, verp: str | None) -> None:
        self._raw = raw
        self._mail = mail
        self._received_at = received_at
        self._verp = verp
        self._message_id = mail.message_id
        self._digest = hashlib.sha256(raw).hexdigest()

    def of_report(self) -> Iterator[Event]:
        """A delivery status notification: the first block is about the message, the others about one recipient each."""
        # Some servers leave the first one out, or put everything into one.
        about = {} if "final-recipient" in self._mail.blocks[0] else self._mail.blocks[0]
        envelope_id = about.get("original-envelope-id", "")
        for block in self._mail.blocks:
            kind = _ACTIONS.get(block.get("action", "").strip().lower())
            given = block.get("original-recipient") or block.get("final-recipient") or ""
            if kind is None or not given:
                continue
            yield self._reported(block, kind, _recipient(given), _message_id_of(envelope_id))

    def _reported(
        self, block: Mapping[str, str], kind: EventKind, recipient: str | None, envelope_id: str | None
    ) -> Event:
        status = block.get("status", "").strip().partition(" ")[0]
        text = block.get("diagnostic-code", "")
        meaning = meaning_of(text.partition(";")[2] or text or status, enhanced=status or None)
        failed = kind in (EventKind.BOUNCED, EventKind.DEFERRED)
        return self.event(
            kind,
            recipient=self._verp or recipient,
            message_id=self._message_id or envelope_id,
            bounce=meaning.bounce if kind is EventKind.BOUNCED else None,
            reason=meaning.reason if failed else None,
            code=meaning.code if failed else None,
            enhanced=meaning.enhanced or status or None,
            text=text,
            raw=block,
        )

    def of_feedback(self, feedback: Mapping[str, str]) -> Event:
        """A feedback report: somebody pressed the button, or wants no more."""
        kind = _FEEDBACK.get(feedback.get("feedback-type", "").strip().lower(), EventKind.UNKNOWN)
        given = feedback.get("original-rcpt-to") or feedback.get("removal-recipient") or ""
        return self.event(
            kind, recipient=self._verp or _recipient(given), text=feedback.get("user-agent"), raw=feedback
        )

    def of_words(self) -> Iterator[Event]:
        """A form of its own. Where nobody is named it is a bounce all the same, of which no more is known."""
        said = said_of(self._mail)
        for each in said:
            meaning = meaning_of(each.text)
            yield self.event(
                EventKind.BOUNCED,
                recipient=self._verp or _recipient(each.recipient),
                bounce=meaning.bounce,
                reason=meaning.reason,
                code=meaning.code,
                enhanced=meaning.enhanced,
                text=each.text,
                raw={"recipient": each.recipient, "text": each.text},
            )
        if not said:
            guessed = self.of_guesses()
            yield from guessed or [self.event(EventKind.BOUNCED, recipient=self._verp, bounce=BounceClass.UNDETERMINED)]

    def of_guesses(self) -> list[Event]:
        """A form that others know. What it does not say is not made up: no bounce of these is hard."""
        return [
            self.event(
                EventKind.BOUNCED if each.for_good else EventKind.DEFERRED,
                recipient=self._verp or recipient,
                bounce=BounceClass.UNDETERMINED if each.for_good else None,
                reason=Reason.OTHER if each.for_good else Reason.TEMPORARY,
                raw={"recipient": each.recipient, "read_by": "flufl.bounce"},
            )
            for each in guesses_of(self._raw)[:MAX_RECIPIENTS]
            if (recipient := _recipient(each.recipient)) is not None
        ]

    def inbound(self) -> Event:
        """A message from a person, or from a program that says nothing we know."""
        message = parse_mime(self._raw)
        return self.event(EventKind.INBOUND, recipient=None, inbound=message)

    def sender(self) -> str | None:
        """Who answered."""
        return _recipient(self._mail.headers.get("from", ""))

    def event(
        self, kind: EventKind, *, recipient: str | None, raw: Mapping[str, str] | None = None, **more: Any
    ) -> Event:
        """An event with what all have: its id is made of the mail's bytes, so the same mail is the same event."""
        text = clean_reply(more.pop("text", None) or "") or None
        return Event(
            id=f"mail:{self._digest[:40]}:{kind}:{recipient or ''}",
            kind=kind,
            time=_time(self._mail.headers.get("date", ""), self._received_at),
            recipient=recipient,
            message_id=more.pop("message_id", self._message_id),
            text=text,
            raw=FrozenMap(raw or {"subject": self._mail.headers.get("subject", "")}),
            **more,
        )


def _recipient(given: str) -> str | None:
    """The address in ``rfc822; Ada <ada@example.com>``."""
    found = _ADDRESS.search(given.partition(";")[2] if ";" in given else given)
    if found is None:
        return None
    try:
        return Address.parse(_decoded(found[0])).email
    except ValidationError:
        return None


def _message_id_of(envelope_id: str) -> str | None:
    """Our Message-ID, where the envelope id is one (RFC 3461 section 4.4)."""
    decoded = _decoded(envelope_id.strip())
    return decoded if "@" in decoded else None


def _decoded(xtext: str) -> str:
    return _XTEXT.sub(lambda found: chr(int(found[1], 16)), xtext)


def _time(date: str, received_at: datetime) -> datetime:
    try:
        time = parsedate_to_datetime(date)
        time = (time if time.tzinfo else time.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, TypeError, IndexError, OverflowError):
        return received_at
    # A clock that is ahead would make its word the last one for ever.
    return min(time, received_at)


def _is_automatic(mail: Returned) -> bool:
    headers: Iterable[str] = mail.headers
    return (
        bool(_AUTOMATIC.search(mail.headers.get("auto-submitted", "")))
        or "x-autoreply" in headers
        or "x-autorespond" in headers
        or mail.headers.get("precedence", "").strip().lower() == "auto_reply"
    )
