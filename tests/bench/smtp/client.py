"""The process that sends for one peer: ``python -m tests.bench.smtp.client SPEC`` with a JSON object.

It says ``{"ready": true}``, takes one number of messages a line, sends that many and answers with the seconds and
CPU-seconds that they took. What comes before the first message (imports, connecting) is not counted: its first round is
thrown away.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import resource
import smtplib
import sys
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from email.message import EmailMessage
from importlib import import_module
from pathlib import Path
from typing import Any, Self

import aiosmtplib
import attrs

import genie_connect as gc
from genie_connect.contract import Runtime, SendContext
from genie_connect.mime import Composed, compile_message, compose
from tests.bench.smtp import message as messages
from tests.bench.smtp.ours import Unavailable, connection_settings

FAR_S = 3600.0


@attrs.frozen(kw_only=True)
class Spec:
    """What the parent asks for."""

    peer: str
    host: str
    port: int
    connections: int = 1
    size: str = "2KB"
    files: bool = False
    uvloop: bool = False
    level: str = "connector"
    composes: bool = False
    mode: dict[str, Any] = attrs.field(factory=dict)
    content_file: str = ""

    def message(self) -> gc.Message:
        return messages.with_files(self.size) if self.files else messages.message(self.size)

    def content(self) -> bytes:
        return Path(self.content_file).read_bytes()


def cpu_s() -> float:
    """CPU seconds of this process and the children it has waited for."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(each.ru_utime + each.ru_stime for each in used)


class Clock:
    """Wall and CPU time of a block."""

    def __enter__(self) -> Self:
        self._cpu, self._wall = cpu_s(), time.perf_counter()
        return self

    def __exit__(self, *_: object) -> None:
        self.wall_s = time.perf_counter() - self._wall
        self.cpu_s = cpu_s() - self._cpu

    def report(self, sent: int) -> dict[str, Any]:
        return {"sent": sent, "wall_s": self.wall_s, "cpu_s": self.cpu_s}


class Client(ABC):
    """A peer with its connections."""

    def __init__(self, spec: Spec, message: gc.Message) -> None:
        self.spec = spec
        self.message = message

    @abstractmethod
    async def open(self) -> None:
        """Connect, where connections are kept."""

    @abstractmethod
    async def round(self, count: int) -> dict[str, Any]:
        """Send that many."""


class Smtplib(Client):
    """The standard library, a thread for each connection."""

    async def open(self) -> None:
        self._content = self.spec.content()
        self._servers = [smtplib.SMTP(self.spec.host, self.spec.port) for _ in range(self.spec.connections)]
        for server in self._servers:
            server.ehlo()

    async def round(self, count: int) -> dict[str, Any]:
        waiting = iter(messages.recipients(count))
        sent = [0] * len(self._servers)
        taking = threading.Lock()

        def work(index: int) -> None:
            server = self._servers[index]
            while True:
                with taking:
                    recipient = next(waiting, None)
                if recipient is None:
                    return
                server.sendmail(messages.SENDER.email, [recipient], self._content)
                sent[index] += 1

        threads = [threading.Thread(target=work, args=(index,)) for index in range(1, len(self._servers))]
        with Clock() as clock:
            for thread in threads:
                thread.start()
            work(0)
            for thread in threads:
                thread.join()
        return clock.report(sum(sent))


class Aiosmtplib(Client):
    """aiosmtplib, a task for each connection."""

    async def open(self) -> None:
        self._content = self.spec.content()
        self._clients = [self._client() for _ in range(self.spec.connections)]
        await asyncio.gather(*(client.connect() for client in self._clients))
        await asyncio.gather(*(client.ehlo() for client in self._clients))

    def _client(self) -> aiosmtplib.SMTP:
        # Without a name it would ask the name server for one, which no other peer here does.
        return aiosmtplib.SMTP(
            hostname=self.spec.host, port=self.spec.port, start_tls=False, local_hostname="client.test"
        )

    async def round(self, count: int) -> dict[str, Any]:
        waiting = iter(messages.recipients(count))
        work = self._compose_and_send if self.spec.composes else self._send
        with Clock() as clock:
            sent = await asyncio.gather(*(work(client, waiting) for client in self._clients))
        return clock.report(sum(sent))

    async def _send(self, client: aiosmtplib.SMTP, waiting: Iterable[str]) -> int:
        sent = 0
        for recipient in waiting:
            await client.sendmail(messages.SENDER.email, [recipient], self._content)
            sent += 1
        return sent

    async def _compose_and_send(self, client: aiosmtplib.SMTP, waiting: Iterable[str]) -> int:
        sent = 0
        for recipient in waiting:
            await client.send_message(email_message(self.message, recipient))
            sent += 1
        return sent


def email_message(message: gc.Message, recipient: str) -> EmailMessage:
    """The same message by the standard library."""
    made = EmailMessage()
    made["From"] = str(messages.SENDER)
    made["To"] = recipient
    made["Subject"] = message.subject
    made["Date"] = messages.DATE
    made["Message-ID"] = "<000000.benchmark@example.com>"
    made.set_content(message.text or "")
    made.add_alternative(message.html or "", subtype="html")
    for image in message.inline_images:
        main, _, sub = image.content_type.partition("/")
        html = made.get_body(("html",))
        assert html is not None
        html.add_related(image.read(), maintype=main, subtype=sub, cid=f"<{image.content_id}>")
    for file in message.files:
        main, _, sub = file.content_type.partition("/")
        made.add_attachment(file.read(), maintype=main, subtype=sub, filename=file.filename)
    return made


class Ours(Client):
    """The SMTP connector, through its handle, with a batch that is ready."""

    async def open(self) -> None:
        registry = gc.Registry.discover()
        self._handle = registry["smtp"]
        self._settings = connection_settings(
            self._handle,
            self.spec.mode,
            host=self.spec.host,
            port=self.spec.port,
            max_connections=self.spec.connections,
        )
        await self._open(registry)

    async def _open(self, registry: gc.Registry) -> None:
        settings = self._handle.settings(self._settings)
        self._table = self._handle.capabilities(settings)
        self._state = await self._handle.open(settings, Runtime(connection="bench"))

    async def round(self, count: int) -> dict[str, Any]:
        batch = await messages.batch(self.message, messages.recipients(count))
        context = SendContext(attempt_id="bench", deadline=time.monotonic() + FAR_S, clock=messages.FixedDate())
        with Clock() as clock:
            outcomes = await self._handle.send(self._state, batch, context, self._table)
        return clock.report(accepted(outcomes))


@attrs.frozen
class Ready:
    """Stands in for the composer: whatever the copy, it is the one that was made before."""

    composed: Composed

    def compose(self, *_: Any, **__: Any) -> Composed:
        return self.composed

    def compiled(self, *_: Any, **__: Any) -> Ready:
        return self


class OursReadyBytes(Ours):
    """The same with content that is put together already, as the peers have it: transmission alone."""

    async def open(self) -> None:
        await super().open()
        one = await messages.batch(self.message, messages.recipients(1))
        ready = Ready(compose(one, one.deliveries[0], date=messages.DATE, eight_bit=True))
        stand_ins: dict[object, object] = {compose: ready.compose, compile_message: ready.compiled}
        import_module("genie_connect_smtp.send")
        replaced = 0
        for module in [module for name, module in sys.modules.items() if name.startswith("genie_connect_smtp.")]:
            for name in ("compose", "compile_message"):
                stand_in = stand_ins.get(getattr(module, name, None))
                if stand_in is not None:
                    setattr(module, name, stand_in)
                    replaced += 1
        if not replaced:
            raise Unavailable("the connector composes with something else than genie_connect.mime")


class OursHost(Ours):
    """The whole path: host, gate, planner, attempts, outcomes, as a broadcast."""

    async def _open(self, registry: gc.Registry) -> None:
        config = {"connections": {"bench": {"connector": "smtp", "settings": self._settings}}}
        self._host = await contextlib.AsyncExitStack().enter_async_context(gc.Host.open(config, registry=registry))

    async def round(self, count: int) -> dict[str, Any]:
        recipients = messages.recipients(count)
        with Clock() as clock:
            broadcast = self._host.send_each(self.message, recipients, timeout_s=FAR_S)
            outcomes = [outcome async for outcome in broadcast]
        return clock.report(accepted(outcomes))


class ColdAiosmtplib(Aiosmtplib):
    """``aiosmtplib.send``: everything from connecting to QUIT, for one message."""

    async def open(self) -> None:
        self._content = self.spec.content()

    async def round(self, count: int) -> dict[str, Any]:
        with Clock() as clock:
            for recipient in messages.recipients(count):
                await aiosmtplib.send(
                    self._content,
                    sender=messages.SENDER.email,
                    recipients=[recipient],
                    hostname=self.spec.host,
                    port=self.spec.port,
                    username="user",
                    password="password",
                    start_tls=False,
                    local_hostname="client.test",
                )
        return clock.report(count)


class ColdOurs(Ours):
    """A new connection of ours for each message, until its outcome is known."""

    async def _open(self, registry: gc.Registry) -> None:
        self._settings |= {"username": "user", "password": "password", "allow_password_without_tls": True}

    async def round(self, count: int) -> dict[str, Any]:
        settings = self._handle.settings(self._settings)
        table = self._handle.capabilities(settings)
        batch = await messages.batch(self.message, messages.recipients(1))
        context = SendContext(attempt_id="bench", deadline=time.monotonic() + FAR_S, clock=messages.FixedDate())
        wall_s = 0.0
        with Clock() as clock:
            for _ in range(count):
                started = time.perf_counter()
                state = await self._handle.open(settings, Runtime(connection="bench"))
                accepted(await self._handle.send(state, batch, context, table))
                wall_s += time.perf_counter() - started
                await self._handle.close(state)
        return {**clock.report(count), "wall_s": wall_s}


def accepted(outcomes: Sequence[gc.Outcome]) -> int:
    """How many were; the first that was not is shown."""
    others = [outcome for outcome in outcomes if outcome.state is not gc.State.ACCEPTED]
    if others:
        raise RuntimeError(f"{len(others)} of {len(outcomes)} were not accepted: {others[0]}")
    return len(outcomes)


CLIENTS: dict[str, type[Client]] = {
    "smtplib": Smtplib,
    "aiosmtplib": Aiosmtplib,
    "cold-aiosmtplib": ColdAiosmtplib,
}
OUR_LEVELS: dict[str, type[Client]] = {
    "connector": Ours,
    "bytes": OursReadyBytes,
    "host": OursHost,
    "cold": ColdOurs,
}


async def serve(spec: Spec, message: gc.Message) -> None:
    client = (OUR_LEVELS[spec.level] if spec.peer == "ours" else CLIENTS[spec.peer])(spec, message)
    try:
        await client.open()
    except Unavailable as reason:
        tell({"unavailable": str(reason)})
        return
    except Exception as error:
        tell({"unavailable": f"{type(error).__name__}: {error}"[:500]})
        raise
    tell({"ready": True})
    loop = asyncio.get_running_loop()
    for _ in itertools.count():
        line = await loop.run_in_executor(None, sys.stdin.readline)
        if not line:
            return
        try:
            tell(await client.round(int(line)))
        except Exception as error:
            tell({"failed": f"{type(error).__name__}: {error}"[:500]})


def tell(what: dict[str, Any]) -> None:
    print(json.dumps(what), flush=True)


def main() -> None:
    spec = Spec(**json.loads(sys.argv[1]))
    message = spec.message()
    factory = asyncio.new_event_loop
    if spec.uvloop:
        from uvloop import new_event_loop as factory  # only where it is asked for
    with asyncio.Runner(loop_factory=factory) as runner:
        runner.run(serve(spec, message))


if __name__ == "__main__":
    main()
