"""Reading recipients: from anything that can be iterated, and from CSV, JSON Lines and Parquet files of any size.

Every row becomes a recipient or a problem with its number, field, cause and fix. Files are read off the event loop,
some hundreds of rows at a time, so that a file of ten million rows takes no more memory than one of a thousand.

A row of a file has a column with the address (``email``, ``address`` or ``to``), may have ``name``, and columns
``header:NAME`` and ``meta:NAME``; every other column is merge data of that name. An empty cell is no value.
"""

from __future__ import annotations

import asyncio
import csv
import gzip
import io
import json
from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable, Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import IO, Any, Final, NamedTuple, TypeAlias

from genie_connect.errors import ConfigurationError, Problem, ValidationError
from genie_connect.model.address import Address, AddressLike
from genie_connect.model.batch import Recipient

ROWS_AT_ONCE: Final = 500
ADDRESS_COLUMNS: Final = ("email", "address", "to", "e-mail", "mail")
HEADER_PREFIX: Final = "header:"
META_PREFIX: Final = "meta:"
Given: TypeAlias = "Recipient | AddressLike | Mapping[str, Any]"
Source: TypeAlias = "str | Path | Iterable[Given] | AsyncIterable[Given]"


class Row(NamedTuple):
    """One row: its number in the source from 1, a recipient or problems, and what was given, for the reject file."""

    number: int
    recipient: Recipient | None
    problems: tuple[Problem, ...]
    given: Any


def is_file(source: Source) -> bool:
    """Whether recipients come from a file."""
    return isinstance(source, str | Path)


async def rows(source: Source) -> AsyncIterator[list[Row]]:
    """All rows, some at a time. Raises ``ConfigurationError`` for a file that cannot be read at all."""
    if isinstance(source, str | Path):
        reader = _file_rows(Path(source))
        while batch := await asyncio.to_thread(_some, reader):
            yield batch
    elif isinstance(source, AsyncIterable):
        collected: list[Row] = []
        number = 0
        async for given in source:
            number += 1
            collected.append(_row(number, given))
            if len(collected) == ROWS_AT_ONCE:
                yield collected
                collected = []
        if collected:
            yield collected
    else:
        numbered = (_row(number, given) for number, given in enumerate(source, 1))
        while batch := _some(numbered):
            yield batch
            # What was given may be a generator that never waits: others on the loop have their turn here.
            await asyncio.sleep(0)


def _some(reader: Iterator[Row]) -> list[Row]:
    return list(islice(reader, ROWS_AT_ONCE))


def _row(number: int, given: Given) -> Row:
    try:
        return Row(number, recipient_of(given), (), given)
    except ValidationError as error:
        return Row(number, None, error.problems, given)


def recipient_of(given: Given) -> Recipient:
    """A recipient from whatever it was given as. Raises ``ValidationError``."""
    if isinstance(given, Recipient):
        return given
    if isinstance(given, Mapping):
        return _from_mapping(given)
    return Recipient(address=given)


def _from_mapping(given: Mapping[str, Any]) -> Recipient:
    address: Any = None
    name = ""
    merge: dict[str, str] = {}
    headers: dict[str, str] = {}
    metadata: dict[str, str] = {}
    for key, value in given.items():
        if value is None or value == "":
            continue
        lower = key.lower()
        if lower in ADDRESS_COLUMNS and address is None:
            address = value
        elif lower.startswith(HEADER_PREFIX):
            headers[key[len(HEADER_PREFIX) :]] = value
        elif lower.startswith(META_PREFIX):
            metadata[key[len(META_PREFIX) :]] = value
        else:
            merge[key] = value
            if lower == "name":
                name = str(value)
    if address is None:
        raise ValidationError.single(
            "email", "has no value", f"give one of the columns {', '.join(ADDRESS_COLUMNS[:3])}"
        )
    if name and isinstance(address, str) and "<" not in address:
        address = _named(address, name)
    return Recipient(address=address, merge=merge, headers=headers, metadata=metadata)


def _named(email: str, name: str) -> Address | str:
    parsed = Address.parse(email.strip())
    return Address(name=name, local=parsed.local, domain=parsed.domain)


def _file_rows(path: Path) -> Iterator[Row]:
    suffixes = [suffix.lower() for suffix in path.suffixes]
    packed = suffixes[-1:] == [".gz"]
    kind = (suffixes[-2:-1] if packed else suffixes[-1:]) or [""]
    reader = _READERS.get(kind[0])
    if reader is None:
        raise ConfigurationError(
            f"{path.name}: recipients are not read from such a file", hint=f"give one of {', '.join(_READERS)}"
        )
    try:
        open_file: Callable[[Path], IO[bytes]] = _unpacked if packed else _plainly
        if kind[0] == ".parquet":
            yield from _parquet(path)
            return
        with open_file(path) as file:
            yield from reader(file)
    except FileNotFoundError:
        raise ConfigurationError(f"there is no file {path}", hint="look at the path") from None
    except (OSError, EOFError) as error:
        raise ConfigurationError(f"the file {path} cannot be read: {error}") from None


def _plainly(path: Path) -> IO[bytes]:
    return path.open("rb")


def _unpacked(path: Path) -> IO[bytes]:
    return gzip.GzipFile(path)  # type: ignore[return-value]  # it has what is used of a binary file


def _csv(file: IO[bytes]) -> Iterator[Row]:
    lines = io.TextIOWrapper(file, encoding="utf-8-sig", errors="surrogateescape", newline="")
    head = lines.readline()
    delimiter = max(",;\t|", key=head.count)
    columns = [column.strip() for column in next(csv.reader([head], delimiter=delimiter), [])]
    if not any(column.lower() in ADDRESS_COLUMNS for column in columns):
        raise ConfigurationError(
            f"no column of the recipients file holds the address: it has {', '.join(columns[:20]) or 'none'}",
            hint=f"name one of them {', '.join(ADDRESS_COLUMNS[:3])}; the first line must hold the names",
        )
    reader = csv.reader(lines, delimiter=delimiter)
    while True:
        try:
            values = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            yield Row(reader.line_num + 1, None, (Problem("", f"is no line of CSV: {error}", "repair it"),), "")
            continue
        if values:
            yield _csv_row(reader.line_num + 1, columns, values)


def _csv_row(number: int, columns: list[str], values: list[str]) -> Row:
    given = dict(zip(columns, values, strict=False))
    if len(values) != len(columns):
        cause = f"has {len(values)} values where there are {len(columns)} columns"
        problem = Problem("", cause, "put values that hold the separator in quotes")
        return Row(number, None, (problem,), values)
    if any("\udc80" <= character <= "\udcff" for value in values for character in value if not value.isascii()):
        return Row(number, None, (Problem("", "is not UTF-8", "save the file as UTF-8"),), values)
    return _row(number, given)


def _json_lines(file: IO[bytes]) -> Iterator[Row]:
    for number, line in enumerate(file, 1):
        if not line.strip():
            continue
        try:
            given = json.loads(line)
        except (ValueError, RecursionError):
            yield Row(number, None, (Problem("", "is no line of JSON", "write one object a line"),), _shown(line))
            continue
        if isinstance(given, Mapping):
            given = _flat(given)
        elif not isinstance(given, str):
            yield Row(number, None, (Problem("", "is no object", "write one object a line"),), _shown(line))
            continue
        yield _row(number, given)


def _flat(given: Mapping[str, Any]) -> dict[str, Any]:
    """An object in the shape of ``Recipient``, or in that of a CSV row, as the latter."""
    flat: dict[str, Any] = {}
    for key, value in given.items():
        if isinstance(value, Mapping):
            prefix = {"merge": "", "headers": HEADER_PREFIX, "metadata": META_PREFIX}.get(key, f"{key}.")
            flat.update({f"{prefix}{name}": each for name, each in value.items()})
        else:
            flat[key] = value
    return flat


def _shown(line: bytes) -> str:
    return line.decode("utf-8", "replace").rstrip("\r\n")


def _parquet(path: Path) -> Iterator[Row]:
    try:
        # A large library that only this needs.
        from pyarrow import ArrowInvalid, parquet  # type: ignore[import-untyped]
    except ImportError:
        hint = "pip install 'genie-connect[parquet]'"
        raise ConfigurationError("reading Parquet files needs a package that is not installed", hint=hint) from None
    try:
        file = parquet.ParquetFile(path)
    except ArrowInvalid:
        raise ConfigurationError(f"{path} is no Parquet file", hint="name another file") from None
    number = 0
    for batch in file.iter_batches(batch_size=ROWS_AT_ONCE):
        for given in batch.to_pylist():
            number += 1
            yield _row(number, _flat({key: _plain(value) for key, value in given.items()}))


def _plain(value: Any) -> Any:
    return value if value is None or isinstance(value, str | int | float | Mapping) else str(value)


_READERS: Final[Mapping[str, Callable[[IO[bytes]], Iterator[Row]]]] = {
    ".csv": _csv,
    ".tsv": _csv,
    ".jsonl": _json_lines,
    ".ndjson": _json_lines,
    ".parquet": _csv,
}
