"""SMTP connections whose provider posts webhooks: read by that provider's own connector."""

from __future__ import annotations

import json
from collections.abc import Callable
from email import message_from_bytes
from pathlib import Path
from typing import Any

import attrs
import pytest

from genie_connect import Host, Message, Purpose, Registry, SettingsError, hookimpl
from genie_connect.config import connection_settings
from genie_connect.errors import ConfigurationError
from genie_connect.inbox import InboxServer
from genie_connect.registry.behind import reader_of
from tests.contrib.providers.events import mailersend, mailgun, mailjet, mailtrap, sendgrid
from tests.contrib.providers.events.hook import Hook
from tests.contrib.providers.events.test_events import each_hook
from tests.support.clock import FakeClock
from tests.webhooks.schemes import NOW

ADA, BEN, CY = [f"{name}@example.com" for name in ("ada", "ben", "cy")]
SMTP = {"host": "127.0.0.1", "security": "none"}


class Audit:
    """Hears of events."""

    def __init__(self) -> None:
        self.heard: list[tuple[str, str, str | None]] = []

    @hookimpl
    def event_received(self, connection: str, event: Any) -> None:
        """Keep what an operator would look at."""
        self.heard.append((connection, event.kind.value, event.recipient))


def _sendgrid(kind: str, message_id: str, email: str, **more: Any) -> dict[str, Any]:
    ids = {"sg_event_id": f"{kind}-{email}", "sg_message_id": "14c5d75ce93.0", "smtp-id": message_id}
    return {"email": email, "timestamp": 1764064800, "event": kind, **ids, **more}


def _mailgun(kind: str, message_id: str, email: str, **more: Any) -> dict[str, Any]:
    headers = {"message-id": message_id.strip("<>")}
    return {"event": kind, "timestamp": 1764064800.5, "recipient": email, "message": {"headers": headers}, **more}


def _posted(hook: Hook, item: dict[str, Any], key: int = 1) -> Any:
    value = hook.single(item) if hook.wrapped is None else hook.wrapped([item])
    return hook.post(json.dumps(value).encode(), NOW, key)


@pytest.mark.parametrize("with_store", [False, True], ids=["memory", "store"])
async def test_webhooks_of_the_provider_behind_a_server_find_what_was_sent(tmp_path: Path, *, with_store: bool) -> None:
    """Two providers, each with its own signature: events match by our Message-ID and feed the suppressions."""
    async with InboxServer() as inbox:
        relay = {"connector": "smtp", "settings": SMTP | {"port": inbox.port}}
        config: dict[str, Any] = {"connections": {"plain": relay}}
        for hook in (sendgrid.HOOK, mailgun.HOOK):
            settings = relay["settings"] | {"webhook_provider": hook.id} | dict(hook.keyed(1, None))
            config["connections"][hook.id] = relay | {"settings": settings}
        if with_store:
            config["store"] = {"url": f"sqlite:///{tmp_path / 'mail.db'}"}
        audit = Audit()
        async with Host.open(config, clock=FakeClock(), work=False) as host:
            host.observers.add(audit)
            sent: dict[str, str] = {}
            for name, to in (("sendgrid", ADA), ("mailgun", BEN), ("plain", CY)):
                letter = Message(to=[to], subject="Hi", text="There.", from_="shop@example.com")
                sent[name] = (await host.send(letter, connection=name)).message_id
            left = b"".join(message.data for message in inbox.messages)
            assert all(message_id.encode() in left for message_id in sent.values())

            no_user = "550 5.1.1 no such user"
            bounces = {
                "sendgrid": _sendgrid("bounce", sent["sendgrid"], ADA, type="bounce", status="5.1.1", reason=no_user),
                "mailgun": _mailgun(
                    "failed",
                    sent["mailgun"],
                    BEN,
                    severity="permanent",
                    reason="bounce",
                    **{"delivery-status": {"code": 550, "message": no_user}},
                ),
            }
            for hook, email in ((sendgrid.HOOK, ADA), (mailgun.HOOK, BEN)):
                given = _posted(hook, bounces[hook.id])
                forged = await host.webhook(hook.id, _posted(hook, bounces[hook.id], key=2))
                assert forged.status in (400, 401)
                assert await host.suppressions.check(email, Purpose.TRANSACTIONAL) is None
                found = await host.webhook(hook.id, given)
                assert (found.status, found.accepted, found.unmatched, found.suppressed) == (200, 1, 0, 1)
                assert (await host.webhook(hook.id, given)).duplicates == 1
                listed = await host.suppressions.check(email, Purpose.TRANSACTIONAL)
                assert listed is not None
                assert (await host.fate(sent[hook.id], email)).word == "bounced"
            assert audit.heard == [("sendgrid", "bounced", ADA), ("mailgun", "bounced", BEN)]

            refused = await host.webhook("plain", _posted(sendgrid.HOOK, bounces["sendgrid"]))
            assert refused.status == 404
            assert "webhook_provider" in refused.hint
            shown = {name: host.capabilities(name) for name in ("sendgrid", "mailgun", "plain")}
            assert [each["events.signature"].available for each in shown.values()] == [True, True, False]
            assert shown["sendgrid"]["events.webhook"].text.startswith("Yes, of SendGrid")
            assert shown["plain"]["events.webhook"].text == "Optional and provider-specific"


def _mailjet(value: str, email: str) -> dict[str, Any]:
    return {"event": "bounce", "time": 1764064800, "email": email, "hard_bounce": True, "Payload": value}


def _mailtrap(value: str, email: str) -> dict[str, Any]:
    about = {"email": email, "timestamp": 1764064800, "custom_variables": json.loads(value)}
    return {"event": "bounce", "event_id": f"e-{email}", **about}


def _mailersend(value: str, email: str) -> dict[str, Any]:
    about = {"recipient": {"email": email}, "tags": value.split(","), "message": {"id": "1"}}
    data = {"id": f"e-{email}", "type": "hard_bounced", "created_at": "2026-11-25T10:00:00Z", "email": about}
    return {"type": "activity.hard_bounced", "created_at": "2026-11-25T10:00:00Z", "data": data}


@pytest.mark.parametrize(
    ("hook", "field", "made"),
    [
        (mailjet.HOOK, "X-MJ-EventPayload", _mailjet),
        (mailtrap.HOOK, "X-MT-Custom-Variables", _mailtrap),
        (mailersend.HOOK, "X-MailerSend-Tags", _mailersend),
    ],
    ids=["mailjet", "mailtrap", "mailersend"],
)
async def test_a_header_field_that_the_provider_gives_back_finds_the_copy(
    hook: Hook, field: str, made: Callable[[str, str], dict[str, Any]], tmp_path: Path
) -> None:
    """One message and copies of a broadcast; what the message has in that field itself is left as it is."""
    async with InboxServer() as inbox:
        settings = SMTP | {"port": inbox.port, "webhook_provider": hook.id} | dict(hook.keyed(1, None))
        config = {
            "connections": {"relay": {"connector": "smtp", "settings": settings, "default_from": "shop@example.com"}},
            "store": {"url": f"sqlite:///{tmp_path / 'mail.db'}"},
        }

        def carried(email: str) -> str:
            (letter,) = [message for message in inbox.messages if message.recipients == (email,)]
            return str(message_from_bytes(letter.data)[field])

        async with Host.open(config) as host:
            await host.send(Message(to=[ADA], subject="Hi", text="There."))
            news = Message(from_="shop@example.com", subject="Hi", text="There.")
            await (await host.broadcast(news, [BEN, CY])).wait(30.0)
            for email in (ADA, BEN, CY):
                found = await host.webhook("relay", _posted(hook, made(carried(email), email)))
                assert (found.status, found.accepted, found.unmatched, found.suppressed) == (200, 1, 0, 1), email
            inbox.messages.clear()
            own = Message(to=["dan@example.com"], subject="Hi", text="There.", headers={field.lower(): "mine"})
            await host.send(own)
            assert carried("dan@example.com") == "mine"


@pytest.fixture(scope="module")
def registry() -> Registry:
    """What is installed."""
    return Registry.discover()


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"webhook_provider": "sendgird"}, ["webhook_provider", "no installed package offers it", "did you mean"]),
        ({"webhook_provider": "smtp"}, ["webhook_provider", "reads no webhooks", "brevo, mailersend, mailgun"]),
        ({"webhook_provider": "mailgun"}, ["webhook_secret", "is missing", "give webhook_secret"]),
        ({"webhook_provider": "sendgrid"}, ["webhook_public_key", "give webhook_public_key or inbound_secret"]),
        ({"webhook_provider": "sendgrid", "webhook_public_key": "x"}, ["webhook_public_key"]),
        ({"webhook_provider": "mailgun", "previous_webhook_secret": "a"}, ["previous_webhook_secret", "current"]),
        ({"webhook_provider": "mailgun", "webhook_secret": "a", "api_key": "b"}, ["api_key", "is not a setting"]),
        ({"webhook_secret": "a"}, ["webhook_secret", "is not a setting", "did you mean webhook_provider"]),
        ({"webhook_provider": ""}, ["webhook_provider", "is empty"]),
        ({"webhook_provider": 3}, ["webhook_provider", "must be text"]),
    ],
)
def test_what_is_wrong_is_told_with_the_setting_the_cause_and_the_fix(
    registry: Registry, given: dict[str, Any], said: list[str]
) -> None:
    """Before anything is sent or received."""
    with pytest.raises(SettingsError) as caught:
        connection_settings(registry, "smtp", SMTP | given)
    (problem,) = caught.value.problems
    assert problem.path == said[0]
    assert all(words in str(problem) for words in said[1:]), str(problem)


async def test_a_host_does_not_open_with_a_provider_that_nobody_can_read() -> None:
    """Its events would be lost in silence."""
    config = {"connections": {"relay": {"connector": "smtp", "settings": SMTP | {"webhook_provider": "nobody"}}}}
    with pytest.raises(ConfigurationError, match=r"connections\.relay\.settings\.webhook_provider"):
        async with Host.open(config):
            pass


@each_hook
def test_every_parser_needs_the_settings_of_its_group_alone(hook: Hook, registry: Registry) -> None:
    """What each of our providers posts is read by an SMTP connection as by its own."""
    told = {name: value for name, value in hook.settings.items() if name.startswith("webhook_")}
    relay = SMTP | {"webhook_provider": hook.id} | told
    settings = connection_settings(registry, "smtp", relay | dict(hook.keyed(1, None)))
    reader = reader_of(registry, registry["smtp"], settings)
    assert reader is not None
    for item, _ in hook.samples:
        value = hook.single(item) if hook.wrapped is None else hook.wrapped([item])
        given = hook.post(json.dumps(value).encode(), NOW, 1)
        (event,) = reader.read(given)
        (own,) = hook.parse(given)
        assert attrs.evolve(event, message_id=own.message_id) == own
    # Another one's settings are as good as new: no secret shows, and the class is the same each time.
    assert "***" in repr(settings) or hook.id == "ses"
    assert type(settings) is type(connection_settings(registry, "smtp", relay | dict(hook.keyed(2, None))))
