"""The hooks of a connector that puts each message into a folder of this machine.

Everything that touches the disk runs in a thread. A file that was begun is finished or taken away; whoever is left when
time is up, or when the connection is closed, stays here and is deferred.
"""

from __future__ import annotations

import asyncio
import errno
import itertools
import shutil
import threading
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import ClassVar

import attrs

from genie_connect.api import SUPPRESSIONS
from genie_connect.api.refusals import unreadable
from genie_connect.contract import ConnectorInfo, Runtime, SendContext, TestContext
from genie_connect.errors import ValidationError
from genie_connect.hookspecs import hookimpl
from genie_connect.http import outcome_of
from genie_connect.http.outcomes import UNKNOWN
from genie_connect.mime import Composed, compose, composer_of
from genie_connect.model.address import Address
from genie_connect.model.batch import Batch, Delivery, new_message_id
from genie_connect.model.capability import CapabilityTable, yes
from genie_connect.model.diagnosis import NO_SENDER, Status, Step
from genie_connect.model.message import Message
from genie_connect.model.outcome import Outcome, State
from genie_connect.model.settings import setting, settings
from genie_connect_contrib.local.checks import probed, tried
from genie_connect_contrib.local.writing import (
    FAILED,
    NotFlushed,
    UnreadableAttachment,
    attached,
    make_folder,
    verdict_of,
    write_new,
)
from genie_connect_contrib.shared import KEPT

MAX_BATCH = 500


def _folder_problem(value: str) -> str | None:
    return None if "\0" not in value and Path(value).expanduser().is_absolute() else "is not an absolute path"


@settings
class FolderSettings:
    """Settings of a connection that ends in a folder."""

    folder: str = setting(
        title="Folder",
        help="An absolute path on this machine; ~ is the home of the user whom the process runs as.",
        example="/srv/mail",
        check=_folder_problem,
    )
    create: bool = setting(
        title="Make the folder",
        help="Make it, and those above it, where they are not there; only their owner may look into them.",
        default=True,
    )

    @property
    def path(self) -> Path:
        """The folder."""
        return Path(self.folder).expanduser()


@attrs.frozen(kw_only=True)
class NewFile:
    """A file to be: its name on the way and in the end, the recipients it is for, and what stands above the message."""

    temporary: Path
    final: Path
    recipients: tuple[Address, ...]
    head: str = attrs.field(repr=False)


@attrs.frozen(kw_only=True, eq=False)
class FolderState:
    """The state of an open connection."""

    settings: FolderSettings
    closed: threading.Event = attrs.field(factory=threading.Event)
    numbers: Iterator[int] = attrs.field(factory=itertools.count, repr=False)


class FolderConnector:
    """What is the same for every kind of folder. ``folders`` and ``files`` are for a class of its own to give."""

    info: ConnectorInfo
    line_end: ClassVar[bytes] = b"\r\n"

    def folders(self, settings: FolderSettings) -> Sequence[Path]:
        """The folders that have to be there; files are written into the first."""
        raise NotImplementedError

    def files(
        self, state: FolderState, sender: Address, recipients: Sequence[Address], now: datetime
    ) -> Iterable[NewFile]:
        """The files that one copy becomes."""
        raise NotImplementedError

    @hookimpl
    def connector_info(self) -> ConnectorInfo:
        """What the connector is."""
        return self.info

    @hookimpl
    def connector_capabilities(self, settings: FolderSettings | None) -> CapabilityTable:
        """Whatever a message and an envelope can say."""
        return CapabilityTable(
            connector=self.info.id,
            entries=(
                yes("send.transactional", "nothing leaves this machine"),
                yes("send.broadcast", "nothing leaves this machine"),
                yes("send.attachments"),
                yes("send.inline_images"),
                yes("send.html"),
                yes("send.amp"),
                yes("send.cc_bcc"),
                yes("send.reply_to"),
                yes("send.headers"),
                yes("send.envelope_sender"),
                yes("send.international_addresses"),
                yes("send.batch", "one file after another", max_batch=MAX_BATCH),
                yes("send.merge", "filled in here, for each copy"),
                *KEPT,
                SUPPRESSIONS,
                yes("test.connection"),
                yes("test.message"),
            ),
        )

    @hookimpl
    async def connector_open(self, settings: FolderSettings, runtime: Runtime) -> FolderState:
        """Nothing is looked at yet."""
        return FolderState(settings=settings)

    @hookimpl
    async def connector_close(self, state: FolderState) -> None:
        """What is being written is finished; nothing more is begun."""
        state.closed.set()

    @hookimpl
    async def connector_send(self, state: FolderState, batch: Batch, context: SendContext) -> Sequence[Outcome]:
        """Write every copy: one outcome for each recipient, in their order."""
        given_up = threading.Event()

        def over() -> bool:
            return given_up.is_set() or state.closed.is_set() or context.remaining_s() <= 0

        try:
            return await asyncio.to_thread(self._put_all, state, batch, context.clock.now(), over)
        finally:
            given_up.set()  # a thread cannot be cancelled

    @hookimpl
    async def connector_test(self, settings: FolderSettings, context: TestContext) -> AsyncIterator[Step]:
        """The folder, a file that is written and taken away again, and one message where it is asked for."""
        step = await tried("folder", "Folder", lambda: self._found(settings), context)
        yield step
        if step.status is Status.OK:
            step = await tried("write", "Write a file", lambda: probed(self.folders(settings)[0]), context)
            yield step
        if step.status is Status.OK and context.send_to is not None:
            yield await self._message_step(settings, context.send_to, context)

    async def _message_step(self, settings: FolderSettings, to: Address, context: TestContext) -> Step:
        sender = context.default_from
        if sender is None:
            title = NO_SENDER.title
            return Step(id="message", title="Test message", status=Status.FAIL, summary=title, diagnosis=NO_SENDER)
        text = f"This is a test of the connection {context.connection}."
        delivery = Delivery(message_id=new_message_id(sender), recipients=(), to=(to,))
        message = Message(subject=f"Test of {context.connection}", text=text)
        batch, date = Batch(message=message, sender=sender, deliveries=(delivery,)), context.clock.now()

        def put() -> Mapping[str, str]:
            composed = compose(batch, delivery, date=date, eight_bit=True)
            (file,) = self.files(FolderState(settings=settings), sender, (to,), date)
            write_new(file.temporary, file.final, self._content(file, composed))
            return {"file": str(file.final)}

        return await tried("message", "Test message", put, context)

    def _found(self, settings: FolderSettings) -> Mapping[str, str | int]:
        self._make_folders(settings)
        return {"folder": str(settings.path), "free_bytes": shutil.disk_usage(settings.path).free}

    def _put_all(self, state: FolderState, batch: Batch, date: datetime, over: Callable[[], bool]) -> Sequence[Outcome]:
        try:
            self._make_folders(state.settings)
        except OSError as error:
            return [_not_written(recipient, error) for recipient in batch.recipients]
        try:
            make = composer_of(batch, copies=len(batch.deliveries))
        except (OSError, ValidationError) as error:
            return [unreadable(recipient, error) for recipient in batch.recipients]
        outcomes: list[Outcome] = []
        for delivery in batch.deliveries:
            try:
                composed = make(delivery, date=date, eight_bit=True)
            except (OSError, ValidationError) as error:
                outcomes += [unreadable(address, error) for address in delivery.addresses]
                continue
            for file in self.files(state, batch.envelope_from, delivery.addresses, date):
                outcomes += _late(file) if over() else self._put(file, composed)
        return outcomes

    def _put(self, file: NewFile, composed: Composed) -> list[Outcome]:
        try:
            write_new(file.temporary, file.final, self._content(file, composed))
        except OSError as error:
            return [_not_written(address, error) for address in file.recipients]
        except UnreadableAttachment as error:
            return [unreadable(address, error.cause) for address in file.recipients]
        except ValidationError as error:
            return [unreadable(address, error) for address in file.recipients]
        except NotFlushed as error:
            return [outcome_of(address, UNKNOWN, text=str(error)) for address in file.recipients]
        name = file.final.name
        return [
            Outcome(recipient=address.email, state=State.ACCEPTED, stage="final", provider_id=name)
            for address in file.recipients
        ]

    def _content(self, file: NewFile, composed: Composed) -> Iterator[bytes]:
        yield file.head.encode().replace(b"\r\n", self.line_end)
        for chunk in attached(composed.chunks()):
            yield chunk if self.line_end == b"\r\n" else chunk.replace(b"\r\n", self.line_end)

    def _make_folders(self, settings: FolderSettings) -> None:
        for folder in self.folders(settings):
            if settings.create:
                make_folder(folder)
            elif not folder.is_dir():
                raise NotADirectoryError(errno.ENOTDIR, "there is no such folder")


def _not_written(address: Address, error: OSError) -> Outcome:
    return outcome_of(address, verdict_of(error), stage="connect", text=error.strerror or str(error))


def _late(file: NewFile) -> list[Outcome]:
    text = "there was no time left, or the connection was closed"
    return [outcome_of(address, FAILED, stage="plan", text=text) for address in file.recipients]
