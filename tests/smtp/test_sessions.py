"""Real sessions with local servers: what arrives, what is asked for, what is kept open."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from genie_connect.inbox import CertificateFiles, InboxServer, Policy, Received, Reply, local_certificate
from genie_connect.mime import compose
from genie_connect.model.address import Address
from genie_connect.model.attachment import Attachment
from genie_connect.model.capability import Level
from genie_connect.model.diagnosis import Status
from genie_connect.model.outcome import Retry, Scope, State
from genie_connect.model.secret import Secret
from genie_connect_smtp import plugin
from genie_connect_smtp.limits import Limits
from genie_connect_spec.fixtures import StartScriptedSmtp
from genie_connect_spec.smtp_script import Answer, Close, Delay, Hang, Reply421, Reset, Say, ehlo_reply, on
from tests.smtp.support import (
    PASSWORD,
    SENDER,
    batch,
    cleared,
    context,
    delivery,
    diagnosed,
    opened,
    send_once,
    settings_for,
    signing_in,
)


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> CertificateFiles:
    """A certificate for localhost."""
    return local_certificate(tmp_path_factory.mktemp("certificate"))


@pytest.fixture
async def inbox() -> AsyncIterator[InboxServer]:
    """A plain server."""
    async with InboxServer() as server:
        yield server


@pytest.mark.parametrize("mechanism", ["auto", "plain", "login", "xoauth2"])
@pytest.mark.parametrize("security", ["starttls", "tls"])
async def test_a_message_arrives_byte_for_byte(security: Any, mechanism: str, certificate: CertificateFiles) -> None:
    """Encrypted, signed in by each mechanism, dots and 8-bit text included."""
    text = ".\n..\n.dot\nÄrger\n" + "x" * 900 + "\n"
    async with InboxServer(
        security=security,
        ssl_context=certificate.server_context(),
        credentials={"ada": PASSWORD},
        auth_mechanisms=("PLAIN", "LOGIN", "XOAUTH2"),
    ) as server:
        settings = settings_for(
            server, host="localhost", ca_file=str(certificate.ca_file), auth=mechanism, **signing_in()
        )
        what = batch(text=text)
        (outcome,) = await send_once(settings, what)
        (message,) = server.messages
    assert (outcome.state, outcome.stage, outcome.code, outcome.reason) == (State.ACCEPTED, "final", 250, None)
    date = next(line for line in message.data.decode().splitlines() if line.startswith("Date: "))
    sent = datetime.strptime(date, "Date: %a, %d %b %Y %H:%M:%S %z")
    assert message.data == compose(what, what.deliveries[0], date=sent.astimezone(UTC), eight_bit=True).as_bytes()
    assert (message.tls, message.auth_user, message.body) == (True, "ada", "8BITMIME")


async def test_a_large_message_arrives_whole_and_the_loop_goes_on(inbox: InboxServer, tmp_path: Path) -> None:
    """F41: 20 MB leave in blocks; another task has its turn all the while."""
    file = tmp_path / "big.bin"
    file.write_bytes(b"\x00.\r\n" * 5_000_000)
    turns = 0

    async def count() -> None:
        nonlocal turns
        while True:
            await asyncio.sleep(0)
            turns += 1

    counting = asyncio.create_task(count())
    (outcome,) = await send_once(settings_for(inbox), batch(attachments=[Attachment.from_path(file)]), seconds=30)
    counting.cancel()
    # 20 MB over the limit of the server: it is refused before MAIL, so a smaller one shows the arrival.
    assert outcome.reason == "too_large"
    file.write_bytes(b"\x00.\r\n" * 3_000_000)
    what = batch(attachments=[Attachment.from_path(file)])
    counting = asyncio.create_task(count())
    turns = 0
    (outcome,) = await send_once(settings_for(inbox), what, seconds=30)
    counting.cancel()
    assert outcome.state is State.ACCEPTED
    assert turns > 100
    (message,) = inbox.messages
    body = (
        compose(what, what.deliveries[0], date=datetime.now(UTC), eight_bit=True).as_bytes().partition(b"\r\n\r\n")[2]
    )
    assert hashlib.sha256(message.data.partition(b"\r\n\r\n")[2]).digest() == hashlib.sha256(body).digest()


class _Choosy(Policy):
    """Refuses by local part."""

    def on_rcpt(self, recipient: str, envelope_from: str) -> Reply | None:
        answers = {"nobody": Reply(550, "5.1.1", "User unknown"), "later": Reply(450, "4.2.0", "Greylisted")}
        return answers.get(recipient.partition("@")[0])


async def test_each_recipient_has_an_outcome_in_order() -> None:
    """T13: partial acceptance, the same mailbox twice, and each copy on its own."""
    async with InboxServer(policy=_Choosy()) as server:
        what = batch(
            delivery("nobody@x.example", "a@x.example", "later@x.example", "a@x.example", number=1),
            delivery("b@x.example", number=2),
        )
        outcomes = await send_once(settings_for(server), what)
        assert sorted(message.recipients for message in server.messages) == [("a@x.example",), ("b@x.example",)]
    assert [(outcome.recipient, outcome.state.value) for outcome in outcomes] == [
        ("nobody@x.example", "rejected"),
        ("a@x.example", "accepted"),
        ("later@x.example", "deferred"),
        ("a@x.example", "accepted"),
        ("b@x.example", "accepted"),
    ]
    assert outcomes[0].suppress
    assert outcomes[0].final
    assert outcomes[2].retry is Retry.SAME
    assert outcomes[0].enhanced == "5.1.1"
    assert outcomes[0].text == "User unknown"


async def test_too_many_recipients_are_split_and_nobody_gets_two(scripted_smtp: StartScriptedSmtp) -> None:
    """T15: a server that takes two at a time gets five in three transactions."""
    server = await scripted_smtp(max_recipients=2)
    people = [f"r{number}@x.example" for number in range(5)]
    outcomes = await send_once(settings_for(server), batch(delivery(*people)))
    assert {outcome.state for outcome in outcomes} == {State.ACCEPTED}
    assert [len(message.recipients) for message in server.accepted] == [2, 2, 1]
    assert sorted(email for message in server.accepted for email in message.recipients) == people
    assert len(server.connections) == 1


@pytest.mark.parametrize("limited_by", ["settings", "LIMITS"])
async def test_known_limits_are_kept_from_the_start(limited_by: str, scripted_smtp: StartScriptedSmtp) -> None:
    """The setting, or RCPTMAX of RFC 9422."""
    script = [on("ehlo", Say(ehlo_reply("LIMITS RCPTMAX=2 MAILMAX=1")))] if limited_by == "LIMITS" else []
    server = await scripted_smtp(script)
    fields = {"max_recipients": 2} if limited_by == "settings" else {}
    outcomes = await send_once(settings_for(server, **fields), batch(delivery(*[f"r{n}@x.example" for n in range(3)])))
    assert {outcome.state for outcome in outcomes} == {State.ACCEPTED}
    assert [len(message.recipients) for message in server.accepted] == [2, 1]
    assert len(server.connections) == (2 if limited_by == "LIMITS" else 1)


async def test_what_is_too_large_is_not_offered(scripted_smtp: StartScriptedSmtp) -> None:
    """T43, F47: SIZE is looked at before MAIL, and another connection may take more."""
    server = await scripted_smtp(max_message_bytes=200)
    (outcome,) = await send_once(settings_for(server), batch(text="x" * 500))
    assert (outcome.state, outcome.reason, outcome.retry) == (State.REJECTED, "too_large", Retry.OTHER)
    assert "200" in (outcome.text or "")
    assert b"MAIL" not in server.wire


async def test_without_8bitmime_everything_is_ascii(scripted_smtp: StartScriptedSmtp) -> None:
    """And BODY is not said to a server that does not know it."""
    server = await scripted_smtp(extensions=["SIZE"])
    (outcome,) = await send_once(settings_for(server), batch(text="Ärger\n"))
    assert outcome.state is State.ACCEPTED
    assert server.accepted[0].data.isascii()
    assert b"BODY=" not in server.wire


async def test_a_non_ascii_address_needs_smtputf8(scripted_smtp: StartScriptedSmtp) -> None:
    """F42: refused before MAIL, and the others go on if no header shows the address."""
    server = await scripted_smtp(extensions=["8BITMIME"])
    shown = delivery("jörg@x.example", "a@x.example")
    outcomes = await send_once(settings_for(server), batch(shown))
    assert [(outcome.reason, outcome.retry) for outcome in outcomes] == [("unsupported", Retry.OTHER)] * 2
    assert b"MAIL" not in server.wire
    hidden = delivery("a@x.example", number=2)
    hidden = type(hidden)(
        message_id=hidden.message_id, recipients=cleared("jörg@x.example", "a@x.example"), to=hidden.to
    )
    outcomes = await send_once(settings_for(server), batch(hidden))
    assert [outcome.state for outcome in outcomes] == [State.REJECTED, State.ACCEPTED]


async def test_a_non_ascii_address_goes_where_smtputf8_is(inbox: InboxServer) -> None:
    """With the parameter of RFC 6531."""
    (outcome,) = await send_once(settings_for(inbox), batch(delivery("jörg@x.example")))
    assert outcome.state is State.ACCEPTED
    assert inbox.messages[0].smtputf8
    assert inbox.messages[0].recipients == ("jörg@x.example",)


async def test_many_messages_share_connections(scripted_smtp: StartScriptedSmtp) -> None:
    """As many as allowed, each used again, none for more messages than allowed."""
    server = await scripted_smtp()
    copies = [delivery(f"r{number}@x.example", number=number) for number in range(40)]
    outcomes = await send_once(settings_for(server, max_connections=3, messages_per_connection=10), batch(*copies))
    assert [outcome.recipient for outcome in outcomes] == [f"r{number}@x.example" for number in range(40)]
    assert {outcome.state for outcome in outcomes} == {State.ACCEPTED}
    assert len(server.accepted) == 40
    assert 4 <= len(server.connections) <= 8
    for record in server.connections:
        assert record.stages().count("mail") <= 10


async def test_open_connections_begin_together(scripted_smtp: StartScriptedSmtp) -> None:
    """The first copy goes alone for the sake of signing in, and who has done that needs not wait for it."""
    server = await scripted_smtp([on("rcpt", Hang())])
    async with opened(settings_for(server, max_connections=3)) as state:
        connections = [await state.pool.acquire(Limits(state.settings, context())) for _ in range(3)]
        for connection in connections:
            state.pool.release(connection)
        copies = [delivery(f"r{number}@x.example", number=number) for number in range(4)]
        sending = asyncio.create_task(plugin.connector_send(state, batch(*copies), context()))
        async with asyncio.timeout(2):
            while server.wire.count(b"RCPT") < 3:  # the server tells of connections alone
                await asyncio.sleep(0)
        sending.cancel()
        with pytest.raises(asyncio.CancelledError):
            await sending
    assert [record.stages().count("rcpt") for record in server.connections] == [1, 1, 1]


async def test_a_server_that_takes_one_connection_gets_one(scripted_smtp: StartScriptedSmtp) -> None:
    """421 to the second connection is no reason to defer anybody."""
    server = await scripted_smtp(
        [on("banner", Say(b"421 4.7.0 too many connections\r\n"), connection=n) for n in range(1, 4)]
    )
    copies = [delivery(f"r{number}@x.example", number=number) for number in range(20)]
    outcomes = await send_once(settings_for(server, max_connections=3), batch(*copies))
    assert {outcome.state for outcome in outcomes} == {State.ACCEPTED}


@pytest.mark.parametrize(
    "gone",
    [
        Reply421(close=True),
        Reply421(close=False),
        Say(b"451 4.4.2 timed out\r\n"),
        Say(b"221 bye\r\n"),
        Close(),
        Reset(),
    ],
    ids=["421-close", "421", "451", "221", "eof", "reset"],
)
async def test_a_stale_connection_is_opened_again_at_no_cost(gone: Any, scripted_smtp: StartScriptedSmtp) -> None:
    """The first reply on a connection that served before: the server had left, so nothing was said (architecture)."""
    server = await scripted_smtp([on("mail", gone, connection=0, message=1)])
    async with opened(settings_for(server)) as state:
        for number in range(3):
            (outcome,) = await plugin.connector_send(state, batch(delivery("a@x.example", number=number)), context())
            assert outcome.state is State.ACCEPTED
    assert len(server.connections) == 2
    assert len(server.accepted) == 3


async def test_a_connection_that_left_while_idle_is_not_used(scripted_smtp: StartScriptedSmtp) -> None:
    """A silent FIN, or 421 and FIN, between two messages is noticed without a command."""
    server = await scripted_smtp([on("final", Answer(after=b"421 4.4.2 idle\r\n"), connection=0)])
    async with opened(settings_for(server)) as state:
        for number in range(2):
            (outcome,) = await plugin.connector_send(state, batch(delivery("a@x.example", number=number)), context())
            assert outcome.state is State.ACCEPTED
    assert len(server.connections) == 2


async def test_a_stale_connection_is_opened_again_only_once(scripted_smtp: StartScriptedSmtp) -> None:
    """What the fresh one says counts."""
    server = await scripted_smtp([on("mail", Reply421(), message=1), on("mail", Reply421(), connection=1)])
    async with opened(settings_for(server)) as state:
        await plugin.connector_send(state, batch(), context())
        (outcome,) = await plugin.connector_send(state, batch(delivery("a@x.example", number=2)), context())
    assert (outcome.state, outcome.code, outcome.retry) == (State.DEFERRED, 421, Retry.ANY)
    assert len(server.connections) == 2


async def test_a_copy_may_meet_several_connections_that_were_left(scripted_smtp: StartScriptedSmtp) -> None:
    """A server that was started anew has left all of them, and a copy may come to one after another."""
    server = await scripted_smtp(
        [
            on("mail", Close(), connection=0, message=1),
            on("banner", Say(b"421 4.7.0 too many connections\r\n"), connection=2),
            on("final", Delay(0.2), connection=1, message=1),
            on("mail", Close(), connection=1, message=2),
        ]
    )
    async with opened(settings_for(server, max_connections=2, pipelining="off")) as state:
        await plugin.connector_send(state, batch(), context())
        first = await state.pool.acquire(Limits(state.settings, context()))
        await plugin.connector_send(state, batch(), context())
        state.pool.release(first)
        copies = [delivery(f"r{number}@x.example", number=number) for number in range(2)]
        outcomes = await plugin.connector_send(state, batch(*copies), context())
    assert {outcome.state for outcome in outcomes} == {State.ACCEPTED}
    assert [record.stages().count("mail") for record in server.connections] == [2, 3, 0, 1]
    assert len(server.accepted) == 4


async def test_a_stray_reply_never_reaches_the_next_message(scripted_smtp: StartScriptedSmtp) -> None:
    """T08, F29: after `250` and a stray `550` the second message goes over a new connection, and is accepted."""
    server = await scripted_smtp([on("final", Answer(after=b"550 5.1.1 stray\r\n"), connection=0)])
    async with opened(settings_for(server)) as state:
        for number in range(2):
            (outcome,) = await plugin.connector_send(state, batch(delivery("a@x.example", number=number)), context())
            assert outcome.state is State.ACCEPTED
    assert len(server.connections) == 2


async def test_replies_in_one_segment_are_never_success(scripted_smtp: StartScriptedSmtp) -> None:
    """T07, F28: a server that answers everything at MAIL took nothing."""
    server = await scripted_smtp([on("mail", Say(b"250 ok\r\n250 ok\r\n354 go\r\n250 2.0.0 queued\r\n"))])
    (outcome,) = await send_once(settings_for(server))
    assert (outcome.state, outcome.reason) == (State.DEFERRED, "protocol")
    assert server.handed_over == []


async def test_a_wrong_password_is_tried_once(scripted_smtp: StartScriptedSmtp) -> None:
    """T28, F13: one AUTH for a whole batch; every recipient is told why."""
    server = await scripted_smtp([on("auth", Say(b"535 5.7.8 wrong\r\n"))])
    settings = settings_for(server, **signing_in())
    copies = [delivery(f"r{number}@x.example", number=number) for number in range(100)]
    outcomes = await send_once(settings, batch(*copies))
    assert server.auth_attempts == 1
    assert len(server.connections) == 1
    assert {(outcome.state, outcome.reason, outcome.retry, outcome.scope) for outcome in outcomes} == {
        (State.DEFERRED, "auth", Retry.OTHER, Scope.CONNECTION)
    }


@pytest.mark.parametrize("reply", [b"454 4.7.0 later\r\n", b"421 4.7.0 bye\r\n", b"535 5.7.8 no\r\n", b"250 ok\r\n"])
async def test_a_sign_in_that_fails_stops_there(reply: bytes, scripted_smtp: StartScriptedSmtp) -> None:
    """F14, F15: no other mechanism is tried, and the server's words are not lost."""
    server = await scripted_smtp([on("auth", Say(reply))])
    (outcome,) = await send_once(settings_for(server, **signing_in()))
    assert server.auth_attempts == 1
    assert outcome.stage == "auth"
    assert outcome.code == int(reply[:3])
    assert b"MAIL" not in server.wire


async def test_login_answered_at_once_counts(scripted_smtp: StartScriptedSmtp) -> None:
    """F49: 235 is 235, whenever it comes."""
    server = await scripted_smtp([on("auth", Say(b"235 2.7.0 ok\r\n"), index=0)])
    (outcome,) = await send_once(settings_for(server, auth="login", **signing_in()))
    assert outcome.state is State.ACCEPTED


async def test_the_password_is_in_no_outcome(
    scripted_smtp: StartScriptedSmtp, caplog: pytest.LogCaptureFixture
) -> None:
    """T50: not even when the server repeats it."""
    caplog.set_level("DEBUG")
    server = await scripted_smtp([on("auth", Say(f"535 5.7.8 {PASSWORD} is wrong\r\n".encode()))])
    settings = settings_for(server, **signing_in())
    (outcome,) = await send_once(settings)
    steps = await diagnosed(settings)
    shown = repr(outcome) + repr(steps) + caplog.text + repr(settings)
    assert "is wrong" in shown
    assert PASSWORD not in shown


async def test_a_password_that_cannot_be_read_is_named(scripted_smtp: StartScriptedSmtp) -> None:
    """Read anew for each connection, so that it can be changed without a restart."""
    server = await scripted_smtp()
    settings = settings_for(server, username="ada", password=Secret("env:GENIE_CONNECT_NO_SUCH_VARIABLE"))
    (outcome,) = await send_once(settings)
    assert (outcome.reason, outcome.retry) == ("auth", Retry.OTHER)
    assert "GENIE_CONNECT_NO_SUCH_VARIABLE" in (outcome.text or "")
    assert server.auth_attempts == 0


async def test_cancelling_ends_everything(scripted_smtp: StartScriptedSmtp) -> None:
    """F30: a cancelled send leaves no connection that a later message could meet."""
    server = await scripted_smtp([on("rcpt", Delay(0.2, Say(b"550 5.1.1 late\r\n")), connection=0)])
    async with opened(settings_for(server)) as state:
        sending = asyncio.create_task(plugin.connector_send(state, batch(), context()))
        await server.wait_for_connections(1, 2)
        while b"RCPT" not in server.wire:  # the server tells of connections, not of commands
            await asyncio.sleep(0)
        sending.cancel()
        with pytest.raises(asyncio.CancelledError):
            await sending
        (outcome,) = await plugin.connector_send(state, batch(delivery("a@x.example", number=2)), context())
        assert outcome.state is State.ACCEPTED
    assert len(server.connections) == 2
    assert len(server.accepted) == 1


async def test_a_message_reported_as_not_sent_does_not_arrive(scripted_smtp: StartScriptedSmtp) -> None:
    """F38: a deadline in the middle of the content tears the connection down; nothing is delivered behind our back."""
    server = await scripted_smtp([on("data", Delay(0.1))], receive_buffer_bytes=4096)
    what = batch(attachments=[Attachment(filename="a.bin", content=bytes(12_000_000))])
    (outcome,) = await send_once(settings_for(server), what, seconds=0.15)
    await server.wait_until_idle(5)
    handed = len(server.handed_over)
    assert (outcome.state is State.DEFERRED and handed == 0) or outcome.state is State.UNKNOWN


@pytest.mark.parametrize("security", ["none", "tls"])
async def test_a_connection_that_failed_is_reset(security: Any, scripted_smtp: StartScriptedSmtp) -> None:
    """RST, not FIN: closing politely would still deliver what waits in the buffers."""
    server = await scripted_smtp([on("rcpt", Hang())], security=security)
    fields = {} if security == "none" else {"ca_file": str(server.ca_file)}
    await send_once(settings_for(server, **fields), seconds=0.3)
    await server.wait_until_idle(3)
    assert "reset" in (server.connections[0].error or "").lower()


@pytest.mark.parametrize("last", [Close(), Reset(), Hang(), Say(b"25"), Say(b"2_50 ok\r\n")], ids=repr)
async def test_a_lost_final_answer_is_unknown_and_not_tried_again(last: Any, scripted_smtp: StartScriptedSmtp) -> None:
    """T03: the message may be there; no second connection is made."""
    server = await scripted_smtp([on("final", last)])
    (outcome,) = await send_once(settings_for(server), seconds=0.4)
    assert (outcome.state, outcome.retry, outcome.stage) == (State.UNKNOWN, Retry.NEVER, "final")
    assert outcome.hint
    assert len(server.connections) == 1
    assert len(server.handed_over) == 1


async def test_slow_replies_do_not_outlast_the_attempt(scripted_smtp: StartScriptedSmtp) -> None:
    """T05, F39: fifty recipients, each answered just in time, and still one deadline for all."""
    server = await scripted_smtp([on("rcpt", Delay(0.05))])
    people = [f"r{number}@x.example" for number in range(50)]
    async with asyncio.timeout(1.5):
        outcomes = await send_once(settings_for(server), batch(delivery(*people)), seconds=0.4)
    assert {outcome.state for outcome in outcomes} == {State.DEFERRED}
    assert server.handed_over == []


async def test_a_server_that_says_no_to_all_is_not_asked_a_thousand_times(scripted_smtp: StartScriptedSmtp) -> None:
    """After two connections in a row that came to nothing the rest is deferred."""
    server = await scripted_smtp([on("mail", Reply421())])
    copies = [delivery(f"r{number}@x.example", number=number) for number in range(200)]
    outcomes = await send_once(settings_for(server, max_connections=2), batch(*copies))
    assert {(outcome.state, outcome.code) for outcome in outcomes} == {(State.DEFERRED, 421)}
    assert len(server.connections) <= 4


async def test_an_idle_connection_says_good_bye(scripted_smtp: StartScriptedSmtp) -> None:
    """After its time the pool lets go of it."""
    server = await scripted_smtp()
    async with opened(settings_for(server, idle_timeout_s=0.05)) as state:
        await plugin.connector_send(state, batch(), context())
        await server.wait_until_idle(3)
    assert server.connections[0].stages()[-1] == "quit"


async def test_closing_twice_is_harmless(inbox: InboxServer) -> None:
    """As the contract says."""
    async with opened(settings_for(inbox)) as state:
        await plugin.connector_send(state, batch(), context())
        await plugin.connector_close(state)
        await plugin.connector_close(state)


async def test_capabilities_become_effective(scripted_smtp: StartScriptedSmtp) -> None:
    """The numbers the server announced."""
    keywords = ("SIZE 1000000", "8BITMIME", "PIPELINING", "AUTH PLAIN", "DSN", "REQUIRETLS", "LIMITS RCPTMAX=50")
    server = await scripted_smtp([on("ehlo", Say(ehlo_reply(*keywords)))])
    async with opened(settings_for(server)) as state:
        assert not state.capabilities.effective
        await plugin.connector_send(state, batch(), context())
        table = state.capabilities
    assert table.effective
    assert table.limit("send.transactional", "max_message_bytes") == 1_000_000
    assert table.limit("send.transactional", "max_recipients") == 50
    assert table["send.international_addresses"].level is Level.NO
    levels = {name: table[f"x-smtp.{name}"].level.value for name in ("dsn", "requiretls", "chunking", "auth", "limits")}
    assert levels == {"dsn": "yes", "requiretls": "yes", "chunking": "no", "auth": "yes", "limits": "yes"}
    assert "1.0 MB" in table.render()


async def test_the_ids_that_servers_give_are_kept_apart(scripted_smtp: StartScriptedSmtp) -> None:
    """In the words of Postfix, Exim, Haraka and SES."""
    for line, wanted in {
        "250 2.0.0 Ok: queued as 4XYZab12": "4XYZab12",
        "250 OK id=1tAbCd-000000001-0abc": "1tAbCd-000000001-0abc",
        "250 Message Queued (B1C2-D3.1)": "B1C2-D3.1",
        "250 2.6.0 <a@b> [InternalId=8796093022208, Hostname=X] Queued mail for delivery": "8796093022208",
        "250 2.0.0 OK  1700000000 d2e1a72fcca58-6b1 - gsmtp": "d2e1a72fcca58-6b1",
        "250 2.0.0 5fba2a01 Message accepted for delivery": "5fba2a01",
        "250 Ok 0102018f-aaaa-bbbb-cccc-dddddddddddd-000000": "0102018f-aaaa-bbbb-cccc-dddddddddddd-000000",
        "250 ok": None,
    }.items():
        server = await scripted_smtp([on("final", Say(f"{line}\r\n".encode()))])
        (outcome,) = await send_once(settings_for(server))
        assert outcome.provider_id == wanted


async def test_a_file_that_changed_is_not_sent_half(inbox: InboxServer, tmp_path: Path) -> None:
    """The content cannot be read, so the end mark is never written."""
    file = tmp_path / "a.bin"
    file.write_bytes(b"x" * 100_000)
    what = batch(attachments=[Attachment.from_path(file)])
    file.write_bytes(b"y" * 200_000)
    (outcome,) = await send_once(settings_for(inbox), what)
    assert (outcome.state, outcome.reason) == (State.REJECTED, "internal")
    assert "changed" in (outcome.text or "")
    assert inbox.messages == []


@pytest.mark.parametrize(
    ("default_from", "wanted"), [(SENDER, b"EHLO example.com\r\n"), (None, b"EHLO [127.0.0.1]\r\n")]
)
async def test_the_name_server_is_not_asked_for_our_own_name(
    default_from: Address | None, wanted: bytes, scripted_smtp: StartScriptedSmtp, monkeypatch: pytest.MonkeyPatch
) -> None:
    """F40: EHLO says the domain of the default From, or the address."""

    def forbidden(*arguments: object) -> str:
        raise AssertionError("getfqdn was called")

    monkeypatch.setattr("socket.getfqdn", forbidden)
    server = await scripted_smtp()
    state = await plugin.connector_open(
        settings_for(server), plugin.Runtime(connection="primary", default_from=default_from)
    )
    await plugin.connector_send(state, batch(), context())
    await plugin.connector_close(state)
    assert server.wire.startswith(wanted)


async def test_all_steps_of_a_test_that_passes(certificate: CertificateFiles) -> None:
    """Resolve to test message, with facts and times; the message is real."""
    received: list[Received] = []
    async with InboxServer(
        security="starttls",
        ssl_context=certificate.server_context(),
        credentials={"ada": PASSWORD},
        on_message=received.append,
    ) as server:
        settings = settings_for(server, host="localhost", ca_file=str(certificate.ca_file), **signing_in())
        steps = await diagnosed(settings, send_to="ada@example.com")
        without = await diagnosed(settings)
    wanted = ["resolve", "connect", "greeting", "ehlo", "starttls", "ehlo_tls", "auth", "sender", "message"]
    assert [(step.id, step.status) for step in steps] == [(name, Status.OK) for name in wanted]
    assert [step.id for step in without] == wanted[:-1]
    assert len(received) == 1
    facts = {key: value for step in steps for key, value in step.facts.items()}
    assert facts["tls_version"] == "TLSv1.3"
    assert facts["certificate_days_left"] > 300
    assert facts["mechanism"] == "PLAIN"
    assert facts["max_message_bytes"] == 25 * 1024 * 1024
    assert all(step.ms >= 0 for step in steps)


@pytest.mark.parametrize(
    ("script", "last", "code", "status"),
    [
        ([on("banner", Say(b"SSH-2.0-OpenSSH_9.2p1\r\n"))], "greeting", "malformed_reply", "fail"),
        ([on("banner", Say(b"554 5.7.1 go away\r\n"))], "greeting", "greeting_refused", "fail"),
        ([on("banner", Hang())], "greeting", "banner_timeout_no_bytes", "fail"),
        ([on("ehlo", Say(b"550 bad name\r\n"))], "ehlo", "ehlo_refused", "fail"),
        ([on("mail", Say(b"553 5.7.1 not your address\r\n"))], "sender", "sender_refused", "fail"),
        ([on("rcpt", Say(b"550 5.1.1 no such user\r\n"))], "sender", "sender_not_reachable", "warn"),
        ([on("rcpt", Say(b"554 5.7.1 Relay access denied\r\n"))], "sender", "relay_refused", "fail"),
        ([on("mail", Close())], "sender", "disconnect", "fail"),
        ([on("mail", Hang())], "sender", "timeout", "fail"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
async def test_the_first_failure_is_explained(
    script: Any, last: str, code: str, status: str, scripted_smtp: StartScriptedSmtp
) -> None:
    """Cause, evidence, fix, and the server's own words where it is a mail server (F45)."""
    server = await scripted_smtp(script)
    steps = await diagnosed(settings_for(server, connect_timeout_s=0.3), seconds=0.5)
    assert (steps[-1].id, steps[-1].status.value) == (last, status)
    found = steps[-1].diagnosis
    assert found is not None
    assert found.code == code
    assert found.fixes
    assert str(server.port) in found.evidence
    assert "SSH" not in repr(steps)


async def test_security_that_does_not_fit_the_port_is_explained(
    inbox: InboxServer, certificate: CertificateFiles
) -> None:
    """F4, F5: TLS to a plain port, and plain text to a TLS port."""
    steps = await diagnosed(settings_for(inbox, security="tls"))
    assert steps[-1].diagnosis is not None
    assert steps[-1].diagnosis.code == "ssl_wrong_version"
    assert "starttls" in steps[-1].diagnosis.fixes[0]
    async with InboxServer(security="tls", ssl_context=certificate.server_context()) as server:
        steps = await diagnosed(settings_for(server, security="starttls", connect_timeout_s=0.3))
    assert steps[-1].diagnosis is not None
    assert steps[-1].diagnosis.code == "banner_timeout_no_bytes"
    assert "security = tls" in steps[-1].diagnosis.fixes[0]
    assert steps[-1].diagnosis.field == "security"


async def test_leaving_a_test_early_leaves_nothing_open(scripted_smtp: StartScriptedSmtp) -> None:
    """A host may stop listening to the steps."""
    server = await scripted_smtp()
    steps = plugin.connector_test(
        settings_for(server), plugin.TestContext(connection="primary", deadline=1e12, default_from=SENDER)
    )
    async for step in steps:
        if step.id == "ehlo":
            break
    await steps.aclose()
    await server.wait_until_idle(3)
