"""Malformed webhooks without end, each with a right signature, so that every parser gets to see what is wrong with it.

A case is a good webhook of a provider in which something else stands in a field, bytes of the body are spoilt before it
is signed, header fields or path are spoilt after, or which is made to cost time or memory.
"""

from __future__ import annotations

import copy
import gc
import json
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from random import Random
from typing import Any

import attrs

from genie_connect.contract import WebhookRequest
from genie_connect.errors import WebhookNeeds, WebhookRejected
from genie_connect.model.settings import structure_settings
from tests.contrib.providers.events.hook import Hook
from tests.webhooks.schemes import NOW
from tests.webhooks.test_fuzz import STRANGE_JSON, spoilt, spoilt_bytes

PROPERTY = "malformed"
"""Under which a test's report carries its tally."""
SLOW_S = 0.050
"""CPU seconds that no case may take."""
_BIG = 900_000
"""Bytes of what is made to cost: under the limit of a body, which would refuse it unread."""
_TEXTS: tuple[str, ...] = (
    "x" * _BIG,
    "=?utf-8?q?" * 20_000,
    "550-5.1.1 " * 20_000,
    "mailbox " * 20_000 + "full",
    " " * 100_000 + "x",
    "a@" * 50_000,
    '"' * 50_000 + "@example.com",
    "\u202e" * 50_000,
    "1" * 5_000,
    "2026-11-26T00:00:00" + "0" * 5_000,
)
_BODIES: tuple[bytes, ...] = (
    b"[" * _BIG,
    b'{"a":' * 100_000,
    b"9" * _BIG,
    b"-" * _BIG,
    b"[" + b"1e999," * 1_000 + b"1]",
    b"{" + b'"a":1,' * 20_000 + b'"a":1}',
    b'{"a":' * 60 + b"1" + b"}" * 60,
    b'["' + b"\\ud800" * 10_000 + b'"]',
    b"\xff" * _BIG,
    b"",
)
_FORM = {"content-type": "multipart/form-data; boundary=xYz"}
_PART = b'--xYz\r\nContent-Disposition: form-data; name="a"\r\n\r\n1\r\n'
_FLOODS: tuple[tuple[dict[str, str], bytes], ...] = (
    ({"content-encoding": "gzip"}, b"{}"),
    (_FORM, _PART * 10_000 + b"--xYz--\r\n"),
    (_FORM, b"--xYz\r\n" * 50_000),
    (_FORM, b"--xYz\r\n" + b"A: b\r\n" * 100_000),
    ({"content-type": "application/x-www-form-urlencoded"}, b"a=1&" * 100_000),
)
"""What is compressed, and forms of far too many parts or fields."""


@attrs.frozen(kw_only=True)
class Tally:
    """What became of so many cases. ``slowest_ms`` is CPU time, ``grown_kib`` what resident memory grew by."""

    cases: int
    refused: int
    events: int
    unread: int
    slowest_ms: float
    grown_kib: int


def parser_of(hook: Hook) -> Callable[[WebhookRequest], Any]:
    """The connector's own function, its settings made once."""
    given = {**hook.settings, **hook.keyed(1, None)}
    settings = structure_settings(hook.connector.info.settings_class, given, connector=hook.id)
    parse = hook.connector.connector_parse_webhook  # type: ignore[attr-defined]  # an optional hook
    return lambda request: parse(settings, request)


def cases(hook: Hook, chance: Random) -> Iterator[WebhookRequest]:
    """Malformed webhooks of a provider."""
    while True:
        kind = chance.random()
        body = _body(hook, chance)
        if kind < 0.003:
            body = chance.choice(_BODIES)
        elif kind < 0.25:
            body = spoilt_bytes(chance, body)
        made = posted(hook, body)
        if kind > 0.85:
            made = spoilt(chance, made)
        elif kind > 0.84:
            headers, body = chance.choice(_FLOODS)
            made = posted(hook, body)
            made = attrs.evolve(made, headers={**made.headers, **headers})
        yield made


def tally(hook: Hook, count: int, seed: str) -> Tally:
    """Have so many read. Raises what is no refusal, and ``AssertionError`` for a case that takes too long."""
    parse, made = parser_of(hook), cases(hook, Random(seed))
    refused = events = unread = 0
    slowest_s, before = 0.0, 0
    gc.collect()
    gc.freeze()
    for number in range(count):
        request = next(made)
        took_s, found = _timed(parse, request)
        if took_s > SLOW_S:
            # A collection of garbage may have been counted; a parser that is slow is slow each time.
            took_s = min(_timed(parse, request)[0] for _ in range(3))
            assert took_s <= SLOW_S, (hook.id, seed, number, took_s, len(request.body), request.body[:200])
        slowest_s = max(slowest_s, took_s)
        refused += found is None
        events += len(found or ())
        unread += sum(event.error is not None for event in found or ())
        assert all(event.id for event in found or ())
        if number == count // 10:
            before = _resident_kib()
    return Tally(
        cases=count,
        refused=refused,
        events=events,
        unread=unread,
        slowest_ms=round(slowest_s * 1000, 1),
        grown_kib=max(0, _resident_kib() - before),
    )


def table_of(reports: Iterable[Any]) -> str:
    """What the reports of the tests carry, summed for each provider, as the documents show it; empty without any."""
    found = [value for report in reports for name, value in report.user_properties if name == PROPERTY]
    if not found:
        return ""
    head = ["| provider | cases | refused | events | of them unread | slowest, CPU ms | memory grew by, KiB |"]
    head.append("|---" + "|--:" * 6 + "|")
    providers = sorted({each["provider"] for each in found})
    lines = [_line(provider, [each for each in found if each["provider"] == provider]) for provider in providers]
    return "\n".join([*head, *lines, _line("all", found)])


def _line(name: str, parts: list[dict[str, Any]]) -> str:
    sums = [sum(part[what] for part in parts) for what in ("cases", "refused", "events", "unread")]
    most = [max(part[what] for part in parts) for what in ("slowest_ms", "grown_kib")]
    return f"| {name} | {' | '.join(f'{value:,}' for value in (*sums, *most))} |"


def _timed(parse: Callable[[WebhookRequest], Any], request: WebhookRequest) -> tuple[float, Any]:
    started = time.thread_time()
    try:
        found = parse(request)
    except (WebhookRejected, WebhookNeeds):
        found = None
    return time.thread_time() - started, found


def _body(hook: Hook, chance: Random) -> bytes:
    """One to three good events, in one of which something is something else."""
    many = chance.randint(1, 3) if hook.wrapped is not None else 1
    items = [copy.deepcopy(chance.choice(hook.samples)[0]) for _ in range(many)]
    changed: Any = chance.choice(items)
    for _ in range(chance.randint(1, 3)):
        _change(changed, chance)
    value = hook.single(items[0]) if hook.wrapped is None else hook.wrapped(items)
    return json.dumps(value).encode()


def _change(value: Any, chance: Random) -> None:
    """Something else in a field, here or in an object below; or no such field."""
    while isinstance(value, dict) and value:
        name = chance.choice(sorted(value))
        below = value[name]
        if isinstance(below, dict) and below and chance.random() < 0.7:
            value = below
            continue
        roll = chance.random()
        if roll < 0.1:
            del value[name]
        elif roll < 0.102:
            value[name] = chance.choice(_TEXTS)
        else:
            value[name] = copy.deepcopy(chance.choice(STRANGE_JSON))
        return


def posted(hook: Hook, body: bytes) -> WebhookRequest:
    """The body as the provider would sign and post it."""
    try:
        return hook.post(body, NOW, 1)
    except (ValueError, TypeError, KeyError, AttributeError):
        # Its signature stands in the body, which is no JSON any more.
        return attrs.evolve(hook.post(json.dumps(hook.single(hook.samples[0][0])).encode(), NOW, 1), body=body)


def _resident_kib() -> int:
    gc.collect()
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4
