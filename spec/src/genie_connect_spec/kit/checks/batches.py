"""Many copies over SMTP: whatever happens to one of them, the outcomes are what the server knows.

Each is tried on servers that offer different things, since a connector may run ahead of the answers as far as they let
it.

PYTEST_DONT_REWRITE: each assertion says itself what is wrong.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Final

from genie_connect.model.outcome import State
from genie_connect_spec.kit.check import Force, check, needs
from genie_connect_spec.kit.conversation import Exchange, exchange, offers, only_for, only_the, readers, server_of
from genie_connect_spec.kit.letters import Copy, batch_of, letter
from genie_connect_spec.kit.rig import GRACE_S, SHORT_S, Rig
from genie_connect_spec.smtp_script import Action, Answer, Close, Garbage, Hang, Reply421, Reset, Rule, Say, on

SENDS: Final = ("GC-SEND-004",)
MANY: Final = 20
"""So many copies are worth running far ahead for."""
FEW: Final = 9
SERVERS: Final = (
    offers("PIPELINING", "SIZE", "8BITMIME", "CHUNKING"),
    offers("PIPELINING", "SIZE", "8BITMIME"),
    offers(),
)
"""As far as commands may run ahead of their answers: whole messages, envelopes, not at all."""
_ITS: Final = readers(FEW)[7]


async def sent(rig: Rig, server: Rule, *script: Rule, count: int = 0, doubts: bool = False) -> Exchange:
    """What came of a batch that is large enough for such a server. Raises ``AssertionError`` where the two disagree."""
    needs(rig.declares("send.broadcast"), "it declares no send.broadcast")
    count = count or (MANY if server is SERVERS[0] else FEW)
    seen = await exchange(rig, [server, *script], copies=count, deadline_s=15.0)
    seen.agree(doubts=doubts)
    return seen


def _others_are_accepted(seen: Exchange, what: str, but: Sequence[str] = (_ITS,)) -> None:
    lost = [each for each in seen.outcomes if each.recipient not in but and each.state is not State.ACCEPTED]
    assert not lost, f"{what}, and of {len(lost)} others one has the outcome {lost[0]}"


@check("GC-SMTP-040", after=SENDS)
async def every_copy_is_handed_over_once(rig: Rig) -> None:
    """However far a connector runs ahead of the answers."""
    for server in SERVERS:
        for count in (2, MANY, 50):
            seen = await sent(rig, server, count=count)
            _others_are_accepted(seen, f"the server takes {count} copies", ())
            assert len(seen.taken) == count, f"{count} copies were handed over {len(seen.taken)} times"


@check("GC-SMTP-041", after=("GC-SMTP-040",))
async def a_refused_copy_is_one_copy(rig: Rig) -> None:
    """The one that is refused is refused, and the others go on, each under its own envelope."""
    for server in SERVERS:
        for stage, code in (("rcpt", 550), ("rcpt", 450), ("data", 554), ("final", 554), ("final", 451)):
            enhanced = {550: "5.1.1", 450: "4.2.1", 554: "5.6.0", 451: "4.3.0"}[code]
            refusal = only_for(_ITS, Say(f"{code} {enhanced} not this one\r\n".encode()))
            seen = await sent(rig, server, on(stage, refusal))
            what = f"one copy is refused with {code} at the stage {stage}"
            _others_are_accepted(seen, what)
            handed = any(_ITS in message.recipients for message in seen.taken)
            state = seen.of(_ITS).state
            expected = State.REJECTED if code // 100 == 5 else State.DEFERRED
            assert state is expected or (stage == "data" and handed), f"{what}, and its outcome is {state}"


@check("GC-SMTP-042", after=("GC-SMTP-040",))
async def a_refused_sender_costs_one_copy(rig: Rig) -> None:
    """What follows a refused MAIL must not go out under the envelope before it."""
    for server in SERVERS:
        for said in (b"550 5.1.7 not now\r\n", b"451 4.3.0 not now\r\n"):
            seen = await sent(rig, server, on("mail", only_the(4, Say(said))))
            refused = [each for each in seen.outcomes if each.state is not State.ACCEPTED]
            assert len(refused) == 1, f"one MAIL was refused, and {len(refused)} copies were not accepted"
            assert refused[0].code == int(said[:3]), f"a MAIL was refused, and the outcome is {refused[0]}"


@check("GC-SMTP-043", after=("GC-SMTP-040",))
async def a_server_that_goes_is_believed_to_the_letter(rig: Rig) -> None:
    """What it has taken it has taken; what it may have is in doubt; what it cannot have was not handed over."""
    actions: tuple[Action, ...] = (Close(), Reply421(), Reply421(close=False), Reset(), Garbage())
    for server in SERVERS:
        for stage in ("mail", "rcpt", "final") if server is SERVERS[0] else ("mail", "rcpt", "data", "final"):
            for action in actions[:2] if server is SERVERS[2] else actions:
                # Where much is on its way, or the end comes with a reset, answers are lost with the connection.
                hidden = server is SERVERS[0] or (server is SERVERS[1] and isinstance(action, Reset | Garbage))
                await sent(rig, server, on(stage, only_the(4, action)), doubts=hidden)


@check("GC-SMTP-044", force=Force.SHOULD, after=("GC-SMTP-043",))
async def a_server_that_goes_once_costs_no_others(rig: Rig) -> None:
    """There is another connection to be had."""
    for server in SERVERS[1:]:
        for stage in ("mail", "rcpt", "final"):
            for action in (Close(), Reply421()):
                seen = await sent(rig, server, on(stage, only_the(4, action)))
                lost = [each for each in seen.outcomes if each.state is not State.ACCEPTED]
                said = f"{action} at the stage {stage} of the fourth copy"
                assert len(lost) <= 1, f"{said}, and {len(lost)} copies were not accepted: {lost[-1]}"


@check("GC-SMTP-045", after=("GC-SMTP-040",))
async def a_reply_too_many_makes_no_yes(rig: Rig) -> None:
    """From there on nobody can tell whose answer is whose: the next one's yes may be this one's."""
    for server in SERVERS:
        for stage in ("mail", "rcpt", "data", "final", "rset"):
            rule = on(stage, only_the(4, Answer(after=b"250 2.0.0 once more\r\n")))
            refusal = on("final", only_for(_ITS, Say(b"554 5.6.0 not this one\r\n")))
            seen = await exchange(rig, [server, rule, refusal], copies=MANY, deadline_s=15.0)
            for outcome in seen.outcomes:
                took = any(outcome.recipient in message.recipients and message.accepted for message in seen.taken)
                lie = outcome.state is State.ACCEPTED and not took
                assert not lie, f"a reply too many at {stage.upper()}, and {outcome.recipient} is accepted"


@check("GC-SMTP-046", after=("GC-SMTP-014",))
async def a_connection_that_was_left_costs_nothing(rig: Rig) -> None:
    """Servers end idle connections: that is no failure of the message that comes next."""
    for action in (Close(), Reset(), Reply421(), Say(b"451 4.4.2 you were idle\r\n")):
        server = server_of(rig)
        await server.deserted(GRACE_S)
        server.forget()
        server.play([on("mail", action, connection=0, message=1)])
        async with rig.opened() as state:
            await rig.send(state, await batch_of(letter("reader00@example.com")))
            (outcome,) = await rig.send(state, await batch_of(letter("reader01@example.com")))
        assert outcome.state is State.ACCEPTED, (
            f"{action} to the first MAIL after a pause, and the outcome is {outcome}"
        )
        assert len(server.taken) == 2, f"two messages were handed over {len(server.taken)} times"


@check("GC-SMTP-047", after=("GC-SMTP-040",))
async def one_connection_is_enough(rig: Rig) -> None:
    """A server that takes one connection at a time takes a batch all the same."""
    busy = Say(b"421 4.7.0 too many connections from you\r\n")
    for server in SERVERS:
        rules = [on("banner", busy, connection=number) for number in range(1, 30)]
        seen = await sent(rig, server, *rules)
        _others_are_accepted(seen, "the server takes one connection at a time", ())


@check("GC-SMTP-048", after=("GC-SMTP-040",))
async def a_batch_that_is_not_wanted_ends_soon(rig: Rig) -> None:
    """Where the server wants nothing of ours, the rest of a batch only makes it angrier."""
    needs(rig.declares("send.broadcast"), "it declares no send.broadcast")
    for rule in (on("banner", Say(b"554 5.7.1 blocked\r\n")), on("ehlo", Say(b"550 5.7.1 blocked\r\n"))):
        seen = await exchange(rig, [rule], copies=MANY, deadline_s=15.0)
        seen.agree()
        wrong = [each for each in seen.outcomes if each.state is not State.DEFERRED]
        assert not wrong, f"it is turned away, and the outcome is {wrong[0]}"
        assert len(seen.connections) <= 3, f"it is turned away, and comes back {len(seen.connections)} times"
    seen = await sent(rig, SERVERS[1], on("mail", Say(b"550 5.7.1 your address is blocked\r\n")))
    count = len(seen.lines("mail"))
    assert count <= MANY, f"every MAIL is refused, and {count} came for {MANY} copies"


@check("GC-SMTP-049", after=("GC-SMTP-040", "GC-SMTP-046"))
async def connections_that_were_left_cost_nothing(rig: Rig) -> None:
    """All of them at once, as where the server was started anew between two batches."""
    needs(rig.declares("send.broadcast"), "it declares no send.broadcast")
    server = server_of(rig)
    for offered in SERVERS:
        server.forget()
        server.play([offered])
        async with rig.opened() as state:
            for number, count in enumerate((MANY, 1, FEW)):
                batch = await batch_of(
                    letter(), [Copy(to=f"reader{number}{place:02}@example.com") for place in range(count)]
                )
                before = len(server.taken)
                outcomes = await rig.send(state, batch)
                lost = [outcome for outcome in outcomes if outcome.state is not State.ACCEPTED]
                assert not lost, f"the server has ended every connection since the last batch: {lost[0]}"
                times = len(server.taken) - before
                assert times == count, f"{count} copies were handed over {times} times"
                old = range(len(server.connections))
                server.play(
                    [offered, *(on(stage, Close(), connection=each) for stage in ("mail", "rset") for each in old)]
                )


@check("GC-SMTP-068", force=Force.SHOULD, after=("GC-SMTP-040",))
async def a_send_ends_when_all_is_known(rig: Rig) -> None:
    """A connection more that hangs in its making is nobody's concern once the others have sent everything."""
    needs(rig.declares("send.broadcast"), "it declares no send.broadcast")
    server = server_of(rig)
    for stage in ("banner", "ehlo"):
        await server.deserted(GRACE_S)
        server.forget()
        server.play([SERVERS[2], *(on(stage, Hang(), connection=each) for each in range(1, 30))])
        batch = await batch_of(letter(), [Copy(to=to) for to in readers(MANY)])
        async with rig.opened() as state:
            context = rig.context(4 * GRACE_S)
            sending = asyncio.ensure_future(rig.send(state, batch, context))
            try:
                await server.received(MANY, 2 * GRACE_S)
                await asyncio.wait([sending], timeout=GRACE_S)
                ended = sending.done()
            finally:
                sending.cancel()
                await asyncio.wait([sending])
        assert ended, f"every copy is answered, and it waits for a connection that hangs at the stage {stage}"
        lost = [outcome for outcome in sending.result() if outcome.state is not State.ACCEPTED]
        assert not lost, f"one connection takes every copy, and the outcome is {lost[0]}"


@check("GC-SMTP-069", after=SENDS)
async def connections_that_failed_count_no_more(rig: Rig) -> None:
    """Whoever has room for so many connections has it still after so many could not be made."""
    server = server_of(rig)
    for rule in (on("banner", Close()), on("ehlo", Say(b"554 5.7.1 blocked\r\n")), on("mail", Close())):
        await server.deserted(GRACE_S)
        server.forget()
        async with rig.opened() as state:
            server.play([rule])
            for _ in range(12):
                await rig.send(state, await batch_of(letter("reader00@example.com")), rig.context(SHORT_S))
            server.play([])
            (outcome,) = await rig.send(state, await batch_of(letter("reader01@example.com")), rig.context(GRACE_S))
        said = f"{rule.action} at the stage {rule.stage} 12 times over, and then none"
        assert outcome.state is State.ACCEPTED, f"{said}: the outcome is {outcome}"
