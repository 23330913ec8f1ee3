"""The connection test: what a person sees who has just typed in settings.

PYTEST_DONT_REWRITE: each assertion says itself what is wrong.
"""

from __future__ import annotations

import asyncio
from typing import Final

import attrs

from genie_connect.model.codec import unstructure
from genie_connect.model.diagnosis import Status, Step
from genie_connect.model.secret import Secret
from genie_connect.model.settings import field_types, info_of, without_none
from genie_connect.model.validation import external_name
from genie_connect_spec.kit.behaviour import Behaviour
from genie_connect_spec.kit.check import Force, check, needs
from genie_connect_spec.kit.checks.failures import nowhere
from genie_connect_spec.kit.provider import relocated
from genie_connect_spec.kit.rig import GRACE_S, SHORT_S, Rig, failed

FIRST: Final = "GC-TEST-001"
STEPS: Final = (FIRST,)


async def _unreachable(rig: Rig) -> list[Step]:
    with nowhere() as (host, port):
        rig.guard.allow(host, port)
        return await rig.steps(rig.structured(relocated(rig.data, rig.provider, host, port)), deadline_s=3.0)


@check("GC-TEST-001", after=("GC-SET-001",))
async def a_good_connection_passes(rig: Rig) -> None:
    """Every step is told, and none fails."""
    needs(rig.provider, "")
    steps = await rig.steps()
    assert steps, "connector_test gave no step"
    wrong = [step for step in steps if step.status is Status.FAIL]
    assert not wrong, f"the provider works, and the step {wrong[0].id} failed: {wrong[0].diagnosis}"


@check("GC-TEST-002", after=STEPS)
async def nothing_is_delivered_unasked(rig: Rig) -> None:
    """A test is run by people who look around, and by monitors every minute."""
    await rig.steps()
    count = len(rig.provider.handed_over)
    assert count == 0, f"nobody asked for a message, and {count} were handed over"


@check("GC-TEST-003", after=STEPS)
async def a_test_message_is_sent_once(rig: Rig) -> None:
    """Where one is asked for."""
    needs(rig.declares("test.message"), "it does not declare test.message")
    steps = await rig.steps(send_to="kit-tester@example.com")
    assert all(step.status is not Status.FAIL for step in steps), f"a step failed: {failed(steps)}"
    count = len(rig.provider.handed_over)
    assert count == 1, f"one test message was asked for, and {count} were handed over"


@check("GC-TEST-004", after=STEPS)
async def wrong_credentials_are_found(rig: Rig) -> None:
    """That is what most tests are run for."""
    rig.misbehave(Behaviour.UNAUTHORIZED, everywhere=True)
    diagnosis = failed(await rig.steps()).diagnosis
    assert diagnosis is not None, "the failed step has no diagnosis"
    assert "auth" in diagnosis.code, f"the credentials are refused, and the code is {diagnosis.code}: let it say auth"


@check("GC-TEST-005", after=STEPS)
async def wrong_credentials_lead_to_a_setting(rig: Rig) -> None:
    """A form can then show the error where it is."""
    rig.misbehave(Behaviour.UNAUTHORIZED, everywhere=True)
    diagnosis = failed(await rig.steps()).diagnosis
    assert diagnosis is not None, "the failed step has no diagnosis"
    names = _credentials(rig)
    said = f"the diagnosis names the setting {diagnosis.field}"
    assert diagnosis.field in names, f"{said}; those of the group auth are {', '.join(names)}"


@check("GC-TEST-021", after=STEPS)
async def a_key_that_may_not_leads_to_a_setting(rig: Rig) -> None:
    """A key of the wrong account, or with too few rights, is looked for where the key is."""
    rig.misbehave(Behaviour.FORBIDDEN, everywhere=True)
    last = (await rig.steps())[-1]
    needs(last.status is Status.FAIL, "its test may go on with a key that may not do everything")
    assert last.diagnosis is not None, "the failed step has no diagnosis"
    names = _credentials(rig)
    said = f"the provider says 403, and the diagnosis names the setting {last.diagnosis.field}"
    assert last.diagnosis.field in names, f"{said}; those of the group auth are {', '.join(names)}"


def _credentials(rig: Rig) -> list[str]:
    fields = attrs.fields(rig.info.settings_class)
    return [external_name(field.name) for field in fields if info_of(field).group == "auth" or info_of(field).secret]


@check("GC-TEST-006", after=STEPS)
async def nobody_there_is_found(rig: Rig) -> None:
    """As a step that failed, not as an exception."""
    failed(await _unreachable(rig))


@check("GC-TEST-007", after=STEPS)
async def it_ends_at_the_first_failure(rig: Rig) -> None:
    """What follows a failure only hides it."""
    for steps in (await _unreachable(rig), await _unauthorized(rig)):
        where = [number for number, step in enumerate(steps) if step.status is Status.FAIL]
        assert where == [len(steps) - 1], f"the steps end as {[step.status.value for step in steps]}"


async def _unauthorized(rig: Rig) -> list[Step]:
    rig.misbehave(Behaviour.UNAUTHORIZED, everywhere=True)
    return await rig.steps(deadline_s=5.0)


@check("GC-TEST-008", after=STEPS)
async def silence_ends_by_the_deadline(rig: Rig) -> None:
    """Somebody is looking at the screen."""
    rig.misbehave(Behaviour.SILENT, everywhere=True)
    begun = rig.clock.monotonic()
    step = failed(await rig.steps(deadline_s=SHORT_S))
    took = rig.clock.monotonic() - begun
    assert took < SHORT_S + GRACE_S, f"the deadline was {SHORT_S} s, and the step {step.id} failed after {took:.1f} s"


@check("GC-TEST-009", after=STEPS)
async def steps_come_as_they_happen(rig: Rig) -> None:
    """The first step is on the screen while the next one waits."""
    rig.misbehave(Behaviour.SILENT, everywhere=True)
    generator = rig.generator(deadline_s=20.0)
    try:
        async with asyncio.timeout(5.0):
            step = await anext(generator)
    except TimeoutError:
        raise AssertionError("the provider is silent, and no step came before its answer would have") from None
    finally:
        await generator.aclose()
    assert isinstance(step, Step)


@check("GC-TEST-010", after=STEPS)
async def nonsense_is_a_failed_step(rig: Rig) -> None:
    """A wrong address leads to a server that says something else."""
    rig.misbehave(Behaviour.GARBAGE, everywhere=True)
    failed(await rig.steps(deadline_s=3.0))


@check("GC-TEST-011", after=STEPS)
async def failures_are_explained(rig: Rig) -> None:
    """A code for programs; a title, a cause and at least one thing to do for people."""
    for step in (failed(await _unreachable(rig)), failed(await _unauthorized(rig))):
        diagnosis = step.diagnosis
        assert diagnosis is not None, f"the step {step.id} failed without a diagnosis"
        assert diagnosis.code and diagnosis.title and diagnosis.cause, f"the diagnosis of {step.id} has gaps"
        assert diagnosis.fixes, f"the diagnosis of {step.id} says nothing to do"


@check("GC-TEST-012", after=STEPS)
async def steps_that_pass_have_no_diagnosis(rig: Rig) -> None:
    """There is nothing to explain."""
    wrong = [step.id for step in await rig.steps() if step.status is Status.OK and step.diagnosis is not None]
    assert not wrong, f"the step {wrong[0]} passed and has a diagnosis"


@check("GC-TEST-013", after=STEPS)
async def steps_have_names(rig: Rig) -> None:
    """An id for programs, the same each time and each once; a title for people."""
    first, second = await rig.steps(), await rig.steps()
    ids = [step.id for step in first]
    assert len(set(ids)) == len(ids), f"two steps have one id: {ids}"
    assert ids == [step.id for step in second], "the steps have other ids the second time"
    assert all(step.title.strip() for step in first), "a step has no title"


@check("GC-TEST-014", force=Force.SHOULD, after=STEPS)
async def steps_say_what_they_found(rig: Rig) -> None:
    """An "OK" alone helps nobody who wonders which server that was."""
    bare = [step.id for step in await rig.steps() if not step.summary]
    assert not bare, f"the steps {', '.join(bare)} have no summary"


@check("GC-TEST-015", after=STEPS)
async def steps_are_plain_data(rig: Rig) -> None:
    """They are shown in browsers and kept as JSON."""
    for step in await rig.steps():
        data = unstructure(step)
        assert data["id"] == step.id
        assert step.ms >= 0, f"the step {step.id} took {step.ms} ms"
        plain = (str, int, float, bool, type(None), list, tuple, dict)
        odd = [name for name, value in step.facts.items() if not isinstance(value, plain)]
        assert not odd, f"the fact {odd[0]} of the step {step.id} is no plain data"


@check("GC-TEST-016", after=STEPS)
async def it_needs_no_sender(rig: Rig) -> None:
    """A connection may have no default From."""
    steps = await rig.steps(default_from=None)
    wrong = [step.id for step in steps if step.status is Status.FAIL]
    assert not wrong, f"without a default From the step {wrong[0]} fails, though no message was asked for"


@check("GC-TEST-017", after=STEPS)
async def whoever_stops_listening_is_heard(rig: Rig) -> None:
    """A person closes the page: the connection is closed then, not when memory is tidied up."""
    generator = rig.generator()
    await anext(generator)
    await generator.aclose()
    await _alone(rig)


@check("GC-TEST-018", after=STEPS)
async def it_leaves_no_connection_behind(rig: Rig) -> None:
    """Monitors run it every minute."""
    await rig.steps()
    await _alone(rig)


async def _alone(rig: Rig) -> None:
    try:
        await rig.provider.deserted(GRACE_S)
    except TimeoutError:
        raise AssertionError(f"the test is over, and {rig.provider.open_connections} connections are open") from None


@check("GC-TEST-019", after=STEPS)
async def a_secret_that_is_not_there_is_a_failed_step(rig: Rig) -> None:
    """The variable is not set: that is for the person at the screen to know, by the name of the setting."""
    secrets = [
        external_name(name)
        for name, hint in field_types(rig.info.settings_class).items()
        if without_none(hint)[0] is Secret and isinstance(rig.data.get(external_name(name)), str)
    ]
    needs(secrets, "its settings hold no secret")
    found = []
    for name in secrets:
        settings = rig.structured({**rig.data, name: "env:GENIE_CONNECT_KIT_NOT_SET"})
        steps = await rig.steps(settings)
        found += [step.diagnosis.field for step in steps if step.status is Status.FAIL and step.diagnosis is not None]
    assert found, f"no secret of {', '.join(secrets)} can be read, and no step fails"
    assert set(found) <= set(secrets), f"the failed steps name {found}, and the secrets are {secrets}"


@check("GC-TEST-020", after=STEPS)
async def cancelling_ends_it(rig: Rig) -> None:
    """A host that shuts down does not wait for a server that says nothing."""
    rig.misbehave(Behaviour.SILENT, everywhere=True)

    async def listen() -> None:
        async for _ in rig.generator(deadline_s=30.0):
            reached.set()

    reached = asyncio.Event()
    listening = asyncio.ensure_future(listen())
    await asyncio.wait({listening, asyncio.ensure_future(reached.wait())}, timeout=5.0, return_when="FIRST_COMPLETED")
    listening.cancel()
    done, _ = await asyncio.wait({listening}, timeout=GRACE_S)
    assert done, f"it was cancelled, and goes on for {GRACE_S} s"
    assert listening.cancelled(), "it was cancelled, and swallowed that"
