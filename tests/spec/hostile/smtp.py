"""The SMTP connector with one behaviour replaced, for each rule about what a server sees and what is made of it."""

from __future__ import annotations

import ssl
import warnings
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, nullcontext
from importlib import import_module
from typing import Any
from unittest.mock import patch

import attrs
from aiosmtplib.protocol import SMTPProtocol
from aiosmtplib.response import SMTPResponse

from genie_connect import Outcome, Retry, Scope, State, Status, Step, hookimpl, setting, settings
from genie_connect.mime.dkim import DkimSigner
from genie_connect.model.capability import yes
from genie_connect.model.frozen import EMPTY
from genie_connect_smtp import plugin, tls
from genie_connect_smtp.aftermath import is_stale
from genie_connect_smtp.auth import choose, sign_in
from genie_connect_smtp.capabilities import effective
from genie_connect_smtp.connection import Connection
from genie_connect_smtp.dkim import _keys
from genie_connect_smtp.errors import ConnectionFault, Fault, ServerRefused, SmtpError
from genie_connect_smtp.extensions import Extensions
from genie_connect_smtp.feed import Feed
from genie_connect_smtp.ladder import Ladder, Rung
from genie_connect_smtp.opening import Opening
from genie_connect_smtp.outcomes import BROKEN
from genie_connect_smtp.outgoing import Outgoing
from genie_connect_smtp.pool import Pool
from genie_connect_smtp.replies import ReplyParser
from genie_connect_smtp.session import Session
from genie_connect_smtp.settings import SmtpSettings
from genie_connect_smtp.stages import Stage
from genie_connect_smtp.stuffing import stuffed
from genie_connect_smtp.transaction import Envelope, Transaction, _no_more_room
from tests.spec.hostile.registry import fails


class Ours:
    """The plug-in as it is. ``replaced`` names what is something else, as ``module:name`` or ``module:class.name``."""

    replaced: Mapping[str, Any] = {}

    def spoilt(self) -> AbstractContextManager[Any]:
        """As long as it stands, what is named in ``replaced`` is something else."""
        stack = ExitStack()
        for name, other in self.replaced.items():
            module, _, path = name.partition(":")
            owner: Any = import_module(f"genie_connect_smtp.{module}")
            *above, last = path.split(".")
            for part in above:
                owner = getattr(owner, part)
            stack.enter_context(patch.object(owner, last, getattr(other, "__func__", other)))
        return stack

    def outcome(self, outcome: Outcome, among: int) -> Outcome:
        """What is told of an outcome, one of so many."""
        return outcome

    def step(self, step: Step) -> Step:
        """What is told of a step."""
        return step

    @hookimpl
    def connector_info(self) -> Any:
        """As it is."""
        return plugin.connector_info()

    @hookimpl
    def connector_capabilities(self, settings: Any) -> Any:
        """As it is."""
        return plugin.connector_capabilities(settings)

    @hookimpl
    async def connector_open(self, settings: Any, runtime: Any) -> Any:
        """As it is."""
        return await plugin.connector_open(settings, runtime)

    @hookimpl
    async def connector_send(self, state: Any, batch: Any, context: Any) -> Sequence[Outcome]:
        """As it is, but for what is told."""
        outcomes = await plugin.connector_send(state, batch, context)
        return [self.outcome(outcome, len(outcomes)) for outcome in outcomes]

    @hookimpl
    async def connector_test(self, settings: Any, context: Any) -> AsyncIterator[Step]:
        """As it is, but for what is told."""
        steps = plugin.connector_test(settings, context)
        try:
            async for step in steps:
                yield self.step(step)
        finally:
            await steps.aclose()

    @hookimpl
    async def connector_close(self, state: Any) -> None:
        """As it is."""
        await plugin.connector_close(state)


def passed(step: Step) -> Step:
    """The step, as if it had passed."""
    return attrs.evolve(step, status=Status.OK, diagnosis=None, summary="all is well")


# The dialogue.


@fails("GC-SMTP-001")
class GreetsWithAnUnderscore(Ours):
    """Calls itself what is no name of a host."""

    replaced = {"opening:Opening._ehlo_name": lambda self: "_kit_"}


@fails("GC-SMTP-002")
class SignsInAsItLikes(Ours):
    """With LOGIN, which most servers know."""

    @staticmethod
    def chosen(wanted: str, extensions: Any, *, inside_tls: bool) -> str:
        """Where anything is offered."""
        choose(wanted, extensions, inside_tls=inside_tls)
        return "login"

    replaced = {"opening:choose": chosen}


@fails("GC-SMTP-003")
class SendsUnsigned(Ours):
    """Goes on where it cannot sign in."""

    @staticmethod
    async def unsigned(opening: Any, real: Any = Opening._auth) -> Any:
        """Some servers take it."""
        try:
            return await real(opening)
        except ConnectionFault:
            return {}

    replaced = {"opening:Opening._auth": unsigned}


@fails("GC-SMTP-004")
class TriesThePasswordAgain(Ours):
    """It may have been a mistake of the server's."""

    @staticmethod
    async def twice(mechanism: str, credentials: Any, command: Any) -> None:
        """And once more."""
        try:
            await sign_in(mechanism, credentials, command)
        except ServerRefused:
            await sign_in(mechanism, credentials, command)

    replaced = {"opening:sign_in": twice}


def saying(said: Callable[[bytes, Envelope], bytes]) -> Mapping[str, Any]:
    """With another MAIL command."""
    real = Envelope.mail_command
    return {"transaction:Envelope.mail_command": lambda envelope: said(real(envelope), envelope)}


@fails("GC-SMTP-005", "GC-SMTP-051")
class TellsOfABody(Ours):
    """Says what the body is, whoever asks."""

    replaced = saying(lambda line, envelope: line if b"BODY" in line else line[:-2] + b" BODY=8BITMIME\r\n")


@fails("GC-SMTP-006", "GC-SMTP-051")
class NeverWaits(Ours):
    """Writes an envelope at once, whatever is offered."""

    @staticmethod
    def rung(ladder: Ladder, extensions: Any, *, copies: int, real: Any = Ladder.rung) -> Rung:
        """It saves time."""
        found: Rung = real(ladder, extensions, copies=copies)
        return max(found, Rung.ENVELOPE)

    replaced = {"ladder:Ladder.rung": rung}


@fails("GC-SMTP-007")
class KeepsEightBitsQuiet(Ours):
    """Sends more than ASCII, and does not say so."""

    replaced = saying(lambda line, envelope: line.replace(b" BODY=8BITMIME", b""))


@fails("GC-SMTP-008")
class SaysItIsSmall(Ours):
    """Tells half of the size, so that it is let in."""

    @staticmethod
    def halved(line: bytes, envelope: Envelope) -> bytes:
        """Half of it."""
        size_bytes = envelope.size_bytes or 0
        return line.replace(b" SIZE=%d" % size_bytes, b" SIZE=%d" % (size_bytes // 2))

    replaced = saying(halved)


@fails("GC-SMTP-009", "GC-SMTP-016")
class NeverTooLarge(Ours):
    """Does not read how much the server takes."""

    replaced = {"extensions:Extensions.max_message_bytes": property(lambda extensions: None)}


@fails("GC-SMTP-010")
class KeepsUtf8Quiet(Ours):
    """Names an address that is not ASCII, and does not say so."""

    replaced = saying(lambda line, envelope: line.replace(b" SMTPUTF8", b""))


@fails("GC-SMTP-012")
class ForgetsDots(Ours):
    """Doubles no dots in a message that leaves in pieces."""

    replaced = {"stuffing:DotStuffer.feed": lambda stuffer, block: block}


@fails("GC-SMTP-011")
class LongLines(Ours):
    """Has a field on one line, however long it is."""

    replaced = {
        "outgoing:stuffed": lambda data: stuffed(
            data.replace(b"Subject: word", b"Subject: " + b"word " * 200 + b"word")
        )
    }


@fails("GC-SMTP-013")
class LeavesWithoutAWord(Ours):
    """Just goes."""

    @staticmethod
    async def gone(connection: Connection) -> None:
        """Now."""
        connection._transport.close()

    replaced = {"connection:Connection.quit": gone}


@fails("GC-SMTP-014")
class ConnectsEachTime(Ours):
    """A connection for each message."""

    replaced = {"pool:Pool._may_serve_again": lambda pool, connection: False}


@fails("GC-SMTP-015", "GC-SMTP-016")
class KnowsNoLimits(Ours):
    """Has not read RFC 9422."""

    replaced = {"extensions:Extensions._limit": lambda extensions, name: None}


@fails("GC-SMTP-016")
class OffersDsn(Ours):
    """Has an extension in its table that the server does not offer."""

    @staticmethod
    def table(settings: Any, extensions: Extensions) -> Any:
        """With DSN."""
        return effective(settings, extensions).replaced([yes("x-smtp.dsn", "DSN")], effective=True)

    replaced = {"diagnose:effective": table}


@fails("GC-SMTP-017")
class RepeatsThePassword(Ours):
    """Tells what the server said, the password included."""

    replaced = {"auth:Credentials.scrubbed": lambda credentials, reply: reply}


@fails("GC-SMTP-018")
class BelievesEarlyRefusals(Ours):
    """Takes it for a refusal where a server wants to be waited for."""

    @staticmethod
    def refused(session: Any, transaction: Any, index: int, reply: Any) -> None:
        """It said no."""
        session.setback = True
        transaction.mail_refused(reply)

    replaced = {
        "session:Session._ON_REPLY": {**Session._ON_REPLY, (Stage.MAIL, 5): refused},
    }


@fails("GC-SMTP-019")
class OneByOne(Ours):
    """Waits for each answer."""

    replaced = {"ladder:Ladder.rung": lambda ladder, extensions, *, copies: Rung.ONE_BY_ONE}


@settings
class AnyHost(SmtpSettings):
    """Looks at no host."""

    host: str = setting(title="Server", help="Wherever.")


@fails("GC-SMTP-036")
class TakesAnyHost(Ours):
    """Asks for a host, and takes anything for one."""

    @hookimpl
    def connector_info(self) -> Any:
        """With other settings."""
        return attrs.evolve(plugin.connector_info(), settings_class=AnyHost)


# What is made of the answers.


@fails("GC-SMTP-020")
class BlamesTheMessage(Ours):
    """Where the recipient is refused."""

    def outcome(self, outcome: Outcome, among: int) -> Outcome:
        """It is about the message."""
        refused = outcome.state is State.REJECTED and outcome.scope is Scope.RECIPIENT and outcome.stage == "rcpt"
        return attrs.evolve(outcome, scope=Scope.MESSAGE, suppress=False) if refused and among == 1 else outcome


@fails("GC-SMTP-021")
class BlamesTheRecipient(Ours):
    """Where the connection breaks while it is named."""

    def outcome(self, outcome: Outcome, among: int) -> Outcome:
        """It is about the recipient."""
        broken = outcome.stage == "rcpt" and outcome.code is None and outcome.state is State.DEFERRED
        return attrs.evolve(outcome, scope=Scope.RECIPIENT) if broken and among == 1 else outcome


@fails("GC-SMTP-022")
class ReadsLeniently(Ours):
    """Takes three digits for a reply, whatever comes behind them."""

    class Lenient(ReplyParser):
        """The space is added."""

        def take(self, data: bytes) -> Any:
            """With a space."""
            return super().take(data.replace(b"250ok", b"250 ok"))

    replaced = {"connection:ReplyParser": Lenient}


@fails("GC-SMTP-023")
class TakesAnythingForAYes(Ours):
    """Whatever is not a refusal."""

    def outcome(self, outcome: Outcome, among: int) -> Outcome:
        """It is a yes."""
        said = outcome.state is State.UNKNOWN and outcome.code is not None and outcome.code // 100 == 3
        return accepted(outcome) if said else outcome


def accepted(outcome: Outcome) -> Outcome:
    """As if it had been accepted."""
    return Outcome(
        recipient=outcome.recipient, state=State.ACCEPTED, stage="final", code=outcome.code, text=outcome.text
    )


@fails("GC-SMTP-024")
class ForgetsWhoIsRefused(Ours):
    """Suppresses nobody where there are several."""

    def outcome(self, outcome: Outcome, among: int) -> Outcome:
        """Nobody."""
        return attrs.evolve(outcome, suppress=False) if among == 5 else outcome


@fails("GC-SMTP-025")
class SendsToNobody(Ours):
    """Sends the content where all recipients are refused and the server asks for it."""

    @staticmethod
    def content(outgoing: Outgoing, transaction: Transaction, out: list[bytes]) -> bool:
        """All of it."""
        out.append(stuffed(transaction.content.data or b""))
        outgoing._send_end_mark(transaction, out)
        return True

    replaced = {"outgoing:Outgoing._send_content": content}


@fails("GC-SMTP-026")
class TakesTooManyForNo(Ours):
    """Where a server has no room for more in this transaction."""

    replaced = {"transaction:_no_more_room": lambda reply: False}


@fails("GC-SMTP-027")
class PutsTheRestOff(Ours):
    """Where a server takes no more in this transaction, somebody may come back later."""

    replaced = {"transaction:_no_more_room": lambda reply: reply.code != 452 and _no_more_room(reply)}


@fails("GC-SMTP-028")
class DoubtsSilence(Ours):
    """Takes silence for a sign that the message may be there."""

    @staticmethod
    def failed(connection: Connection, fault: Fault, *, by_us: bool = False, real: Any = Connection._fail) -> None:
        """Who knows."""
        if fault is Fault.TIMEOUT:
            for transaction in connection.session._active:
                transaction.settle_rest(Stage.FINAL, BROKEN)
        real(connection, fault, by_us=by_us)

    replaced = {"connection:Connection._fail": failed}


@fails("GC-SMTP-029")
class SuppressesEverybody(Ours):
    """Where one answer speaks of somebody who does not exist."""

    @staticmethod
    def answered(transaction: Transaction, reply: Any, real: Any = Transaction.answered) -> Any:
        """Of everybody."""
        transaction.taken = 1
        return real(transaction, reply)

    replaced = {"transaction:Transaction.answered": answered}


@fails("GC-SMTP-030")
class ForgetsTheWords(Ours):
    """A yes is a yes."""

    def outcome(self, outcome: Outcome, among: int) -> Outcome:
        """Without words."""
        return attrs.evolve(outcome, text=None) if outcome.state is State.ACCEPTED else outcome


@fails("GC-SMTP-031")
class ForgetsTheName(Ours):
    """That the server gave the message."""

    replaced = {"outcomes:provider_id": lambda reply: None}


# Testing.


@fails("GC-SMTP-032")
class KeepsTheReply(Ours):
    """Does not show what the server said."""

    def step(self, step: Step) -> Step:
        """In its own words."""
        if step.diagnosis is None or step.id == "message":
            return step
        return attrs.evolve(step, diagnosis=attrs.evolve(step.diagnosis, server_reply=None))


@fails("GC-SMTP-033")
class PassesGarbage(Ours):
    """A sign-in that breaks off may be all right."""

    def step(self, step: Step) -> Step:
        """All is well."""
        broken = step.diagnosis is not None and step.diagnosis.server_reply is None and step.id == "auth"
        return passed(step) if broken else step


@fails("GC-SMTP-034")
class PassesRefusals(Ours):
    """The message that was asked for is sent, taken or not."""

    def step(self, step: Step) -> Step:
        """It was sent."""
        return passed(step) if step.id == "message" else step


@fails("GC-SMTP-032", "GC-SMTP-033", "GC-SMTP-035", "GC-SMTP-038", "GC-SMTP-039")
class AsksForNobody(Ours):
    """Does not try the sender."""

    @staticmethod
    async def skipped(test: Any, connection: Any) -> Step:
        """Later."""
        return Step(id="sender", title="Sender", status=Status.SKIP, summary="not tried")

    replaced = {"diagnose:_Test.sender_step": skipped}


@fails("GC-SMTP-037")
class WaitsForTheServerToClose(Ours):
    """Says good-bye, and leaves it to the server to close."""

    @staticmethod
    async def said(connection: Connection) -> None:
        """Good-bye."""
        if connection.usable:
            connection._transport.write(b"QUIT\r\n")

    replaced = {"connection:Connection.quit": said}


@fails("GC-SMTP-038")
class SaysNotWhere(Ours):
    """Shows no evidence."""

    def step(self, step: Step) -> Step:
        """None."""
        if step.diagnosis is None:
            return step
        return attrs.evolve(step, diagnosis=attrs.evolve(step.diagnosis, evidence=""))


@fails("GC-SMTP-039")
class TakesSilenceForTheEnd(Ours):
    """Says of a server that is silent that it has gone."""

    def step(self, step: Step) -> Step:
        """Gone."""
        found = step.diagnosis
        if found is None or found.code != "banner_timeout_no_bytes":
            return step
        return attrs.evolve(step, diagnosis=attrs.evolve(found, code="disconnect"))


@fails("GC-SMTP-066")
class ComesBackWhenItLikes(Ours):
    """Does not hear when it is to come back."""

    def outcome(self, outcome: Outcome, among: int) -> Outcome:
        """Some time."""
        return attrs.evolve(outcome, retry_after_s=None)


@fails("GC-SMTP-067")
class HidesTheTestMessage(Ours):
    """Says that it was sent, and nothing more."""

    def step(self, step: Step) -> Step:
        """Sent."""
        return attrs.evolve(step, facts=EMPTY) if step.id == "message" else step


# Many copies.


@fails("GC-SMTP-040")
class MakesSure(Ours):
    """Sends large batches twice."""

    @hookimpl
    async def connector_send(self, state: Any, batch: Any, context: Any) -> Any:
        """To be sure."""
        if len(batch.deliveries) > 16:
            await plugin.connector_send(state, batch, context)
        return await plugin.connector_send(state, batch, context)


@fails("GC-SMTP-041")
class StopsAtTheFirst(Ours):
    """One copy that is refused is enough."""

    @hookimpl
    async def connector_send(self, state: Any, batch: Any, context: Any) -> Any:
        """The others are put off."""
        outcomes = list(await plugin.connector_send(state, batch, context))
        refused = [
            outcome for outcome in outcomes if outcome.state is State.REJECTED and outcome.stage in ("rcpt", "final")
        ]
        if len(outcomes) < 6 or not refused:
            return outcomes
        facts = {"state": State.DEFERRED, "suppress": False, "reason": "temporary"}
        others = [outcome for outcome in outcomes if outcome not in refused]
        told = [attrs.evolve(refused[0], recipient=outcome.recipient, **facts) for outcome in others]
        by_recipient = {outcome.recipient: outcome for outcome in (*refused, *told)}
        return [by_recipient[outcome.recipient] for outcome in outcomes]


@fails("GC-SMTP-042")
class ForgetsTheCode(Ours):
    """Of a sender that was refused."""

    def outcome(self, outcome: Outcome, among: int) -> Outcome:
        """In a broadcast."""
        return attrs.evolve(outcome, code=None) if outcome.stage == "mail" and among > 8 else outcome


@fails("GC-SMTP-043")
class KnowsMore(Ours):
    """Says of what is in doubt that it was not taken."""

    def outcome(self, outcome: Outcome, among: int) -> Outcome:
        """It can be sent again."""
        if outcome.state is not State.UNKNOWN or among < 9:
            return outcome
        return attrs.evolve(outcome, state=State.DEFERRED, reason="connect", scope=Scope.CONNECTION)


@fails("GC-SMTP-044")
class GivesUpAtOnce(Ours):
    """A server that went once has gone."""

    replaced = {"send:_MAX_FAILURES_IN_A_ROW": 1}


@fails("GC-SMTP-045")
class LosesCount(Ours):
    """Does not mind a reply too many."""

    replaced = {
        "step_check:StepCheck.fits": lambda check, reply: True,
        "session:Session._unasked": lambda session, reply: None,
        "session:Session._out_of_step": lambda session, transaction, index, reply: None,
    }


@fails("GC-SMTP-074")
class TriesTheSameCertificate(Ours):
    """Another try may meet another certificate."""

    def outcome(self, outcome: Outcome, among: int) -> Outcome:
        """Anywhere."""
        return attrs.evolve(outcome, retry=Retry.ANY) if outcome.reason == "tls" else outcome


@fails("GC-SMTP-070")
class AnnouncesNothing(Ours):
    """Says DATA, though there is nobody left to send to."""

    replaced = {"session:Session._after_rcpt": lambda session, transaction: None}


@fails("GC-SMTP-071")
class TakesLeaveForGranted(Ours):
    """Takes what a server leaves unanswered after its good-bye for not done, though the server went on."""

    @staticmethod
    def received(session: Any, reply: Any, real: Any = Session.receive) -> None:
        """It has gone."""
        real(session, reply)
        session._stays = False

    replaced = {"session:Session.receive": received}


@fails("GC-SMTP-073")
class KeepsItToItself(Ours):
    """Does not tell what a server said out of step."""

    @staticmethod
    def out(session: Any, transaction: Any, index: int, reply: Any) -> None:
        """Nothing of it."""
        session._end(ConnectionFault(session._last_stage, Fault.EXTRA_REPLY))

    replaced = {"session:Session._out_of_step": out}


@fails("GC-SMTP-075")
class CountsOnly(Ours):
    """Any yes will do for another."""

    replaced = {"step_check:StepCheck.fits": lambda check, reply: reply.code // 100 == 2}


@fails("GC-SMTP-047")
class WantsMore(Ours):
    """Takes it for the end where one connection more is turned away."""

    @staticmethod
    def refused(pool: Any, refusal: Any, limits: Any) -> bool:
        """So be it."""
        pool.refusal = refusal
        return False

    replaced = {"pool:Pool._is_for_room": refused}

    @hookimpl
    async def connector_send(self, state: Any, batch: Any, context: Any) -> Any:
        """The last one is put off."""
        outcomes = list(await plugin.connector_send(state, batch, context))
        if getattr(state.pool, "refusal", None) is None or len(outcomes) < 2:
            return outcomes
        facts = {"reason": "connect", "scope": Scope.CONNECTION, "hint": "There is no room."}
        last = Outcome(recipient=outcomes[-1].recipient, state=State.DEFERRED, stage="greeting", **facts)
        return [*outcomes[:-1], last]


@fails("GC-SMTP-046")
class FailsWhenLeft(Ours):
    """Takes a connection that was left for a failure of the message."""

    replaced = {
        "session:is_stale": lambda transaction, served: False,
        "aftermath:is_stale": lambda transaction, served: False,
    }


@fails("GC-SMTP-048")
class DoesNotTakeNo(Ours):
    """Goes on where the server wants nothing of it."""

    replaced = {"send:_Sending._note": lambda sending, delivery: None}


@fails("GC-SMTP-049")
class ForgivesOnce(Ours):
    """Goes to another idle connection where the server has left one, and no further where it has left that as well."""

    @staticmethod
    def stale_once(transaction: Any, served: int, real: Any = is_stale) -> bool:
        """The second time is one too many."""
        stale = real(transaction, served)
        again, transaction.owner.left_before = getattr(transaction.owner, "left_before", False), stale
        return stale and not again

    replaced = {"session:is_stale": stale_once, "aftermath:is_stale": stale_once}


@fails("GC-SMTP-069")
class KeepsPlacesForTheDead(Ours):
    """Counts a connection that could not be made."""

    @staticmethod
    async def acquired(pool: Any, limits: Any, real: Any = Pool.acquire) -> Any:
        """One place fewer."""
        try:
            return await real(pool, limits)
        except SmtpError:
            await pool._slots.acquire()
            raise

    replaced = {"pool:Pool.acquire": acquired}


@fails("GC-SMTP-049", "GC-SMTP-068")
class WaitsForEveryConnection(Ours):
    """Ends when the last connection has been made, or cannot be."""

    replaced = {"send:_Sending._idle": lambda sending: nullcontext()}


# The way to TLS.


@fails("GC-SMTP-050")
class ForgetsToEncrypt(Ours):
    """Says STARTTLS when it thinks of it."""

    @staticmethod
    async def in_clear(opening: Opening) -> Any:
        """Not now."""
        return EMPTY

    replaced = {"opening:Opening._starttls": in_clear}


def remembering(*kept: str) -> Callable[..., Any]:
    """An EHLO inside TLS to whose answer that is added which was offered in clear."""

    async def said(opening: Any, real: Any = Opening._ehlo_tls) -> Any:
        before = opening.extensions
        facts = await real(opening)
        now = opening.extensions
        words = {name: value for name, value in before.keywords.items() if name in kept}
        mechanisms = before.auth_mechanisms if "auth" in kept else now.auth_mechanisms
        opening.extensions = Extensions.of({**words, **now.keywords}, mechanisms)
        return facts

    return said


@fails("GC-SMTP-051")
class RemembersOffers(Ours):
    """Goes by what was offered in clear."""

    replaced = {"opening:Opening._ehlo_tls": remembering("size", "8bitmime", "pipelining")}


@fails("GC-SMTP-056", "GC-SMTP-051")
class RemembersMechanisms(Ours):
    """Signs in as was offered in clear."""

    replaced = {"opening:Opening._ehlo_tls": remembering("auth")}


@fails("GC-SMTP-052")
class Opportunist(Ours):
    """Encrypts where it can, and goes on where it cannot."""

    @staticmethod
    async def perhaps(opening: Any, real: Any = Opening._starttls) -> Any:
        """If it is offered."""
        return await real(opening) if "starttls" in opening.extensions else EMPTY

    replaced = {"opening:Opening._starttls": perhaps}


@fails("GC-SMTP-053", "GC-SMTP-055")
class ReadsOn(Ours):
    """Keeps what comes unasked, and takes it for the answer to what it says next."""

    @staticmethod
    def read(protocol: Any) -> SMTPResponse | None:
        """The first reply; the rest stays."""
        parser = ReplyParser()
        parser.feed(bytes(protocol._buffer))
        reply = parser.next_reply()
        if reply is None:
            return None
        protocol._buffer[:] = parser._buffer
        protocol.last_reply = reply
        return SMTPResponse(reply.code, "\n".join(reply.lines))

    replaced = {
        "guard:StrictProtocol.data_received": SMTPProtocol.data_received,
        "guard:StrictProtocol._read_response_from_buffer": read,
        "guard:StrictProtocol.check_quiet": lambda protocol: None,
    }


@fails("GC-SMTP-054", "GC-SMTP-057")
class TakesAnyName(Ours):
    """Does not look whose certificate it is."""

    @staticmethod
    def context(ca_file: str | None) -> Any:
        """Of anybody."""
        made = tls.client_context(ca_file)
        made.check_hostname = False
        return made

    replaced = {"state:tls": type("Other", (), {"client_context": staticmethod(context)})}


@fails("GC-SMTP-055")
class TakesOldTls(Ours):
    """Encrypts as was done long ago."""

    @staticmethod
    def context(ca_file: str | None) -> Any:
        """From TLS 1.0 on."""
        made = tls.client_context(ca_file)
        made.set_ciphers("ALL:@SECLEVEL=0")
        with warnings.catch_warnings():
            # Old versions are deprecated, which is the point.
            warnings.simplefilter("ignore", DeprecationWarning)
            made.minimum_version = ssl.TLSVersion.TLSv1
        return made

    replaced = {"state:tls": type("Other", (), {"client_context": staticmethod(context)})}


@fails("GC-SMTP-057")
class HasOneWordForAll(Ours):
    """Says that TLS failed."""

    def step(self, step: Step) -> Step:
        """Whatever it was."""
        found = step.diagnosis
        if found is None or not found.code.startswith("cert_"):
            return step
        other = attrs.evolve(found, code="tls_failed", title="TLS failed", cause="It did not work.")
        return attrs.evolve(step, diagnosis=other)


@fails("GC-SMTP-058")
class SaysNothingOfTheCertificate(Ours):
    """It was good."""

    replaced = {"tls:facts_of": lambda ssl_object: {}}


@fails("GC-SMTP-058")
class KeepsTheDayToItself(Ours):
    """Says that a certificate ends soon, and not when."""

    def step(self, step: Step) -> Step:
        """Soon."""
        return (
            attrs.evolve(step, summary="TLSv1.3, but the certificate ends soon") if step.status is Status.WARN else step
        )


@fails("GC-SMTP-059")
class TrustsWithoutAFile(Ours):
    """Trusts everybody where the file of authorities is none."""

    @staticmethod
    def context(ca_file: str | None) -> Any:
        """Of anybody."""
        try:
            return tls.client_context(ca_file)
        except OSError:
            made = tls.client_context(None)
            made.check_hostname, made.verify_mode = False, ssl.CERT_NONE
            return made

    replaced = {
        "settings:SmtpSettings._ca_file_rules": lambda settings: (),
        "state:tls": type("Other", (), {"client_context": staticmethod(context)}),
    }


# Signing.


@fails("GC-SMTP-060")
class SignsSomethingElse(Ours):
    """Signs the body before it has its last line."""

    @staticmethod
    def signed(signer: Any, head: bytes, body_chunks: Any, *, now: Any, real: Any = DkimSigner.sign) -> Any:
        """With a line more."""
        return real(signer, head, [*body_chunks, b"-- \r\n"], now=now)

    def spoilt(self) -> AbstractContextManager[Any]:
        """Of the core, which signs for it."""
        return patch.object(DkimSigner, "sign", type(self).signed)


@fails("GC-SMTP-061")
class LeavesTheSubjectOpen(Ours):
    """Does not sign the subject."""

    def spoilt(self) -> AbstractContextManager[Any]:
        """Of the core, which signs for it."""
        from genie_connect.mime import dkim

        return patch.object(dkim, "_COUNTS", tuple(row for row in dkim._COUNTS if row[1] != "subject"))


@fails("GC-SMTP-062", "GC-SMTP-064")
class SignsOnce(Ours):
    """With the first key."""

    replaced = {"dkim:_keys": lambda settings: _keys(settings)[:1]}


@fails("GC-SMTP-063")
class SendsUnsignedRather(Ours):
    """Where the key is none."""

    def step(self, step: Step) -> Step:
        """All is well."""
        return passed(step) if step.id == "dkim" and step.status is Status.FAIL else step


@fails("GC-SMTP-064")
class KeepsTheRecord(Ours):
    """Does not say what is to be published."""

    replaced = {"diagnose:records_of": lambda signer: {}}


@fails("GC-SMTP-065")
class SignsEightBits(Ours):
    """Signs what a relay may have to write anew."""

    @staticmethod
    def made(feed: Any, *given: Any, real: Any = Feed.__init__) -> None:
        """As where nothing is signed."""
        real(feed, *given)
        feed._eight_bit = "8bitmime" in feed._session.extensions

    replaced = {"feed:Feed.__init__": made}
