"""The capability table: what it says, and that it can be believed.

PYTEST_DONT_REWRITE: each assertion says itself what is wrong.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Final

from genie_connect.contract import Kind
from genie_connect.model.capability import TITLES, CapabilityTable, Level
from genie_connect.model.features import EMULATED
from genie_connect.model.secret import Secret
from genie_connect.model.settings import field_types, without_none
from genie_connect_spec.kit.check import Force, check, needs
from genie_connect_spec.kit.rig import Rig

TABLE: Final = "GC-CAP-002"
_NAME: Final = re.compile(r"[a-z][a-z0-9_]*(?:\.[a-z][a-z0-9_]*)*\Z|x-[a-z][a-z0-9-]*\.[a-z0-9_.]+\Z")
_RANK: Final = {Level.NO: 0, Level.HOST: 1, Level.CONDITIONAL: 2, Level.YES: 2}
_UNITS: Final = re.compile(r"(?:max|min)_[a-z_]+\Z|[a-z_]+_(?:s|ms|bytes|days)\Z")


def _most(rig: Rig) -> CapabilityTable:
    table = rig.hooks.connector_capabilities(settings=None)
    assert isinstance(table, CapabilityTable), f"it returned {type(table).__name__} for settings=None"
    return table


@check("GC-CAP-001", after=("GC-DISC-001",))
def the_most_is_told_without_settings(rig: Rig) -> None:
    """Documentation and lists are made before anybody has settings."""
    assert _most(rig).connector == rig.info.id, "the table names another connector"


@check("GC-CAP-002", after=("GC-SET-001",))
def the_table_is_told_with_settings(rig: Rig) -> None:
    """The planner goes by it."""
    assert rig.table.connector == rig.info.id, "the table names another connector"


@check("GC-CAP-003", after=(TABLE,))
def the_table_is_pure(rig: Rig) -> None:
    """The same settings, the same table."""
    again = rig.hooks.connector_capabilities(settings=rig.settings)
    assert again == rig.table, "the table differs when it is asked for again"


@check("GC-CAP-004", after=(TABLE,))
def the_table_touches_nothing(rig: Rig) -> None:
    """It is made wherever a plan is made, also where the provider cannot be reached."""
    rig.hooks.connector_capabilities(settings=rig.settings)
    rig.guard.touched.clear()
    rig.hooks.connector_capabilities(settings=rig.settings)
    rig.hooks.connector_capabilities(settings=None)
    assert not rig.guard.touched, f"connector_capabilities {rig.guard.touched[0]}"


@check("GC-CAP-005", after=(TABLE,))
def settings_add_nothing(rig: Rig) -> None:
    """What it can ever do is what a list shows: settings only take away."""
    most = _most(rig)
    more = [entry.name for entry in rig.table if _RANK[entry.level] > _RANK[most[entry.name].level]]
    assert not more, f"with settings it declares {', '.join(more)}, which it does not have at the most"


@check("GC-CAP-006", after=(TABLE,))
def names_are_of_the_vocabulary(rig: Rig) -> None:
    """A name that only its author knows is looked for by nobody; own ones begin with x- and the vendor."""
    for entry in rig.table:
        assert _NAME.match(entry.name), f"{entry.name!r} is not a capability name"
        known = entry.name in TITLES or entry.name.startswith("x-")
        assert known, f"{entry.name!r} is in no vocabulary: call it x-{rig.info.id}.{entry.name.rpartition('.')[2]}"


@check("GC-CAP-007", after=(TABLE,))
def it_sends(rig: Rig) -> None:
    """A connector that carries no message at all is none."""
    assert rig.declares("send.transactional") or rig.declares("send.broadcast"), "it declares no kind of send"


@check("GC-CAP-008", after=(TABLE,))
def the_host_does_what_it_can(rig: Rig) -> None:
    """What is said to be done by the host, and is not, is done by nobody."""
    for entry in rig.table:
        by_host = entry.level is Level.HOST and entry.name.startswith("send.")
        assert not by_host or entry.name in EMULATED, f"{entry.name}: the host does not do that; declare it or leave it"


@check("GC-CAP-009", after=(TABLE,))
def conditions_are_told(rig: Rig) -> None:
    """A "yes, perhaps" helps nobody who does not know on what it depends."""
    bare = [entry.name for entry in rig.table if entry.level is Level.CONDITIONAL and not entry.note]
    assert not bare, f"{', '.join(bare)} is conditional without a note that says on what"


@check("GC-CAP-010", after=(TABLE,))
def limits_have_units(rig: Rig) -> None:
    """A number without a unit is read wrongly."""
    for entry in rig.table:
        for name, limit in entry.limits.items():
            assert _UNITS.match(name), f"the limit {name} of {entry.name} does not say what it counts"
            assert limit > 0, f"the limit {name} of {entry.name} is {limit}: declare no capability instead"


@check("GC-CAP-011", after=(TABLE,))
def rows_fit_a_table(rig: Rig) -> None:
    """The table is printed as Markdown and in terminals."""
    for title, support in rig.table.rows(full=True):
        assert "|" not in title + support and (title + support).isprintable(), f"the row {title} breaks the table"


@check("GC-CAP-012", force=Force.SHOULD, after=(TABLE,))
def the_headline_is_whole(rig: Rig) -> None:
    """Operators compare connectors by the short table."""
    assert "suppressions" in rig.table, "it does not say who checks suppressions: host('suppressions', ...)"
    assert "test.connection" in rig.table, "it does not say whether it can be tested: yes('test.connection')"


@check("GC-CAP-013", after=(TABLE,))
def webhooks_are_parsed_if_declared(rig: Rig) -> None:
    """Declared and not done: the provider's reports would be refused. Done and not declared: nobody asks for them."""
    declared = rig.declares("events.webhook") and rig.kind is Kind.API
    if not rig.has("connector_parse_webhook"):
        assert not declared, "it declares events.webhook and has no connector_parse_webhook"
    else:
        assert _most(rig)["events.webhook"].available, (
            "it has connector_parse_webhook and does not declare events.webhook"
        )
        sample = rig.contract.webhook_body()
        proofs = rig.contract.sign_webhook(sample, rig.data, datetime.now(UTC)) if sample else {}
        # A secret that is shared with the provider is no signature.
        signed = any(name.lower() != "authorization" for name in proofs)
        for name, given in (("events.webhook", bool(sample)), ("events.signature", signed)):
            assert not given or rig.declares(name), f"the test class has such a webhook, and {name} is not declared"


@check("GC-CAP-014", after=(TABLE,))
def signatures_need_a_secret(rig: Rig) -> None:
    """A signature that is checked with nothing is not checked."""
    needs(rig.declares("events.signature"), "it does not declare events.signature")
    hints = [without_none(hint)[0] for hint in field_types(rig.info.settings_class).values()]
    keys = [name for name in field_types(rig.info.settings_class) if "key" in name]
    assert Secret in hints or keys, "no setting can hold a signing secret or key"


@check("GC-CAP-015", after=(TABLE,))
def lookup_is_there_if_declared(rig: Rig) -> None:
    """An outcome in doubt is looked up where that is said to work."""
    declared, there = rig.declares("lookup"), rig.has("connector_lookup")
    assert declared == there or (there and _most(rig)["lookup"].available), (
        f"lookup is declared: {declared}; connector_lookup is there: {there}"
    )


@check("GC-CAP-016", after=(TABLE,))
def declared_before_asked(rig: Rig) -> None:
    """What is effective is what a server has said, and before it is asked it has said nothing."""
    assert not rig.table.effective, "the declared table calls itself effective"
