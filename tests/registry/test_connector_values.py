"""What connectors hand in is checked where it is made, so that a slip cannot surface in the middle of a send."""

from __future__ import annotations

import math
from typing import Any

import pytest

from genie_connect import Capability, CapabilityTable, ConnectorInfo, Kind, Level, Outcome, Retry, Scope, State
from genie_connect.model.capability import conditional, host, no, yes
from tests.support.connector import ScriptedSettings


def outcome(**facts: Any) -> Outcome:
    """An outcome with these facts."""
    return Outcome(**{"recipient": "ada@example.com", "state": State.DEFERRED} | facts)


class TestOutcome:
    """An outcome as a connector makes it."""

    def test_words_become_members(self) -> None:
        """An author who writes the word for the member gets the member, since all decisions compare members."""
        made = outcome(state="deferred", scope="connection", retry="other")
        assert made.state is State.DEFERRED
        assert made.scope is Scope.CONNECTION
        assert made.retry is Retry.OTHER

    @pytest.mark.parametrize(
        "facts",
        [
            {"state": "sent"},
            {"retry": "later"},
            {"scope": None},
            {"recipient": ["ada@example.com"]},
            {"recipient": None},
            {"stage": None},
            {"stage": ["final"]},
            {"reason": {"a": 1}},
            {"hint": 5},
            {"code": "550"},
            {"enhanced": 5},
            {"text": 5},
            {"retry_after_s": "30"},
            {"provider_id": 7},
            {"connection": 7},
            {"suppress": "no"},
        ],
    )
    def test_a_fact_of_the_wrong_type_is_refused(self, facts: dict[str, Any]) -> None:
        """It would otherwise raise after the hand-over, and the outcomes of everybody would be lost."""
        with pytest.raises((TypeError, ValueError)):
            outcome(**facts)

    @pytest.mark.parametrize(("given", "kept"), [(-5, 0.0), (math.nan, None), (math.inf, None), (30, 30.0)])
    def test_a_wait_is_a_number_of_seconds_that_can_be_waited(self, given: float, kept: float | None) -> None:
        """A provider's Retry-After may lie in the past or be nonsense; neither may stop the loop."""
        assert outcome(retry_after_s=given).retry_after_s == kept

    @pytest.mark.parametrize("state", [State.ACCEPTED, State.UNKNOWN, State.SUPPRESSED])
    def test_what_may_have_arrived_cannot_ask_for_another_attempt(self, state: State) -> None:
        """RFC 1047: it would be a second copy."""
        with pytest.raises(ValueError, match="another attempt"):
            outcome(state=state, retry=Retry.ANY)


class TestCapability:
    """A capability and its table."""

    def test_a_level_may_be_written_as_a_word(self) -> None:
        """The word "no" must not count as available."""
        assert Capability(name="send.attachments", level="no").available is False
        with pytest.raises(ValueError, match="maybe"):
            Capability(name="send.attachments", level="maybe")

    @pytest.mark.parametrize("limit", ["50", -1, 2.5, True, None])
    def test_a_limit_is_a_whole_number(self, limit: Any) -> None:
        """Anything else would fail while a batch is cut."""
        with pytest.raises((TypeError, ValueError)):
            yes("send.transactional", max_recipients=limit)

    def test_an_unlisted_capability_is_not_supported(self) -> None:
        """What a table does not list, the connector does not do."""
        table = CapabilityTable(connector="acme", entries=(yes("send.html"),))
        assert "send.merge" not in table
        assert not table["send.merge"].available
        assert table["send.merge"].title == "Merge fields"
        assert table["x-acme.teleport"].title == "x-acme.teleport"

    def test_a_capability_listed_twice_is_refused(self) -> None:
        """Whichever came first would win."""
        with pytest.raises(ValueError, match=r"send\.html"):
            CapabilityTable(connector="acme", entries=(yes("send.html"), no("send.html")))

    def test_a_limit_is_found_by_name(self) -> None:
        """No such limit is no limit."""
        table = CapabilityTable(connector="acme", entries=(yes("send.transactional", max_recipients=50),))
        assert table.limit("send.transactional", "max_recipients") == 50
        assert table.limit("send.transactional", "max_message_bytes") is None
        assert table.limit("send.batch", "max_batch") is None

    def test_the_support_column_says_level_and_note(self) -> None:
        """Unless the connector has a text of its own."""
        assert yes("a").text == "Yes"
        assert yes("a", "at night").text == "Yes, at night"
        assert conditional("a", "subject to server size limits").text == "Yes, subject to server size limits"
        assert host("a").text == "By the host"
        assert no("a", "the provider dropped it").text == "No, the provider dropped it"
        assert yes("a", "at night", support="Only after dark").text == "Only after dark"

    def test_the_headline_table_has_its_rows_in_order(self) -> None:
        """Whatever order the connector lists them in, and whether it does."""
        table = CapabilityTable(connector="acme", entries=(no("events.webhook"), yes("send.transactional")))
        assert table.render().splitlines() == [
            "| Capability | Support |",
            "|---|---|",
            "| Transactional sends | Yes |",
            "| Broadcast sends | No |",
            "| Attachments | No |",
            "| Inline images | No |",
            "| Webhooks | No |",
            "| Suppressions | No |",
        ]
        assert table.rows(full=True) == (("Webhooks", "No"), ("Transactional sends", "Yes"))

    def test_replacing_keeps_the_order_and_adds_at_the_end(self) -> None:
        """The declared table stays as it was."""
        table = CapabilityTable(connector="acme", entries=(yes("send.html"), yes("send.tags")))
        effective = table.replaced([no("send.html"), yes("x-acme.teleport")], effective=True)
        assert [(entry.name, entry.level) for entry in effective] == [
            ("send.html", Level.NO),
            ("send.tags", Level.YES),
            ("x-acme.teleport", Level.YES),
        ]
        assert effective.effective
        assert not table.effective
        assert table["send.html"].available


class TestConnectorInfo:
    """What a connector says it is."""

    @pytest.mark.parametrize(
        "facts", [{"id": 5}, {"title": None}, {"kind": "carrier pigeon"}, {"api": "1"}, {"docs_url": 5}]
    )
    def test_a_fact_of_the_wrong_type_is_refused(self, facts: dict[str, Any]) -> None:
        """Compared later, it would end the discovery of all the others."""
        good: dict[str, Any] = {"id": "acme", "title": "Acme", "kind": Kind.API, "settings_class": ScriptedSettings}
        with pytest.raises((TypeError, ValueError)):
            ConnectorInfo(**good | facts)
