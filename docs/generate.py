"""Write the generated parts of the documentation anew, from the code they describe.

A generated part stands in a Markdown file between ``<!-- generated: NAME -->`` and ``<!-- end of NAME -->``; ``PARTS``
says what makes it. ``./dev docs`` runs this before it builds the site, and a test fails when a page is out of date.
"""

from __future__ import annotations

import enum
import errno
import html
import inspect
import re
import sys
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any, get_type_hints

import attrs
import click

import genie_connect
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
    errors,
)
from genie_connect.api import ApiConnector
from genie_connect.cli.app import app
from genie_connect.cli.exit_codes import MEANINGS
from genie_connect.config import (
    ConnectionSection,
    ConnectorsSection,
    EngineSection,
    StoreSection,
    SuppressionsSection,
)
from genie_connect.contract import ENTRY_POINT_GROUP, Quality
from genie_connect.hookspecs import REQUIRED_HOOKS, ConnectorSpec, ObserverSpec
from genie_connect.http import Verdict
from genie_connect.model.capability import HEADLINES, TITLES, Level
from genie_connect.model.message import FEATURES
from genie_connect.model.outcome import Retry
from genie_connect.model.plan import Emulated, PassedOver
from genie_connect.model.schema import settings_table
from genie_connect.model.validation import external_name
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
    made |= {PAGES / "assets" / f"quality-{level.value}.svg": badge(level) for level in list(Quality)[1:]}
    for path, text in made.items():
        if not path.is_file() or path.read_text(encoding="utf-8") != text:
            path.parent.mkdir(exist_ok=True)
            path.write_text(text, encoding="utf-8")
            print(f"wrote {path.relative_to(ROOT)}")
    return 0


def table(columns: Iterable[str], rows: Iterable[Iterable[object]]) -> str:
    """A Markdown table; a bar inside a cell is escaped."""
    columns = list(columns)
    lines = ["| " + " | ".join(columns) + " |", "|" + "---|" * len(columns)]
    lines += ["| " + " | ".join(str(cell).replace("|", "\\|") for cell in row) + " |" for row in rows]
    return "\n".join(lines)


def markdown(docstring: str | None) -> str:
    """The first paragraph of a docstring on one line, literals as Markdown has them."""
    first = inspect.cleandoc(docstring or "").split("\n\n")[0].replace("\n", " ")
    return first.replace("``", "`")


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


def _hooks(spec: type[Any]) -> str:
    rows = []
    for name, function in _functions(spec):
        arguments = ", ".join(list(inspect.signature(function).parameters)[1:])
        required = ("required" if name in REQUIRED_HOOKS else "optional",) if spec is ConnectorSpec else ()
        rows.append((f"`{name}({arguments})`", *required, markdown(function.__doc__)))
    columns = ("Hook", "", "What it does") if spec is ConnectorSpec else ("Hook", "When")
    return table(columns, rows)


def _contract() -> str:
    return (ROOT / "spec" / "src" / "genie_connect_spec" / "contract.md").read_text(encoding="utf-8")


def _functions(cls: type[Any]) -> list[tuple[str, Any]]:
    return [
        (name, value) for name, value in vars(cls).items() if inspect.isfunction(value) and not name.startswith("_")
    ]


def _error_tree() -> str:
    tree = (errors.__doc__ or "").partition("::\n\n")[2].partition("\n\n")[0]
    return f"```text\n{inspect.cleandoc(tree)}\n```"


def _error_table() -> str:
    rows = []
    for name in sorted(errors.__all__):
        cls = getattr(errors, name)
        if isinstance(cls, type) and issubclass(cls, Exception):
            fields = [field for field in inspect.signature(cls).parameters if field not in ("message", "hint", "plan")]
            extra = ["plan"] if name == "NoConnection" else fields
            rows.append(
                (f"`{name}`", f"`{cls.code}`", ", ".join(f"`{field}`" for field in extra), markdown(cls.__doc__))
            )
    return table(("Class", "`code`", "Fields beside `message` and `hint`", "Meaning"), rows)


def _fields(cls: type[Any]) -> str:
    hints = get_type_hints(cls)
    rows = [
        (f"`{external_name(field.name)}`", _type(hints[field.name]), _default(field))
        for field in attrs.fields(cls)
        if not field.name.startswith("_")
    ]
    return table(("Field", "Type in JSON", "Default"), rows)


_JSON_TYPES = {
    "str": "text",
    "int": "whole number",
    "float": "number",
    "bool": "true or false",
    "datetime": "time with zone, `2026-11-23T10:00:00+00:00`",
    "Address": "address, `Ada <ada@example.com>`",
    "NoneType": "null",
    "Any": "anything",
    "Outcomes": "object: outcome by recipient",
    "Plan": "object: plan",
}


def _type(hint: Any) -> str:
    arguments = getattr(hint, "__args__", ())
    origin = getattr(hint, "__origin__", None)
    if origin is tuple:
        return f"list of {_type(arguments[0])}"
    if origin is not None:
        return f"object: {_type(arguments[0])} by name"
    if arguments:
        if "FileContent" in {getattr(item, "__name__", "") for item in arguments}:
            return "base64 text"
        return " or ".join(dict.fromkeys(_type(item) for item in arguments))
    if isinstance(hint, type) and issubclass(hint, enum.Enum):
        return ", ".join(f"`{member.value}`" for member in hint)
    name = getattr(hint, "__name__", str(hint))
    return _JSON_TYPES.get(name, f"object: {name.lower()}")


def _default(field: attrs.Attribute[Any]) -> str:
    default = field.default
    if default is attrs.NOTHING:
        return "required"
    if default is None or isinstance(default, attrs.Factory):  # type: ignore[arg-type]  # Factory is a class at run time
        return "null" if default is None else "empty"
    if isinstance(default, enum.Enum):
        return f"`{default.value}`"
    if isinstance(default, bool):
        return f"`{str(default).lower()}`"
    return "empty" if default in ((), "") or default == {} else f"`{default}`"


# Command line


def _commands() -> str:
    root = click.Context(app, info_name="genie-connect")
    sections = [_options(app, root, "Options of every command")]
    for name in app.list_commands(root):
        command = app.get_command(root, name)
        if command is not None:
            sections += _command(command, click.Context(command, parent=root, info_name=name), 2)
    return "\n\n".join(sections)


def _command(command: click.Command, context: click.Context, level: int) -> Iterator[str]:
    usage = " ".join(command.collect_usage_pieces(context))
    description = inspect.cleandoc(command.help or "").replace("\b\n", "")
    yield f"{'#' * level} `{context.command_path}`\n\n```text\n{context.command_path} {usage}\n```\n\n{description}"
    options = _options(command, context, "")
    if options:
        yield options
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            below = command.get_command(context, name)
            if below is not None:
                yield from _command(below, click.Context(below, parent=context, info_name=name), level + 1)


def _options(command: click.Command, context: click.Context, title: str) -> str:
    records = [
        record
        for parameter in command.params
        if isinstance(parameter, click.Option) and (record := parameter.get_help_record(context)) is not None
    ]
    if not records:
        return ""
    rows = [(f"`{names}`", " ".join(text.split())) for names, text in records]
    return (f"## {title}\n\n" if title else "") + table(("Option", "Meaning"), rows)


def _exit_codes() -> str:
    return table(("Code", "Meaning"), [(f"`{code.value}`", meaning) for code, meaning in MEANINGS])


# Python API


def _api() -> str:
    return "\n\n".join(_entry(name, getattr(genie_connect, name)) for name in sorted(genie_connect.__all__))


def _entry(name: str, thing: Any) -> str:
    parts = [f"## `{name}`"]
    if inspect.isclass(thing) and issubclass(thing, enum.Enum):
        parts.append(markdown(thing.__doc__))
        parts.append("Values: " + ", ".join(f"`{member.value}`" for member in thing) + ".")
    elif inspect.isclass(thing):
        if not issubclass(thing, Exception):
            parts.append(f"```text\n{name}{_signature(thing)}\n```")
        parts += _paragraphs(thing)
        members = [f"- {_member(member, value)}" for member, value in _public(thing)]
        parts.append("\n".join(members))
    elif callable(thing) and not isinstance(thing, type):
        if inspect.isfunction(thing):
            parts.append(f"```text\n{name}{_signature(thing)}\n```")
            parts += _paragraphs(thing)
        else:
            parts.append("The pluggy marker for functions that implement a hook.")
    return "\n\n".join(part for part in parts if part)


def _paragraphs(thing: Any) -> list[str]:
    """The paragraphs of a docstring, without its examples."""
    whole = inspect.cleandoc(thing.__doc__ or "").split("\n\n")
    return [markdown(paragraph) for paragraph in whole if not paragraph.startswith((" ", "::"))]


def _public(cls: type[Any]) -> Iterator[tuple[str, Any]]:
    for name, value in vars(cls).items():
        if not name.startswith("_") and (
            isinstance(value, property | classmethod | staticmethod) or inspect.isfunction(value)
        ):
            yield name, value


def _member(name: str, value: Any) -> str:
    if isinstance(value, property):
        return f"`{name}`: {markdown(value.__doc__)}"
    function = value.__func__ if isinstance(value, classmethod | staticmethod) else value
    asynchronous = "await " if inspect.iscoroutinefunction(function) else ""
    return f"`{asynchronous}{name}{_signature(function, bound=True)}`: {markdown(function.__doc__)}"


def _signature(thing: Any, *, bound: bool = False) -> str:
    signature = inspect.signature(thing)
    parameters = list(signature.parameters.values())
    if bound and parameters and parameters[0].name in ("self", "cls"):
        parameters = parameters[1:]
    shown = [
        parameter.replace(
            annotation=inspect.Parameter.empty,
            default=inspect.Parameter.empty if parameter.default is inspect.Parameter.empty else _Shown(parameter),
        )
        for parameter in parameters
        if not parameter.name.startswith("_")
    ]
    return str(signature.replace(parameters=shown, return_annotation=inspect.Signature.empty))


class _Shown:
    """A default as it is to be read: no memory address, no module path."""

    def __init__(self, parameter: inspect.Parameter) -> None:
        default = parameter.default
        if isinstance(default, enum.Enum):
            self._text = f"{type(default).__name__}.{default.name}"
        elif isinstance(default, str | int | float | tuple | None):
            self._text = repr(default)
        else:
            self._text = getattr(default, "__name__", "...")

    def __repr__(self) -> str:
        return self._text


PARTS: dict[str, Callable[[], str]] = {
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
    "connector-hooks": lambda: _hooks(ConnectorSpec),
    "observer-hooks": lambda: _hooks(ObserverSpec),
    "error-tree": _error_tree,
    "error-table": _error_table,
    "connection-section": lambda: settings_table(ConnectionSection),
    "connectors-section": lambda: settings_table(ConnectorsSection),
    "engine-section": lambda: settings_table(EngineSection),
    "store-section": lambda: settings_table(StoreSection),
    "suppressions-section": lambda: settings_table(SuppressionsSection),
    "message-fields": lambda: _fields(Message),
    "attachment-fields": lambda: _fields(Attachment),
    "template-fields": lambda: _fields(ProviderTemplate),
    "receipt-fields": lambda: _fields(Receipt),
    "outcome-fields": lambda: _fields(Outcome),
    "attempt-fields": lambda: _fields(Attempt),
    "doubtful-copy-fields": lambda: _fields(DoubtfulCopy),
    "plan-fields": lambda: _fields(Plan),
    "passed-over-fields": lambda: _fields(PassedOver),
    "emulated-fields": lambda: _fields(Emulated),
    "event-fields": lambda: _fields(Event),
    "suppression-fields": lambda: _fields(Suppression),
    "commands": _commands,
    "exit-codes": _exit_codes,
    "api": _api,
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
