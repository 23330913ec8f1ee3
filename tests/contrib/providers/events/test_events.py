"""Webhooks of every provider: what each payload becomes, whose they have to be, and what a bad one does to others."""

from __future__ import annotations

import json
from datetime import timedelta
from operator import attrgetter
from random import Random
from typing import Any

import attrs
import pytest

from genie_connect.errors import WebhookRejected
from genie_connect.model.event import Event
from genie_connect.model.fate import Fate
from tests.contrib.providers.events import postmark, resend, sendgrid
from tests.contrib.providers.events.hook import Hook
from tests.webhooks.schemes import NOW
from tests.webhooks.test_fuzz import STRANGE_JSON, spoilt_bytes

HOOKS = [module.HOOK for module in (postmark, resend, sendgrid)]
each_hook = pytest.mark.parametrize("hook", HOOKS, ids=lambda hook: hook.id)


def _found(event: Event, name: str) -> Any:
    value = attrgetter(name.replace("[0]", ""))(event) if "[0]" not in name else None
    if "[0]" in name:
        before, _, after = name.partition("[0].")
        value = attrgetter(after)(attrgetter(before)(event)[0])
    return value


@each_hook
def test_each_payload_becomes_its_event(hook: Hook) -> None:
    """With every field that the provider gives; the payload itself is kept, but for a message's."""
    for item, expected in hook.samples:
        (event,) = hook.of(item)
        assert event.error is None or "error" in expected, event.error
        assert {name: _found(event, name) for name in expected} == dict(expected), item
        assert event.raw or event.inbound is not None
        assert event.id


@each_hook
def test_ids_are_the_same_each_time_and_none_is_another_events(hook: Hook) -> None:
    """Whatever request brings the event again, the host keeps it once."""
    items = [item for item, _ in hook.samples]
    first, again = [[hook.of(item)[0].id for item in items] for _ in range(2)]
    assert first == again


@each_hook
def test_only_who_has_a_key_is_believed(hook: Hook) -> None:
    """The current one or its predecessor; one that is neither, none at all, and an old signature are refused."""
    body = json.dumps(hook.single(hook.samples[0][0]) if hook.wrapped is None else hook.wrapped([])).encode()
    given = hook.post(body, NOW, 1)
    hook.parse(given, 1)
    hook.parse(given, 2, previous=1)
    refused = [(given, 2), (attrs.evolve(given, headers={}, body=b"{}"), 1)]
    if hook.window_s is not None:
        moved = [NOW + timedelta(seconds=seconds) for seconds in (-hook.window_s - 2, 7200)]
        refused += [(hook.post(body, time, 1), 1) for time in moved]
    for request, key in refused:
        with pytest.raises(WebhookRejected) as caught:
            hook.parse(request, key)
        assert caught.value.status in (400, 401)
    with pytest.raises(WebhookRejected, match="no signing secret"):
        hook.connector.connector_parse_webhook(_without_keys(hook), given)  # type: ignore[attr-defined]


def _without_keys(hook: Hook) -> Any:
    return hook.connector.info.settings_class(**hook.settings)


@each_hook
def test_a_bad_event_loses_no_other(hook: Hook) -> None:
    """It is kept as unknown, with what is wrong; the others of its batch are read."""
    bad: list[Any] = [None, 7, {}, {"event": []}, {**hook.samples[0][0], "timestamp": "x", "data": 7, "Metadata": 7}]
    good = [item for item, _ in hook.samples]
    for each in bad:
        if hook.wrapped is not None:
            events = hook.of(*good, each, *good)
            kinds = [event.kind.value for event in events]
            assert kinds[: len(good)] == kinds[len(good) + 1 :] == [known["kind"] for _, known in hook.samples]
            assert kinds[len(good)] == "unknown"
        elif isinstance(each, dict):
            (event,) = hook.of(each)
            assert event.id
            assert event.kind.value == "unknown"


@each_hook
def test_permutations_and_repetitions_converge(hook: Hook) -> None:
    """The same events in any order, some twice, tell the same of the copy."""
    chance = Random(hook.id)
    events = [event for item, _ in hook.samples for event in hook.of(item)]
    told = Fate.of(events)
    for _ in range(20):
        mixed = [*events, *chance.sample(events, len(events) // 2)]
        chance.shuffle(mixed)
        assert Fate.of(mixed) == told


@each_hook
def test_no_signed_body_raises_anything_but_a_refusal(hook: Hook) -> None:
    """Payloads with something else in a field, and bodies that are spoilt before they are signed."""
    chance = Random(f"fuzz {hook.id}")
    for _ in range(150):
        item = json.loads(json.dumps(dict(chance.choice(hook.samples)[0])))
        place = item
        while chance.random() < 0.6:
            inner = [value for value in place.values() if isinstance(value, dict)]
            if not inner:
                break
            place = chance.choice(inner)
        if place:
            place[chance.choice(sorted(place))] = chance.choice(STRANGE_JSON)
        value = hook.single(item) if hook.wrapped is None else hook.wrapped([item])
        body = json.dumps(value).encode()
        if chance.random() < 0.4:
            body = spoilt_bytes(chance, body)
        try:
            events = hook.parse(hook.post(body, NOW, 1))
        except WebhookRejected:
            continue
        assert all(event.id for event in events)
