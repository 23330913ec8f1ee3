"""The connector test: the steps of sending, one by one, told as they happen.

It runs what sending runs (the same ``Opening``, the same transaction), so a test that passes and a send that fails
have another reason than two ways of connecting.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from typing import Any, Final

import attrs

from genie_connect.contract import TestContext
from genie_connect.errors import ConfigurationError, SettingsError
from genie_connect.mime import compose
from genie_connect.mime.signing import SigningPool
from genie_connect.model.address import Address
from genie_connect.model.batch import Batch, Delivery, new_message_id
from genie_connect.model.diagnosis import Diagnosis, Status, Step
from genie_connect.model.frozen import EMPTY, FrozenMap
from genie_connect.model.message import Message
from genie_connect.model.outcome import State
from genie_connect_smtp.capabilities import effective
from genie_connect_smtp.connection import Connection
from genie_connect_smtp.content import Content
from genie_connect_smtp.dkim import diagnosis_of_key, records_of, signing_of, warnings_of
from genie_connect_smtp.errors import SmtpError
from genie_connect_smtp.hints import diagnosis, diagnosis_of
from genie_connect_smtp.limits import Limits
from genie_connect_smtp.opening import Opening, OpeningStep
from genie_connect_smtp.outcomes import provider_id
from genie_connect_smtp.packing import Packing
from genie_connect_smtp.settings import SmtpSettings
from genie_connect_smtp.stages import Stage
from genie_connect_smtp.state import place_of
from genie_connect_smtp.transaction import Envelope, Result, SenderProbe, Transaction

_SOON_DAYS: Final = 14
_ASKING: Final = frozenset({"ehlo", "ehlo_tls"})
"""The steps in which the server says what it supports; what it says before STARTTLS is replaced by what follows."""
_SUMMARIES: Final[Mapping[str, str]] = {
    "resolve": "{host} is {addresses}",
    "connect": "{address}, port {port}",
    "tls": "{tls_version}, certificate valid until {certificate_ends}",
    "starttls": "{tls_version}, certificate valid until {certificate_ends}",
    "greeting": "{banner}",
    "ehlo": "offers {extensions}",
    "ehlo_tls": "offers {extensions}",
    "auth": "signed in with {mechanism}",
}


async def diagnose(settings: SmtpSettings, context: TestContext) -> AsyncGenerator[Step, None]:
    """The steps, up to the first that fails."""
    test = _Test(settings, context)
    if settings.dkim_domain is not None:
        told = await test.dkim_step()
        yield told
        if told.status is Status.FAIL:
            return
    try:
        place = await place_of(settings, context.default_from)
    except OSError as error:
        found = diagnosis("ca_file_unreadable", evidence=error.strerror or type(error).__name__)
        yield Step(id="tls", title="Encrypt (TLS)", status=Status.FAIL, summary=found.title, diagnosis=found)
        return
    opening = Opening(place, test.limits)
    connection: Connection | None = None
    try:
        for step in opening.steps():
            told = await test.opening_step(step)
            if step.id in _ASKING and told.status is not Status.FAIL:
                told = attrs.evolve(told, capabilities=effective(settings, opening.extensions))
            yield told
            if told.status is Status.FAIL:
                return
        connection = opening.finish()
        told = await test.sender_step(connection)
        yield told
        if told.status is Status.FAIL or context.send_to is None:
            return
        yield await test.message_step(connection, context.send_to)
    except SmtpError as error:
        # Something came between two steps.
        found = diagnosis_of(error)
        yield Step(id=error.stage, title=found.title, status=Status.FAIL, summary=found.title, diagnosis=found)
    finally:
        if connection is not None:
            await connection.quit()
        opening.abort()


class _Test:
    """What the steps share."""

    def __init__(self, settings: SmtpSettings, context: TestContext) -> None:
        self.limits = Limits(settings, context)
        self._settings = settings
        self._context = context
        self._facts: dict[str, Any] = {}
        self._signing: SigningPool | None = None

    async def dkim_step(self) -> Step:
        """Load the keys, and say what must be published of them."""
        begun, title = self._context.clock.monotonic(), "DKIM keys"
        try:
            self._signing = await signing_of(self._settings)
        except (SettingsError, ConfigurationError) as error:
            return self._step("dkim", title, Status.FAIL, begun, diagnosis=diagnosis_of_key(error))
        if self._signing is None:
            return self._step("dkim", title, Status.SKIP, begun, summary="nothing is signed here")
        signer = self._signing.signer
        warnings = warnings_of(signer, self._settings, self._context.default_from)
        summary = "; ".join(warnings) or f"signs as {signer.keys[0].domain}; publish these records if you have not"
        status = Status.WARN if warnings else Status.OK
        return self._step("dkim", title, status, begun, summary=summary, facts=records_of(signer))

    async def opening_step(self, step: OpeningStep) -> Step:
        """Run one step of connecting."""
        begun = self._context.clock.monotonic()
        try:
            facts = await step.run()
        except SmtpError as error:
            found = diagnosis_of(error, evidence=self._evidence())
            return self._step(step.id, step.title, Status.FAIL, begun, diagnosis=found)
        self._facts.update(facts)
        days_left = facts.get("certificate_days_left")
        if days_left is not None and days_left < _SOON_DAYS:
            summary = f"the certificate ends in {days_left} days: have it renewed"
            return self._step(step.id, step.title, Status.WARN, begun, summary=summary, facts=facts)
        summary = _SUMMARIES[step.id].format_map(_Known(facts))
        return self._step(step.id, step.title, Status.OK, begun, summary=summary, facts=facts)

    async def sender_step(self, connection: Connection) -> Step:
        """Ask whether the default From is taken, as sender and as recipient; sends nothing."""
        begun, title = self._context.clock.monotonic(), "Sender"
        sender = self._context.default_from
        if sender is None:
            summary = "no default From is set, so no sender was tried"
            return self._step("sender", title, Status.SKIP, begun, summary=summary)
        if sender.needs_smtputf8 and "smtputf8" not in connection.extensions:
            found = diagnosis("sender_refused", evidence="the server does not offer SMTPUTF8, which the address needs")
            return self._step("sender", title, Status.FAIL, begun, diagnosis=found)
        probe = SenderProbe(Envelope(sender=sender.email, recipients=(sender.email,), smtputf8=sender.needs_smtputf8))
        await connection.run(probe, self.limits)
        result = _only(probe)
        if result.verdict.state is State.ACCEPTED:
            summary = f"mail from {sender.email} is accepted"
            return self._step("sender", title, Status.OK, begun, summary=summary, facts={"sender": sender.email})
        code = _sender_code(result)
        status = Status.WARN if code == "sender_not_reachable" else Status.FAIL
        found = self._refusal(code, result)
        return self._step("sender", title, status, begun, summary=found.title, diagnosis=found)

    async def message_step(self, connection: Connection, recipient: Address) -> Step:
        """Send one real message."""
        begun, title = self._context.clock.monotonic(), "Test message"
        sender = self._context.default_from or recipient
        message = Message(
            from_=sender,
            to=[recipient],
            subject=f"Test of the connection {self._context.connection}",
            text="This message shows that the connection can send.\n",
        )
        message_id = new_message_id(sender)
        # The envelope is put together here: the host asked for this one message to this one address.
        copy = Delivery(message_id=message_id, recipients=(), to=(recipient,))
        batch = Batch(message=message, sender=sender, deliveries=(copy,))
        now = self._context.clock.now()
        composed = compose(batch, copy, date=now)
        if self._signing is not None:
            composed = await self._signing.sign(composed, now=now)
        packing = Packing(sender, connection.extensions, max_recipients=1)
        transaction = Transaction(packing.envelope((recipient,), composed), Content.of_message(composed))
        await connection.run(transaction, self.limits)
        result = _only(transaction)
        if result.verdict.state is not State.ACCEPTED:
            in_doubt = result.verdict.state is State.UNKNOWN
            found = self._refusal("message_in_doubt" if in_doubt else "message_refused", result)
            return self._step("message", title, Status.FAIL, begun, diagnosis=found)
        facts = {"recipient": recipient.email, "message_id": message_id, "size_bytes": composed.size_bytes}
        given = provider_id(result.reply) if result.reply else None
        if given is not None:
            facts["provider_id"] = given
        return self._step("message", title, Status.OK, begun, summary="the server took the message", facts=facts)

    def _refusal(self, code: str, result: Result) -> Diagnosis:
        return diagnosis(code, evidence=self._evidence(), reply=result.reply, advice=result.verdict.hint)

    def _evidence(self) -> str:
        """Where we got to: the first thing that somebody who is to help will ask."""
        address, port = self._facts.get("address"), self._settings.effective_port
        where = (
            f"{self._settings.host} ({address})" if address and address != self._settings.host else self._settings.host
        )
        return f"{where}, port {port}, security {self._settings.security}"

    def _step(
        self,
        identifier: str,
        title: str,
        status: Status,
        begun: float,
        *,
        summary: str = "",
        facts: Mapping[str, Any] = EMPTY,
        diagnosis: Diagnosis | None = None,
    ) -> Step:
        return Step(
            id=identifier,
            title=title,
            status=status,
            summary=summary or (diagnosis.title if diagnosis else ""),
            facts=FrozenMap(facts),
            ms=round((self._context.clock.monotonic() - begun) * 1000, 3),
            diagnosis=diagnosis,
        )


class _Known(dict[str, Any]):
    """Facts, with a word for those that a server did not give."""

    def __missing__(self, key: str) -> str:
        return "unknown"


def _only(transaction: Transaction) -> Result:
    (result,) = transaction.settled()
    return result


def _sender_code(result: Result) -> str:
    if result.reply is None:
        return "timeout" if result.verdict.rule_id.endswith("timeout") else "disconnect"
    if result.stage is not Stage.RCPT:
        return "relay_refused" if result.verdict.kind == "auth" else "sender_refused"
    if result.verdict.kind in ("auth", "tls"):
        return "relay_refused"
    return "disconnect" if result.reply.code in (221, 421) else "sender_not_reachable"
