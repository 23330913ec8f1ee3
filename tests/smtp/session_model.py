"""Random servers, random cuts, every mode: what the client believes against what the server knows."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator

from genie_connect.model.outcome import Retry, State
from genie_connect_smtp.content import Content
from genie_connect_smtp.errors import ConnectionFault, Fault
from genie_connect_smtp.extensions import Extensions
from genie_connect_smtp.ladder import MANY, Ladder
from genie_connect_smtp.replies import ReplyParser
from genie_connect_smtp.session import Session
from genie_connect_smtp.transaction import Envelope, Transaction
from tests.smtp.model_server import ModelServer
from tests.smtp.talk import PEOPLE

_BODY = b"Subject: x\r\n\r\n.dot\r\nMAIL FROM:<evil@s.example>\r\n..\r\nend\r\n"
_WISHES = ("", "", "", "", "", "450", "550", "552", "452", "503", "421", "close", "251", "451", "554", "221")
_EXTENSIONS = Extensions.of({"pipelining": "", "chunking": ""}, ())


class _Tape:
    """Decisions, one byte each; once it has run out, everything goes as it should."""

    def __init__(self, data: bytes) -> None:
        self._data: Iterator[int] = iter(data)

    def below(self, limit: int) -> int:
        return next(self._data, 0) % limit


class _World:
    """A batch, the connections it takes, and the server behind them."""

    def __init__(self, mode: str, tape: _Tape) -> None:
        self.tape = tape
        self.ladder = Ladder(mode, window=4)
        self.stays = bool(tape.below(2))
        self.queue: deque[Transaction] = deque(self._letter(number) for number in range(1 + tape.below(7)))
        self.letters = len(self.queue)
        self.done: dict[str, Transaction] = {}
        self.accepted: list[tuple[str, tuple[str, ...]]] = []

    def _letter(self, number: int) -> Transaction:
        recipients = PEOPLE[: 1 + (self.tape.below(3) if self.tape.below(4) == 1 else 0)]
        streamed = self.tape.below(8) == 1
        content = Content(size_bytes=len(_BODY), chunks=[_BODY]) if streamed else Content.of([_BODY], len(_BODY))
        return Transaction(Envelope(sender=f"{number}@s.example", recipients=recipients), content)

    def run(self) -> None:
        """Connect until every letter has its results."""
        for _ in range(4 * self.letters + 4):
            if not self.queue:
                return
            _Link(self).run()
        raise AssertionError("the letters come back again and again")


class _Link:
    """One connection. ``_out`` is on its way to the server, ``_back`` on its way to the client."""

    def __init__(self, world: _World) -> None:
        self._world = world
        self._server = ModelServer(self._wish, stays_after_421=world.stays)
        self._session = Session(_EXTENSIONS, world.ladder)
        self._session.window.copies = MANY
        self._session.supply = lambda: world.queue.popleft() if world.queue else None
        self._parser = ReplyParser()
        self._out = b""
        self._back = b""
        self._heard = b""

    def _wish(self, verb: str) -> str:
        return _WISHES[self._world.tape.below(len(_WISHES))]

    def run(self) -> None:
        tape, session = self._world.tape, self._session
        while not session.over:
            self._write()
            if session.over or session.idle:
                break
            chance = tape.below(32)
            if chance == 31:
                self._cut(Fault.DISCONNECT if tape.below(2) else Fault.TIMEOUT)
            elif self._out and not self._server.gone:
                self._to_server(1 + tape.below(256) if chance % 2 else len(self._out))
            elif self._back:
                self._to_client(1 + tape.below(64) if chance % 2 else len(self._back))
            elif self._server.gone:
                self._cut(Fault.DISCONNECT)
            else:
                # The server owes nothing and the client waits: only a lost wake-up could bring that about.
                raise AssertionError("both sides wait")
        self._take_done()
        self._world.accepted += self._server.accepted

    def _write(self) -> None:
        while True:
            out = b"".join(self._session.output())
            if self._session.streaming is not None:
                out += _BODY.replace(b"\r\n.", b"\r\n..")
                self._session.body_written()
                self._out += out
                continue
            self._out += out
            self._take_done()
            if not out:
                return

    def _to_server(self, count: int) -> None:
        part, self._out = self._out[:count], self._out[count:]
        self._back += b"".join(f"{line}\r\n".encode() for line in self._server.receive(part))

    def _to_client(self, count: int) -> None:
        part, self._back = self._back[:count], self._back[count:]
        self._heard += part
        for reply in self._parser.take(part):
            self._session.receive(reply)
        if self._parser.pending:
            self._session.unfinished_reply()

    def _cut(self, fault: Fault) -> None:
        if self._world.stays and b"421 " in self._back + self._heard:
            # A server that says good-bye, goes on all the same, and is cut off before it can tell: what came behind the
            # good-bye counts as not done (RFC 5321 section 3.8), and nobody can know better.
            self._to_client(len(self._back))
            if self._session.over:
                return
        # What was written may still arrive, all of it or a part.
        self._to_server(self._world.tape.below(2) * len(self._out))
        self._session.lost(ConnectionFault(self._session.stage, fault))

    def _take_done(self) -> None:
        for transaction in self._session.take_done():
            if transaction.returned:
                self._world.queue.append(Transaction(transaction.envelope, Content.of([_BODY], len(_BODY))))
            else:
                sender = transaction.envelope.sender
                assert sender not in self._world.done
                self._world.done[sender] = transaction


def _check(world: _World) -> None:
    accepted = dict(world.accepted)
    assert len(accepted) == len(world.accepted), "a message was handed over twice"
    assert len(world.done) == world.letters
    for sender, transaction in world.done.items():
        for index, recipient in enumerate(transaction.envelope.recipients):
            result = transaction.results[index]
            if result is None:
                assert index in transaction.overflow
                assert recipient not in accepted.get(sender, ())
                continue
            verdict = result.verdict
            if verdict.state is State.ACCEPTED:
                assert recipient in accepted.get(sender, ()), "accepted, and the server knows nothing of it"
            elif recipient in accepted.get(sender, ()):
                assert verdict.state is State.UNKNOWN, "the server has it, and it is called not sent"
            if verdict.state is State.UNKNOWN:
                assert verdict.retry is Retry.NEVER


def run_session(mode: str, data: bytes) -> None:
    """One batch in this mode, with these decisions. Raises ``AssertionError`` where belief and truth differ."""
    world = _World(mode, _Tape(data))
    world.run()
    _check(world)
