"""The seam to aiosmtplib, injection on the wire, replies at the wrong time, and the other event loop."""

from __future__ import annotations

import asyncio
import importlib.metadata
import socket
import subprocess
import sys
import threading
from typing import Any

import aiosmtplib
import pytest
from aiosmtplib.protocol import SMTPProtocol

from genie_connect.errors import ValidationError
from genie_connect.model.outcome import State
from genie_connect_smtp import plugin, tls
from genie_connect_smtp.guard import GuardedClient, StrictProtocol
from genie_connect_smtp.hints import hints, troubleshooting_markdown
from genie_connect_smtp.resolve import Resolver
from genie_connect_spec.fixtures import StartScriptedSmtp
from genie_connect_spec.smtp_certificates import CertificateSet
from genie_connect_spec.smtp_script import Answer, Close, Hang, Say, on
from genie_connect_spec.smtp_server import ScriptedSmtpServer
from tests.mime.injection_cases import CASES, INJECTED
from tests.mime.making import batch_of
from tests.smtp.support import batch, context, delivery, opened, send_once, settings_for, signing_in


def test_the_private_methods_we_replace_are_still_there() -> None:
    """The canary: a version of aiosmtplib that renames them must not silently switch the guards off."""
    for name in ("_read_response_from_buffer", "data_received", "read_response", "execute_command"):
        assert callable(getattr(SMTPProtocol, name)), name
    assert "_read_response_from_buffer" in StrictProtocol.__dict__
    assert callable(aiosmtplib.SMTP._create_connection)
    assert "_create_connection" in GuardedClient.__dict__
    requirement = next(line for line in importlib.metadata.requires("genie-connect-smtp") or () if "aiosmtplib" in line)
    assert ">=5.1.3" in requirement
    assert "<5.2" in requirement


async def test_the_strict_reader_is_the_one_in_use(scripted_smtp: StartScriptedSmtp) -> None:
    """The other half of the canary: mixed codes at EHLO reach our reader, not the library's."""
    server = await scripted_smtp([on("ehlo", Say(b"550-no\r\n250 scripted.test\r\n"))])
    (outcome,) = await send_once(settings_for(server))
    assert (outcome.reason, outcome.stage) == ("protocol", "ehlo")


def test_listing_the_connector_imports_nothing_heavy() -> None:
    """The library below is imported when a connection is opened."""
    code = "import sys, genie_connect_smtp.plugin; print([m for m in sys.modules if m.startswith('aiosmtplib')])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_tls_is_1_2_or_newer_and_checked() -> None:
    """T26, T27."""
    context = tls.client_context(None)
    assert context.minimum_version.name == "TLSv1_2"
    assert context.check_hostname
    assert context.verify_mode.name == "CERT_REQUIRED"


async def test_nothing_injected_reaches_the_wire(scripted_smtp: StartScriptedSmtp) -> None:
    """T30, T32, T39: every message that can be made at all arrives as one message with the commands it needs."""
    server = await scripted_smtp()
    batches = []
    for case in CASES:
        try:
            message = case.message()
        except ValidationError:
            continue
        batches.append(batch_of(message))
    async with opened(settings_for(server, messages_per_connection=10_000)) as state:
        for what in batches:
            outcomes = await plugin.connector_send(state, what, context(30))
            assert {outcome.state for outcome in outcomes} == {State.ACCEPTED}
    assert len(batches) > 100
    assert len(server.accepted) == len(batches)
    (record,) = server.connections
    for what, message in zip(batches, server.accepted, strict=True):
        assert message.envelope_from == what.envelope_from.email
        assert message.recipients == tuple(address.email for address in what.deliveries[0].addresses)
        head = message.data.partition(b"\r\n\r\n")[0]
        assert b"\r\n" + INJECTED.encode() not in head
    known = {"ehlo", "mail", "rcpt", "data", "final", "quit"}
    assert set(record.stages()) == known
    assert record.stages().count("mail") == len(batches)


@pytest.mark.parametrize("greeting", [b"221 x", b"250 x", b"354 x", b"421 x", b"450 x", b"500 x", b"530 x", b"554 x"])
async def test_only_220_is_a_greeting(greeting: bytes, scripted_smtp: StartScriptedSmtp) -> None:
    """T24."""
    server = await scripted_smtp([on("banner", Say(greeting + b"\r\n"))])
    (outcome,) = await send_once(settings_for(server))
    assert (outcome.state, outcome.stage) == (State.DEFERRED, "greeting")
    assert b"EHLO" not in server.wire


@pytest.mark.parametrize("answer", [b"220 x", b"221 x", b"251 x", b"354 x", b"421 x", b"500 x", b"502 x", b"550 x"])
async def test_only_250_is_an_answer_to_ehlo(answer: bytes, scripted_smtp: StartScriptedSmtp) -> None:
    """T20, T24, F17: no HELO after it, and 421 is not passed over."""
    server = await scripted_smtp([on("ehlo", Say(answer + b"\r\n"))])
    (outcome,) = await send_once(settings_for(server))
    assert (outcome.state, outcome.stage) == (State.DEFERRED, "ehlo")
    assert b"HELO" not in server.wire.replace(b"EHLO", b"")
    assert b"MAIL" not in server.wire


@pytest.mark.parametrize("stage", ["banner", "ehlo", "mail", "rcpt", "data"])
async def test_a_reply_that_nobody_asked_for_ends_the_connection(stage: str, scripted_smtp: StartScriptedSmtp) -> None:
    """T07, T22: it would be taken for the answer to the next command."""
    server = await scripted_smtp([on(stage, Answer(after=b"250 2.0.0 unasked\r\n"))])
    (outcome,) = await send_once(settings_for(server))
    assert (outcome.state, outcome.reason) == (State.DEFERRED, "protocol")
    assert server.handed_over == []


async def test_a_hostile_reply_is_safe_to_keep(scripted_smtp: StartScriptedSmtp) -> None:
    """T17: bytes that are no UTF-8, escape sequences, NUL."""
    server = await scripted_smtp([on("rcpt", Say(b"550 5.1.1 \xe9\xff \x1b[31m\x00 gone\r\n"))])
    (outcome,) = await send_once(settings_for(server))
    assert outcome.text is not None
    assert outcome.text.isprintable()
    assert outcome.text.encode().endswith(b"gone")


async def test_a_resolver_that_hangs_holds_one_thread_and_no_attempt(monkeypatch: pytest.MonkeyPatch) -> None:
    """T81: the attempt ends at its deadline, and ten of them wait for the same look-up."""
    asked = threading.Semaphore(0)
    answer = threading.Event()
    looked_up = []

    def stuck(*arguments: Any, **options: Any) -> Any:
        looked_up.append(arguments[0])
        asked.release()
        answer.wait(10)
        raise socket.gaierror(socket.EAI_NONAME, "gone")

    monkeypatch.setattr("genie_connect_smtp.resolve.socket.getaddrinfo", stuck)
    settings = plugin.SmtpSettings(host="smtp.example.com", security="none", max_connections=10)
    async with opened(settings) as state:
        sends = [
            plugin.connector_send(state, batch(delivery("a@x.example", number=n)), context(0.3)) for n in range(10)
        ]
        results = await asyncio.gather(*sends)
    answer.set()
    assert {outcome.hint for (outcome,) in results} == {"The name server did not answer in time."}
    assert looked_up == ["smtp.example.com"]


async def test_an_unknown_name_is_a_fault_of_the_host_name(monkeypatch: pytest.MonkeyPatch) -> None:
    """And a name that IDNA cannot encode does not exist either."""

    def unknown(*arguments: Any, **options: Any) -> Any:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr("genie_connect_smtp.resolve.socket.getaddrinfo", unknown)
    (outcome,) = await send_once(plugin.SmtpSettings(host="no-such.example", security="none"))
    assert (outcome.stage, outcome.reason) == ("resolve", "connect")
    monkeypatch.undo()
    with pytest.raises(OSError, match="not a host name"):
        await Resolver("a" * 64 + ".example", 25).endpoints()


async def test_the_next_address_is_tried(scripted_smtp: StartScriptedSmtp, monkeypatch: pytest.MonkeyPatch) -> None:
    """A name with several addresses, of which the first refuses; only those addresses are dialled (T45)."""
    server = await scripted_smtp()
    calls = 0

    def two(host: str, port: int, **options: Any) -> Any:
        nonlocal calls
        calls += 1
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in ("127.0.0.2", "127.0.0.1")]

    monkeypatch.setattr("genie_connect_smtp.resolve.socket.getaddrinfo", two)
    (outcome,) = await send_once(settings_for(server, host="smtp.example.com"))
    assert outcome.state is State.ACCEPTED
    assert calls == 1


@pytest.mark.parametrize("security", ["none", "starttls", "tls"])
def test_it_works_on_uvloop(security: Any, smtp_certificates: CertificateSet) -> None:
    """Sending, a lost final answer, a stuck body and the end of a connection, on the other event loop."""
    uvloop = pytest.importorskip("uvloop")

    async def main() -> list[str]:
        script = [on("final", Close(), connection=1), on("mail", Hang(), connection=2)]
        states = []
        async with ScriptedSmtpServer(script, security=security, certificates=smtp_certificates) as server:
            fields = {} if security == "none" else {"ca_file": str(server.ca_file), **signing_in()}
            for _ in range(3):
                copies = [delivery("a@x.example", number=1), delivery("b@x.example", number=2)]
                outcomes = await send_once(settings_for(server, **fields), batch(*copies), seconds=0.8)
                states.append(" ".join(outcome.state.value for outcome in outcomes))
        return states

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        states = runner.run(main())
    assert states == ["accepted accepted", "unknown deferred", "accepted accepted"]


def test_the_troubleshooting_page_has_every_hint() -> None:
    """The page and the diagnoses come from one table."""
    page = troubleshooting_markdown()
    for code, hint in hints().items():
        assert f"`{code}`" in page
        assert hint.title in page
        assert hint.cause
        assert hint.fixes
    fields = {hint.field for hint in hints().values()} - {None, "default_from"}
    assert fields <= {attribute.name for attribute in plugin.SmtpSettings.__attrs_attrs__}
