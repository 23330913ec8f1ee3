"""Write the generated parts of the documentation anew, from the code they describe.

A generated part stands in a Markdown file between ``<!-- generated: NAME -->`` and ``<!-- end of NAME -->``; ``PARTS``
says what makes it. ``./dev docs`` runs this before it builds the site, and a test fails when a page is out of date.
"""

from __future__ import annotations

import errno
import html
import re
import sys
from collections.abc import Callable, Iterator
from functools import partial
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

from docs.lines import lines
from docs.of_code import api, commands, error_table, error_tree, exit_codes, fields, hooks
from docs.tables import table
from genie_connect import (
    Attachment,
    Attempt,
    DoubtfulCopy,
    Event,
    Message,
    Outcome,
    Plan,
    ProviderTemplate,
    Receipt,
    Registry,
    Suppression,
)
from genie_connect.api import ApiConnector
from genie_connect.config import (
    ConnectionSection,
    ConnectorsSection,
    EngineSection,
    StoreSection,
    SuppressionsSection,
)
from genie_connect.contract import ENTRY_POINT_GROUP, Quality
from genie_connect.hookspecs import ConnectorSpec, ObserverSpec
from genie_connect.http import Verdict
from genie_connect.model.capability import HEADLINES, TITLES, Level
from genie_connect.model.message import FEATURES
from genie_connect.model.outcome import Retry
from genie_connect.model.plan import Emulated, PassedOver
from genie_connect.model.schema import settings_table
from genie_connect_contrib.local import writing
from genie_connect_smtp.classify import Rule, reply_rules
from genie_connect_smtp.hints import troubleshooting_markdown
from genie_connect_spec.kit.quality import RULES, Statement, badge, read
from genie_connect_spec.kit.quality import Status as RuleStatus

ROOT = Path(__file__).resolve().parent.parent
PAGES = ROOT / "docs" / "pages"
API_CONNECTORS: dict[str, ApiConnector[Any]] = {
    point.name: connector
    for point in sorted(entry_points(group=ENTRY_POINT_GROUP), key=lambda point: point.name)
    if point.module.partition(".")[0] == "genie_connect_contrib" and isinstance(connector := point.load(), ApiConnector)
}
"""The API connectors that have a page."""
LOCAL = ("sandbox", "file", "maildir")
"""Those that end on this machine."""
_PART = re.compile(r"(<!-- generated: ([a-z-]+) -->\n).*?(<!-- end of \2 -->)", re.DOTALL)


def documents() -> list[Path]:
    """Every Markdown file that may hold generated parts."""
    return [ROOT / "README.md", *sorted(PAGES.rglob("*.md"))]


def renewed(text: str) -> str:
    """The text of a page with its generated parts made anew."""
    return _PART.sub(lambda found: f"{found[1]}\n{PARTS[found[2]]().strip()}\n\n{found[3]}", text)


def main() -> int:
    """Write what has changed."""
    made = {path: renewed(path.read_text(encoding="utf-8")) for path in documents()}
    made |= {PAGES / "assets" / f"quality-{level.value}.svg": badge(level) for level in Quality}
    for path, text in made.items():
        if not path.is_file() or path.read_text(encoding="utf-8") != text:
            path.parent.mkdir(exist_ok=True)
            path.write_text(text, encoding="utf-8")
            print(f"wrote {path.relative_to(ROOT)}")
    return 0


# Connectors


def _short_table(connector: str) -> str:
    return _registry()[connector].capabilities().render()


def _full_table(connector: str) -> str:
    entries = _registry()[connector].capabilities()
    return table(
        ("Name", "Title", "Level", "Support"),
        [(f"`{entry.name}`", entry.title, entry.level.value, entry.text) for entry in entries],
    )


def _settings(connector: str) -> str:
    return settings_table(_registry()[connector].info.settings_class)


def _registry() -> Registry:
    return Registry.discover(allow=["smtp", *LOCAL, *API_CONNECTORS], safe_mode=True, strict=True)


def _limits(connector: str) -> str:
    rows = [
        (entry.title, f"`{name}`", f"{limit:,}")
        for entry in _registry()[connector].capabilities()
        for name, limit in entry.limits.items()
    ]
    return table(("Of", "Limit", "At most"), rows)


def _errors(connector: str) -> str:
    entries = API_CONNECTORS[connector].errors.items()
    if not entries:
        return "It has no codes of its own."
    return table(
        ("Answer", "Outcome", "Reason", "Tried again", "What to do"),
        [
            (f"`{word}`", verdict.state.value, f"`{verdict.reason}`", _AGAIN[verdict.retry], verdict.hint or "")
            for word, verdict in entries
        ],
    )


def _folder_errors() -> str:
    numbers: dict[Verdict, list[str]] = {}
    for number, verdict in writing.ERRORS.items():
        numbers.setdefault(verdict, []).append(f"`{errno.errorcode[number]}`")
    rows = [(", ".join(names), verdict) for verdict, names in numbers.items()] + [("any other", writing.FAILED)]
    return table(
        ("Error", "Outcome", "Reason", "Tried again", "What to do"),
        [(names, v.state.value, f"`{v.reason}`", _AGAIN[v.retry], v.hint or "") for names, v in rows],
    )


_AGAIN = {Retry.NEVER: "no", Retry.SAME: "here", Retry.OTHER: "elsewhere", Retry.ANY: "here or elsewhere"}


def _feature_matrix() -> str:
    tables = {name: _registry()[name].capabilities() for name in ("smtp", *API_CONNECTORS)}
    titles = [_registry()[name].info.title for name in tables]
    rows = [
        (title, *(_MARKS[entries[name].level] for entries in tables.values()))
        for name, title in TITLES.items()
        if name != "suppressions"
    ]
    return table(("Capability", *titles), rows)


def _statement(connector: str) -> Statement:
    (path,) = ROOT.glob(f"plugins/*/quality/{connector}.yaml")
    return read(path)


def _quality_of_connectors() -> str:
    rows = []
    for handle in _registry():
        statement, level = _statement(handle.id), handle.quality.value
        todo = [rule.id for rule in RULES if statement[rule.id].status is RuleStatus.TODO]
        exempt = [
            f"`{rule.id}`: {statement[rule.id].comment}"
            for rule in RULES
            if statement[rule.id].status is RuleStatus.EXEMPT
        ]
        rows.append(
            (
                handle.info.title,
                f"![{level}](../assets/quality-{level}.svg)",
                ", ".join(f"`{rule}`" for rule in todo),
                "; ".join(exempt),
                statement.tried_with,
            )
        )
    return table(("Connector", "Quality", "Not yet", "Exempt", "Tried with"), rows)


def _quality_rules() -> str:
    return table(
        ("Rule", "Needed for", "What it says"), [(f"`{rule.id}`", rule.level.value, rule.says) for rule in RULES]
    )


_MARKS = {Level.YES: "yes", Level.CONDITIONAL: "on conditions", Level.HOST: "by the host", Level.NO: ""}


# SMTP hints


def _troubleshooting() -> str:
    # It stands below a heading of the page, so its own go one level down.
    return re.sub(r"^##", "###", _bars_in_code(troubleshooting_markdown()), flags=re.MULTILINE)


def _bars_in_code(text: str) -> str:
    """Code in a table cell with bars in it, as every reader of Markdown shows it right."""
    return re.sub(
        r"`([^`\n]*\\\|[^`\n]*)`",
        lambda found: f"<code>{html.escape(found[1], quote=False).replace(chr(92) + '|', '&#124;')}</code>",
        text,
    )


def _general_replies() -> str:
    rows: dict[tuple[str, str, str], None] = {
        _rule_row(rule): None for rule in reply_rules() if rule.text is None and rule.hint
    }
    return _bars_in_code(table(("Reply", "Reason", "What it means, what to do"), rows))


def _rule_row(rule: Rule) -> tuple[str, str, str]:
    said = [_readable(pattern) for pattern in (rule.code, rule.enhanced) if pattern is not None]
    stages = "" if rule.phases is None else " to " + ", ".join(_phases(rule))
    return "; ".join(f"`{part}`" for part in said) + stages, f"`{rule.kind}`", rule.hint


def _phases(rule: Rule) -> Iterator[str]:
    names = {"eod": "the final dot", "connect": "the connection"}
    order = ["connect", "ehlo", "starttls", "auth", "mail", "rcpt", "data", "eod"]
    for phase in sorted(rule.phases or (), key=order.index):
        yield names.get(phase, phase.upper())


def _readable(pattern: re.Pattern[str]) -> str:
    return pattern.pattern.replace("\\.", ".").replace("\\d+", "n").replace("\\d", "n").replace("\\b", "")


# Core


def _capability_names() -> str:
    missing = set(FEATURES) - set(_NEEDED_BY)
    if missing:
        raise SystemExit(f"docs/generate.py: say in _NEEDED_BY what needs {', '.join(sorted(missing))}")
    rows = [
        (f"`{name}`", title, "yes" if name in HEADLINES else "", _NEEDED_BY.get(name, ""))
        for name, title in TITLES.items()
    ]
    return table(("Name", "Title", "In the short table", "Needed by"), rows)


_NEEDED_BY = {
    "send.transactional": "every `send`",
    "send.broadcast": "every `broadcast`",
    "send.html": "a message with `html`",
    "send.attachments": "`attachments` without a `content_id`",
    "send.inline_images": "`attachments` with a `content_id`",
    "send.cc_bcc": "`cc` or `bcc`",
    "send.reply_to": "`reply_to`",
    "send.headers": "`headers`",
    "send.envelope_sender": "`envelope_from`",
    "send.tags": "`tags`",
    "send.metadata": "`metadata`",
    "send.merge": "recipients of a broadcast with `merge` data",
    "send.amp": "`amp`",
    "send.templates": "`template`",
    "send.schedule": "`send_at`",
    "send.track_opens": "`track_opens`, on or off",
    "send.track_clicks": "`track_clicks`, on or off",
    "send.provider_options": "`provider_options` that are not empty",
    "send.international_addresses": "an address with a non-ASCII local part",
}


def _contract() -> str:
    return (ROOT / "spec" / "src" / "genie_connect_spec" / "contract.md").read_text(encoding="utf-8")


# Command line


# Python API


PARTS: dict[str, Callable[[], str]] = {
    "lines-of-connectors": partial(lines, API_CONNECTORS),
    "smtp-capabilities": lambda: _short_table("smtp"),
    "smtp-all-capabilities": lambda: _full_table("smtp"),
    "smtp-settings": lambda: _settings("smtp"),
    "smtp-troubleshooting": _troubleshooting,
    "smtp-general-replies": _general_replies,
    "folder-errors": _folder_errors,
    "feature-matrix": _feature_matrix,
    "capability-names": _capability_names,
    "contract": _contract,
    "quality-of-connectors": _quality_of_connectors,
    "quality-rules": _quality_rules,
    "connector-hooks": lambda: hooks(ConnectorSpec),
    "observer-hooks": lambda: hooks(ObserverSpec),
    "error-tree": error_tree,
    "error-table": error_table,
    "connection-section": lambda: settings_table(ConnectionSection),
    "connectors-section": lambda: settings_table(ConnectorsSection),
    "engine-section": lambda: settings_table(EngineSection),
    "store-section": lambda: settings_table(StoreSection),
    "suppressions-section": lambda: settings_table(SuppressionsSection),
    "message-fields": lambda: fields(Message),
    "attachment-fields": lambda: fields(Attachment),
    "template-fields": lambda: fields(ProviderTemplate),
    "receipt-fields": lambda: fields(Receipt),
    "outcome-fields": lambda: fields(Outcome),
    "attempt-fields": lambda: fields(Attempt),
    "doubtful-copy-fields": lambda: fields(DoubtfulCopy),
    "plan-fields": lambda: fields(Plan),
    "passed-over-fields": lambda: fields(PassedOver),
    "emulated-fields": lambda: fields(Emulated),
    "event-fields": lambda: fields(Event),
    "suppression-fields": lambda: fields(Suppression),
    "commands": commands,
    "exit-codes": exit_codes,
    "api": api,
}
PARTS |= {
    f"{connector}-{part}": partial(make, connector)
    for connector in LOCAL
    for part, make in {
        "settings": _settings,
        "capabilities": _short_table,
        "all-capabilities": _full_table,
    }.items()
}
PARTS |= {
    f"{connector}-{part}": partial(make, connector)
    for connector in API_CONNECTORS
    for part, make in {
        "settings": _settings,
        "capabilities": _short_table,
        "all-capabilities": _full_table,
        "limits": _limits,
        "errors": _errors,
    }.items()
}

if __name__ == "__main__":
    sys.exit(main())
