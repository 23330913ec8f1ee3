"""What a webhook costs to verify and to read: CPU time, beside django-anymail and the decoding of its JSON alone."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import attrs

from genie_connect import Registry
from genie_connect.model.settings import structure_settings
from tests.bench import anymail
from tests.bench.in_turn import cpu_us
from tests.bench.smtp.report import GoalTable, Measured, Quantity, Reached, Results, number
from tests.bench.smtp.sinks import CannotRun
from tests.contrib.providers.events import mailgun, postmark, resend, sendgrid
from tests.contrib.providers.events.hook import Hook, credentials
from tests.webhooks.schemes import NOW, ecdsa_public, text_key, whsec

BATCH = 500
OURS = "ours"
READ = "anymail, verify and read"
VIEW = "anymail, its view"
ORJSON = "orjson.loads alone"
JSON = "json.loads alone"
CPU = "CPU us/event"


@attrs.frozen
class Case:
    """One webhook: whose, what it holds, and anymail's settings for it."""

    provider: str
    hook: Hook
    body: bytes
    options: Mapping[str, Any] = attrs.field(factory=dict)
    events: int = 1


def run() -> list[Results | GoalTable]:
    try:
        anymail.load()
        missing = ""
    except CannotRun as reason:
        missing = str(reason)
    results = [_measured(case, missing) for case in _cases()]
    return [*results, GoalTable(rows=[*_goals(results)])]


def _cases() -> Sequence[Case]:
    events = [item for item, _ in sendgrid.HOOK.samples]
    batch = [{**events[number % len(events)], "sg_event_id": f"e{number}"} for number in range(BATCH)]
    key = {"SENDGRID_TRACKING_WEBHOOK_VERIFICATION_KEY": ecdsa_public(1)}
    return (
        Case("SendGrid", sendgrid.HOOK, json.dumps(batch).encode(), key, events=BATCH),
        Case("Resend", resend.HOOK, _single(resend.HOOK), {"RESEND_SIGNING_SECRET": whsec(1)}),
        Case("Mailgun", mailgun.HOOK, _single(mailgun.HOOK), {"MAILGUN_WEBHOOK_SIGNING_KEY": text_key(1)}),
        Case("Postmark", postmark.HOOK, _single(postmark.HOOK), {"WEBHOOK_SECRET": credentials(1)}),
    )


def _single(hook: Hook) -> bytes:
    """A delivery, as most of them are."""
    item = next(item for item, event in hook.samples if event.get("kind") == "delivered")
    return json.dumps(hook.single(item)).encode()


def _measured(case: Case, missing: str) -> Results:
    request = case.hook.post(case.body, NOW, 1)
    registry = Registry(strict=True)
    handle = registry.register(case.hook.id, case.hook.connector)
    given = {**case.hook.settings, **case.hook.keyed(1, None)}
    settings = structure_settings(handle.info.settings_class, given, connector=case.hook.id)
    assert len(handle.parse_webhook(settings, request)) == case.events
    assert not any(event.error for event in handle.parse_webhook(settings, request))
    ways: dict[str, Callable[[], object]] = {OURS: partial(handle.parse_webhook, settings, request)}
    if not missing:
        theirs = anymail.webhook(case.provider, case.options, request.headers, request.body)
        ways |= {f"anymail, {name}": work for name, work in theirs.items()}
        ways[ORJSON] = anymail.orjson_loads(request.body)
    ways[JSON] = partial(json.loads, request.body)
    rows = cpu_us(ways, items=case.events)
    what = f"a batch of {case.events} events" if case.events > 1 else "one event"
    return Results(
        name=case.provider,
        title=f"{case.provider}, {what}, {len(request.body):,} bytes",
        quantities={CPU: Quantity(title=CPU)},
        rows={name: {CPU: measured} for name, measured in rows.items()},
        reference=OURS,
        skipped=dict.fromkeys((READ, VIEW, ORJSON), missing) if missing else {},
    )


def _goals(results: Sequence[Results]) -> Sequence[Reached]:
    rows: list[Reached] = []
    for result in results:
        for peer in (VIEW, READ):
            ahead = result.advantage(OURS, peer, CPU)
            rows.append(_reached(f"{result.name}: events a second >= 4x {peer}", ahead, lambda ratio: ratio >= 4))
        cost = result.advantage(ORJSON, OURS, CPU)
        rows.append(_reached(f"{result.name}: <= 1.5x {ORJSON}", cost, lambda ratio: ratio <= 1.5))
    return rows


def _reached(goal: str, ratio: Measured | None, enough: Callable[[float], bool]) -> Reached:
    if ratio is None:
        return Reached(goal=goal, reached="", met=None)
    return Reached(goal=goal, reached=f"{number(ratio.median)}x", met=enough(ratio.median))
