"""A send to the scripted SMTP server, and what the server knows of it: what checks of SMTP connectors are made of."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import attrs

from genie_connect.contract import Kind
from genie_connect.model.message import Message
from genie_connect.model.outcome import Outcome, State
from genie_connect_spec.kit.check import needs
from genie_connect_spec.kit.letters import Copy, batch_of, letter
from genie_connect_spec.kit.rig import GRACE_S, Rig
from genie_connect_spec.kit.smtp_provider import SmtpProvider
from genie_connect_spec.smtp_record import Command, ConnectionRecord, HandedOver
from genie_connect_spec.smtp_script import Action, Answer, Decide, Rule, Say, ehlo_reply, on

AUTH = "AUTH PLAIN LOGIN"
PLAIN = Say(ehlo_reply(AUTH))
"""The answer to EHLO of a server that has no extension but AUTH."""


def offers(*keywords: str) -> Rule:
    """A server that offers these, and AUTH."""
    return on("ehlo", Say(ehlo_reply(AUTH, *keywords)))


def server_of(rig: Rig) -> SmtpProvider:
    """The scripted server. Raises ``NotApplicable`` where the connector does not speak to one."""
    needs(rig.kind is Kind.SMTP, "it does not speak SMTP")
    provider = rig.provider
    needs(not rig.contract.brings_a_provider, "its contract brings a provider of its own")
    assert isinstance(provider, SmtpProvider), "a connector of the kind smtp has the provider_kind 'smtp'"
    return provider


def readers(count: int) -> list[str]:
    """So many recipients."""
    return [f"reader{number:02}@example.com" for number in range(count)]


@attrs.frozen(kw_only=True)
class Elsewhere:
    """Another server than the contract's own, and the settings that lead to it."""

    server: SmtpProvider
    settings: Any


@attrs.frozen(kw_only=True)
class Exchange:
    """The outcomes of a send, and what the server has seen of it."""

    outcomes: Sequence[Outcome]
    taken: Sequence[HandedOver]
    connections: Sequence[ConnectionRecord]

    @property
    def commands(self) -> list[Command]:
        """All commands, one connection after another."""
        return [command for connection in self.connections for command in connection.commands]

    @property
    def first(self) -> HandedOver:
        """The first message that was handed over. Raises ``AssertionError`` where there is none."""
        assert self.taken, f"no message was handed over, and the outcome is {self.outcomes[0]}"
        return self.taken[0]

    def of(self, recipient: str) -> Outcome:
        """The outcome of one recipient."""
        return next(outcome for outcome in self.outcomes if outcome.recipient == recipient)

    def lines(self, stage: str) -> list[str]:
        """The command lines of one stage."""
        return [command.line.decode("utf-8", "replace") for command in self.commands if command.stage == stage]

    def agree(self, *, doubts: bool = False) -> None:
        """The outcomes are what the server knows, recipient by recipient. Raises ``AssertionError``.

        With ``doubts`` much was on its way when the connection broke, and answers were lost with it: what the server
        knows for sure may be in doubt here.
        """
        for message in self.taken:
            strangers = [each for each in message.recipients if each.encode() not in message.data]
            assert not strangers, f"{strangers[0]} was sent a message that was meant for somebody else"
            assert message.recipients, "the server was given a message for nobody"
        for outcome in self.outcomes:
            codes = [message.code for message in self.taken if outcome.recipient in message.recipients]
            again = [code for code in codes[:-1] if code // 100 not in (4, 5)]
            assert not again, f"{outcome.recipient} was handed over {len(codes)} times, though it may have been taken"
            told = f"it answered {codes[-1] or 'nothing'} to the whole message" if codes else "it never had the message"
            expected = _states(codes, doubts=doubts)
            assert outcome.state in expected, f"{outcome.recipient}: {told}, and the outcome is {outcome.state}"


def _states(codes: Sequence[int], *, doubts: bool) -> Sequence[State]:
    known: dict[int, tuple[State, ...]] = {2: (State.ACCEPTED,), 4: (State.DEFERRED,), 5: (State.REJECTED,)}
    states = known.get(codes[-1] // 100, ()) if codes else (State.DEFERRED, State.REJECTED)
    return (*states, State.UNKNOWN) if doubts or not states else states


async def exchange(
    rig: Rig,
    script: Iterable[Rule] = (),
    *,
    message: Message | None = None,
    copies: int = 0,
    deadline_s: float = 10.0,
    at: Elsewhere | None = None,
    settings: Any = None,
) -> Exchange:
    """Send one message, or so many copies of it, to a server that follows this script."""
    server = server_of(rig) if at is None else at.server
    settings = settings if at is None else at.settings
    # One that was given up in the making may be taken in late, and would be counted as the first of this send.
    await server.deserted(GRACE_S)
    server.forget()
    server.play(tuple(script))
    batch = await batch_of(message or letter("reader00@example.com"), [Copy(to=to) for to in readers(copies)])
    async with rig.opened(settings) as state:
        outcomes = await rig.send(state, batch, rig.context(deadline_s))
    return Exchange(outcomes=outcomes, taken=server.taken, connections=server.connections)


def only_for(recipient: str, action: Action) -> Decide:
    """The action where this recipient was the last to be named, and a proper answer anywhere else."""
    return only_if(lambda record: _last_recipient(record) == recipient, action)


def only_the(number: int, action: Action) -> Decide:
    """The action the so-manieth time that it comes to that, over all connections, and a proper answer otherwise."""
    count = itertools.count(1)
    return Decide(lambda record: action if next(count) == number else Answer())


def only_if(holds: Callable[[ConnectionRecord], bool], action: Action) -> Decide:
    """The action where that holds, and a proper answer anywhere else."""
    return Decide(lambda record: action if holds(record) else Answer())


def _last_recipient(record: ConnectionRecord) -> str:
    for command in reversed(record.commands):
        if command.stage == "rcpt":
            return command.line.decode("utf-8", "replace").partition("<")[2].partition(">")[0]
    return ""
