"""Advisories about connections that are not encrypted as they seem to be, and what is said on them."""

from __future__ import annotations

import base64
import ssl
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from genie_connect.model.diagnosis import Status
from genie_connect.model.outcome import Outcome, State
from genie_connect.model.schema import json_schema
from genie_connect_smtp import tls
from genie_connect_smtp.settings import SmtpSettings
from genie_connect_spec.fixtures import StartScriptedSmtp
from genie_connect_spec.smtp_script import Answer, Delay, Garbage, Say, ehlo_reply, on
from genie_connect_spec.smtp_server import ScriptedSmtpServer
from tests.smtp.support import PASSWORD, diagnosed, send_once, settings_for, signing_in

_SECRETS = (PASSWORD.encode(), base64.b64encode(f"\0ada\0{PASSWORD}".encode()), b"AUTH ", b"MAIL FROM")
_BAD_CERTIFICATES = ("expired", "wrong_host", "self_signed", "untrusted_ca", "address_not_named")


async def _send(server: ScriptedSmtpServer, **fields: Any) -> Outcome:
    settings = settings_for(server, ca_file=str(server.ca_file), **signing_in(), **fields)
    (outcome,) = await send_once(settings)
    return outcome


def _nothing_was_given_away(server: ScriptedSmtpServer) -> None:
    seen = server.wire + b"".join(record.received_plain + record.received_tls for record in server.connections)
    assert not [secret for secret in _SECRETS if secret in seen]
    assert server.auth_attempts == 0


@pytest.mark.parametrize(
    "reply", [b"454 4.7.0 not now\r\n", b"502 5.5.1 what?\r\n", b"250 ok\r\n", b"354 go\r\n", b"220-a\r\n454 b\r\n"]
)
async def test_cve_2016_0772_a_refused_starttls_ends_the_attempt(
    reply: bytes, scripted_smtp: StartScriptedSmtp
) -> None:
    """CPython's ``starttls`` went on in clear where the server refused. Here STARTTLS is required."""
    server = await scripted_smtp([on("starttls", Say(reply))], security="starttls")
    outcome = await _send(server)
    assert (outcome.state, outcome.reason) == (State.DEFERRED, "tls" if reply[:4] != b"220-" else "protocol")
    _nothing_was_given_away(server)
    stripped = await scripted_smtp([on("ehlo", Say(ehlo_reply("AUTH PLAIN LOGIN")))], security="starttls")
    assert (await _send(stripped)).reason == "tls"
    _nothing_was_given_away(stripped)


async def test_ghsa_vxj7_4xrp_5vr4_what_came_before_tls_is_not_believed(scripted_smtp: StartScriptedSmtp) -> None:
    """In aiosmtplib before 5.1.2 what stood behind the 220 was read as the first replies inside TLS.

    Whoever sits on the line writes it there; the attempt ends before the handshake.
    """
    injected = b"250-evil.example\r\n250 AUTH PLAIN\r\n"
    server = await scripted_smtp([on("starttls", Answer(after=injected))], security="starttls")
    outcome = await _send(server)
    assert (outcome.state, outcome.reason) == (State.DEFERRED, "tls")
    _nothing_was_given_away(server)
    assert server.connections[0].stages() == ["ehlo", "starttls"]


@pytest.mark.parametrize("after", [b"250 AUTH PLAIN\r\n", b"2", b"\r\n", b"250-"])
async def test_ghsa_9j88_vvj5_vhgr_no_mechanism_is_chosen_from_before_tls(
    after: bytes, scripted_smtp: StartScriptedSmtp
) -> None:
    """MailKit before 4.16 read a reply to EHLO from before TLS, and the weaker mechanisms that it offered.

    Half a reply is enough to end the attempt; and what was offered in clear counts no more inside TLS.
    """
    server = await scripted_smtp([on("starttls", Answer(after=after))], security="starttls")
    assert (await _send(server)).reason == "tls"
    _nothing_was_given_away(server)
    offers = [
        on("ehlo", Say(ehlo_reply("STARTTLS", "AUTH PLAIN LOGIN"))),
        on("ehlo_tls", Say(ehlo_reply("AUTH XOAUTH2"))),
    ]
    server = await scripted_smtp(offers, security="starttls")
    assert (await _send(server)).reason == "auth"
    _nothing_was_given_away(server)


@pytest.mark.parametrize("late", [Delay(0.05, Say(b"250 AUTH PLAIN\r\n")), Garbage(), Say(b"421 bye\r\n")], ids=repr)
async def test_nodemailer_9_0_3_nothing_in_clear_follows_the_220(late: Any, scripted_smtp: StartScriptedSmtp) -> None:
    """Nodemailer hardened its step up to TLS. What comes in clear behind the 220 breaks the handshake."""
    server = await scripted_smtp([on("tls", late)], security="starttls")
    outcome = await _send(server)
    assert (outcome.state, outcome.reason) == (State.DEFERRED, "tls")
    _nothing_was_given_away(server)


def test_nodemailer_9_0_0_certificates_are_checked_and_no_setting_says_otherwise() -> None:
    """Nodemailer checked no certificate of what it fetched until 9.0.0. Ours always are; only the authority is free."""
    context = tls.client_context(None)
    assert context.check_hostname
    assert context.verify_mode is ssl.CERT_REQUIRED
    assert context.minimum_version >= ssl.TLSVersion.TLSv1_2
    names = json_schema(SmtpSettings)["properties"]
    assert not [name for name in names if "verif" in name or "valid" in name or "insecure" in name]
    package = Path(tls.__file__).parent
    source = "".join(file.read_text() for file in sorted(package.glob("*.py")))
    assert not [
        word for word in ("CERT_NONE", "CERT_OPTIONAL", "check_hostname", "_create_unverified") if word in source
    ]


@pytest.mark.parametrize("certificate", _BAD_CERTIFICATES)
async def test_cve_2026_41016_starttls_checks_the_certificate(
    certificate: str, scripted_smtp: StartScriptedSmtp
) -> None:
    """Airflow called ``starttls`` without a context, which checks nothing. Ours ends the attempt before sign-in."""
    server = await scripted_smtp(security="starttls", certificate=certificate)
    outcome = await _send(server)
    assert (outcome.state, outcome.reason) == (State.DEFERRED, "tls")
    _nothing_was_given_away(server)


@pytest.mark.parametrize("certificate", _BAD_CERTIFICATES)
async def test_cve_2026_49267_tls_from_the_start_checks_it_as_well(
    certificate: str, scripted_smtp: StartScriptedSmtp
) -> None:
    """Airflow again. Both ways of ours to an encrypted connection have one context, and it checks."""
    server = await scripted_smtp(security="tls", certificate=certificate)
    outcome = await _send(server)
    assert (outcome.state, outcome.reason) == (State.DEFERRED, "tls")
    _nothing_was_given_away(server)


@pytest.mark.parametrize("security", ["starttls", "tls"])
@pytest.mark.parametrize("certificate", ["self_signed", "wrong_host"])
async def test_cve_2026_41132_a_connection_test_checks_it_as_well(
    certificate: str, security: Any, scripted_smtp: StartScriptedSmtp
) -> None:
    """CKAN sent its password to whoever answered. Even a connection test signs in only where sending would."""
    server = await scripted_smtp(security=security, certificate=certificate)
    steps = await diagnosed(settings_for(server, ca_file=str(server.ca_file), **signing_in()))
    assert steps[-1].status is Status.FAIL
    assert steps[-1].diagnosis is not None
    assert steps[-1].diagnosis.code in _codes(certificate)
    _nothing_was_given_away(server)


def _codes(certificate: str) -> Sequence[str]:
    return {"self_signed": ["cert_self_signed"], "wrong_host": ["cert_hostname"]}[certificate]
