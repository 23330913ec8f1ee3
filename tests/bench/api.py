"""What a request to a provider costs to build and to serialise: CPU time, beside django-anymail. Nothing is sent."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

import attrs

from genie_connect import Message
from genie_connect.api.job import job_of
from genie_connect.model.batch import Batch
from tests.bench import anymail
from tests.bench.in_turn import cpu_us
from tests.bench.smtp.report import GoalTable, Measured, Quantity, Reached, Results, number
from tests.bench.smtp.sinks import CannotRun
from tests.contrib.providers import brevo, mailersend, mailgun, mailjet, mailtrap, postmark, resend, sendgrid, ses
from tests.contrib.providers.harness import SECRET, Provider, batch_of, context

OURS = "ours"
ANYMAIL = "anymail"
CPU = "CPU us/request"
MOST_US = 60
_LINE = "Your order left our warehouse this morning; you can follow it, as always, in your account.\n"
TEXT = _LINE * 20
HTML = f"<html><body>{''.join(f'<p>{_LINE}</p>' for _ in range(20))}</body></html>"
HEADERS = {"X-Campaign": "spring"}


@attrs.frozen
class Case:
    """A provider, and what anymail's backend for it is given; without a name it has none that uses HTTP itself."""

    provider: Provider
    name: str = ""
    options: Mapping[str, Any] = attrs.field(factory=dict)
    prepare: bool = False


CASES = (
    Case(resend.PROVIDER, "Resend", {"api_key": SECRET}),
    Case(sendgrid.PROVIDER, "SendGrid", {"api_key": SECRET}),
    Case(postmark.PROVIDER, "Postmark", {"server_token": SECRET}),
    Case(mailgun.PROVIDER, "Mailgun", {"api_key": SECRET, "sender_domain": "mg.example.com"}, True),
    Case(brevo.PROVIDER, "Brevo", {"api_key": SECRET}),
    Case(mailersend.PROVIDER, "MailerSend", {"api_token": SECRET}),
    Case(mailjet.PROVIDER, "Mailjet", {"api_key": SECRET, "secret_key": SECRET}),
    Case(mailtrap.PROVIDER, "Mailtrap", {"api_token": SECRET}),
    Case(ses.PROVIDER),
)


def run() -> list[Results | GoalTable]:
    try:
        anymail.load()
        missing = ""
    except CannotRun as reason:
        missing = str(reason)
    results = [_measured(case, missing) for case in CASES]
    return [*results, GoalTable(rows=[row for result in results for row in _goals(result)])]


def _measured(case: Case, missing: str) -> Results:
    work = _ours(case.provider, asyncio.run(_batch(case.provider)))
    ways: dict[str, Callable[[], object]] = {OURS: work}
    if case.name and not missing:
        message = {
            "subject": "Your order 271828",
            "text": TEXT,
            "html": HTML,
            "from_email": "Shop <shop@example.com>",
            "to": ["Ada Lovelace <ada@example.com>"],
            "headers": HEADERS,
            "tags": ["receipt"],
        }
        ways[ANYMAIL] = anymail.request_of(case.name, case.options, message, prepare=case.prepare)
    missing = missing or ("" if case.name else "anymail leaves the request to boto3")
    return Results(
        name=case.provider.id,
        title=f"{case.provider.connector.info.title}, {len(work()):,} bytes",
        quantities={CPU: Quantity(title=CPU)},
        rows={name: {CPU: measured} for name, measured in cpu_us(ways).items()},
        reference=OURS,
        skipped={ANYMAIL: missing} if missing else {},
    )


async def _batch(provider: Provider) -> Batch:
    message = Message(
        from_="Shop <shop@example.com>",
        to=["Ada Lovelace <ada@example.com>"],
        subject="Your order 271828",
        text=TEXT,
        html=HTML,
        headers=HEADERS,
        tags=["receipt"],
    )
    return await batch_of(message)


def _ours(provider: Provider, batch: Batch) -> Callable[[], bytes]:
    from genie_connect.http import FakeHttpClient

    connector, state, sending = provider.connector, provider.state(FakeHttpClient(provider.accepts)), context()

    def build() -> bytes:
        job = job_of(batch, sending, connector.info.id)
        (call,) = connector.calls(job, state.settings)
        connector.signed(call, state, sending)
        return call.content

    return build


def _goals(result: Results) -> tuple[Reached, Reached]:
    mine = result.rows[OURS][CPU].median
    ahead: Measured | None = result.advantage(OURS, ANYMAIL, CPU)
    return (
        Reached(goal=f"{result.name}: <= {MOST_US} us", reached=f"{number(mine)} us", met=mine <= MOST_US),
        Reached(
            goal=f"{result.name}: >= 4x anymail",
            reached="" if ahead is None else f"{number(ahead.median)}x",
            met=None if ahead is None else ahead.median >= 4,
        ),
    )
