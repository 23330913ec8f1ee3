"""The gate and its stores: who is not written to, for how long, and what survives a crash."""

# ruff: noqa: ASYNC240  # nothing else is waiting while a test looks at a file
from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from genie_connect import (
    Address,
    ConfigurationError,
    Purpose,
    State,
    Suppression,
    SuppressionReason,
    SuppressionScope,
    ValidationError,
)
from genie_connect.delivery.suppression import FileSuppressions, MemorySuppressions, SuppressionGate, SuppressionStore
from genie_connect.model.batch import Cleared
from tests.support.clock import START, FakeClock

ADA = "ada@example.com"


@pytest.fixture(params=["memory", "file"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> SuppressionStore:
    """Each store."""
    return MemorySuppressions() if request.param == "memory" else FileSuppressions(tmp_path / "suppressions.jsonl")


@pytest.fixture
def clock() -> FakeClock:
    """A clock that stands still."""
    return FakeClock()


@pytest.fixture
def gate(store: SuppressionStore, clock: FakeClock) -> SuppressionGate:
    """A gate before each store."""
    return SuppressionGate(store, clock=clock)


async def listed(gate: SuppressionGate) -> list[tuple[str, str]]:
    """Address and scope of every suppression."""
    return [(each.address.email, each.scope.value) async for each in gate.all()]


class TestGate:
    """What stops whom."""

    @pytest.mark.parametrize(
        ("reason", "transactional", "marketing"),
        [("hard_bounce", True, True), ("complaint", True, True), ("manual", True, True), ("unsubscribe", False, True)],
    )
    async def test_a_reason_has_its_scope(
        self, gate: SuppressionGate, reason: str, transactional: bool, marketing: bool
    ) -> None:
        """An unsubscribe stops marketing and nothing else."""
        await gate.add(ADA, reason=reason)
        assert bool(await gate.check(ADA)) is transactional
        assert bool(await gate.check(ADA, Purpose.MARKETING)) is marketing

    async def test_a_scope_can_be_given(self, gate: SuppressionGate) -> None:
        """Both ways."""
        await gate.add(ADA, reason="unsubscribe", scope="all")
        assert await gate.check(ADA)

    async def test_an_address_may_have_one_of_each_scope(self, gate: SuppressionGate) -> None:
        """Lifting one leaves the other."""
        await gate.add(ADA, reason="unsubscribe")
        await gate.add(ADA, reason="complaint")
        assert await listed(gate) == [(ADA, "marketing"), (ADA, "all")]
        assert await gate.remove(ADA, scope="all") == 1
        assert await gate.check(ADA) is None
        assert await gate.check(ADA, Purpose.MARKETING)
        assert await gate.remove(ADA) == 1
        assert await gate.remove(ADA) == 0
        assert await listed(gate) == []

    async def test_one_that_expires(self, gate: SuppressionGate, clock: FakeClock) -> None:
        """Not a moment longer, and not a moment less."""
        await gate.add(ADA, expires_s=60)
        clock.move(59.999)
        assert await gate.check(ADA)
        clock.move(0.001)
        assert await gate.check(ADA) is None
        clearance = await gate.clear([Address.parse(ADA)], Purpose.MARKETING)
        assert [each.address.email for each in clearance.cleared] == [ADA]

    @pytest.mark.parametrize(
        ("kept", "asked"),
        [
            ("ada@example.com", "ADA@EXAMPLE.COM"),
            ("Ada@Example.Com", "ada@example.com"),
            ("Ada Lovelace <ada@example.com>", '"Lovelace, Ada" <ada@example.com>'),
            ("ada@bücher.example", "ada@xn--bcher-kva.example"),
            ("ada@XN--BCHER-KVA.example", "ada@BÜCHER.example"),
            ("ada@straße.example", "ada@xn--strae-oqa.example"),
            ("jo\u0308rg@example.com", "jörg@example.com"),
            ("JÖRG@example.com", "jörg@example.com"),
        ],
    )
    async def test_any_spelling_of_a_mailbox(self, gate: SuppressionGate, kept: str, asked: str) -> None:
        """Case, display name, IDN form and Unicode form do not get round it; removing takes any of them as well."""
        await gate.add(kept)
        clearance = await gate.clear([Address.parse(asked)], Purpose.TRANSACTIONAL)
        assert clearance.cleared == ()
        assert clearance.suppressed[0].state is State.SUPPRESSED
        assert await gate.remove(asked) == 1

    @pytest.mark.parametrize(
        "other", ["ada+news@example.com", "a.da@example.com", "ada@mail.example.com", "ad@example.com"]
    )
    async def test_another_mailbox_is_another(self, gate: SuppressionGate, other: str) -> None:
        """What one provider takes for the same is two mailboxes with the next."""
        await gate.add(ADA)
        assert await gate.check(other) is None

    async def test_a_mailbox_is_cleared_once(self, gate: SuppressionGate) -> None:
        """However often it comes, and in whatever spelling."""
        twice = [Address.parse(ADA), Address.parse("ADA@example.com")]
        assert len((await gate.clear(twice, Purpose.TRANSACTIONAL)).cleared) == 1
        await gate.add(ADA)
        assert len((await gate.clear(twice, Purpose.TRANSACTIONAL)).suppressed) == 1

    async def test_it_says_since_when_and_why(self, gate: SuppressionGate) -> None:
        """To whoever asks why nothing came."""
        await gate.add(ADA, reason="complaint", source="acme webhook")
        (outcome,) = (await gate.clear([Address.parse(ADA)], Purpose.TRANSACTIONAL)).suppressed
        assert outcome.reason == "complaint"
        assert outcome.hint == "Suppressed since 2026-11-23 (complaint, scope all)."

    @pytest.mark.parametrize("wrong", ["", "ada", "ada@", "ada@example.com\r\nx", "a@b@c", "ada@exa mple.com"])
    async def test_what_is_no_address_is_refused(self, gate: SuppressionGate, wrong: str) -> None:
        """Rather than kept where nothing would ever find it."""
        with pytest.raises(ValidationError):
            await gate.add(wrong)
        assert await listed(gate) == []

    @pytest.mark.parametrize(("fact", "value"), [("reason", "spite"), ("scope", "none")])
    async def test_unknown_words_are_refused(self, gate: SuppressionGate, fact: str, value: str) -> None:
        """A scope nobody knows would stop nothing."""
        with pytest.raises(ValueError, match=value):
            await gate.add(ADA, **{fact: value})  # type: ignore[arg-type]  # one of two

    def test_nobody_else_makes_cleared_recipients(self) -> None:
        """Nothing but the gate's own mark."""
        for mark in (None, object(), True):
            with pytest.raises(TypeError, match="gate"):
                Cleared(Address.parse(ADA), mark)

    def test_a_time_without_a_zone_is_refused(self) -> None:
        """It could not be compared with now, in the middle of a send."""
        for fact in ({"added": datetime(2026, 1, 1)}, {"added": START, "expires": datetime(2026, 1, 1)}):  # noqa: DTZ001
            with pytest.raises(ValidationError, match="time zone"):
                Suppression(address=ADA, **fact)  # type: ignore[arg-type]  # one of two


@given(st.emails())
def test_the_key_is_one_spelling(email: str) -> None:
    """Reading a key as an address gives the same key, whatever the mailbox."""
    try:
        address = Address.parse(email)
    except ValidationError:
        return
    assert Address.parse(address.key).key == address.key
    assert Address.parse(email.upper()).key == address.key


class TestFile:
    """Suppressions in a file."""

    @pytest.fixture
    def path(self, tmp_path: Path) -> Path:
        """In a folder that is not there yet."""
        return tmp_path / "data" / "suppressions.jsonl"

    async def test_they_survive(self, path: Path) -> None:
        """All facts of all of them, in their order."""
        gate = SuppressionGate(FileSuppressions(path), clock=FakeClock())
        made = [
            await gate.add(ADA, reason="complaint", source="acme\u2028webhook"),
            await gate.add("bob@bücher.example", reason="unsubscribe"),
            await gate.add("jörg@example.com", expires_s=60),
        ]
        again = SuppressionGate(FileSuppressions(path), clock=FakeClock())
        assert [each async for each in again.all()] == made
        assert [json.loads(line)["reason"] for line in path.read_text().splitlines()] == [
            "complaint",
            "unsubscribe",
            "manual",
        ]

    async def test_what_was_lifted_stays_lifted(self, path: Path) -> None:
        """In the file too."""
        gate = SuppressionGate(FileSuppressions(path))
        await gate.add(ADA)
        await gate.remove(ADA)
        assert await SuppressionGate(FileSuppressions(path)).check(ADA) is None

    @pytest.mark.parametrize(
        "line",
        [
            "{",
            "[]",
            "5",
            '"ada@example.com"',
            "{}",
            '{"address": "ada", "added": "2026-01-01T00:00:00+00:00"}',
            '{"address": "ada@example.com"}',
            '{"address": "ada@example.com", "added": "yesterday"}',
            '{"address": "ada@example.com", "added": "2026-01-01T00:00:00"}',
            '{"address": "ada@example.com", "added": "2026-01-01T00:00:00+00:00", "scope": "none"}',
            '{"address": "ada@example.com", "added": "2026-01-01T00:00:00+00:00", "colour": "red"}',
            "ada@example.com",
            "[" * 100_000,
        ],
        ids=range(13),
    )
    def test_a_damaged_file_is_refused_and_left_alone(self, path: Path, line: str) -> None:
        """Starting with an empty list would write to everybody who complained."""
        path.parent.mkdir()
        good = '{"address": "bob@example.com", "added": "2026-01-01T00:00:00+00:00"}'
        path.write_text(f"{good}\n{line}\n")
        before = path.read_bytes()
        with pytest.raises(ConfigurationError, match="line 2"):
            FileSuppressions(path)
        assert path.read_bytes() == before

    def test_a_file_that_is_no_text_is_refused(self, path: Path) -> None:
        """And one that is a folder."""
        path.parent.mkdir()
        path.write_bytes(b"\xff\xfe")
        with pytest.raises(ConfigurationError, match="cannot be read"):
            FileSuppressions(path)
        with pytest.raises(ConfigurationError, match="cannot be read"):
            FileSuppressions(path.parent)

    async def test_a_failed_write_leaves_the_old_file(self, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Nothing half-written, no left-over; and in memory the address is suppressed all the same."""
        gate = SuppressionGate(FileSuppressions(path))
        await gate.add(ADA)
        before = path.read_bytes()

        def fail(*_: Any) -> None:
            raise OSError("no space left on device")

        monkeypatch.setattr("os.fsync", fail)
        with pytest.raises(OSError, match="no space"):
            await gate.add("bob@example.com")
        assert path.read_bytes() == before
        assert list(path.parent.iterdir()) == [path]
        assert await gate.check("bob@example.com")

    async def test_many_writers_at_once_lose_nobody(self, path: Path) -> None:
        """Each write holds all that came before it, whichever is done first."""
        gate = SuppressionGate(FileSuppressions(path))
        everybody = [f"r{number}@example.com" for number in range(60)]
        await asyncio.gather(*(gate.add(email) for email in everybody))
        again = SuppressionGate(FileSuppressions(path))
        assert {email async for email in emails(again)} == set(everybody)

    async def test_what_another_process_adds_counts(self, path: Path) -> None:
        """The command line adds an address while a service is running: the service sees it, and keeps it."""
        service = SuppressionGate(FileSuppressions(path))
        await service.add(ADA)
        command_line = SuppressionGate(FileSuppressions(path))
        await command_line.add("bob@example.com", reason="complaint")
        assert await service.check("bob@example.com")
        await service.add("cy@example.com")
        again = SuppressionGate(FileSuppressions(path))
        assert {email async for email in emails(again)} == {ADA, "bob@example.com", "cy@example.com"}

    async def test_a_file_that_was_damaged_meanwhile_stops_everybody(self, path: Path) -> None:
        """And is not overwritten."""
        gate = SuppressionGate(FileSuppressions(path))
        await gate.add(ADA)
        path.write_text("damaged by an editor\n")
        with pytest.raises(ConfigurationError):
            await gate.clear([Address.parse(ADA)], Purpose.TRANSACTIONAL)
        with pytest.raises(ConfigurationError):
            await gate.add("bob@example.com")
        assert path.read_text() == "damaged by an editor\n"


async def emails(gate: SuppressionGate) -> AsyncIterator[str]:
    """Every suppressed address."""
    async for each in gate.all():
        yield each.address.email


def test_a_suppression_knows_when_it_stops_whom() -> None:
    """The rule itself."""
    made = Suppression(
        address=ADA,
        scope=SuppressionScope.MARKETING,
        reason=SuppressionReason.UNSUBSCRIBE,
        added=START,
        expires=START + timedelta(days=1),
    )
    assert made.stops(Purpose.MARKETING, START)
    assert not made.stops(Purpose.TRANSACTIONAL, START)
    assert not made.stops(Purpose.MARKETING, START + timedelta(days=1))
