"""``suppressions import`` and ``suppressions export``."""

from __future__ import annotations

import asyncio
import itertools
import sys
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import attrs
import click

from genie_connect.cli.exit_codes import ExitCode
from genie_connect.cli.options import Command, Options, pass_options
from genie_connect.cli.stores import suppression_list
from genie_connect.delivery.suppression import SuppressionStore
from genie_connect.delivery.suppression_files import BadRow, Entry, Rejects, SuppressionFile, write
from genie_connect.errors import Problem, ValidationError
from genie_connect.model.suppression import Suppression, SuppressionReason

if TYPE_CHECKING:
    from genie_connect.store.suppressions import Kept

AT_ONCE: Final = 10_000
SHOWN: Final = 20
"""How many bad rows are told; the reject file has all of them."""


@attrs.define
class _Counts:
    rows: int = 0
    added: int | None = None
    replaced: int | None = None
    unchanged: int | None = None

    def count(self, kept: Kept) -> None:
        self.added = (self.added or 0) + kept.added
        self.replaced = (self.replaced or 0) + kept.replaced
        self.unchanged = (self.unchanged or 0) + kept.unchanged


@click.command("import", cls=Command)
@click.argument("file", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option("--reason", type=click.Choice([each.value for each in SuppressionReason]), help="Of rows that say none.")
@click.option("--source", metavar="TEXT", help="Of rows that say none.  [default: the file's name]")
@click.option("--strict", is_flag=True, help="Import nothing if any row is bad.")
@click.option(
    "--rejects",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Where bad rows are written.  [default: beside the file, with .rejects in its name]",
)
@pass_options
def import_(
    options: Options, file: Path, reason: str | None, source: str | None, strict: bool, rejects: Path | None
) -> ExitCode:
    """Import a list: CSV with a first line of column names, or JSON Lines (.jsonl).

    Columns: address (or email), scope, reason, source, added, expires; a list of bare addresses needs no first line. It
    can be imported again: what is there already stays as it is. Of several rows for one address the last counts. Bad
    rows are told, and written to a file of the same form, to be mended and imported.
    """
    read = SuppressionFile(
        file, source=source or file.name, reason=SuppressionReason(reason or SuppressionReason.MANUAL)
    )
    if strict:
        _refuse_bad(read)
    refused = Rejects(rejects or file.with_name(f"{file.stem}.rejects{file.suffix}"), as_json=read.is_json)
    told: list[BadRow] = []
    with closing(refused):
        counts = asyncio.run(_import(options, _good(read, refused, told)))
    _report(options, read, counts, refused, told)
    return ExitCode.ERROR if refused.count else ExitCode.OK


@click.command("export", cls=Command)
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False, allow_dash=True))
@pass_options
def export(options: Options, file: Path) -> None:
    """Export the whole list: as JSON Lines where the name ends in .jsonl, else as CSV. - is standard output, as CSV."""
    if str(file) == "-":
        asyncio.run(_export(options, sys.stdout, as_json=False))
        return
    # Whoever reads the file under its name finds all of it or nothing.
    part = file.with_name(f".{file.name}.part")
    try:
        with part.open("w", encoding="utf-8", newline="") as out:
            count = asyncio.run(_export(options, out, as_json=file.suffix.lower() in (".jsonl", ".ndjson")))
        part.replace(file)
    finally:
        part.unlink(missing_ok=True)
    if options.terminal.json:
        options.terminal.document({"exported": count, "file": str(file)})
    else:
        options.terminal.say(f"{count} suppressions written to {file}")


def _good(read: SuppressionFile, refused: Rejects, told: list[BadRow]) -> Iterator[Entry]:
    for each in read:
        if isinstance(each, BadRow):
            refused.add(each)
            if len(told) < SHOWN:
                told.append(each)
        else:
            yield each


def _refuse_bad(read: SuppressionFile) -> None:
    bad = list(itertools.islice((each for each in read if isinstance(each, BadRow)), SHOWN))
    if bad:
        problems = [problem.under(f"line {each.line}") for each in bad for problem in each.problems]
        raise ValidationError(problems, what=f"list {read.path}, of which nothing was imported")


async def _import(options: Options, entries: Iterable[Entry]) -> _Counts:
    counts = _Counts()
    now = datetime.now(UTC).timestamp()
    async with suppression_list(options) as (store, _):
        read = _counted(entries, counts)
        if hasattr(store, "put_list"):
            counts.count(await _import_in_sql(store, read, now))
        else:
            while batch := [each.suppression(now) for each in itertools.islice(read, AT_ONCE)]:
                await store.put(batch)
    return counts


def _counted(entries: Iterable[Entry], counts: _Counts) -> Iterator[Entry]:
    for each in entries:
        counts.rows += 1
        yield each


async def _import_in_sql(store: SuppressionStore, entries: Iterable[Entry], now: float) -> Kept:
    from genie_connect.store.suppressions import SqlSuppressions, entry_rows  # SQL is an extra

    if not isinstance(store, SqlSuppressions):
        raise TypeError(f"{type(store).__name__} is no store of suppressions")
    return await store.put_list(entry_rows(await store.key(), entries, now))


async def _export(options: Options, out: Any, *, as_json: bool) -> int:
    count = 0
    async with suppression_list(options) as (store, _):
        async for page in _pages(store):
            write(out, page, as_json=as_json, header=not count)
            count += len(page)
    if not count:
        write(out, (), as_json=as_json, header=True)
    return count


async def _pages(store: SuppressionStore) -> AsyncIterator[Sequence[Suppression]]:
    if hasattr(store, "rows"):
        from genie_connect.store.suppressions import to_suppression  # SQL is an extra

        async for rows in store.rows():
            yield [to_suppression(row) for row in rows]
        return
    yield [each async for each in store.all()]


def _report(options: Options, read: SuppressionFile, counts: _Counts, refused: Rejects, told: Iterable[BadRow]) -> None:
    terminal = options.terminal
    if terminal.json:
        bad = [{"line": each.line, "problems": [_plain(problem) for problem in each.problems]} for each in told]
        facts = {"imported": attrs.asdict(counts), "ignored_columns": list(read.ignored)}
        where = str(refused.path) if refused.count else None
        terminal.document({**facts, "bad_rows": refused.count, "bad": bad, "rejects": where})
        return
    more = ""
    if counts.added is not None:
        more = f" ({counts.added} new, {counts.replaced} changed, {counts.unchanged} there already)"
    terminal.line(f"{counts.rows} rows imported{more}")
    if read.ignored:
        terminal.say(f"columns that say nothing here: {', '.join(read.ignored)}")
    for each in told:
        terminal.say(f"line {each.line}: {'; '.join(str(problem) for problem in each.problems)}")
    if refused.count:
        terminal.say(f"{refused.count} bad rows are in {refused.path}: mend them, and import that file")


def _plain(problem: Problem) -> dict[str, str]:
    return {"field": problem.path, "message": problem.message, "fix": problem.fix}
