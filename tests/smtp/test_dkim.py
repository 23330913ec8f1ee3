"""DKIM as part of a connection: from the settings to what arrives."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from genie_connect.errors import ConfigurationError, SettingsError
from genie_connect.inbox import InboxServer
from genie_connect.mime.dkim_key import DkimKey
from genie_connect.model.attachment import Attachment
from genie_connect.model.diagnosis import Status, Step
from genie_connect.model.outcome import Outcome, State
from genie_connect.model.settings import redacted, structure_settings
from genie_connect_smtp.settings import SmtpSettings
from tests.mime.dkim_keys import SEED, ed25519_key, ed25519_pem, rsa_key, rsa_pem, unusable_keys, verified
from tests.smtp.support import batch, delivery, diagnosed, opened, send_once, settings_for

KEYS = (rsa_key(), ed25519_key())


@pytest.fixture
def rsa_file(tmp_path: Path) -> str:
    """A reference to the RSA key in a file."""
    path = tmp_path / "dkim.pem"
    path.write_text(rsa_pem())
    return f"file:{path}"


@pytest.fixture
def signing(rsa_file: str) -> dict[str, Any]:
    """Settings that sign with both keys."""
    return {
        "dkim_domain": "example.com",
        "dkim_selector": "rsa",
        "dkim_private_key": rsa_file,
        "dkim_ed25519_selector": "ed",
        "dkim_ed25519_private_key": SEED,
    }


def _states(outcomes: Any) -> list[State]:
    return [outcome.state for outcome in outcomes]


@pytest.mark.parametrize(
    "content",
    [
        {"text": "It is on its way.\n"},
        {"text": ".\n..\n. dots\n.\n\n\n"},
        {"text": "Grüße   aus\tKöln \n", "html": "<p>Grüße</p>"},
        {"text": "x" * 3000},
        {"text": "\n", "subject": "Ein sehr langer Betreff   mit Lücken" + " und mehr" * 20},
        {"text": "a", "attachments": [Attachment(filename="a.bin", content=b"\x00\r\n.\r\n" * 30_000)]},
    ],
    ids=["plain", "dots", "8-bit", "long line", "folded subject", "file"],
)
async def test_what_arrives_is_verified(content: dict[str, Any], signing: dict[str, Any]) -> None:
    """After the dots were doubled and taken away again."""
    async with InboxServer() as server:
        outcomes = await send_once(settings_for(server, **signing), batch(**content))
        assert _states(outcomes) == [State.ACCEPTED]
        (received,) = server.messages
    assert verified(received.data, *KEYS) == [True, True]


async def test_a_signed_message_is_ascii_though_the_server_takes_more(signing: dict[str, Any]) -> None:
    """RFC 6376 section 5.3: a relay without 8BITMIME would have to encode it anew."""
    async with InboxServer() as server:
        await send_once(settings_for(server, **signing), batch(text="Grüße\n"))
        await send_once(settings_for(server), batch(text="Grüße\n"))
        signed, unsigned = server.messages
    assert signed.data.isascii()
    assert not unsigned.data.isascii()
    assert b"DKIM-Signature" not in unsigned.data


async def test_every_copy_of_a_batch_has_a_signature_of_its_own(signing: dict[str, Any]) -> None:
    """It covers To and Message-ID, which differ."""
    copies = [delivery(f"r{number}@example.org", number=number) for number in range(30)]
    async with InboxServer() as server:
        outcomes = await send_once(settings_for(server, **signing), batch(*copies), seconds=30)
        assert set(_states(outcomes)) == {State.ACCEPTED}
        messages = list(server.messages)
    assert len(messages) == 30
    assert all(verified(message.data, *KEYS) == [True, True] for message in messages)
    assert len({message.data for message in messages}) == 30


async def test_a_file_is_streamed_and_signed(signing: dict[str, Any], tmp_path: Path) -> None:
    """Read once for the signature and once for the wire."""
    path = tmp_path / "big.bin"
    path.write_bytes(bytes(range(256)) * 8000)
    async with InboxServer() as server:
        outcomes = await send_once(
            settings_for(server, **signing), batch(attachments=[Attachment.from_path(path)]), seconds=30
        )
        assert _states(outcomes) == [State.ACCEPTED]
        (received,) = server.messages
    assert verified(received.data, *KEYS) == [True, True]


@pytest.mark.parametrize("gone", [True, False], ids=["gone", "changed"])
async def test_a_file_that_cannot_be_signed_is_not_sent(gone: bool, signing: dict[str, Any], tmp_path: Path) -> None:
    """The copy is rejected before anything of it was handed over."""
    path = tmp_path / "note.txt"
    path.write_text("one")
    sent = batch(attachments=[Attachment.from_path(path)])
    if gone:
        path.unlink()
    else:
        path.write_text("another")
    async with InboxServer() as server:
        (outcome,) = await send_once(settings_for(server, **signing), sent)
        assert server.messages == []
    assert (outcome.state, outcome.reason) == (State.REJECTED, "internal")


async def test_the_signature_counts_towards_the_size(signing: dict[str, Any]) -> None:
    """A message that would only be too large with it is refused before MAIL."""
    async with InboxServer() as server:
        await send_once(settings_for(server))
        room = len(server.messages[0].data) + 200
    async with InboxServer(max_message_bytes=room) as server:
        (plain,) = await send_once(settings_for(server))
        (signed,) = await send_once(settings_for(server, **signing))
        assert len(server.messages) == 1
    assert plain.state is State.ACCEPTED
    assert isinstance(signed, Outcome)
    assert (signed.state, signed.reason) == (State.REJECTED, "too_large")


_ALL = {
    "dkim_domain": "example.com",
    "dkim_selector": "rsa",
    "dkim_private_key": "env:KEY",
    "dkim_ed25519_selector": "ed",
    "dkim_ed25519_private_key": SEED,
}


def _without(*names: str) -> dict[str, Any]:
    return {name: value for name, value in _ALL.items() if name not in names}


_SECOND = ("dkim_ed25519_selector", "dkim_ed25519_private_key")


@pytest.mark.parametrize(
    ("fields", "path", "fix"),
    [
        (_without("dkim_domain", *_SECOND), "dkim_domain", "together, or none"),
        (_without("dkim_selector", *_SECOND), "dkim_selector", "together, or none"),
        (_without("dkim_private_key", *_SECOND), "dkim_private_key", "together, or none"),
        (_without("dkim_ed25519_selector"), "dkim_ed25519_selector", "together, or none"),
        (_without("dkim_ed25519_private_key"), "dkim_ed25519_private_key", "together, or none"),
        ({name: _ALL[name] for name in _SECOND}, "dkim_domain", "as well"),
        ({**_ALL, "dkim_ed25519_selector": "rsa"}, "dkim_ed25519_selector", "of its own"),
        ({**_ALL, "dkim_domain": "exa mple.com"}, "dkim_domain", "domain name"),
        ({**_ALL, "dkim_selector": "a;b"}, "dkim_selector", "mail2026"),
        ({**_ALL, "dkim_private_key": rsa_pem()}, "dkim_private_key", "file:PATH"),
    ],
)
def test_settings_that_cannot_sign_are_refused(fields: dict[str, Any], path: str, fix: str) -> None:
    """All or nothing, each with the way out."""
    with pytest.raises(SettingsError) as caught:
        structure_settings(SmtpSettings, {"host": "smtp.example.com", **fields})
    found = [problem for problem in caught.value.problems if problem.path == path]
    assert found, caught.value
    assert fix in str(found[0])


@pytest.mark.parametrize("fields", [{}, _ALL, _without(*_SECOND)], ids=["none", "two keys", "one key"])
def test_settings_that_sign_are_taken_and_show_no_key(fields: dict[str, Any]) -> None:
    """Neither in their repr nor as data."""
    settings = structure_settings(SmtpSettings, {"host": "smtp.example.com", **fields})
    assert SEED not in repr(settings)
    assert SEED not in json.dumps(redacted(settings))


@pytest.mark.parametrize("name", sorted(unusable_keys()))
async def test_a_key_that_cannot_be_used_is_found_when_the_connection_opens(
    name: str, signing: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the setting named and nothing of the key in the text."""
    text = unusable_keys()[name]
    monkeypatch.setenv("DKIM_KEY", text)
    async with InboxServer() as server:
        settings = settings_for(server, **{**signing, "dkim_private_key": "env:DKIM_KEY"})
        with pytest.raises(SettingsError) as caught:
            async with opened(settings):
                pass
    (problem,) = caught.value.problems
    assert problem.path == "dkim_private_key"
    assert problem.fix
    assert "canary" not in str(caught.value)
    assert not any(line in str(caught.value) for line in text.split() if len(line) > 40)


@pytest.mark.parametrize(
    ("fields", "path", "says"),
    [
        ({"dkim_private_key": "env:DKIM_KEY_THAT_IS_NOT_SET"}, "dkim_private_key", "DKIM_KEY_THAT_IS_NOT_SET"),
        ({"dkim_ed25519_private_key": "file:/nowhere/ed.pem"}, "dkim_ed25519_private_key", "/nowhere/ed.pem"),
        ({"dkim_ed25519_private_key": "RSA"}, "dkim_ed25519_private_key", "dkim_private_key"),
        ({"dkim_ed25519_private_key": "c2hvcnQ="}, "dkim_ed25519_private_key", "32 bytes"),
    ],
)
async def test_the_setting_at_fault_is_named(
    fields: dict[str, Any], path: str, says: str, signing: dict[str, Any], rsa_file: str
) -> None:
    """Of two keys and a place that cannot be read."""
    given = {name: rsa_file if value == "RSA" else value for name, value in fields.items()}
    async with InboxServer() as server:
        with pytest.raises(SettingsError) as caught:
            async with opened(settings_for(server, **{**signing, **given})):
                pass
    (problem,) = caught.value.problems
    assert problem.path == path
    assert says in str(problem)


async def test_without_cryptography_the_error_says_what_to_install(
    signing: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It belongs to an extra."""
    monkeypatch.setitem(sys.modules, "cryptography.hazmat.primitives.asymmetric.rsa", None)
    async with InboxServer() as server:
        with pytest.raises(ConfigurationError) as caught:
            async with opened(settings_for(server, **signing)):
                pass
    assert "genie-connect-smtp[dkim]" in caught.value.hint


def _dkim_step(steps: list[Step]) -> Step:
    (step,) = [step for step in steps if step.id == "dkim"]
    return step


async def test_the_connector_test_says_what_to_publish(signing: dict[str, Any]) -> None:
    """Name and value of each record, and the test message is signed."""
    async with InboxServer() as server:
        steps = await diagnosed(settings_for(server, **signing), send_to="ada@example.com")
        (received,) = server.messages
    step = _dkim_step(steps)
    assert steps[0] is step
    assert step.status is Status.OK
    assert dict(step.facts) == {f"TXT {key.record_name}": key.record_value for key in KEYS}
    assert step.facts["TXT ed._domainkey.example.com"].startswith("v=DKIM1; k=ed25519; p=")
    assert all(step.status is Status.OK for step in steps)
    assert verified(received.data, *KEYS) == [True, True]


async def test_without_dkim_there_is_no_such_step() -> None:
    """Nothing to say."""
    async with InboxServer() as server:
        steps = await diagnosed(settings_for(server))
    assert "dkim" not in [step.id for step in steps]


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"dkim_domain": "example.org"}, "DMARC"),
        ({"dkim_domain": "notexample.com"}, "DMARC"),
        ({"dkim_private_key": "SHORT"}, "1024 bits"),
        ({"dkim_private_key": "ED", "dkim_ed25519_selector": None, "dkim_ed25519_private_key": None}, "Ed25519"),
    ],
    ids=["another domain", "an ending that is no label", "short", "Ed25519 alone"],
)
async def test_what_will_not_help_everywhere_is_a_warning(
    fields: dict[str, Any], says: str, signing: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The test goes on."""
    monkeypatch.setenv("SHORT", rsa_pem(1024))
    monkeypatch.setenv("ED", ed25519_pem())
    given = {name: f"env:{value}" if value in ("SHORT", "ED") else value for name, value in fields.items()}
    async with InboxServer() as server:
        steps = await diagnosed(settings_for(server, **{**signing, **given}))
    step = _dkim_step(steps)
    assert step.status is Status.WARN
    assert says in step.summary
    assert steps[-1].id == "sender"


@pytest.mark.parametrize("domain", ["example.com", "mail.example.com"])
async def test_a_domain_of_the_same_organization_is_no_warning(domain: str, signing: dict[str, Any]) -> None:
    """DMARC takes both by default."""
    async with InboxServer() as server:
        steps = await diagnosed(settings_for(server, **{**signing, "dkim_domain": domain}))
    assert _dkim_step(steps).status is Status.OK


async def test_a_server_that_rewrites_what_was_signed_is_a_warning(signing: dict[str, Any]) -> None:
    """Amazon SES sets Date and Message-ID itself."""
    settings = structure_settings(SmtpSettings, {"host": "email-smtp.eu-west-1.amazonaws.com", **signing})
    steps = await diagnosed(settings, seconds=0)
    assert _dkim_step(steps).status is Status.WARN
    assert "Easy DKIM" in _dkim_step(steps).summary


async def test_a_key_that_cannot_be_used_fails_the_test_before_it_connects(signing: dict[str, Any]) -> None:
    """As a send would fail."""
    async with InboxServer() as server:
        steps = await diagnosed(settings_for(server, **{**signing, "dkim_ed25519_private_key": "canary-no-key"}))
    (step,) = steps
    assert (step.id, step.status) == ("dkim", Status.FAIL)
    assert step.diagnosis is not None
    assert step.diagnosis.code == "dkim_key_unusable"
    assert step.diagnosis.field == "dkim_ed25519_private_key"
    assert step.diagnosis.fixes[0].startswith("give a private key in PEM")
    assert "canary" not in repr(steps)


def test_keys_of_the_tests_are_what_the_settings_name() -> None:
    """The records that verify are those of the settings."""
    loaded = DkimKey.load(domain="example.com", selector="ed", private_key=ed25519_pem())
    assert loaded.record_value == ed25519_key().record_value
