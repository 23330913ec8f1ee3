"""A scripted server that keeps limits it does not announce, for real sends in virtual time."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence

from genie_connect_smtp.replies import Reply
from genie_connect_spec.smtp_record import ConnectionRecord
from genie_connect_spec.smtp_script import Action, Decide, Delay, HalfClose, Rule, Say, SayThen, on
from genie_connect_spec.smtp_server import ScriptedSmtpServer
from tests.smtp.pace_simulator import Limits, Server, Tally, Words

EVERYTHING = ("8BITMIME", "SIZE", "PIPELINING", "CHUNKING")
NO_PIPELINING = ("8BITMIME", "SIZE")
"""As Amazon SES."""


class LimitedServer:
    """``scripted`` is the server to be entered; ``tally`` is what it answered, by minute."""

    def __init__(self, limits: Limits, *, extensions: Sequence[str] = EVERYTHING, round_trip_s: float = 0.02) -> None:
        self.tally = Tally()
        self._hidden = Server(limits)
        self._words = Words()
        self._round_trip_s = round_trip_s
        self._admitted: list[ConnectionRecord] = []
        self._loop = asyncio.get_running_loop()
        self._began = self._loop.time()
        self.scripted = ScriptedSmtpServer(tuple(self._script(limits)), extensions=extensions)

    @property
    def open(self) -> int:
        """How many connections there are."""
        return sum(not connection.ended.is_set() for connection in self._admitted)

    @property
    def now_s(self) -> float:
        """Seconds since the server began."""
        return self._loop.time() - self._began

    @property
    def _minute(self) -> int:
        return int(self.now_s // 60)

    def _script(self, limits: Limits) -> Iterator[Rule]:
        # Connecting, EHLO and sign-in are five round trips.
        yield on("banner", Delay(5 * self._round_trip_s, Decide(self._greet)))
        yield on("final", Delay(self._round_trip_s, Decide(self._answer)))
        if limits.messages_per_connection is not None:
            yield on("mail", Decide(self._end), message=limits.messages_per_connection)

    def _greet(self, connection: ConnectionRecord) -> Action:
        self._hidden.open = self.open
        refusal = self._hidden.connect(self.now_s)
        if refusal is None:
            self._admitted.append(connection)
            return Say(b"220 limited.test ESMTP\r\n")
        self.tally.refused_connections[self._minute] += 1
        return SayThen(_line(refusal), HalfClose())

    def _end(self, connection: ConnectionRecord) -> Action:
        self.tally.throttled[self._minute] += 1
        return SayThen(f"{self._words.messages_per_connection}\r\n".encode(), HalfClose())

    def _answer(self, connection: ConnectionRecord) -> Action:
        _, reply = self._hidden.message(self.now_s, 0)
        answers = self.tally.accepted if reply.code == 250 else self.tally.throttled
        answers[self._minute] += 1
        return Say(_line(reply))


def _line(reply: Reply) -> bytes:
    return " ".join(filter(None, (str(reply.code), reply.enhanced, reply.text))).encode() + b"\r\n"
