"""The fate of a copy: the same events tell of the same one, however they come."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from genie_connect.model.event import BounceClass, Event, EventKind, Reason
from genie_connect.model.fate import _CHOICES, Fate, Stage

START = datetime(2026, 11, 25, 10, tzinfo=UTC)

events = st.builds(
    Event,
    id=st.sampled_from(["a", "b", "c"]),
    kind=st.sampled_from(EventKind),
    time=st.integers(0, 5).map(lambda minutes: START + timedelta(minutes=minutes)),
    bounce=st.none() | st.sampled_from(BounceClass),
    reason=st.none() | st.sampled_from(Reason),
    machine=st.booleans(),
    code=st.none() | st.sampled_from([0, 421, 550]),
    text=st.none() | st.sampled_from(["", "no"]),
)
histories = st.lists(events, max_size=8)


def event(kind: EventKind, minutes: int = 0, **more: object) -> Event:
    """One that was reported so many minutes after the start."""
    return Event(id=f"{kind}-{minutes}", kind=kind, time=START + timedelta(minutes=minutes), **more)  # type: ignore[arg-type]


@settings(max_examples=200)
@given(histories, st.randoms(use_true_random=False))
def test_order_and_repetition_change_nothing(history: list[Event], chance: object) -> None:
    """Shuffled, and each reported up to three times."""
    again = [each for each in history for _ in range(chance.randint(1, 3))]  # type: ignore[attr-defined]
    chance.shuffle(again)  # type: ignore[attr-defined]
    assert Fate.of(again) == Fate.of(history)


@settings(max_examples=200)
@given(histories, histories, histories)
def test_batches_change_nothing(one: list[Event], two: list[Event], three: list[Event]) -> None:
    """What is joined of parts, in any grouping, is what all of it together tells."""
    whole = Fate.of([*one, *two, *three])
    a, b, c = Fate.of(one), Fate.of(two), Fate.of(three)
    assert a.join(b).join(c) == a.join(b.join(c)) == c.join(a).join(b) == whole
    assert whole.join(a) == whole
    assert whole.join(whole) == whole
    assert Fate().join(a) == a


@settings(max_examples=100)
@given(histories, events)
def test_what_is_known_is_never_lost(history: list[Event], late: Event) -> None:
    """One more event takes a copy no step back, and erases no complaint."""
    before, after = Fate.of(history), Fate.of([*history, late])
    assert after.stage >= before.stage
    for name in ("delivered", "complained", "opened", "clicked", "bounce", "trouble"):
        assert getattr(before, name) is None or getattr(after, name) is not None


def test_each_field_has_its_choice() -> None:
    """A field that none is made for would keep its default for ever."""
    assert set(_CHOICES) == {field.name for field in attrs.fields(Fate)}


def test_a_late_delivery_erases_no_complaint() -> None:
    """Providers report out of order."""
    fate = Fate.of([event(EventKind.COMPLAINED, 5), event(EventKind.DELIVERED, 1)])
    assert (fate.word, fate.stage, fate.delivered) == ("complained", Stage.DELIVERED, START + timedelta(minutes=1))


@pytest.mark.parametrize(
    ("kinds", "word"),
    [
        ([], "unheard"),
        (["queued", "sent"], "sent"),
        (["deferred", "delivered"], "delivered"),
        (["bounced:soft", "delivered"], "delivered"),
        (["delivered", "bounced:hard"], "bounced"),
        (["delivered", "bounced:blocked"], "bounced"),
        (["delivered", "bounced"], "bounced"),
        (["bounced:soft"], "soft_bounced"),
        (["rejected", "queued"], "rejected"),
        (["opened"], "delivered"),
        (["inbound", "unknown"], "unheard"),
    ],
)
def test_a_history_in_one_word(kinds: list[str], word: str) -> None:
    """A server may return what it has taken; what failed once may succeed the next time."""
    history = []
    for kind in kinds:
        name, _, bounce = kind.partition(":")
        history.append(event(EventKind(name), bounce=bounce or None))
    assert Fate.of(history).word == word


def test_the_gravest_trouble_is_told() -> None:
    """Of several that of the highest stage, then the latest."""
    fate = Fate.of(
        [
            event(EventKind.DEFERRED, 9, text="not now", reason=Reason.GREYLISTED),
            event(EventKind.BOUNCED, 1, text="no such user", bounce=BounceClass.HARD),
            event(EventKind.BOUNCED, 2, text="still no such user", bounce=BounceClass.UNDETERMINED),
        ]
    )
    assert fate.trouble is not None
    assert (fate.trouble.text, fate.bounce) == ("still no such user", BounceClass.HARD)


def test_the_last_word_on_a_subscription_counts() -> None:
    """Whoever came back is not unsubscribed."""
    left, back = event(EventKind.UNSUBSCRIBED, 1), event(EventKind.SUBSCRIBED, 2)
    assert Fate.of([left]).unsubscribed
    assert not Fate.of([back, left]).unsubscribed
    assert Fate.of([back, left, event(EventKind.UNSUBSCRIBED, 3)]).unsubscribed
