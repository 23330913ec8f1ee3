"""NATS JetStream: a small server for many machines.

A message is one unit. It is taken by asking for it, marked as in progress while its handler runs, and acknowledged
after the handler has returned; unacknowledged, the server delivers it again. Whether a handler is to be called at all
is decided here: early messages are sent back with a delay, those that failed too often go to the dead letters.
"""

from __future__ import annotations

import asyncio
import json
import logging
import secrets
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from types import TracebackType
from typing import Any, Final, Self

import attrs
import nats
import nats.errors
import nats.js.errors
from nats.aio.client import Client
from nats.aio.msg import Msg

from genie_connect.engine.calls import Backoff, Calls
from genie_connect.engine.contract import Handler, Place, Work
from genie_connect.engine.jetstream import CLASSES, Names, Target
from genie_connect.errors import EngineUnavailable
from genie_connect.registry.isolation import log_failure

IDLE_S: Final = 1.0
"""How long to sleep when nothing is due. New work wakes; what the server delivers again does not."""
ANSWER_S: Final = 5.0
"""How long the server may take to make a stream or to store a message."""
QUICK_ANSWER_S: Final = 2.0
"""How long it may take to say what is waiting, or to note that a message is done. Asking again is cheap."""
PUBLISH_AT_ONCE: Final = 256
_THERE_ALREADY: Final = 10077
"""The server's error code for a second message on a subject that holds one: a unit that waits already."""
_OTHER_CONFIGURATION: Final = 10058
_TROUBLE: Final = (OSError, nats.errors.Error, TimeoutError)
_logger = logging.getLogger("genie_connect.engine")


@attrs.frozen(eq=False)
class _Taken:
    message: Msg
    work: Work

    @property
    def deliveries(self) -> int:
        return int(self.message.metadata.num_delivered)


class NatsEngine:
    """Work in a JetStream stream.

    ``ack_wait_s`` is after how long of silence the server gives a unit to another worker; ``most_deliveries`` how often
    it is delivered before it goes to the dead letters.
    """

    name = "nats"
    shares_ledger = False
    in_memory = False
    ahead = 2

    def __init__(
        self,
        target: Target,
        place: Place,
        *,
        backoff: Backoff | None = None,
        ack_wait_s: float = 30.0,
        most_deliveries: int = 20,
        connect_timeout_s: float = 5.0,
    ) -> None:
        self._target = target
        self._names = Names.of(place)
        self._backoff = backoff or Backoff()
        self._ack_wait_s = ack_wait_s
        self._most_deliveries = most_deliveries
        self._connect_timeout_s = connect_timeout_s
        self._calls = Calls()
        self._taken: set[_Taken] = set()
        self._client: Client | None = None
        self._troubled = False

    async def __aenter__(self) -> Self:
        client = Client()
        try:
            async with _told():
                await self._connect(client)
            self._client = client
            async with _told():
                await self._ensure()
        except BaseException:
            self._client = None
            await client.close()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._calls.close()
        client, self._client = self._client, None
        if client is not None:
            await client.close()

    async def submit(self, work: Sequence[Work], *, transaction: Any = None) -> None:
        """Publish units. One that waits already, for the same time, is left out."""
        async with _told():
            for start in range(0, len(work), PUBLISH_AT_ONCE):
                batch = work[start : start + PUBLISH_AT_ONCE]
                results = await asyncio.gather(*map(self._publish, batch), return_exceptions=True)
                for error in filter(None, results):
                    raise error
            await self._open.publish(self._names.wake)

    async def run(self, handler: Handler, *, concurrency: int) -> None:
        """Ask for messages and call the handler until ``stop``. A server that is away is waited for."""
        async with self._calls.running(concurrency):
            listening = await self._open.subscribe(self._names.wake, cb=self._woken)
            marking = asyncio.create_task(self._mark())
            try:
                while not self._calls.stopping:
                    found = await self._begin(handler) if self._calls.free else True
                    if self._troubled:
                        await self._recover()
                    elif self._calls.free == 0:
                        await self._calls.nap()
                    elif not found:
                        await self._calls.nap(IDLE_S)
                # Until the last call has ended its message has to be marked.
                await self._calls.ended()
            finally:
                marking.cancel()
                await asyncio.gather(marking, return_exceptions=True)
                if not self._open.is_closed:
                    await listening.unsubscribe()

    async def stop(self, grace_s: float) -> None:
        """Ask for nothing new; cancel what has not ended after so many seconds and send it back."""
        await self._calls.stop(grace_s)

    @property
    def trouble(self) -> str | None:
        """That the server is asked for work and does not answer."""
        return "the engine nats gets no answer from its server; it is asked again" if self._troubled else None

    @property
    def _open(self) -> Client:
        if self._client is None:
            raise EngineUnavailable("the engine is not open", hint="use it inside its async with block")
        return self._client

    async def _connect(self, client: Client) -> None:
        errors: list[Exception] = []

        async def note(error: Exception) -> None:
            # Requests tell of their own failure; the client's log of them would name servers with their passwords.
            # A server that lets nobody in may close before or after it says so: what it said counts.
            if not (errors and "authorization" in str(errors[0]).lower()):
                errors[:] = [error]

        try:
            async with asyncio.timeout(self._connect_timeout_s):
                await client.connect(
                    servers=list(self._target.servers),
                    user_credentials=self._target.credentials,
                    name="genie-connect",
                    max_reconnect_attempts=-1,
                    reconnect_time_wait=1,
                    connect_timeout=2,
                    error_cb=note,
                    reconnected_cb=self._reconnected,
                )
        except TimeoutError:
            # It would try for ever, also with a password that is wrong.
            error = errors[0] if errors else TimeoutError()
            # While connecting it has no type of its own for this.
            if "authorization" in str(error).lower():
                error = nats.errors.AuthorizationError()
            raise error from None

    async def _ensure(self) -> None:
        """Make the streams and consumers, or bring them up to date."""
        manager = self._open.jetstream(timeout=ANSWER_S)
        for stream in self._names.streams(self._target.replicas):
            try:
                await manager.add_stream(stream)
            except nats.js.errors.BadRequestError as error:
                if error.err_code != _OTHER_CONFIGURATION:
                    raise
                await manager.update_stream(stream)
        for consumer in self._names.consumers(self._ack_wait_s):
            await manager.add_consumer(self._names.work_stream, consumer)

    async def _publish(self, work: Work) -> None:
        # Each offer has an id of its own, so that the server recognises this publication when it comes twice, and
        # nothing else: a unit that is offered anew after its handler returned is no repetition.
        offer = secrets.token_hex(8)
        again = any(taken.work.unit == work.unit for taken in self._taken)
        key = offer if again else f"{work.not_before * 1000:.0f}"
        try:
            await self._open.jetstream(timeout=ANSWER_S).publish(
                self._names.work(work.priority, work.unit, key),
                json.dumps([work.unit, work.priority, work.not_before]).encode(),
                headers={"Nats-Msg-Id": offer},
            )
        except nats.js.errors.APIError as error:
            if error.err_code != _THERE_ALREADY:
                raise

    async def _begin(self, handler: Handler) -> bool:
        """Begin a call for each message there is room for, the higher classes first. Returns whether any was there."""
        found = False
        for consumer in CLASSES:
            messages = [await self._next(consumer)]
            if messages[0] is not None:
                messages += await asyncio.gather(*(self._next(consumer) for _ in range(self._calls.free - 1)))
            for message in messages:
                if message is not None:
                    found = True
                    await self._dispatch(handler, message)
            if self._calls.free <= 0:
                break
        return found

    async def _next(self, consumer: str) -> Msg | None:
        """The next message of a class, None if there is none. Raises nothing; ``_troubled`` says that it failed."""
        try:
            # Old style, since the answer comes under the subject of the message, not under ours.
            message = await self._open.request(
                f"$JS.API.CONSUMER.MSG.NEXT.{self._names.work_stream}.{consumer}",
                b'{"batch":1,"no_wait":true}',
                timeout=QUICK_ANSWER_S,
                old_style=True,
            )
        except _TROUBLE as error:
            if not self._troubled:
                _logger.warning("NATS does not answer (%s); it is asked again", type(error).__name__)
            self._troubled = True
            return None
        return message if message.reply else None

    async def _dispatch(self, handler: Handler, message: Msg) -> None:
        if self._calls.stopping:
            # The stop came while the server answered.
            await self._say(message.nak())
            return
        try:
            unit, priority, not_before = json.loads(message.data)
            taken = _Taken(message, Work(unit=int(unit), priority=int(priority), not_before=float(not_before)))
        except (ValueError, TypeError):
            _logger.warning("a message that names no unit was thrown away: %s", message.subject)
            await self._say(message.term())
            return
        early_s = taken.work.not_before - time.time()
        if early_s > 0:
            await self._later(taken, early_s)
        elif taken.deliveries > self._most_deliveries:
            await self._bury(taken, "")
        else:
            self._taken.add(taken)
            self._calls.begin(self._call(handler, taken))

    async def _call(self, handler: Handler, taken: _Taken) -> None:
        try:
            await handler(taken.work)
        except asyncio.CancelledError:
            await self._say(taken.message.nak())
            raise
        except Exception as error:  # noqa: BLE001  # whatever it is, the unit is to be tried again
            if taken.deliveries >= self._most_deliveries:
                log_failure(_logger, error, "unit %d failed too often and is a dead letter", taken.work.unit)
                await self._bury(taken, type(error).__name__)
                return
            pause_s = self._backoff.after(taken.deliveries)
            log_failure(_logger, error, "unit %d failed and waits for %.1f s", taken.work.unit, pause_s)
            await self._later(taken, pause_s)
        else:
            await self._say(taken.message.ack_sync(timeout=QUICK_ANSWER_S))
        finally:
            self._taken.discard(taken)

    async def _later(self, taken: _Taken, seconds: float) -> None:
        await self._say(taken.message.nak(delay=seconds))
        asyncio.get_running_loop().call_later(seconds, self._calls.wake)

    async def _bury(self, taken: _Taken, error: str) -> None:
        """Move a unit to the dead letters. Its error is named only: the text may hold what must not lie there."""
        letter = {"unit": taken.work.unit, "deliveries": taken.deliveries, "error": error, "at": time.time()}
        try:
            await self._open.jetstream(timeout=ANSWER_S).publish(
                self._names.dead(taken.work.unit), json.dumps(letter).encode()
            )
        except _TROUBLE:
            # Not lost: the server delivers it again, and then it is buried.
            return
        await self._say(taken.message.term())

    async def _say(self, answer: Any) -> None:
        """Answer a message. Should that fail, the server delivers it again, which the ledger is made for."""
        try:
            await answer
        except (*_TROUBLE, EngineUnavailable) as error:
            _logger.warning("NATS was not told how a unit ended (%s); it will be called again", type(error).__name__)

    async def _mark(self) -> None:
        while True:
            await asyncio.sleep(self._ack_wait_s / 3)
            for taken in list(self._taken):
                await self._say(taken.message.in_progress())

    async def _recover(self) -> None:
        """After a request that failed: a server that has lost its streams gets them again."""
        await self._calls.nap(0.2)
        try:
            await self._ensure()
        except _TROUBLE:
            return
        self._troubled = False

    async def _woken(self, message: Msg) -> None:
        self._calls.wake()

    async def _reconnected(self) -> None:
        self._calls.wake()


_TOLD: Final[tuple[tuple[tuple[type[Exception], ...], str, str], ...]] = (
    ((nats.errors.AuthorizationError,), "is not let in by the server", "correct engine.url"),
    (
        (nats.errors.NoRespondersError, nats.js.errors.NoStreamResponseError, nats.js.errors.ServiceUnavailableError),
        "finds no JetStream",
        "start nats-server with -js, or permit this user its API",
    ),
    ((nats.js.errors.APIError,), "was refused by JetStream", "see the server's log"),
    (_TROUBLE, "does not reach its server", "look whether it runs and can be reached under engine.url"),
)
"""What the client raises, and what is told of it; the first that fits."""


@asynccontextmanager
async def _told() -> AsyncIterator[None]:
    """Raise ``EngineUnavailable`` for what the client raises. Its text is left out: it may name a server's password."""
    try:
        yield
    except _TROUBLE as error:
        cause, hint = next((cause, hint) for types, cause, hint in _TOLD if isinstance(error, types))
        code = getattr(error, "err_code", None)
        kind = type(error).__name__ if code is None else f"code {code}"
        raise EngineUnavailable(f"the engine nats {cause} ({kind})", hint=hint) from None
