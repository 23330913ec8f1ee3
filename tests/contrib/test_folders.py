"""The connectors that write into a folder: whole files or none, and an envelope beside the message."""

from __future__ import annotations

import asyncio
import errno
import mailbox
import threading
from collections.abc import AsyncIterator, Iterable, Iterator
from email import message_from_bytes, policy
from pathlib import Path
from typing import Any

import pytest

from genie_connect import Attachment, Host, Message, Registry, SettingsError, State, Status
from genie_connect.clock import SystemClock
from genie_connect.contract import SendContext, TestContext
from genie_connect.model.address import Address
from genie_connect.model.batch import Batch, Recipient
from genie_connect.model.diagnosis import Step
from genie_connect.model.outcome import Outcome
from genie_connect_contrib import file, maildir
from genie_connect_contrib.local.connector import FolderConnector, FolderState, NewFile
from genie_connect_contrib.local.writing import verdict_of, write_new
from tests.contrib.providers.harness import batch_of, context

CONNECTORS = (file.connector, maildir.connector)
SHOP = Address.parse("Shop <shop@example.com>")
EVERYTHING: dict[str, Any] = {
    "to": ["Ada <ada@example.com>"],
    "cc": ["bob@example.com"],
    "bcc": ["jürgen@example.com"],
    "envelope_from": "bounces+7@example.com",
    "subject": "../../etc/passwd %2F \\x00 Größe",
    "text": ".\n..\nFrom here\n" + "ü" * 500,
    "html": '<img src="cid:logo">',
    "attachments": [Attachment(filename="../logo.png", content=bytes(range(256)), content_id="logo")],
}


def _settings(connector: FolderConnector, folder: Path, **more: Any) -> Any:
    return connector.info.settings_class(folder=str(folder), **more)


async def _sent(connector: FolderConnector, folder: Path, batch: Batch, **more: Any) -> list[Outcome]:
    state = FolderState(settings=_settings(connector, folder, **more))
    return list(await connector.connector_send(state, batch, context()))


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


async def test_a_copy_becomes_one_eml_below_its_envelope(tmp_path: Path) -> None:
    """Its name holds nothing of the message; blind copies are named in the envelope alone."""
    batch = await batch_of(Message(**EVERYTHING))
    outcomes = await _sent(file.connector, tmp_path / "a" / "b", batch)
    (path,) = _files(tmp_path)
    assert path.parent == tmp_path / "a" / "b"
    assert {each.provider_id for each in outcomes} == {path.name}
    assert path.stat().st_mode & 0o777 == 0o600
    assert {folder.stat().st_mode & 0o777 for folder in (path.parent, path.parent.parent)} == {0o700}
    lines = path.read_bytes().split(b"\r\n")
    assert [line.decode() for line in lines[:4]] == [
        "X-Envelope-From: <bounces+7@example.com>",
        "X-Envelope-To: <ada@example.com>",
        "X-Envelope-To: <bob@example.com>",
        "X-Envelope-To: <jürgen@example.com>",
    ]
    assert b"\n" not in b"".join(lines)
    below = b"\r\n".join(lines[4:])
    assert "jürgen".encode() not in below
    read = message_from_bytes(below, policy=policy.default)
    assert (read["Message-ID"], read["Subject"]) == ("<1@example.com>", EVERYTHING["subject"])


async def test_a_maildir_has_a_file_for_each_recipient_as_mail_readers_want_it(tmp_path: Path) -> None:
    """Read with another reader of Maildir: whole, unread, nothing left in tmp, and no blind copy of another."""
    batch = await batch_of(Message(**EVERYTHING))
    outcomes = await _sent(maildir.connector, tmp_path, batch)
    assert [path.parent.name for path in _files(tmp_path)] == ["new"] * 3
    assert {path.name for path in _files(tmp_path)} == {each.provider_id for each in outcomes}
    box = mailbox.Maildir(tmp_path, create=False)
    with_ids = {outcome.recipient: box.get_bytes(str(outcome.provider_id)) for outcome in outcomes}
    assert list(with_ids) == ["ada@example.com", "bob@example.com", "jürgen@example.com"]
    for recipient, content in with_ids.items():
        first, second, below = content.split(b"\n", 2)
        assert first == b"Return-Path: <bounces+7@example.com>"
        assert second.decode() == f"Delivered-To: {recipient}"
        assert b"\r" not in content
        assert "jürgen".encode() not in below
    parts = list(message_from_bytes(with_ids["ada@example.com"], policy=policy.default).walk())
    contents = [part.get_content() for part in parts if not part.is_multipart()]
    assert contents[0].replace("\r\n", "\n").rstrip("\n") == EVERYTHING["text"]
    assert contents[2] == bytes(range(256))


@pytest.mark.parametrize("connector", CONNECTORS, ids=lambda each: each.info.id)
async def test_a_broadcast_through_a_host_has_a_file_for_each_copy(connector: FolderConnector, tmp_path: Path) -> None:
    """Each with its own text, under names of their own."""
    registry = Registry(strict=True)
    registry.register(connector.info.id, connector)
    settings = {"folder": str(tmp_path)}
    connection = {"connector": connector.info.id, "default_from": str(SHOP), "settings": settings}
    recipients = [Recipient(address=f"r{number}@example.com", merge={"n": str(number)}) for number in range(40)]
    async with Host.open({"connections": {"local": connection}}, registry=registry) as host:
        message = Message(subject="Number {{ n }}", text="Yours: {{ n }}", tags=["kept"])
        outcomes = [outcome async for outcome in host.send_each(message, recipients)]
    assert {each.state for each in outcomes} == {State.ACCEPTED}
    subjects = [str(message_from_bytes(path.read_bytes())["Subject"]) for path in _files(tmp_path)]
    assert sorted(subjects) == sorted(f"Number {number}" for number in range(40))


async def test_what_cannot_be_written_leaves_nothing_behind(tmp_path: Path) -> None:
    """No half of a file under any name, whatever breaks it off."""

    def breaking(error: BaseException) -> Iterator[bytes]:
        yield b"begun" * 10_000
        raise error

    for error in (OSError(errno.ENOSPC, "full"), ValueError("changed"), KeyboardInterrupt()):
        with pytest.raises(type(error)):
            write_new(tmp_path / ".a.tmp", tmp_path / "a", breaking(error))
        assert _files(tmp_path) == []
    (tmp_path / "a").write_bytes(b"an earlier one")
    write_new(tmp_path / ".a.tmp", tmp_path / "b", [b"new"])
    with pytest.raises(FileExistsError):
        write_new(tmp_path / "a", tmp_path / "c", [b"never over another's file"])
    assert {path.name: path.read_bytes() for path in _files(tmp_path)} == {"a": b"an earlier one", "b": b"new"}


def test_errors_of_the_system_are_outcomes_that_say_what_to_do() -> None:
    """Full and gone may pass, rights do not pass by themselves, and only a size is about the message."""
    found = {
        errno.errorcode[number]: (verdict.state.value, verdict.reason, verdict.retry.value, verdict.scope.value)
        for number in (errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EROFS, errno.ENOENT, errno.EFBIG, errno.EIO)
        if (verdict := verdict_of(OSError(number, "x"))).hint
    }
    assert found == {
        "ENOSPC": ("deferred", "temporary", "any", "connection"),
        "EDQUOT": ("deferred", "temporary", "any", "connection"),
        "EACCES": ("deferred", "auth", "other", "connection"),
        "EROFS": ("deferred", "auth", "other", "connection"),
        "ENOENT": ("deferred", "connect", "any", "connection"),
        "EFBIG": ("rejected", "too_large", "other", "message"),
        "EIO": ("deferred", "temporary", "any", "connection"),
    }


@pytest.mark.parametrize("connector", CONNECTORS, ids=lambda each: each.info.id)
async def test_whoever_is_not_written_has_an_outcome(connector: FolderConnector, tmp_path: Path) -> None:
    """A folder that is none, a file that is gone, a deadline, a closed connection: all without a file."""
    batch = await batch_of(Message(**{**EVERYTHING, "attachments": [], "html": None}))
    blocked = tmp_path / "blocked"
    blocked.write_bytes(b"no folder")
    for folder, more in ((blocked, {}), (blocked / "below", {}), (tmp_path / "none", {"create": False})):
        outcomes = await _sent(connector, folder, batch, **more)
        assert {(each.state.value, each.reason, each.retry.value) for each in outcomes} == {
            ("deferred", "connect", "any")
        }
        assert len(outcomes) == 3
    soon_gone = tmp_path / "soon-gone.txt"
    soon_gone.write_bytes(b"x")
    attachment = Attachment.from_path(soon_gone)
    soon_gone.unlink()
    box = tmp_path / "box"
    for recipients in ([], [Recipient(address=f"r{number}@example.com") for number in range(2)]):
        to = {} if recipients else {"to": ["ada@example.com"]}
        gone = await batch_of(Message(**to, subject="s", text="t", attachments=[attachment]), recipients)
        outcomes = await _sent(connector, box, gone)
        assert {(each.state.value, each.reason) for each in outcomes} == {("rejected", "internal")}
    state = FolderState(settings=_settings(connector, box))
    late = SendContext(attempt_id="1", deadline=SystemClock().monotonic() - 1)
    (first, *_) = await connector.connector_send(state, batch, late)
    assert (first.state.value, first.stage, first.reason) == ("deferred", "plan", "temporary")
    await connector.connector_close(state)
    await connector.connector_close(state)
    (first, *_) = await connector.connector_send(state, batch, context())
    assert (first.state.value, first.stage) == ("deferred", "plan")
    assert _files(box) == []


async def _steps(steps: AsyncIterator[Step]) -> list[tuple[str, Status]]:
    return [(step.id, step.status) async for step in steps]


@pytest.mark.parametrize("connector", CONNECTORS, ids=lambda each: each.info.id)
async def test_a_connection_test_writes_nothing_that_stays_unless_asked(
    connector: FolderConnector, tmp_path: Path
) -> None:
    """It names the setting where the folder is none."""
    deadline = SystemClock().monotonic() + 30
    quiet = TestContext(connection="local", deadline=deadline, default_from=SHOP)
    good = _settings(connector, tmp_path / "box")
    both = [("folder", Status.OK), ("write", Status.OK)]
    assert await _steps(connector.connector_test(good, quiet)) == both
    assert _files(tmp_path) == []
    loud = TestContext(connection="local", deadline=deadline, default_from=SHOP, send_to=SHOP)
    assert await _steps(connector.connector_test(good, loud)) == [*both, ("message", Status.OK)]
    (path,) = _files(tmp_path)
    assert b"shop@example.com" in path.read_bytes()
    unsaid = TestContext(connection="local", deadline=deadline, send_to=SHOP)
    assert await _steps(connector.connector_test(good, unsaid)) == [*both, ("message", Status.FAIL)]
    (step,) = [step async for step in connector.connector_test(_settings(connector, path), quiet)]
    assert step.diagnosis is not None
    assert (step.status, step.diagnosis.code, step.diagnosis.field) == (Status.FAIL, "folder_connect", "folder")


def test_a_folder_is_an_absolute_path() -> None:
    """What a process happens to run in is no setting."""
    for wrong in ("mail", "./mail", "", "/a\0b"):
        with pytest.raises(SettingsError):
            file.FileSettings(folder=wrong)
    assert file.FileSettings(folder="~/mail").path == Path.home() / "mail"


async def test_a_send_that_is_given_up_begins_no_further_file(tmp_path: Path) -> None:
    """The thread cannot be cancelled, so it looks before each file."""
    entered, released = threading.Event(), threading.Event()

    class Held(file.File):
        """Stops before the first file."""

        def files(self, *arguments: Any) -> Iterable[NewFile]:
            """Once it is released."""
            entered.set()
            released.wait(30)
            return super().files(*arguments)

    sending = asyncio.ensure_future(_sent(Held(), tmp_path, await batch_of(Message(**EVERYTHING))))
    assert await asyncio.to_thread(entered.wait, 30)
    sending.cancel()
    with pytest.raises(asyncio.CancelledError):
        await sending
    released.set()
    await asyncio.get_running_loop().shutdown_default_executor()
    assert _files(tmp_path) == []
