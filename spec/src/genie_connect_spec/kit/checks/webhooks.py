"""Webhooks: nobody but the provider is believed, and nothing that it says is lost.

PYTEST_DONT_REWRITE: each assertion says itself what is wrong.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import attrs

from genie_connect.contract import WebhookRequest
from genie_connect.errors import SettingsError, WebhookRejected
from genie_connect.model.event import BounceClass, Event, EventKind
from genie_connect.model.secret import Secret
from genie_connect.model.settings import field_types, without_none
from genie_connect.model.validation import external_name
from genie_connect_spec.kit.check import check, needs
from genie_connect_spec.kit.rig import Rig

FIRST: Final = "GC-HOOK-001"
PARSES: Final = (FIRST,)
NOW: Final = datetime(2026, 11, 25, 12, 0, tzinfo=UTC)
_SEED: Final = 20261125


def _body(rig: Rig) -> bytes:
    needs(rig.has("connector_parse_webhook"), "it has no connector_parse_webhook")
    body = rig.contract.webhook_body()
    needs(body, "the contract has no webhook_body")
    return body


def _signed(rig: Rig, body: bytes, *, data: Mapping[str, Any] | None = None, at: datetime = NOW) -> WebhookRequest:
    return rig.contract.webhook_request(body, rig.data if data is None else data, at)


def _unsigned(rig: Rig, body: bytes) -> WebhookRequest:
    return rig.contract.unsigned_webhook(_signed(rig, body))


def _parse(rig: Rig, request: WebhookRequest, settings: Any = None) -> Sequence[Event]:
    settings = rig.settings if settings is None else settings
    result: Sequence[Event] = rig.hooks.connector_parse_webhook(settings=settings, request=request)
    return result


def _events(rig: Rig) -> Sequence[Event]:
    return _parse(rig, _signed(rig, _body(rig)))


def _refused(rig: Rig, request: WebhookRequest, what: str, settings: Any = None) -> WebhookRejected:
    try:
        _parse(rig, request, settings)
    except WebhookRejected as error:
        return error
    raise AssertionError(f"{what} was taken")


def _proven(rig: Rig) -> WebhookRequest:
    """The sample, of which something shows who sent it: a signature, or a secret that is shared with the provider."""
    signed = _signed(rig, _body(rig))
    needs(signed != rig.contract.unsigned_webhook(signed), "the contract has no sign_webhook")
    return signed


def _signed_sample(rig: Rig) -> WebhookRequest:
    needs(rig.declares("events.signature"), "it does not declare events.signature")
    return _proven(rig)


def _proofs(rig: Rig, signed: WebhookRequest) -> list[str]:
    """The header fields that show who sent it: somebody without a secret has no such field."""
    unsigned = rig.contract.unsigned_webhook(signed)
    names = [name for name in signed.headers if name not in unsigned.headers]
    needs(names, "what shows who sent it stands in no header field")
    return names


@check("GC-HOOK-001", after=("GC-SET-001",))
def a_signed_webhook_gives_events(rig: Rig) -> None:
    """Two events in, two events out; one, where the provider writes no more into a webhook."""
    body = _body(rig)
    events = _parse(rig, _signed(rig, body))
    assert isinstance(events, list | tuple), f"it returned {type(events).__name__}, not a list"
    if rig.contract.one_event_each:
        assert len(events) == 1, f"the sample has one event, and {len(events)} came out"
    else:
        assert len(events) >= 2, f"the sample has two events or more, and {len(events)} came out"
    assert all(type(event) is Event for event in events), "it returned what is no Event"


@check("GC-HOOK-002", after=PARSES)
def unsigned_is_refused(rig: Rig) -> None:
    """Everybody can find the address of a webhook."""
    error = _refused(rig, _unsigned(rig, _body(rig)), "a webhook without a signature, or a shared secret,")
    assert error.status == 401, f"a webhook without a signature is refused with {error.status}, not 401"


@check("GC-HOOK-003", after=PARSES)
def a_changed_body_is_refused(rig: Rig) -> None:
    """The signature is of these bytes and no others: not of the JSON in them."""
    changed = rig.contract.altered_webhooks(_signed_sample(rig))
    needs(changed, "the contract has no altered_webhooks")
    for each in changed:
        _refused(rig, each, "a body that was changed after signing")


@check("GC-HOOK-004", after=PARSES)
def every_header_of_the_signature_counts(rig: Rig) -> None:
    """A check that passes when its header is missing is no check."""
    signed = _proven(rig)
    for name in _proofs(rig, signed):
        rest = {other: value for other, value in signed.headers.items() if other != name}
        _refused(rig, attrs.evolve(signed, headers=rest), f"a webhook without {name}")


@check("GC-HOOK-005", after=PARSES)
def a_wrong_signature_is_refused(rig: Rig) -> None:
    """Whatever stands in its place, and without another error than this."""
    signed = _proven(rig)
    for name in _proofs(rig, signed):
        for wrong in ("", "x", "v1,", "\u00e9\u00e9", signed.headers[name][::-1] + "x", "A" * 5000, "-1", "9" * 40):
            forged = attrs.evolve(signed, headers={**signed.headers, name: wrong})
            _refused(rig, forged, f"a webhook with {name} = {wrong[:20]!r}")


@check("GC-HOOK-006", after=PARSES)
def an_old_one_is_refused(rig: Rig) -> None:
    """A webhook that was recorded can be sent again."""
    age = _age_s(rig)
    old = _signed(rig, _body(rig), at=NOW - timedelta(seconds=age))
    _refused(rig, attrs.evolve(old, received_at=NOW), f"a webhook that was signed {age:g} s ago")


@check("GC-HOOK-007", after=PARSES)
def one_from_the_future_is_refused(rig: Rig) -> None:
    """It would be good for as long as its sender likes."""
    age = _age_s(rig)
    early = _signed(rig, _body(rig), at=NOW + timedelta(seconds=age))
    _refused(rig, attrs.evolve(early, received_at=NOW), f"a webhook that will be signed in {age:g} s")


def _age_s(rig: Rig) -> float:
    _signed_sample(rig)
    age = rig.contract.webhook_ages_s
    needs(age is not None, "the provider signs no time")
    assert age is not None
    return age


@check("GC-HOOK-008", after=PARSES)
def another_secret_is_refused(rig: Rig) -> None:
    """The connection's secret, not any."""
    _proven(rig)
    rotated = rig.contract.rotated(rig.data)
    needs(rotated, "the contract does not say how a secret is rotated")
    body = _body(rig)
    _refused(rig, _signed(rig, body, data=rotated), "a webhook signed with another connection's secret")


@check("GC-HOOK-009", after=PARSES)
def both_secrets_count_while_rotating(rig: Rig) -> None:
    """Webhooks under way when the secret is changed are not lost."""
    _proven(rig)
    rotated = rig.contract.rotated(rig.data)
    needs(rotated, "the contract does not say how a secret is rotated")
    settings = rig.structured(rotated)
    body = _body(rig)
    for data, which in ((rotated, "new"), (rig.data, "previous")):
        try:
            events = _parse(rig, _signed(rig, body, data=data), settings)
        except WebhookRejected as error:
            raise AssertionError(f"while rotating, the {which} secret is refused: {error.reason}") from None
        assert events


@check("GC-HOOK-010", after=PARSES)
def without_a_secret_nothing_is_taken(rig: Rig) -> None:
    """A connection that was never given the secret cannot check anything, and believes nobody."""
    signed = _proven(rig)
    signing = _signing_settings(rig)
    needs(signing, "the secret is required")
    data = {name: value for name, value in rig.data.items() if name not in signing}
    try:
        settings = rig.structured(data)
    except SettingsError:
        return
    _refused(rig, signed, "a webhook, by a connection without a signing secret,", settings)
    unsigned = rig.contract.unsigned_webhook(signed)
    _refused(rig, unsigned, "an unsigned webhook, by a connection without a signing secret,", settings)


def _signing_settings(rig: Rig) -> list[str]:
    """The settings on which the check of signatures depends, and which may be left out."""
    fields = {external_name(field.name): field for field in attrs.fields(rig.info.settings_class)}
    return [
        key
        for key in rig.data
        if ("webhook" in key or "signing" in key) and key in fields and fields[key].default is not attrs.NOTHING
    ]


@check("GC-HOOK-011", after=("GC-HOOK-003",))
def signed_nonsense_is_refused_politely(rig: Rig) -> None:
    """A provider with a fault, or a new format: refused as malformed, without another error."""
    _proven(rig)
    for body in (
        b"",
        b"\xff\xfe\x00",
        b"null",
        b"[]" * 3,
        b"{",
        b"[" * 100_000,
        b'{"a":' * 5_000,
        b"1e999999",
        b"9" * 20_000,
        b'"text"',
        b"{}",
        b"NaN",
        b"[null, 1, {}, []]",
    ):
        _only_known_errors(rig, body)
        request = _signed(rig, body)
        try:
            _parse(rig, request)
        except WebhookRejected as error:
            # Where the signature stands in the body, there is none in these.
            malformed = error.status == 400 or not request.headers
            assert malformed, f"a signed body that is no webhook is refused with the status {error.status}, not 400"


@check("GC-HOOK-012", after=PARSES)
def fuzz_harms_nobody(rig: Rig) -> None:
    """Hundreds of bodies that are nearly right: events, or refused, and nothing else."""
    _proven(rig)
    good = _body(rig)
    chance = random.Random(_SEED)  # noqa: S311  # the same in every run
    for _ in range(300):
        body = bytearray(good)
        for _ in range(chance.randint(1, 6)):
            place = chance.randrange(len(body))
            choice = chance.random()
            if choice < 0.4:
                body[place] = chance.randrange(256)
            elif choice < 0.7:
                del body[place : place + chance.randint(1, 12)]
            else:
                body[place:place] = chance.choice(
                    [b"null", b"[]", b"{}", b"-1", b'"', b"\x00", b"1e400", b",", b"true"]
                )
            body = body or bytearray(b"{")
        _only_known_errors(rig, bytes(body))


def _only_known_errors(rig: Rig, body: bytes) -> None:
    try:
        events = _parse(rig, _signed(rig, body))
    except WebhookRejected as error:
        assert 400 <= error.status < 600, f"it is refused with status {error.status}"
        return
    except Exception as error:
        raise AssertionError(f"the body {body[:60]!r} raises {type(error).__name__}, not WebhookRejected") from error
    assert all(type(event) is Event for event in events), f"the body {body[:60]!r} gives what is no Event"


@check("GC-HOOK-013", after=PARSES)
def an_unknown_event_is_kept(rig: Rig) -> None:
    """Providers add types of event. Nothing of what they say is lost, and nothing is guessed."""
    _proven(rig)
    body = rig.contract.unknown_webhook_body()
    needs(body, "the contract has no unknown_webhook_body")
    events = _parse(rig, _signed(rig, body))
    assert len(events) == 1, f"one event of an unknown type went in, and {len(events)} came out"
    assert events[0].kind is EventKind.UNKNOWN, f"an event of an unknown type is called {events[0].kind}"
    assert events[0].raw, "an event of an unknown type has no raw payload"


@check("GC-HOOK-014", after=PARSES)
def ids_stay(rig: Rig) -> None:
    """Providers send a webhook again: the host knows each event by its id."""
    first, second = _events(rig), _events(rig)
    assert [event.id for event in first] == [event.id for event in second], "the same event has another id"
    again = _parse(rig, _signed(rig, _body(rig), at=NOW + timedelta(hours=1)))
    assert [event.id for event in first] == [event.id for event in again], "an event that comes later has another id"


@check("GC-HOOK-015", after=PARSES)
def ids_differ(rig: Rig) -> None:
    """Two events with one id are one event."""
    ids = [event.id for event in _events(rig)]
    assert len(set(ids)) == len(ids), "two events have one id"


@check("GC-HOOK-017", after=PARSES)
def the_payload_is_kept(rig: Rig) -> None:
    """What this version does not understand, the next one may."""
    for event in _events(rig):
        assert event.raw, f"the event {event.id} has no raw payload"


@check("GC-HOOK-018", after=PARSES)
def events_say_of_whom(rig: Rig) -> None:
    """An event that leads to no recipient and no message is of no use."""
    for event in _events(rig):
        assert event.recipient or event.message_id or event.provider_id, f"the event {event.id} leads nowhere"
        assert event.recipient is None or "@" in event.recipient, f"{event.recipient!r} is no address"


@check("GC-HOOK-019", after=PARSES)
def kinds_are_told_apart(rig: Rig) -> None:
    """The sample has events of known types."""
    kinds = {event.kind for event in _events(rig)}
    assert kinds - {EventKind.UNKNOWN}, "no event of the sample is of a known kind"
    for event in _events(rig):
        if event.kind is EventKind.BOUNCED:
            assert isinstance(event.bounce, BounceClass), f"the bounce {event.id} has no class"
        else:
            assert event.bounce is None, f"the event {event.id} is no bounce and has a class of one"


@check("GC-HOOK-020", after=PARSES)
def parsing_touches_nothing(rig: Rig) -> None:
    """It runs where thousands of webhooks come in, and has all it needs in its hands."""
    _events(rig)
    rig.guard.touched.clear()
    _events(rig)
    assert not rig.guard.touched, f"connector_parse_webhook {rig.guard.touched[0]}"


@check("GC-HOOK-021", after=PARSES)
def the_clock_is_the_requests(rig: Rig) -> None:
    """Webhooks are parsed again later, from the journal: what counts is when they were received."""
    body = _body(rig)
    for at in (datetime(2019, 3, 1, tzinfo=UTC), datetime(2041, 7, 9, tzinfo=UTC)):
        try:
            _parse(rig, _signed(rig, body, at=at))
        except WebhookRejected as error:
            raise AssertionError(f"a webhook of {at:%Y}, received when it was signed, is refused: {error}") from None


@check("GC-HOOK-022", after=PARSES)
def refusals_show_nothing(rig: Rig) -> None:
    """A refusal is logged, and anybody can cause one."""
    signed = _proven(rig)
    body = b'{"kit": "canary-of-the-body"}'
    errors = [_refused(rig, _unsigned(rig, body), "an unsigned webhook")]
    if rig.declares("events.signature"):
        errors.append(_refused(rig, attrs.evolve(signed, body=body), "a body that was not signed"))
    for error in errors:
        said = f"{error} {error.reason} {error.hint} {error.__cause__!r} {error.__context__!r}"
        assert "canary-of-the-body" not in said, "the refusal quotes the body"
        assert not [secret for secret in rig.canaries if secret in said], "the refusal shows a secret"


@check("GC-HOOK-023", after=PARSES)
def its_secret_is_a_secret(rig: Rig) -> None:
    """Whoever has the signing secret can make events."""
    _proven(rig)
    signing = [name for name in rig.data if "webhook" in name and ("secret" in name or "password" in name)]
    hints = {external_name(name): without_none(hint)[0] for name, hint in field_types(rig.info.settings_class).items()}
    plain = [name for name in signing if hints.get(name) is not Secret]
    assert not plain, f"{', '.join(plain)} is no Secret"


@check("GC-HOOK-024", after=PARSES)
def its_secret_can_be_used(rig: Rig) -> None:
    """A secret with a slip in it is found by whoever types it in, and not by the first webhook that is lost."""
    _signed_sample(rig)
    body = _body(rig)
    for name in _signing_settings(rig):
        try:
            settings = rig.structured({**rig.data, name: "\u2603 no signing secret"})
        except SettingsError:
            continue
        refused = _refused(rig, _signed(rig, body), "a webhook that was signed with another secret", settings)
        assert refused.status == 401, f"the settings take a {name} that cannot be used: every webhook is lost"
