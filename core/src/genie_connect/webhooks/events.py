"""Events out of a provider's payload, each by itself: one that cannot be read loses no other.

::

    KINDS = {
        "delivered": Means(EventKind.DELIVERED),
        "hard_bounce": Means(EventKind.BOUNCED, bounce=BounceClass.HARD),
        "proxy_open": Means(EventKind.OPENED, machine=True),
    }

    def read(item: Fields) -> Event:
        return item.event(
            KINDS.get(item.text("event"), UNKNOWN),
            id=item.text("event_id"),
            time=item.seconds("ts"),
            recipient=item.address("email"),
        )

    events = events_of(json_body(request), read, request)
"""

from __future__ import annotations

import hashlib
import json
import math
from collections import Counter
from collections.abc import Callable, Collection, Container, Iterable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any, Final, TypeAlias, TypeGuard

import attrs

from genie_connect.contract import WebhookRequest
from genie_connect.errors import WebhookRejected
from genie_connect.model.address import bare
from genie_connect.model.event import ATTEMPT, MESSAGE_ID, BounceClass, Event, EventKind, Reason, event_of
from genie_connect.model.frozen import EMPTY, FrozenMap
from genie_connect.model.inbound import InboundMessage
from genie_connect.model.text import MAX_REPLY, clean_reply
from genie_connect.webhooks.judging import REFUSED, judged

MAX_TEXT: Final = 2_000
MAX_EVENTS: Final = 10_000
"""In one body: more than any provider documents, and what takes a fraction of a second."""
MAX_ERROR: Final = 200
_OURS: Final = frozenset({ATTEMPT, MESSAGE_ID})
_NUMBERS: Final = (int, float, str)
_canonical: Final = json.JSONEncoder(sort_keys=True, default=str).encode
_MAX_YEAR_SECONDS: Final = 253_402_300_799  # the end of year 9999, the last that datetime knows


@attrs.frozen
class Means:
    """What a provider's word for an event means."""

    kind: EventKind
    bounce: BounceClass | None = attrs.field(default=None, kw_only=True)
    reason: Reason | None = attrs.field(default=None, kw_only=True)
    machine: bool = attrs.field(default=False, kw_only=True)


UNKNOWN: Final = Means(EventKind.UNKNOWN)
"""What a word means that is in no table: the event is kept."""


class BadField(ValueError):
    """A field of an event is not what it should be. Names the field, and quotes nothing of it."""

    def __init__(self, name: str, problem: str) -> None:
        super().__init__(f"{name} {problem}")


class Fields:
    """One event as its provider wrote it: fields by name, each read as what it has to be.

    Names may go into objects: ``data.bounce.type``. A field that is missing or null is ``None``; one that is of another
    type raises ``BadField``, which ``events_of`` turns into an event of kind ``unknown``.
    """

    __slots__ = ("_data", "_digest", "_prefix")

    def __init__(self, data: Mapping[str, Any], prefix: str = "") -> None:
        self._data = data
        self._prefix = prefix
        self._digest: str | None = None

    @property
    def data(self) -> Mapping[str, Any]:
        """The object itself."""
        return self._data

    def get(self, name: str) -> Any:
        """A field as it is, or ``None``."""
        if "." not in name:
            return self._data.get(name)
        found: Any = self._data
        for step in name.split("."):
            if not _is_object(found):
                return None
            found = found.get(step)
        return found

    def within(self, name: str) -> Fields:
        """The object in a field; an empty one where there is none."""
        value = self.get(name)
        if value is not None and not _is_object(value):
            raise self._bad(name, "is no object")
        return Fields({} if value is None else value, f"{self._prefix}{name}.")

    def each(self, name: str) -> Iterator[Fields]:
        """The objects of a list in a field."""
        for index, value in enumerate(self._list(name)):
            if not _is_object(value):
                raise self._bad(f"{name}[{index}]", "is no object")
            yield Fields(value, f"{self._prefix}{name}[{index}].")

    def text(self, name: str, *, limit: int = MAX_TEXT) -> str | None:
        """Text without controls, of bounded length; ``None`` where it is blank."""
        value = self._data.get(name) if "." not in name else self.get(name)
        if value is None:
            return None
        if not isinstance(value, str):
            raise self._bad(name, "is no text")
        if len(value) <= limit and value.isprintable():
            return value.strip() or None  # nothing that clean_reply would change
        return clean_reply(value, limit=limit) or None

    def body(self, name: str) -> str | None:
        """Text as it is, with its lines: the body of a message."""
        value = self.get(name)
        if value is not None and not isinstance(value, str):
            raise self._bad(name, "is no text")
        return value

    def word(self, name: str) -> str:
        """Text that is looked up in a table; empty where there is none."""
        return self.text(name) or ""

    def texts(self, name: str) -> tuple[str, ...]:
        """A list of texts. One text is a list of one."""
        value = self.get(name)
        if isinstance(value, str):
            value = [value]
        if value is None:
            return ()
        if not isinstance(value, list) or [each for each in value if not isinstance(each, str)]:
            raise self._bad(name, "is no list of texts")
        return tuple([each.strip() if _is_plain(each) else clean_reply(each) for each in value])

    def metadata(self, name: str) -> FrozenMap[str]:
        """An object of texts. Numbers and truth values become text, as providers do with them, too."""
        value = self.get(name)
        if value is None or value == []:  # PHP's empty object
            return EMPTY
        if not _is_object(value):
            raise self._bad(name, "is no object")
        return self._texts_of(name, value) if value else EMPTY

    def metadata_beside(self, own: Container[str]) -> FrozenMap[str]:
        """The same, of a provider that puts them among its ``own`` fields."""
        custom = {key: each for key, each in self._data.items() if key not in own}
        return self._texts_of("custom", custom) if custom else EMPTY

    def whole(self, name: str) -> int | None:
        """A whole number, which may stand as text. A blank text is none."""
        value = self.get(name)
        if isinstance(value, str):
            value = value.strip()
            if value and not (value.isascii() and value.isdigit() and len(value) < 19):
                raise self._bad(name, "is no whole number")
            return int(value) if value else None
        if value is not None and (not isinstance(value, int) or isinstance(value, bool)):
            raise self._bad(name, "is no whole number")
        return value

    def number(self, name: str) -> float | None:
        """A number, which may stand as text."""
        value = self.get(name)
        if value is None or (isinstance(value, str) and not value.strip()):
            return None
        if isinstance(value, bool) or not isinstance(value, _NUMBERS):
            raise self._bad(name, "is no number")
        try:
            number = float(value)
        except (ValueError, OverflowError):
            raise self._bad(name, "is no number") from None
        if not math.isfinite(number):
            raise self._bad(name, "is no number")
        return number

    def flag(self, name: str) -> bool:
        """Whether it is true, 1, or says so."""
        value = self.get(name)
        return value is True or value == 1 or (isinstance(value, str) and value.lower() in ("true", "1", "yes"))

    def address(self, name: str) -> str | None:
        """A bare address, ``ada@example.com``; a name beside it is left out."""
        value = self.get(name)
        if value is None or value == "":
            return None
        try:
            return bare(value)
        except ValueError:
            raise self._bad(name, "is no address") from None

    def seconds(self, name: str, *, per_second: int = 1) -> datetime:
        """A time in seconds since 1970 (``per_second=1000``: in milliseconds)."""
        value = self.get(name)
        if type(value) is not int:
            value = self.number(name)
        if value is None:
            raise self._bad(name, "is missing")
        if not 0 <= value <= _MAX_YEAR_SECONDS * per_second:
            raise self._bad(name, "is no time")
        return datetime.fromtimestamp(value / per_second, UTC)

    def iso(self, name: str, *, zone: bool = True) -> datetime:
        """A time in the form of ISO 8601. Without ``zone`` one that names none is in UTC."""
        value = self.get(name)
        if value is None:
            raise self._bad(name, "is missing")
        try:
            time = datetime.fromisoformat(value)
            if time.tzinfo is None:
                if zone:
                    raise self._bad(name, "has no time zone")
                time = time.replace(tzinfo=UTC)
            return time if time.tzinfo is UTC else time.astimezone(UTC)
        except BadField:
            raise
        except (TypeError, ValueError, OverflowError):
            raise self._bad(name, "is no time") from None

    def digest(self, *, without: Collection[str] = (), part: str = "") -> str:
        """An id for an event whose provider gives none: the same however often it comes, and in whatever batch.

        ``without`` are fields that differ each time it is reported; ``part`` tells several events of one object apart.
        """
        if self._digest is not None and not without and not part:
            return self._digest
        data = self._data
        if without or type(data) is not dict:
            data = {name: value for name, value in data.items() if name not in without}
        canonical = _canonical([data, part] if part else data)
        made = "sha256:" + hashlib.sha256(canonical.encode("utf-8", "surrogatepass")).hexdigest()
        if not without and not part:
            self._digest = made
        return made

    def event(
        self,
        means: Means,
        *,
        time: datetime,
        id: str | None = None,  # noqa: A002  # what an event calls it
        recipient: str | None = None,
        message_id: str | None = None,
        provider_id: str | None = None,
        bounce: BounceClass | None = None,
        reason: Reason | None = None,
        code: int | None = None,
        enhanced: str | None = None,
        text: str | None = None,
        reply: str | None = None,
        url: str | None = None,
        user_agent: str | None = None,
        machine: bool = False,
        tags: tuple[str, ...] = (),
        metadata: FrozenMap[str] = EMPTY,
        inbound: InboundMessage | None = None,
    ) -> Event:
        """The event that it is. Without an ``id`` its digest is one; ``bounce`` and ``reason`` go before the table's.

        ``reply`` is what the receiving server said: it stands in ``text``, and adds bounce class, reason and codes. A
        bounce of which nobody says more is ``undetermined``; other kinds have no bounce class. Our Message-ID and the
        attempt's id are taken from the metadata where a connector put them there.
        """
        bounced = means.kind is EventKind.BOUNCED
        bounce, reason = bounce or means.bounce, reason or means.reason
        if means.kind in REFUSED and (reply is not None or code is not None or enhanced is not None):
            said = judged(means.kind, reply or "", bounce=bounce, reason=reason, code=code, enhanced=enhanced)
            bounce, reason, code, enhanced = said.bounce, said.reason, said.code, said.enhanced
        attempt_id: str | None = None
        if metadata is not EMPTY and not _OURS.isdisjoint(others := dict(metadata.items())):
            ours = others.pop(MESSAGE_ID, None)
            message_id = message_id or ours or None
            attempt_id = others.pop(ATTEMPT, None) or None
            metadata = FrozenMap(others) if others else EMPTY
        return event_of(
            {
                "id": id or self.digest(part=recipient or ""),
                "kind": means.kind,
                "time": time,
                "recipient": recipient,
                "message_id": message_id,
                "attempt_id": attempt_id,
                "provider_id": provider_id,
                "bounce": (bounce or BounceClass.UNDETERMINED) if bounced else means.bounce,
                "reason": reason,
                "code": code,
                "enhanced": enhanced,
                "text": text or reply,
                "url": url,
                "user_agent": user_agent,
                "machine": machine or means.machine,
                "tags": tags,
                "metadata": metadata,
                "inbound": inbound,
                "raw": FrozenMap(self._data),
                "error": None,
            }
        )

    def _list(self, name: str) -> list[Any]:
        value = self.get(name)
        if value is None:
            return []
        if not isinstance(value, list):
            raise self._bad(name, "is no list")
        return value

    def _texts_of(self, name: str, items: Mapping[str, Any]) -> FrozenMap[str]:
        made: dict[str, str] = {}
        for key, value in items.items():
            text = value if isinstance(value, str) else self._plain(name, value)
            if _is_plain(text) and _is_plain(key):
                made[key.strip()] = text.strip()
            else:
                made[clean_reply(key)] = clean_reply(text)
        return FrozenMap(made)

    def _plain(self, name: str, value: Any) -> str:
        if isinstance(value, bool | int | float):
            return json.dumps(value)
        if value is None:
            return ""
        raise self._bad(name, "holds more than texts")

    def _bad(self, name: str, problem: str) -> BadField:
        return BadField(self._prefix + name, problem)


def _is_plain(text: str) -> bool:
    """Whether it is text of which ``clean_reply`` would only strip the ends, as nearly all is."""
    return len(text) <= MAX_REPLY and text.isprintable()


def _is_object(value: object) -> TypeGuard[Mapping[str, Any]]:
    # Nearly all are dictionaries, and asking an abstract class takes ten times as long.
    return type(value) is dict or isinstance(value, Mapping)


Read: TypeAlias = Callable[[Fields], Event | Iterable[Event] | None]
"""Reads one object of a payload: an event, several (one for each recipient), or none that is worth keeping."""


def events_of(items: object, read: Read, request: WebhookRequest) -> tuple[Event, ...]:
    """The events of a payload, one object after the other; ``items`` is a list of them, or a single one.

    Whatever goes wrong with one of them becomes an event of kind ``unknown`` with that object, the reason, and an id
    made of it. Raises ``WebhookRejected`` (400) where ``items`` is neither, and 413 for more than ``MAX_EVENTS``.
    """
    given = [items] if _is_object(items) else items
    if not isinstance(given, list):
        raise WebhookRejected("there is no list of events", status=400, field="body")
    if len(given) > MAX_EVENTS:
        raise WebhookRejected(f"there are more than {MAX_EVENTS} events", status=413, field="body")
    found: list[Event] = []
    for item in given:
        made = _read(item, read, request.received_at)
        if isinstance(made, Event):
            found.append(made)
        else:
            found += made
    return tuple(found)


def chosen_reason(word: str, table: Mapping[str, Reason]) -> Reason | None:
    """The reason that a provider's word means; ``other`` for a word that is not in the table, ``None`` for none."""
    return table.get(word, Reason.OTHER) if word else None


def unread(item: object, error: str, received_at: datetime) -> Event:
    """The event that stands for one that could not be read."""
    raw: Mapping[str, Any] = item if isinstance(item, Mapping) else {"value": item}
    return Event(
        id=Fields(raw).digest(),
        kind=EventKind.UNKNOWN,
        time=received_at,
        raw=FrozenMap(raw),
        error=clean_reply(error, limit=MAX_ERROR) or "it could not be read",
    )


def _read(item: object, read: Read, received_at: datetime) -> Event | list[Event]:
    if not _is_object(item):
        return unread(item, "is no object", received_at)
    try:
        made = read(Fields(item))
        if isinstance(made, Event):
            return made
        return _told_apart(list(made)) if made is not None else []
    except BadField as error:
        return unread(item, str(error), received_at)
    except Exception as error:  # noqa: BLE001  # whatever an author's reader does with one, the others are kept
        # Its own words may quote the payload, or nothing that helps: where it comes from says more.
        return unread(item, f"the connector failed on it ({type(error).__name__})", received_at)


def _told_apart(events: list[Event]) -> list[Event]:
    """Several events of one object: the second of one id would pass for the first one again."""
    if len(events) < 2:
        return events
    seen: Counter[str] = Counter()
    told: list[Event] = []
    for event in events:
        seen[event.id] += 1
        again = seen[event.id]
        told.append(event if again == 1 else attrs.evolve(event, id=f"{event.id}#{again}"))
    return told
