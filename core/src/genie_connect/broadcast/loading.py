"""Loading a broadcast: every row is read and checked, and each mailbox taken once, before anybody is sent to."""

from __future__ import annotations

from contextlib import aclosing, suppress
from pathlib import Path
from typing import Final

import attrs

from genie_connect.broadcast.recipients import Source, is_file, rows
from genie_connect.broadcast.rejects import Rejects
from genie_connect.broadcast.row import Row
from genie_connect.broadcast.sieve import Sieve
from genie_connect.durable.content import BroadcastOptions, message_bytes, packed
from genie_connect.errors import BroadcastStateError, GenieConnectError, Problem, StoreError, ValidationError
from genie_connect.failpoints import point
from genie_connect.model.batch import Recipient
from genie_connect.model.message import Message
from genie_connect.store.broadcasts import BroadcastRecord, Broadcasts, Chunk, NewBroadcast
from genie_connect.store.packing import Packed, pack

CHUNKS_AT_ONCE: Final = 20
"""So many chunks are written in one transaction."""
MOST_SHOWN: Final = 100
"""So many broken rows are told one by one in an error."""


@attrs.frozen(kw_only=True)
class LoadOptions:
    """How to load. Without ``strict``, broken rows go to ``rejects``, and the others are sent to."""

    name: str
    chunk: int
    strict: bool = False
    rejects: Path | None = None
    priority: int = 0
    not_before: float | None = None
    expires: float | None = None


class Loader:
    """Loads one broadcast."""

    def __init__(self, broadcasts: Broadcasts, message: Message, options: LoadOptions) -> None:
        self._broadcasts = broadcasts
        self._message = message
        self._options = options
        self._sieve = Sieve(message)
        self._waiting: list[Packed] = []
        self._chunks: list[Chunk] = []
        self._number = 0
        self._told_of = 0
        self._problems: list[Problem] = []
        self.rejects: Path | None = None
        """Where the broken rows are, if there were any."""

    async def run(self, source: Source, sender_domain: str, how: BroadcastOptions) -> BroadcastRecord:
        """Read everything.

        Raises ``ValidationError`` for broken rows that nothing else is to be done with, and where nobody is left to be
        sent to; and ``UnusableList`` for files that cannot be read or written.
        """
        options = self._options
        beside = Path(source) if is_file(source) else None  # type: ignore[arg-type]  # that is what is_file says
        rejects = Rejects(None, beside=None) if options.strict else Rejects(options.rejects, beside=beside)
        new = NewBroadcast(
            name=self._options.name,
            message=message_bytes(self._message),
            sender_domain=sender_domain,
            options=how.to_json(),
        )
        broadcast = await self._broadcasts.create(new)
        point("load.created")
        try:
            with rejects:
                async with aclosing(rows(source)) as batches:
                    async for batch in batches:
                        for row in batch:
                            self._take(row, rejects)
                        await self._write(broadcast, CHUNKS_AT_ONCE)
            self.rejects = rejects.path
            if self._problems:
                raise ValidationError(self._told(), what="recipients")
            self._close_chunk()
            if not self._number:
                raise self._nobody(rejects)
            await self._write(broadcast, 1)
            point("load.written")
            record = await self._broadcasts.seal(
                broadcast, duplicates=self._sieve.duplicates, refused_rows=self._sieve.broken
            )
        except BaseException as error:
            # What was not loaded whole is never sent to. Where the process dies it stays loading, which never starts.
            with suppress(BroadcastStateError, StoreError):
                await self._broadcasts.stop(broadcast, reason=f"it was not loaded: {_why(error)}")
            raise
        point("load.sealed")
        return record

    def _take(self, row: Row, rejects: Rejects) -> None:
        taken = self._sieve.take(row)
        if isinstance(taken, Recipient):
            self._waiting.append(packed(taken))
            if len(self._waiting) == self._options.chunk:
                self._close_chunk()
        elif taken is not None and rejects.possible:
            rejects.add(row, taken)
        elif taken is not None and self._told_of < MOST_SHOWN:
            self._told_of += 1
            self._problems.extend(problem.under(f"row {row.number}") for problem in taken)

    def _told(self) -> list[Problem]:
        more = self._sieve.broken - self._told_of
        hint = "repair them, or leave strict out and give a file for rejects to send to the others"
        return [*self._problems, Problem("", f"{more} more rows are broken", hint)] if more else self._problems

    def _nobody(self, rejects: Rejects) -> ValidationError:
        if rejects.path is None:
            return ValidationError.single("recipients", "there is nobody in the list", "give at least one recipient")
        cause = f"nobody is left to be sent to: {self._sieve.broken} of {self._sieve.broken} rows are broken"
        return ValidationError.single("recipients", cause, f"look into {rejects.path}")

    def _close_chunk(self) -> None:
        if not self._waiting:
            return
        options = self._options
        self._chunks.append(
            Chunk(
                number=self._number,
                size=len(self._waiting),
                recipients=pack(self._waiting),
                priority=options.priority,
                not_before=options.not_before,
                expires=options.expires,
            )
        )
        self._number += 1
        self._waiting = []

    async def _write(self, broadcast: int, least: int) -> None:
        if self._problems:
            # The whole list is refused: the rest of it is read only to tell what else is wrong.
            self._chunks.clear()
        if self._chunks and len(self._chunks) >= least:
            chunks, self._chunks = self._chunks, []
            await self._broadcasts.add(broadcast, chunks)
            point("load.chunks")


def _why(error: BaseException) -> str:
    """The cause, and what to do, for whoever finds the broadcast stopped."""
    if isinstance(error, ValidationError):
        first, more = error.problems[0], len(error.problems) - 1
        return f"{first}" + (f", and {more} further problem{'s' * (more > 1)}" if more else "")
    if isinstance(error, GenieConnectError):
        return f"{error.message}" + (f"; {error.hint}" if error.hint else "")
    if isinstance(error, Exception):
        # What an application's own list says may hold anything.
        return f"to read the list raised {type(error).__name__}; repair that, and load it anew"
    return "loading was interrupted; load it anew"
