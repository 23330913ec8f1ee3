"""The toolkit for readers of events: each by itself, whatever stands in it."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from genie_connect.errors import WebhookRejected
from genie_connect.model.codec import structure, unstructure
from genie_connect.model.event import BounceClass, Event, EventKind, Reason
from genie_connect.webhooks.events import UNKNOWN, BadField, Fields, Means, chosen_reason, events_of
from genie_connect.webhooks.inbound import inbound_message
from tests.webhooks.schemes import NOW, request

REQUEST = request({}, b"")
KINDS = {
    "delivered": Means(EventKind.DELIVERED),
    "bounce": Means(EventKind.BOUNCED),
    "hard": Means(EventKind.BOUNCED, bounce=BounceClass.HARD, reason=Reason.RECIPIENT_REJECTED),
    "proxy_open": Means(EventKind.OPENED, machine=True),
}
GOOD = {"type": "delivered", "ts": 1_764_000_000, "to": "Ada <ada@example.com>"}


def read(item: Fields) -> Event:
    """How a connector reads one."""
    return item.event(
        KINDS.get(item.word("type"), UNKNOWN), time=item.seconds("ts"), recipient=item.address("to"), id=item.text("id")
    )


def one(**more: object) -> Event:
    """The event in a payload of one."""
    (event,) = events_of([{**GOOD, **more}], read, REQUEST)
    return event


def test_words_mean_what_the_table_says() -> None:
    """Kind, bounce class, reason and machine opens; a bounce of which no more is known is undetermined."""
    assert one().kind is EventKind.DELIVERED
    assert (one().bounce, one().recipient) == (None, "ada@example.com")
    hard = one(type="hard")
    assert (hard.bounce, hard.reason, hard.address_is_bad) == (BounceClass.HARD, Reason.RECIPIENT_REJECTED, True)
    assert one(type="bounce").bounce is BounceClass.UNDETERMINED
    assert one(type="proxy_open").machine
    assert one(type="brand new").kind is EventKind.UNKNOWN
    assert chosen_reason("spam", {"spam": Reason.CONTENT_REJECTED}) is Reason.CONTENT_REJECTED
    assert (chosen_reason("x", {}), chosen_reason("", {})) == (Reason.OTHER, None)


def test_a_bad_event_is_kept_and_loses_no_other() -> None:
    """With its payload, an id, and which field was wrong."""
    bad: list[Any] = [{**GOOD, "ts": "yesterday"}, None, {**GOOD, "to": "nobody"}, 7, {**GOOD, "ts": None}]
    events = events_of([GOOD, *bad, GOOD], read, REQUEST)
    assert [event.kind.value for event in events] == ["delivered", *["unknown"] * 5, "delivered"]
    assert [event.error for event in events[1:4]] == ["ts is no number", "is no object", "to is no address"]
    assert all(event.id and event.time == NOW for event in events[1:6])
    assert events[1].raw == bad[0]


def test_what_the_provider_wrote_is_kept_as_it_was_decoded() -> None:
    """All of it, under its names; what is in it is not copied, and the outermost level cannot be changed."""
    item = {**GOOD, "unheard of": {"deep": ["\u202e", 1.50]}}
    (event,) = events_of([item], read, REQUEST)
    assert event.raw == item
    assert event.raw["unheard of"] is item["unheard of"]
    with pytest.raises(TypeError):
        event.raw["to"] = "somebody else"  # type: ignore[index]
    del item["to"]
    assert "to" in event.raw


def test_a_reader_that_fails_loses_no_event() -> None:
    """Whatever an author's code raises for one of them."""

    def failing(item: Fields) -> Event:
        if item.get("bad"):
            raise RecursionError("secret of the payload")
        return read(item)

    events = events_of([GOOD, {**GOOD, "bad": True}, GOOD], failing, REQUEST)
    assert [event.kind.value for event in events] == ["delivered", "unknown", "delivered"]
    assert events[1].error == "the connector failed on it (RecursionError)"


def test_several_events_of_one_object_have_ids_of_their_own() -> None:
    """One for each recipient: with one id, the second would be taken for the first one again."""

    def each(item: Fields) -> list[Event]:
        return [
            item.event(KINDS["delivered"], time=item.seconds("ts"), recipient=to, id=item.text("id"))
            for to in item.texts("to")
        ]

    with_id = events_of([{**GOOD, "id": "m1", "to": ["a@example.com", "b@example.com"]}], each, REQUEST)
    without = events_of([{**GOOD, "to": ["a@example.com", "b@example.com"]}], each, REQUEST)
    assert [event.id for event in with_id] == ["m1", "m1#2"]
    assert len({event.id for event in without}) == 2
    assert events_of([{**GOOD, "to": []}], each, REQUEST) == ()


@pytest.mark.parametrize(("items", "status"), [(None, 400), ("x", 400), (7, 400), ([{}] * 10_001, 413)])
def test_what_is_no_list_of_events_is_refused(items: object, status: int) -> None:
    """One object is a list of one."""
    assert len(events_of(GOOD, read, REQUEST)) == 1
    with pytest.raises(WebhookRejected) as caught:
        events_of(items, read, REQUEST)
    assert caught.value.status == status


def test_an_id_is_made_of_what_does_not_change() -> None:
    """The same event has the same one however often it comes, in whatever order its fields stand."""
    first, again = Fields({"a": 1, "try": 1, "b": 2}), Fields({"b": 2, "a": 1, "try": 2})
    assert first.digest() != again.digest()
    assert first.digest(without=["try"]) == again.digest(without=["try"])
    assert first.digest(part="x") != first.digest()


@pytest.mark.parametrize(
    ("method", "value", "expected"),
    [
        ("text", " a\r\nb\x00 ", "a  b"),
        ("text", " ", None),
        ("whole", "550", 550),
        ("whole", "", None),
        ("whole", 7, 7),
        ("number", "1.5", 1.5),
        ("flag", 1, True),
        ("flag", "true", True),
        ("flag", "no", False),
        ("texts", "a", ("a",)),
        ("texts", None, ()),
        ("metadata", {"a": 1, "b": True, "c": None}, {"a": "1", "b": "true", "c": ""}),
        ("metadata", [], {}),
        ("iso", "2026-11-25T10:00:00Z", datetime(2026, 11, 25, 10, tzinfo=UTC)),
        ("seconds", "1764000000.5", datetime.fromtimestamp(1764000000.5, UTC)),
        ("address", "", None),
    ],
)
def test_a_field_is_read_as_providers_write_it(method: str, value: object, expected: object) -> None:
    """Numbers as text, one tag instead of a list, an empty list for an empty object."""
    assert getattr(Fields({"x": value}), method)("x") == expected


@pytest.mark.parametrize(
    ("method", "value"),
    [
        ("text", 7),
        ("texts", [1]),
        ("texts", 7),
        ("whole", "5.5"),
        ("whole", "9" * 30),
        ("whole", True),
        ("whole", "٣"),
        ("number", "nan"),
        ("number", "1e999"),
        ("number", False),
        ("metadata", {"a": []}),
        ("metadata", "a"),
        ("iso", "2026-11-25T10:00:00"),
        ("iso", 7),
        ("iso", None),
        ("iso", "9999-12-31T23:59:59-23:59"),
        ("seconds", 1e300),
        ("seconds", 10**400),
        ("seconds", 253_402_300_800),
        ("seconds", -1),
        ("seconds", None),
        ("address", "nobody"),
        ("address", ["a@example.com"]),
        ("within", "x"),
    ],
)
def test_a_field_of_another_type_is_named(method: str, value: object) -> None:
    """With its place, and nothing of what stands in it."""
    with pytest.raises(BadField, match=r"^data\.x "):
        getattr(Fields({"data": {"x": value}}).within("data"), method)("x")


def test_fields_lie_within_objects_and_lists() -> None:
    """By a path, or one level after the other; what is missing is nothing."""
    item = Fields({"data": {"bounce": {"type": "hard"}, "to": [{"email": "a@example.com"}, 7]}})
    assert item.text("data.bounce.type") == item.within("data").within("bounce").text("type") == "hard"
    assert (item.text("data.bounce.type.x"), item.text("nothing.at.all"), item.within("nothing").text("x")) == (
        None,
    ) * 3
    objects = item.each("data.to")
    assert next(objects).address("email") == "a@example.com"
    with pytest.raises(BadField, match=r"data\.to\[1\]"):
        next(objects)


def test_times_without_a_zone_are_utc_only_where_the_author_says_so() -> None:
    """Nobody guesses."""
    item = Fields({"x": "2026-11-25T10:00:00"})
    assert item.iso("x", zone=False) == datetime(2026, 11, 25, 10, tzinfo=UTC)
    assert Fields({"x": 1764000000500}).seconds("x", per_second=1000) == datetime.fromtimestamp(1764000000.5, UTC)


@pytest.mark.parametrize(
    ("kind", "bounce", "reason", "bad_address", "about_us"),
    [
        ("bounced", "hard", None, True, False),
        ("bounced", "hard", "recipient_rejected", True, False),
        ("bounced", "hard", "policy", False, True),
        ("bounced", "hard", "content_rejected", False, False),
        ("bounced", "blocked", None, False, True),
        ("bounced", "blocked", "recipient_rejected", False, True),
        ("bounced", "soft", "mailbox_full", False, False),
        ("bounced", "undetermined", None, False, False),
        ("deferred", None, "policy", False, True),
        ("delivered", None, None, False, False),
    ],
)
def test_whose_fault_a_bounce_is(
    kind: str, bounce: str | None, reason: str | None, bad_address: bool, about_us: bool
) -> None:
    """A refusal because of us says nothing of the address."""
    event = Event(id="1", kind=kind, time=NOW, bounce=bounce, reason=reason)  # type: ignore[arg-type]
    assert (event.address_is_bad, event.about_us) == (bad_address, about_us)


def test_an_event_goes_to_json_and_back() -> None:
    """An inbound message with its files, too: a store keeps it so."""
    message = inbound_message([("From", "Ada <ada@example.com>"), ("Subject", "Hi")], text="Hello")
    event = Event(id="1", kind=EventKind.INBOUND, time=NOW, inbound=message, reason=Reason.OTHER)
    assert structure(Event, json.loads(json.dumps(unstructure(event)))) == event


def test_an_event_needs_an_id_and_a_time() -> None:
    """An empty id would make all events one, a time without a zone could be any."""
    with pytest.raises(ValueError, match="id"):
        Event(id="", kind=EventKind.OPENED, time=NOW)
    # A number would be kept, and could not be read again.
    with pytest.raises(ValueError, match="id"):
        Event(id=7, kind=EventKind.OPENED, time=NOW)  # type: ignore[arg-type]
    (event,) = events_of(
        [{"n": 7}], lambda item: item.event(Means(EventKind.OPENED), id=item.whole("n"), time=NOW), REQUEST
    )  # type: ignore[arg-type]
    assert event.kind is EventKind.UNKNOWN
    with pytest.raises(ValueError, match="zone"):
        Event(id="1", kind=EventKind.OPENED, time=datetime(2026, 1, 1))  # noqa: DTZ001


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from([*GOOD, "id", "x"]), inner, max_size=6),
    max_leaves=15,
)


@settings(max_examples=150)
@given(st.lists(json_values, max_size=5))
def test_every_object_comes_out_as_one_event(items: list[object]) -> None:
    """With an id, whatever stands in it."""
    events = events_of(items, read, REQUEST)
    assert len(events) == len(items)
    assert all(event.id for event in events)
