"""Reading recipients: from anything that can be iterated, and from CSV, JSON Lines and Parquet files of any size.

Every row becomes a recipient or a problem with its number, field, cause and fix. Files are read off the event loop,
some hundreds of rows at a time, so that a file of ten million rows takes no more memory than one of a thousand.

A row of a file has a column with the address (``email``, ``address`` or ``to``), may have ``name``, and columns
``header:NAME`` and ``meta:NAME``; every other column is merge data of that name. An empty cell is no value.
"""

from __future__ import annotations

import asyncio
import gzip
import json
import zlib
from collections.abc import AsyncGenerator, AsyncIterable, Callable, Generator, Iterable, Iterator, Mapping
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import IO, Any, Final, TypeAlias

from genie_connect.broadcast.columns import Columns, recipient_of
from genie_connect.broadcast.csv_rows import csv_rows
from genie_connect.broadcast.row import Row
from genie_connect.errors import ConfigurationError, Problem, UnusableList, ValidationError
from genie_connect.model.address import AddressLike
from genie_connect.model.batch import Recipient

ROWS_AT_ONCE: Final = 500
Given: TypeAlias = "Recipient | AddressLike | Mapping[str, Any]"
Source: TypeAlias = "str | Path | Iterable[Given] | AsyncIterable[Given]"


def is_file(source: Source) -> bool:
    """Whether recipients come from a file."""
    return isinstance(source, str | Path)


async def rows(source: Source) -> AsyncGenerator[list[Row]]:
    """All rows, some at a time. Raises ``UnusableList`` for a file that cannot be read at all."""
    if isinstance(source, str | Path):
        reader = _file_rows(Path(source))
        try:
            while batch := await asyncio.to_thread(_some, reader):
                yield batch
        finally:
            # Cancelled while the thread reads, it is closed once that has ended and nobody holds it any more.
            with suppress(ValueError):
                reader.close()
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


def _file_rows(path: Path) -> Generator[Row]:
    suffixes = [suffix.lower() for suffix in path.suffixes]
    packed = suffixes[-1:] == [".gz"]
    kind = (suffixes[-2:-1] if packed else suffixes[-1:]) or [""]
    reader = _READERS.get(kind[0])
    if reader is None:
        raise UnusableList(
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
        raise UnusableList(f"there is no file {path}", hint="look at the path") from None
    except (OSError, EOFError, zlib.error) as error:
        raise UnusableList(f"the file {path} cannot be read: {error}") from None


def _plainly(path: Path) -> IO[bytes]:
    return path.open("rb")


def _unpacked(path: Path) -> IO[bytes]:
    return gzip.GzipFile(path)  # type: ignore[return-value]  # it has what is used of a binary file


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
            yield _row(number, _texts(given))
        elif isinstance(given, str):
            yield _row(number, given)
        else:
            yield Row(number, None, (Problem("", "is no object", "write one object a line"),), _shown(line))


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
        raise UnusableList(f"{path} is no Parquet file", hint="name another file") from None
    with file:
        Columns(file.schema_arrow.names)
        number = 0
        for batch in file.iter_batches(batch_size=ROWS_AT_ONCE):
            for given in batch.to_pylist():
                number += 1
                yield _row(number, {key: _plain(value) for key, value in _texts(given).items()})


def _texts(given: Mapping[str, Any]) -> dict[str, Any]:
    """A row with yes and no as the words that a spreadsheet would hold."""
    return {key: _text(value) for key, value in given.items()}


def _text(value: Any) -> Any:
    if isinstance(value, Mapping):
        return _texts(value)
    return str(value).lower() if isinstance(value, bool) else value


def _plain(value: Any) -> Any:
    if isinstance(value, bytes):
        return value.decode("utf-8", "surrogateescape")
    return value if value is None or isinstance(value, str | int | float | Mapping) else str(value)


_READERS: Final[Mapping[str, Callable[[IO[bytes]], Iterator[Row]]]] = {
    ".csv": csv_rows,
    ".tsv": csv_rows,
    ".jsonl": _json_lines,
    ".ndjson": _json_lines,
    ".parquet": csv_rows,
}
