"""A message from the command line: a file, standard input, options, put together and checked as one.

A draft is the message in its JSON form, with ``Attachment`` values among the attachments. Options come last: they
replace what the file says, and attachments, headers, tags and metadata join those of the file.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import attrs
import click

from genie_connect.cli.eml import read_eml
from genie_connect.cli.errors import Failed, labelled
from genie_connect.errors import Problem, ValidationError
from genie_connect.model.attachment import Attachment
from genie_connect.model.codec import structure
from genie_connect.model.message import Message, Purpose
from genie_connect.model.validation import external_name

Draft: TypeAlias = dict[str, Any]

OPTIONS = {
    "from": "--from",
    "to": "--to",
    "cc": "--cc",
    "bcc": "--bcc",
    "reply_to": "--reply-to",
    "envelope_from": "--envelope-from",
    "subject": "--subject",
    "text": "--text",
    "html": "--html",
    "attachments": "--attach",
    "headers": "--header",
    "tags": "--tag",
    "metadata": "--metadata",
    "purpose": "--purpose",
}
"""The option that gives each field of a message."""

RECIPIENTS = ("to", "cc", "bcc")
STDIN = "-"
_PATH = re.compile(
    r"(?P<field>\w+)(?:\[(?P<index>\d+)\]|\[(?P<quote>['\"])(?P<key>.*?)(?P=quote)\])?(?P<rest>.*)", re.DOTALL
)


def message_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the options that make a message."""
    return _with((*_SENDER, *_TO, *_CONTENT, *_FILES), command)


def content_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the options that make a message whose recipients and file are given in another way."""
    return _with((*_SENDER, *_CONTENT), command)


def _with(options: Sequence[Callable[..., Any]], command: Callable[..., Any]) -> Callable[..., Any]:
    for option in reversed(options):
        command = option(command)
    return command


def _several(*names: str, metavar: str, help: str) -> Callable[..., Any]:  # noqa: A002  # click's word
    return click.option(*names, multiple=True, metavar=metavar, help=help)


_SENDER: tuple[Callable[..., Any], ...] = (
    click.option("--from", "from_", metavar="ADDRESS", help="Sender; without it the connection's default From."),
)
_TO: tuple[Callable[..., Any], ...] = (
    _several("--to", metavar="ADDRESS", help="Recipient, as ada@example.com or 'Ada <ada@example.com>'. Repeatable."),
    _several("--cc", metavar="ADDRESS", help="Copy to. Repeatable."),
    _several("--bcc", metavar="ADDRESS", help="Copy that no header shows. Repeatable."),
)
_CONTENT: tuple[Callable[..., Any], ...] = (
    _several("--reply-to", metavar="ADDRESS", help="Where answers go. Repeatable."),
    click.option("--envelope-from", metavar="ADDRESS", help="Where bounces go, if not to the sender."),
    click.option("--subject", metavar="TEXT", help="Subject."),
    click.option(
        "--text", metavar="TEXT|@FILE|-", help="Plain text; @FILE reads a file (@@ for a leading @), - stdin."
    ),
    click.option("--html", metavar="HTML|@FILE|-", help="HTML, given in the same ways."),
    _several("--attach", metavar="PATH", help="Attach a file. Repeatable."),
    _several("--inline", metavar="CID=PATH", help="An image that the HTML shows as cid:CID. Repeatable."),
    _several("--header", metavar="'NAME: VALUE'", help="A further header field. Repeatable."),
    _several("--tag", metavar="TAG", help="A tag that comes back with events. Repeatable."),
    _several("--metadata", metavar="KEY=VALUE", help="A value that comes back with events. Repeatable."),
    click.option(
        "--purpose", type=click.Choice([purpose.value for purpose in Purpose]), help="[default: transactional]"
    ),
)
_FILES: tuple[Callable[..., Any], ...] = (
    click.option("--message", "message_file", metavar="FILE|-", help="Take the message from a JSON file, or stdin."),
    click.option("--eml", "eml_file", metavar="FILE|-", help="Take the message from an .eml file, or stdin."),
)


@attrs.frozen(kw_only=True)
class Given:
    """The message options of one run."""

    from_: str | None
    to: tuple[str, ...] = ()
    cc: tuple[str, ...] = ()
    bcc: tuple[str, ...] = ()
    reply_to: tuple[str, ...]
    envelope_from: str | None
    subject: str | None
    text: str | None
    html: str | None
    attach: tuple[str, ...]
    inline: tuple[str, ...]
    header: tuple[str, ...]
    tag: tuple[str, ...]
    metadata: tuple[str, ...]
    purpose: str | None
    message_file: str | None = None
    eml_file: str | None = None
    argument: str | None = None
    """How the command calls the file, where it is no option."""


@attrs.frozen(kw_only=True)
class Made:
    """A message, and what of its source it does not carry."""

    message: Message
    notes: tuple[str, ...] = ()


def make_message(given: Given, *, recipients: bool = True) -> Made:
    """The message that the options describe.

    Raises ``ValidationError`` with every problem, each named by its option where it came from one, and ``Failed``
    where a source cannot be read. With ``recipients`` there must be somebody to send to.
    """
    _check_sources(given)
    draft, notes = _source(given)
    from_file = bool(given.message_file or given.eml_file)
    problems: list[Problem] = []
    set_by_option = _apply(given, draft, problems)

    def label(path: str) -> str:
        return _option_path(path, given) if not from_file or _field(path) in set_by_option else path

    message = None
    try:
        message = structure(Message, draft)
    except ValidationError as error:
        problems.extend(labelled(error.problems, label))
    if message is not None and recipients and not message.recipients:
        problems.append(Problem("--to", "there is nobody to send to", "give --to, --cc or --bcc"))
    if message is None or problems:
        where = given.message_file or given.eml_file
        source = {None: "message", STDIN: "message from standard input"}.get(where, f"message in {where}")
        raise ValidationError(problems, what=source)
    return Made(message=message, notes=notes)


def _check_sources(given: Given) -> None:
    if given.message_file and given.eml_file:
        raise click.UsageError("--message and --eml cannot be used together")
    reading = [
        name
        for name, value in (
            ("--text", given.text),
            ("--html", given.html),
            (given.argument or "--message", given.message_file),
            (given.argument or "--eml", given.eml_file),
        )
        if value == STDIN
    ]
    if len(reading) > 1:
        raise click.UsageError(f"{' and '.join(reading)} cannot both read standard input")


def _source(given: Given) -> tuple[Draft, tuple[str, ...]]:
    if given.message_file:
        return _json(given.message_file, given.argument or "--message"), ()
    if given.eml_file:
        option = given.argument or "--eml"
        eml = read_eml(_read(given.eml_file, option), option)
        return eml.draft, eml.notes
    return {}, ()


def _json(file: str, option: str) -> Draft:
    try:
        data = json.loads(_read(file, option))
    except (ValueError, RecursionError) as error:
        raise Failed(f"{option} {file} is not JSON", cause=str(error)) from None
    if not isinstance(data, dict):
        raise Failed(f"{option} {file} holds no message", cause="a message is a JSON object")
    return data


def _apply(given: Given, draft: Draft, problems: list[Problem]) -> set[str]:
    """Put the options into the draft; which fields they gave."""
    changed: set[str] = set()
    if given.to or given.cc or given.bcc:
        # All of the file's recipients go: whoever names one for a trial means nobody else.
        for field in RECIPIENTS:
            draft.pop(field, None)
        changed.update(RECIPIENTS)
    for field in (*RECIPIENTS, "reply_to"):
        value = getattr(given, field)
        if value:
            draft[field] = list(value)
            changed.add(field)
    for name in ("from_", "envelope_from", "subject", "purpose"):
        value = getattr(given, name)
        if value is not None:
            draft[external_name(name)] = value
            changed.add(external_name(name))
    for field in ("text", "html"):
        value = getattr(given, field)
        if value is not None:
            draft[field] = _body(value, OPTIONS[field])
            changed.add(field)
    _join(draft, "attachments", _attachments(given, problems), changed)
    _join(draft, "tags", given.tag, changed)
    _join_pairs(draft, "headers", _headers(given.header, problems), changed)
    _join_pairs(draft, "metadata", _metadata(given.metadata, problems), changed)
    return changed


def _join(draft: Draft, field: str, items: Iterable[Any], changed: set[str]) -> None:
    added = list(items)
    if added and isinstance(draft.setdefault(field, []), list):
        draft[field] = [*draft[field], *added]
        changed.add(field)


def _join_pairs(draft: Draft, field: str, pairs: dict[str, str], changed: set[str]) -> None:
    if not pairs or not isinstance(draft.setdefault(field, {}), dict):
        return
    replaced = {name.lower() for name in pairs}
    draft[field] = {name: value for name, value in draft[field].items() if name.lower() not in replaced} | pairs
    changed.add(field)


def _attachments(given: Given, problems: list[Problem]) -> list[Attachment]:
    made = [_attachment(f"--attach {path}", path, None, problems) for path in given.attach]
    for item in given.inline:
        content_id, equals, path = item.partition("=")
        if not equals or not content_id or not path:
            problems.append(Problem(f"--inline {item}", "is not CID=PATH", "write it as --inline logo=logo.png"))
            continue
        made.append(_attachment(f"--inline {item}", path, content_id, problems))
    return [attachment for attachment in made if attachment is not None]


def _attachment(option: str, path: str, content_id: str | None, problems: list[Problem]) -> Attachment | None:
    try:
        return Attachment.from_path(path, content_id=content_id)
    except OSError as error:
        problems.append(Problem(option, f"cannot be read: {error.strerror}", "check path and rights"))
    except ValidationError as error:
        problems.extend(error.under(option))
    return None


def _headers(given: Iterable[str], problems: list[Problem]) -> dict[str, str]:
    headers: dict[str, str] = {}
    for item in given:
        name, colon, value = item.partition(":")
        if not colon or not name.strip():
            problems.append(Problem(f"--header {item}", "is not 'NAME: VALUE'", "write it as --header 'X-Order: 17'"))
        elif name.lower() in {known.lower() for known in headers}:
            problems.append(Problem(f"--header {name}", "stands twice", "keep one"))
        else:
            headers[name] = value.strip(" ")
    return headers


def _metadata(given: Iterable[str], problems: list[Problem]) -> dict[str, str]:
    metadata: dict[str, str] = {}
    for item in given:
        key, equals, value = item.partition("=")
        if not equals:
            problems.append(Problem(f"--metadata {item}", "is not KEY=VALUE", "write it as --metadata order=17"))
        elif key in metadata:
            problems.append(Problem(f"--metadata {key}", "stands twice", "keep one"))
        else:
            metadata[key] = value
    return metadata


def _body(value: str, option: str) -> str:
    if value == STDIN:
        return _text(_read(STDIN, option), option)
    if value.startswith("@@"):
        return value[1:]
    if value.startswith("@"):
        return _text(_read(value[1:], option), option)
    return value


def _text(data: bytes, option: str) -> str:
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        cause = f"byte {error.start} is not UTF-8"
        raise Failed(f"{option}: the text cannot be read", cause=cause, hint="convert it to UTF-8") from None


def _read(file: str, option: str) -> bytes:
    try:
        return sys.stdin.buffer.read() if file == STDIN else Path(file).read_bytes()
    except OSError as error:
        hint = "check path and rights"
        raise Failed(f"{option}: {file} cannot be read", cause=error.strerror or "", hint=hint) from None


def _field(path: str) -> str:
    match = _PATH.match(path)
    return match["field"] if match else path


def _option_path(path: str, given: Given) -> str:
    """``to[1]`` as ``--to (2)``, ``headers['X-A']`` as ``--header X-A``, ``from`` as ``--from``."""
    match = _PATH.match(path)
    if match is None or match["field"] not in OPTIONS:
        return path
    option = OPTIONS[match["field"]]
    if match["key"] is not None:
        return f"{option} {match['key']}{match['rest']}"
    if match["index"] is not None and len(getattr(given, option.removeprefix("--").replace("-", "_"), ())) > 1:
        return f"{option} ({int(match['index']) + 1}){match['rest']}"
    return option + match["rest"]
