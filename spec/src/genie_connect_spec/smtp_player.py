"""Plays a script to one client: a proper session underneath, the script's actions on top."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from typing import assert_never

import attrs

from genie_connect.inbox import Received, Session, Turn
from genie_connect_spec.smtp_channel import Channel
from genie_connect_spec.smtp_record import Command, ConnectionRecord, HandedOver
from genie_connect_spec.smtp_script import (
    Action,
    AfterBytes,
    Answer,
    Close,
    Decide,
    Delay,
    Drip,
    Flood,
    Garbage,
    HalfClose,
    Hang,
    Refuse,
    Reply421,
    Reset,
    Rule,
    Say,
    SayThen,
    StopReading,
    Unanswered,
    first_code,
)

_SAID_421 = b"421 4.3.2 service not available, closing transmission channel\r\n"


class _Over(Exception):
    """The server has done with this connection."""


@attrs.frozen(kw_only=True)
class Stage:
    """What a player needs from its server."""

    rules: Callable[[], tuple[Rule, ...]]
    new_session: Callable[[], Session]
    tls_context: ssl.SSLContext | None
    tls_first: bool
    handed_over: list[HandedOver]


class Player:
    """One conversation with one client."""

    def __init__(self, stage: Stage, channel: Channel, record: ConnectionRecord) -> None:
        self._stage = stage
        self._channel = channel
        self._record = record
        self._session = stage.new_session()
        self._upgraded = False
        self._message = -1
        self._unanswered: Turn | None = None
        self._body_rule_done = False
        self._kept = -1

    async def play(self) -> None:
        """Talk to the client until either side ends it; always leaves the socket closed."""
        try:
            await self._converse()
        except _Over:
            pass
        except OSError as error:
            # Clients that go away or refuse a certificate are what this server is for; the record says which.
            self._record.error = f"{type(error).__name__}: {error}"
        finally:
            await self._channel.close()
            self._record.ended.set()

    async def _converse(self) -> None:
        await self._act("connect", None)
        if self._stage.tls_first:
            await self._start_tls()
        await self._take(self._session.greet())
        while True:
            data = await self._channel.receive()
            if not data:
                return
            self._session.receive(data)
            await self._take_turns()

    async def _take_turns(self) -> None:
        while True:
            await self._act_in_body()
            turn = self._session.next_turn()
            if turn is None:
                return
            await self._take(turn)
            if self._session.wants_tls:
                await self._start_tls()
                self._upgraded = True
                self._session.tls_started()

    async def _take(self, turn: Turn) -> None:
        stage = "ehlo_tls" if turn.stage == "ehlo" and self._upgraded else turn.stage
        if stage == "mail":
            self._message += 1
            self._body_rule_done = False
        if stage != "banner":
            self._note(stage, turn)
        if turn.message is not None:
            self._keep(turn.message)
        self._unanswered = turn
        await self._act(stage, turn)
        # An action that said nothing a client could take for a reply has refused.
        self._apply(0)

    async def _act(self, stage: str, turn: Turn | None) -> None:
        action = self._action_at(stage, turn)
        if action is None:
            action = Answer()
        await self._perform(action)

    def _action_at(self, stage: str, turn: Turn | None) -> Action | None:
        address = turn.path.address if turn is not None and turn.path is not None else None
        for rule in self._stage.rules():
            if rule.applies(
                stage,
                connection=self._record.index,
                message=self._message,
                index=turn.index if turn else 0,
                address=address,
            ):
                return rule.action
        return None

    async def _act_in_body(self) -> None:
        if not self._session.in_body or self._body_rule_done:
            return
        action = self._action_at("body", None)
        count = 0
        if isinstance(action, AfterBytes):
            count, action = action.count, action.then
        if action is not None and self._session.body_bytes_received >= count:
            self._body_rule_done = True
            await self._perform(action)

    async def _start_tls(self) -> None:
        if self._stage.tls_context is None:
            # A script said 220 to STARTTLS on a server that has no certificate: there is nothing to go on with.
            await self._perform(Hang())
            return
        self._channel.expect_tls()
        await self._act("tls", None)
        await self._channel.start_tls(self._stage.tls_context)

    async def _perform(self, action: Action) -> None:
        match action:
            case Answer(before, after):
                await self._answer(before, after)
            case Say(data) | Garbage(data):
                await self._say(data)
            case SayThen(data, then):
                await self._say(data)
                await self._perform(then)
            case Delay(seconds, then):
                await asyncio.sleep(seconds)
                await self._perform(then)
            case Decide(decide):
                await self._perform(decide(self._record))
            case Drip(data, interval_s):
                await self._drip(data, interval_s)
            case Flood(unit, first):
                await self._flood(unit, first)
            case Reply421(close):
                await self._say(_SAID_421)
                if close:
                    await self._close(close_notify=True)
            case Close(close_notify):
                await self._close(close_notify=close_notify)
            case Reset():
                self._channel.reset()
                raise _Over
            case HalfClose():
                self._channel.half_close()
                await self._read_to_the_end()
            case Hang():
                await self._read_to_the_end()
            case StopReading():
                await self._channel.wait_until_gone()
                raise _Over
            case AfterBytes() | Refuse() | Unanswered():
                raise AssertionError(f"a rule holds {type(action).__name__} where it cannot happen")
            case _:
                assert_never(action)

    async def _answer(self, before: bytes, after: bytes) -> None:
        turn = self._unanswered
        proper = self._session.encode(turn.reply) if turn is not None else b""
        if turn is not None:
            # Applied before it is sent: a client that has the reply may look at the record at once.
            self._apply(turn.reply.code)
        if before or proper or after:
            await self._channel.send(before + proper + after)
        if self._session.closed or (turn is not None and turn.reply.code == 421):
            await self._close(close_notify=True)

    async def _say(self, data: bytes) -> None:
        self._apply(first_code(data))
        await self._channel.send(data)

    async def _drip(self, data: bytes, interval_s: float) -> None:
        for position in range(len(data)):
            await self._channel.send(data[position : position + 1])
            await asyncio.sleep(interval_s)
        self._apply(first_code(data))

    async def _flood(self, unit: bytes, first: bytes) -> None:
        await self._channel.send(first)
        while True:
            await self._channel.send(unit)
            # Sending to a client that reads quickly never waits, and others on this loop want their turn.
            await asyncio.sleep(0)

    async def _close(self, *, close_notify: bool) -> None:
        await self._channel.close(close_notify=close_notify)
        raise _Over

    async def _read_to_the_end(self) -> None:
        while await self._channel.receive():
            pass
        raise _Over

    def _apply(self, code: int) -> None:
        turn, self._unanswered = self._unanswered, None
        if turn is None:
            return
        self._session.apply(turn, code)
        if turn.message is not None:
            kept = self._stage.handed_over
            kept[self._kept] = attrs.evolve(kept[self._kept], accepted=code // 100 == 2, code=code)

    def _note(self, stage: str, turn: Turn) -> None:
        if stage == "auth" and turn.index == 0:
            self._record.auth_attempts += 1
        self._record.commands.append(
            Command(stage=stage, line=turn.line, tls=self._session.tls, message=self._message, pipelined=turn.pipelined)
        )

    def _keep(self, message: Received) -> None:
        # Another connection may hand its own over before this one is answered.
        self._kept = len(self._stage.handed_over)
        self._stage.handed_over.append(
            HandedOver(
                number=self._message,
                connection=self._record.index,
                envelope_from=message.envelope_from,
                recipients=message.recipients,
                data=message.data,
                auth_user=message.auth_user,
                tls=message.tls,
                accepted=False,
            )
        )
