"""The copies of a batch as bytes: a message that goes out more than once is compiled, and compiled once."""

from __future__ import annotations

import asyncio
from datetime import datetime
from typing import Final

from genie_connect.mime import CompiledMessage, Composed, compile_message, compose
from genie_connect.model.attachment import FileContent
from genie_connect.model.batch import Batch, Delivery
from genie_connect_smtp.echoed import marking

_IN_THREAD_CHARACTERS: Final = 256 * 1024
_IN_THREAD_BYTES: Final = 1024 * 1024
"""Encoding this much would hold the event loop up for some milliseconds."""


class BatchComposer:
    """Composes the copies of one batch, all with the same ``date`` and from the same envelope sender.

    ``provider`` reads the webhooks of the connection, and may want a header field for them.
    """

    def __init__(self, batch: Batch, date: datetime, provider: str | None = None) -> None:
        self.date = date
        self.envelope_from = batch.envelope_from
        self._batch = batch
        self._marked = marking(provider, batch)
        self._alone = len(batch.deliveries) == 1
        message = batch.message
        self._long_text = len(message.text or "") + len(message.html or "") > _IN_THREAD_CHARACTERS
        files = any(isinstance(attachment.content, FileContent) for attachment in message.attachments)
        size_bytes = sum(attachment.size_bytes for attachment in message.attachments)
        self._slow_to_compile = self._long_text or files or size_bytes > _IN_THREAD_BYTES
        self._compiling = asyncio.Lock()
        self._compiled: CompiledMessage | None = None

    def compose_now(self, delivery: Delivery, *, eight_bit: bool) -> Composed | None:
        """One copy, or ``None`` where that would hold the event loop up and ``compose`` has to be waited for.

        Raises what ``compose`` raises.
        """
        if self._long_text:
            return None
        if self._marked is not None:
            delivery = self._marked(delivery)
        if self._alone:
            return self._at_once(delivery, date=self.date, eight_bit=eight_bit)
        if self._compiled is None:
            if self._slow_to_compile or self._compiling.locked():
                return None
            self._compiled = compile_message(self._batch)
        return self._compiled.compose(delivery, date=self.date, eight_bit=eight_bit)

    async def compose(self, delivery: Delivery, *, eight_bit: bool) -> Composed:
        """One copy. Raises ``ValidationError``, ``UnsafeMessage``, and ``OSError`` for a file that cannot be read."""
        if self._marked is not None:
            delivery = self._marked(delivery)
        make = (await self._compiled_message()).compose if not self._alone else self._at_once
        if self._long_text:
            return await asyncio.to_thread(make, delivery, date=self.date, eight_bit=eight_bit)
        return make(delivery, date=self.date, eight_bit=eight_bit)

    def _at_once(self, delivery: Delivery, *, date: datetime, eight_bit: bool) -> Composed:
        return compose(self._batch, delivery, date=date, eight_bit=eight_bit)

    async def _compiled_message(self) -> CompiledMessage:
        if self._compiled is not None:
            return self._compiled
        async with self._compiling:
            if self._compiled is None:
                if self._slow_to_compile:
                    self._compiled = await asyncio.to_thread(compile_message, self._batch)
                else:
                    self._compiled = compile_message(self._batch)
            return self._compiled
