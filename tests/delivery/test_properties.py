"""Whatever connectors answer: nothing is lost, nothing is sent twice, nobody who is suppressed is written to."""

from __future__ import annotations

import asyncio
import itertools
import re
from collections import Counter
from typing import Any

import attrs
import pytest
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st

from genie_connect import (
    Attachment,
    Capability,
    Level,
    Message,
    NoConnection,
    Outcome,
    Receipt,
    Retry,
    Scope,
    SendPolicy,
    State,
    hookimpl,
)
from genie_connect.model.capability import yes
from genie_connect.model.frozen import FrozenMap
from tests.support.clock import FakeClock
from tests.support.connector import (
    EVERYTHING,
    HandOver,
    ScriptedConnector,
    accepted,
    deferred,
    letter,
    rejected,
    scripted_host,
    sign_in_refused,
    unknown,
    unreachable,
)

MAILBOXES = tuple(f"r{number}@example.com" for number in range(5))
SLOWLY = settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])

any_outcome = st.sampled_from(
    [
        accepted(),
        accepted(),
        unknown(),
        unknown(),
        deferred(),
        deferred(retry=Retry.SAME, reason="greylisted"),
        deferred(retry=Retry.OTHER, reason="quota"),
        deferred(retry=Retry.NEVER),
        deferred(retry_after_s=20),
        deferred(retry_after_s=3600),
        deferred(scope=Scope.CONNECTION, reason="throttled", retry_after_s=3),
        rejected(),
        rejected(suppress=True),
        rejected(retry=Retry.OTHER, reason="policy"),
        rejected(scope=Scope.MESSAGE, reason="content"),
        unreachable(),
        sign_in_refused(),
    ]
)


@attrs.frozen
class Behaviour:
    """How one connection behaves."""

    idempotent: bool
    max_recipients: int | None
    scripts: dict[str, list[Outcome]]
    fault: str | None


behaviours = st.builds(
    Behaviour,
    idempotent=st.booleans(),
    max_recipients=st.sampled_from([None, 1, 2, 3]),
    scripts=st.fixed_dictionaries({mailbox: st.lists(any_outcome, max_size=4) for mailbox in MAILBOXES}),
    fault=st.sampled_from([None, None, None, "raises", "too few", "twice", "nonsense"]),
)


@attrs.frozen
class Step:
    """One recipient handed over once, and what the connector said."""

    connection: str
    call: HandOver
    idempotent: bool
    outcome: Outcome


class Trial:
    """A send through connections that behave so, and what was seen of it."""

    def __init__(
        self,
        made: list[Behaviour],
        to: list[str],
        suppressed: set[str],
        later: tuple[int, str] | None,
        policy: SendPolicy,
    ) -> None:
        self.to = to
        self.suppressed = suppressed
        self.later = later
        self.policy = policy
        self.clock = FakeClock()
        self.calls = 0
        self.too_late: set[str] = set()
        self.handed_after_suppression: list[str] = []
        self.steps: dict[str, list[Step]] = {mailbox: [] for mailbox in to}
        self.told: Counter[str] = Counter()
        self.connectors = [self._connector(f"c{number}", each) for number, each in enumerate(made)]

    def _connector(self, name: str, behaviour: Behaviour) -> ScriptedConnector:
        limits = {} if behaviour.max_recipients is None else {"max_recipients": behaviour.max_recipients}
        table = [
            yes("send.transactional", **limits),
            *(each for each in EVERYTHING if each.name != "send.transactional"),
        ]
        connector = ScriptedConnector(name, capabilities=table, idempotent=behaviour.idempotent)
        for mailbox, outcomes in behaviour.scripts.items():
            connector.script(mailbox, *outcomes)

        async def send(batch: Any, context: Any) -> Any:
            call = connector.calls[-1]
            self.calls += 1
            answers = connector.answers(batch)
            given = {answer.recipient: answer for answer in answers}
            doubt = Outcome(recipient="", state=State.UNKNOWN)
            if behaviour.fault in ("raises", "nonsense"):
                given = {}
            elif behaviour.fault == "too few":
                given.pop(answers[-1].recipient)
            for mailbox in call.recipients:
                self.steps[mailbox].append(Step(name, call, behaviour.idempotent, given.get(mailbox, doubt)))
                if mailbox in self.too_late:
                    self.handed_after_suppression.append(mailbox)
            if self.later and self.later[0] == self.calls:
                await self.host.suppressions.add(self.later[1], reason="complaint")
                self.too_late.add(self.later[1])
            if behaviour.fault == "raises":
                raise RuntimeError
            if behaviour.fault == "nonsense":
                return {"status": "ok"}
            return list(given.values()) * (2 if behaviour.fault == "twice" else 1)

        connector.sends_with(send)
        return connector

    async def run(self) -> Receipt:
        """Send."""
        self.host = scripted_host(*self.connectors, clock=self.clock, policy=self.policy)
        async with self.host:
            self.host.observers.add(self)
            for mailbox in self.suppressed:
                await self.host.suppressions.add(mailbox)
            return await self.host.send(letter(*self.to), timeout_s=120)

    @hookimpl
    def message_accepted(self, outcome: Outcome) -> None:
        """Count."""
        self.told[outcome.recipient] += 1

    @hookimpl
    def message_rejected(self, outcome: Outcome) -> None:
        """Count."""
        self.told[outcome.recipient] += 1

    @hookimpl
    def message_deferred(self, outcome: Outcome) -> None:
        """Count."""
        self.told[outcome.recipient] += 1

    @hookimpl
    def message_unknown(self, outcome: Outcome) -> None:
        """Count."""
        self.told[outcome.recipient] += 1

    @hookimpl
    def recipient_suppressed(self, outcome: Outcome) -> None:
        """Count."""
        self.told[outcome.recipient] += 1


trials = st.builds(
    Trial,
    made=st.lists(behaviours, min_size=1, max_size=3),
    to=st.lists(st.sampled_from(MAILBOXES), min_size=1, max_size=5, unique=True),
    suppressed=st.sets(st.sampled_from(MAILBOXES), max_size=2),
    later=st.none() | st.tuples(st.integers(1, 3), st.sampled_from(MAILBOXES)),
    policy=st.builds(SendPolicy, attempts_per_connection=st.integers(1, 4), at_least_once=st.booleans()),
)


@SLOWLY
@given(trial=trials)
def test_every_promise_of_a_send(trial: Trial) -> None:
    """For one message through any connections."""
    receipt = asyncio.run(trial.run())

    # Nobody is without an outcome, nobody is told of twice.
    assert set(receipt.outcomes) == set(trial.to)
    assert trial.told == Counter(trial.to)

    # Nobody who is suppressed is handed over, from the moment of being suppressed.
    for mailbox in trial.suppressed & set(trial.to):
        assert trial.steps[mailbox] == []
        assert receipt.outcomes[mailbox].state is State.SUPPRESSED
    assert trial.handed_after_suppression == []

    for mailbox, steps in trial.steps.items():
        outcome = receipt.outcomes[mailbox]
        states = [step.outcome.state for step in steps]
        event(f"{outcome.state.value} after {min(len(steps), 3)}")

        # After yes, or a no for good, there is no further hand-over.
        for step in steps[:-1]:
            assert step.outcome.state is not State.ACCEPTED
            assert (
                step.outcome.retry is not Retry.NEVER or step.outcome.state is State.UNKNOWN or State.UNKNOWN in states
            )

        # After no answer: the same batch, the same key, the same connection, or nothing.
        if not trial.policy.at_least_once and State.UNKNOWN in states:
            first = states.index(State.UNKNOWN)
            for step in steps[first:]:
                assert step.connection == steps[first].connection
                assert step.call.batch == steps[first].call.batch
                assert step.call.context.idempotency_key == steps[first].call.context.idempotency_key
                assert step.idempotent or step is steps[first]

        # What is said in the end is what is known.
        assert (outcome.state is State.ACCEPTED) == (State.ACCEPTED in states)
        if State.UNKNOWN in states and State.ACCEPTED not in states:
            resolved = steps[-1].outcome.state is State.REJECTED and steps[-1].outcome.scope is Scope.RECIPIENT
            assert outcome.state is State.UNKNOWN or (outcome.state is State.REJECTED and resolved)
        if not steps and mailbox not in trial.suppressed | trial.too_late:
            assert outcome.state in (State.DEFERRED, State.REJECTED)

        # A copy goes where its retry allows, as often as the policy allows.
        tries = Counter(step.connection for step in steps)
        assert all(count <= trial.policy.attempts_per_connection for count in tries.values())
        for before, after in itertools.pairwise(steps):
            if before.outcome.retry is Retry.SAME:
                assert after.connection == before.connection
            if before.outcome.retry is Retry.OTHER:
                assert after.connection != before.connection

    # Time is bounded, and every attempt is on the receipt.
    assert trial.clock.elapsed_s <= 120
    assert all(slept <= trial.policy.longest_wait_s for slept in trial.clock.slept)
    assert sum(attempt.stage != "open" for attempt in receipt.attempts) == trial.calls


NEEDS = {
    "html": "send.html",
    "attachment": "send.attachments",
    "image": "send.inline_images",
    "cc": "send.cc_bcc",
    "bcc": "send.cc_bcc",
    "reply_to": "send.reply_to",
    "headers": "send.headers",
    "envelope_from": "send.envelope_sender",
    "tags": "send.tags",
    "metadata": "send.metadata",
    "international": "send.international_addresses",
}
KEPT_BY_THE_HOST = {"send.tags", "send.metadata"}


def message_with(features: frozenset[str]) -> Message:
    """A message that has these features and no others."""
    files = [Attachment(filename="a.txt", content=b"a")] if "attachment" in features else []
    if "image" in features:
        files.append(Attachment(filename="i.png", content=b"i", content_id="i"))
    html = '<img src="cid:i">' if "image" in features else "<p>Hi</p>" if "html" in features else None
    return letter(
        "jörg@example.com" if "international" in features else "ada@example.com",
        html=html,
        attachments=files,
        cc=["cc@example.com"] if "cc" in features else [],
        bcc=["bcc@example.com"] if "bcc" in features else [],
        reply_to=["reply@example.com"] if "reply_to" in features else [],
        headers={"X-Campaign": "1"} if "headers" in features else {},
        envelope_from="bounce@example.com" if "envelope_from" in features else None,
        tags=["welcome"] if "tags" in features else [],
        metadata={"order": "1"} if "metadata" in features else {},
    )


@SLOWLY
@given(
    features=st.frozensets(st.sampled_from(sorted(NEEDS))),
    levels=st.lists(
        st.dictionaries(st.sampled_from(sorted({*NEEDS.values()})), st.sampled_from(list(Level))), max_size=3
    ),
)
def test_a_plan_uses_what_is_declared_and_drops_nothing(
    features: frozenset[str], levels: list[dict[str, Level]]
) -> None:
    """For any message and any tables: whoever gets it can do all of it, and gets all of it."""
    needed = {NEEDS[feature] for feature in features} | ({"send.html"} if "image" in features else set())
    connectors = []
    for number, changed in enumerate(levels):
        all_levels = {each.name: Level.YES for each in EVERYTHING} | changed
        entries = [Capability(name=name, level=level) for name, level in all_levels.items()]
        connectors.append(ScriptedConnector(f"c{number}", capabilities=entries))

    def can(number: int, name: str) -> bool:
        level = levels[number].get(name, Level.YES)
        return level in (Level.YES, Level.CONDITIONAL) or (level is Level.HOST and name in KEPT_BY_THE_HOST)

    able = [f"c{number}" for number in range(len(levels)) if all(can(number, name) for name in needed)]
    message = message_with(features)

    async def send() -> Receipt | None:
        async with scripted_host(*connectors, clock=FakeClock()) as host:
            assert list(host.plan(message).order) == able
            passed_over = {skipped.connection: skipped.reasons for skipped in host.plan(message).passed_over}
            assert set(passed_over) == {each.id for each in connectors} - set(able)
            for number in range(len(levels)):
                lacking = sorted(name for name in needed if not can(number, name))
                told = passed_over.get(f"c{number}", ())
                assert sorted(re.findall(r"\((send\.[a-z_]+)\)", " ".join(told))) == lacking
            if able:
                return await host.send(message)
            with pytest.raises(NoConnection) as raised:
                await host.send(message)
            assert all(f"c{number}" in str(raised.value) for number in range(len(levels)))
            return None

    receipt = asyncio.run(send())
    if receipt is None:
        assert not any(connector.calls for connector in connectors)
        return
    assert receipt.accepted
    (carrier,) = [connector for connector in connectors if connector.calls]
    assert carrier.id == able[0]
    (call,) = carrier.calls
    (delivery,) = call.batch.deliveries
    assert attrs.evolve(call.batch.message, to=message.to, cc=message.cc, bcc=message.bcc) == message
    assert (delivery.to, delivery.cc, delivery.bcc) == (message.to, message.cc, message.bcc)
    assert set(delivery.addresses) == set(message.recipients)
    assert delivery.headers == FrozenMap()
