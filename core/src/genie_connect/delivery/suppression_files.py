"""Lists of suppressions as files: CSV as other services export them, and JSON Lines as ours are.

A row that cannot be used is not dropped and does not stop the others: it is given back with its line, what is wrong and
what to do, and can be written to a file of the same form, to be mended and read again.
"""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import UTC, datetime
from enum import StrEnum
from functools import lru_cache
from pathlib import Path
from typing import Any, Final, NamedTuple, TextIO, TypeAlias, TypeVar

import attrs

from genie_connect.errors import ConfigurationError, Problem, ValidationError
from genie_connect.model.address import MAX_LOCAL_BYTES, Address
from genie_connect.model.suppression import Suppression, SuppressionReason, SuppressionScope

COLUMNS: Final = ("address", "scope", "reason", "source", "added", "expires")
PROBLEM: Final = "problem"
"""The column that a file of refused rows has beside; reading passes it over."""
NAMES: Final[Mapping[str, str]] = {
    **{name: name for name in COLUMNS},
    "email": "address",
    "e-mail": "address",
    "email address": "address",
    "email_address": "address",
    "recipient": "address",
    "expiry": "expires",
    "created": "added",
    "created_at": "added",
}
"""What a column may be called, in lower case. Other columns are passed over, and named in the result."""
# The part before the @ as most people have it; whatever else is looked at in full.
_PLAIN: Final = re.compile(r"([A-Za-z0-9_+-]+(?:\.[A-Za-z0-9_+-]+)*)@([A-Za-z0-9.-]+)\Z")
_SPECIAL: Final = frozenset('",\r\n')
_TIME_FIX: Final = "write it as 2026-11-23T10:00:00+00:00 or 2026-11-23"
_MOST_FIELD_CHARACTERS: Final = 10_000
_MOST_KNOWN: Final = 4096


class Entry(NamedTuple):
    """A row that can be used. Times are seconds since 1970; ``added`` is ``None`` where the file does not say."""

    line: int
    email: str
    key: str
    scope: SuppressionScope
    reason: SuppressionReason
    source: str
    added: float | None
    expires: float | None

    def suppression(self, now: float) -> Suppression:
        """As a value of the model."""
        return Suppression(
            address=Address.parse(self.email),
            scope=self.scope,
            reason=self.reason,
            source=self.source,
            added=datetime.fromtimestamp(now if self.added is None else self.added, UTC),
            expires=None if self.expires is None else datetime.fromtimestamp(self.expires, UTC),
        )


@attrs.frozen(kw_only=True)
class BadRow:
    """A row that cannot be used: its line, what is wrong with it, and what stood there."""

    line: int
    problems: tuple[Problem, ...]
    fields: Mapping[str, Any] = attrs.field(factory=dict)
    text: str = ""


E = TypeVar("E", bound=StrEnum)
Read: TypeAlias = Entry | BadRow


class SuppressionFile:
    """A file to be read row by row. ``source`` and ``reason`` stand for rows that say none.

    Raises ``ConfigurationError`` where it is no file of either form; ``ignored`` names the columns passed over.
    """

    def __init__(
        self, path: Path, *, source: str = "import", reason: SuppressionReason = SuppressionReason.MANUAL
    ) -> None:
        self.path = path
        self.is_json = path.suffix.lower() in (".jsonl", ".ndjson", ".json")
        self.ignored: tuple[str, ...] = ()
        self._source = source
        self._reason = reason
        self._beside: dict[tuple[str | None, ...], Any] = {}

    def __iter__(self) -> Iterator[Read]:
        # Bytes that are no UTF-8 come out as they were when a refused row is written.
        with self.path.open(encoding="utf-8-sig", errors="surrogateescape", newline="") as file:
            yield from self._json(file) if self.is_json else self._csv(file)

    def _csv(self, file: TextIO) -> Iterator[Read]:
        reader = csv.reader(file)
        header: list[str] | None = None
        while True:
            try:
                cells = next(reader)
            except StopIteration:
                return
            except csv.Error as error:
                yield BadRow(line=reader.line_num, problems=(Problem("", f"is no CSV: {error}", "mend the line"),))
                continue
            if not any(cells):
                continue
            if header is None:
                header = self._header(cells)
                if header is None:
                    header = ["address"]
                else:
                    continue
            if len(cells) > len(header):
                problem = Problem("", f"has {len(cells)} cells; the first line has {len(header)}", "put text in quotes")
                yield BadRow(line=reader.line_num, problems=(problem,), text=_line(cells))
                continue
            yield self._csv_row(reader.line_num, header, cells)

    def _csv_row(self, line: int, header: list[str], cells: list[str]) -> Read:
        # In most lists millions of rows say the same beside the address: what that means is found out once.
        place = header.index("address")
        beside = (*cells[:place], None, *cells[place + 1 :])
        known = self._beside.get(beside) if len(cells) > place and cells[place] else None
        if known is not None:
            try:
                return Entry(line, *plain_key(cells[place]), *known)
            except ValidationError:
                pass
        read = self._entry(line, dict(zip(header, cells, strict=False)))
        if isinstance(read, Entry) and header.count("address") == 1 and len(self._beside) < _MOST_KNOWN:
            self._beside[beside] = read[3:]
        return read

    def _header(self, cells: list[str]) -> list[str] | None:
        """The columns that the first line names; ``None`` where it is an address already."""
        names = [NAMES.get(cell.strip().lower(), "") for cell in cells]
        if "address" not in names:
            if len(cells) == 1 and "@" in cells[0]:
                return None
            hint = f"name the columns in the first line: {', '.join(COLUMNS)}"
            raise ConfigurationError(f"the first line of {self.path} names no column of addresses", hint=hint)
        self.ignored = tuple(
            cell for cell, name in zip(cells, names, strict=True) if not name and cell.strip().lower() != PROBLEM
        )
        return names

    def _json(self, file: TextIO) -> Iterator[Read]:
        ignored: dict[str, None] = {}
        for number, line in enumerate(file, 1):
            if not line.strip():
                continue
            try:
                data = json.loads(line)
            except (ValueError, RecursionError):
                data = None
            if not isinstance(data, dict):
                problem = Problem("", "is no JSON object", "write one object a line")
                yield BadRow(line=number, problems=(problem,), text=line.rstrip("\r\n"))
                continue
            fields = {NAMES.get(name.lower(), ""): value for name, value in data.items()}
            ignored.update(dict.fromkeys(name for name in data if name.lower() not in NAMES and name != PROBLEM))
            self.ignored = tuple(ignored)
            yield self._entry(number, fields)

    def _entry(self, line: int, fields: Mapping[str, Any]) -> Read:
        problems: list[Problem] = []

        def take(name: str, read: Callable[[str], Any], missing: Any) -> Any:
            given = fields.get(name)
            if given is None or given == "":
                return missing
            try:
                if not isinstance(given, str):
                    raise ValidationError.single("", f"must be text, not {type(given).__name__}")
                return read(given)
            except ValidationError as error:
                problems.extend(error.under(name))
                return missing

        email, key = take("address", plain_key, ("", ""))
        reason = take("reason", _reason, self._reason)
        default = SuppressionScope.MARKETING if reason is SuppressionReason.UNSUBSCRIBE else SuppressionScope.ALL
        entry = Entry(
            line=line,
            email=email,
            key=key,
            scope=take("scope", _scope, default),
            reason=reason,
            source=take("source", _source, self._source),
            added=take("added", _seconds, None),
            expires=take("expires", _seconds, None),
        )
        if not email and not problems:
            problems.append(Problem("address", "is missing"))
        if problems:
            kept = {name: value for name, value in fields.items() if name}
            return BadRow(line=line, problems=tuple(problems), fields=kept)
        return entry


class Rejects:
    """Where refused rows go: a file of the same form, made with the first of them."""

    def __init__(self, path: Path, *, as_json: bool) -> None:
        self.path = path
        self.count = 0
        self._as_json = as_json
        self._file: TextIO | None = None

    def add(self, row: BadRow) -> None:
        """Write a row, with what is wrong with it."""
        if self._file is None:
            self._file = self.path.open("w", encoding="utf-8", errors="surrogateescape", newline="")
            if not self._as_json:
                self._file.write(_line([*COLUMNS, PROBLEM]))
        self.count += 1
        said = "; ".join(str(problem) for problem in row.problems)
        if self._as_json:
            self._file.write(json.dumps({**(row.fields or {"text": row.text}), PROBLEM: said}) + "\n")
        else:
            fields = row.fields or {"address": row.text.strip()}
            self._file.write(_line([*(str(fields.get(name) or "") for name in COLUMNS), said]))

    def close(self) -> None:
        """All rows are there."""
        if self._file is not None:
            self._file.close()


def write(file: TextIO, suppressions: Iterable[Suppression], *, as_json: bool, header: bool) -> None:
    """Write suppressions in the form that is read again."""
    if header and not as_json:
        file.write(_line(COLUMNS))
    for each in suppressions:
        added = each.added.astimezone(UTC).isoformat()
        expires = None if each.expires is None else each.expires.astimezone(UTC).isoformat()
        cells = (each.address.email, each.scope.value, each.reason.value, each.source, added, expires)
        if as_json:
            file.write(json.dumps(dict(zip(COLUMNS, cells, strict=True)), ensure_ascii=False) + "\n")
        else:
            file.write(_line([cell or "" for cell in cells]))


def plain_key(text: str) -> tuple[str, str]:
    """The address alone, and the spelling it is found under; as ``Address`` has them, in a third of its time."""
    found = _PLAIN.match(text)
    if found is None or len(text) > 254 or len(found[1]) > MAX_LOCAL_BYTES:
        address = Address.parse(text)
        return address.email, address.key
    domain = _domain(found[2])
    local = found[1]
    return f"{local}@{domain}", f"{local.lower()}@{domain}"


@lru_cache(maxsize=4096)
def _domain(text: str) -> str:
    return Address.parse(f"a@{text}").domain


def _reason(text: str) -> SuppressionReason:
    return _one_of(SuppressionReason, text)


def _scope(text: str) -> SuppressionScope:
    return _one_of(SuppressionScope, text)


def _one_of(choices: type[E], text: str) -> E:
    try:
        return choices(text.strip().lower())
    except ValueError:
        listed = ", ".join(choices)
        raise ValidationError.single("", f"{text[:40]!r} is not one of the choices", f"use {listed}") from None


def _source(text: str) -> str:
    # Said in one line wherever it is shown.
    return " ".join(text[:_MOST_FIELD_CHARACTERS].encode("utf-8", "replace").decode().split())[:1000]


@lru_cache(maxsize=1024)
def _seconds(text: str) -> float:
    try:
        time = datetime.fromisoformat(text.strip())
    except ValueError:
        raise ValidationError.single("", f"{text[:40]!r} is not a time", _TIME_FIX) from None
    return (time if time.tzinfo is not None else time.replace(tzinfo=UTC)).timestamp()


def _line(cells: Iterable[str]) -> str:
    return ",".join(_cell(cell) for cell in cells) + "\n"


def _cell(text: str) -> str:
    if _SPECIAL.isdisjoint(text):
        return text
    doubled = text.replace('"', '""')
    return f'"{doubled}"'
