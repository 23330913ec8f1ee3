"""Events told to another application: signed, tried again, and never lost in silence."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime

import pytest

from genie_connect.contract import WebhookRequest
from genie_connect.errors import ConfigurationError
from genie_connect.http import NoAnswer, Response
from genie_connect.model.event import Event, EventKind
from genie_connect.model.frozen import EMPTY, FrozenMap
from genie_connect.model.secret import Secret
from genie_connect.webhooks.outgoing import RETRIES_S, EventForwarder
from genie_connect.webhooks.signatures import signing_key, verify_standard
from tests.support.clock import FakeClock, ManualClock, settled

SECRET, OLD = "whsec_" + "QUJD" * 8, "whsec_" + "REVG" * 8
EVENT = Event(
    id="e1",
    kind=EventKind.BOUNCED,
    time=datetime(2026, 11, 25, tzinfo=UTC),
    recipient="ada@example.com",
    raw=FrozenMap({"secret": "of the provider"}),
)


class Application:
    """The other side: answers as it is told, and checks every signature."""

    def __init__(self, clock: FakeClock, *statuses: int | Exception) -> None:
        self.clock = clock
        self.statuses = list(statuses)
        self.got: list[tuple[str, dict[str, object]]] = []
        self.at_s: list[float] = []

    async def open(self) -> None:
        """Nothing to do."""

    async def close(self) -> None:
        """Nothing to do."""

    async def request(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str] = EMPTY,
        content: bytes = b"",
        timeout_s: float | None = None,
    ) -> Response:
        """One post."""
        now = self.clock.now()
        request = WebhookRequest(method=method, path=url, headers=headers, body=content, received_at=now)
        ids = {verify_standard(request, [signing_key(secret)]) for secret in (SECRET, OLD)}
        self.got.append((ids.pop(), json.loads(content)))
        self.at_s.append(self.clock.elapsed_s)
        status = self.statuses.pop(0) if self.statuses else 204
        if isinstance(status, Exception):
            raise status
        return Response(status=status)


def forwarder(app: Application, **more: object) -> EventForwarder:
    """One that posts to it."""
    return EventForwarder(
        "https://app.example/hooks/mail?x=1",
        Secret(SECRET),
        previous_secret=Secret(OLD),
        client=app,
        clock=app.clock,
        **more,  # type: ignore[arg-type]
    )


async def test_an_event_is_posted_signed() -> None:
    """With both secrets of a rotation, and without what the provider sent."""
    app = Application(FakeClock())
    async with forwarder(app) as forward:
        forward.event_received("api", EVENT)
        await forward.settled()
        assert (forward.posted, forward.dropped) == (1, 0)
    ((webhook_id, body),) = app.got
    assert webhook_id.startswith("evt_")
    assert (body["type"], body["timestamp"]) == ("mail.bounced", "2026-11-25T00:00:00+00:00")
    assert body["data"]["connection"] == "api"  # type: ignore[index]
    assert body["data"]["event"]["recipient"] == "ada@example.com"  # type: ignore[index]
    assert "of the provider" not in json.dumps(body)


async def test_what_is_not_taken_is_tried_again() -> None:
    """Under the same id, signed anew, at the times that the specification names."""
    app = Application(FakeClock(), 500, NoAnswer("time_out", "no answer"), 429, 301)
    async with forwarder(app, whole=True) as forward:
        forward.event_received("api", EVENT)
        await forward.settled()
        assert (forward.posted, forward.dropped) == (1, 0)
    assert len({webhook_id for webhook_id, _ in app.got}) == 1
    assert app.at_s == [0.0, 5.0, 305.0, 2_105.0, 9_305.0]
    assert "of the provider" in json.dumps(app.got[0][1])


async def test_what_is_never_taken_is_given_up_and_counted() -> None:
    """After the last try, with an error in the log."""
    app = Application(FakeClock(), *[503] * 20)
    async with forwarder(app) as forward:
        forward.event_received("api", EVENT)
        await forward.settled()
        assert (len(app.got), forward.dropped) == (len(RETRIES_S) + 1, 1)


async def test_an_application_that_is_gone_is_left_alone() -> None:
    """410 ends it for all."""
    app = Application(FakeClock(), 410)
    async with forwarder(app) as forward:
        forward.event_received("api", EVENT)
        await forward.settled()
        forward.event_received("api", EVENT)
        assert (len(app.got), forward.dropped) == (1, 2)


async def test_only_so_many_wait() -> None:
    """Beyond that they are counted as dropped, rather than filling the memory; on leaving nobody waits on."""
    app = Application(ManualClock(), *[503] * 20)
    async with forwarder(app, most_waiting=2) as forward:
        for _ in range(3):
            forward.event_received("api", EVENT)
        await settled()
        assert (len(app.got), forward.dropped) == (2, 1)


async def test_an_event_may_be_a_cloud_event() -> None:
    """With the same id as the webhook."""
    app = Application(FakeClock())
    async with forwarder(app, cloudevents=True) as forward:
        forward.event_received("api", EVENT)
        await forward.settled()
    ((webhook_id, body),) = app.got
    assert (body["specversion"], body["id"], body["type"]) == ("1.0", webhook_id, "mail.bounced")
    assert body["source"] == "/genie-connect/connections/api"


@pytest.mark.parametrize(
    "url",
    ["http://app.example/", "ftp://app.example/", "https://user@app.example/", "nonsense", "https://[", "https:///"],
)
def test_a_place_that_is_none_is_refused(url: str) -> None:
    """Events name people: they leave encrypted, or not at all."""
    with pytest.raises(ConfigurationError):
        EventForwarder(url, Secret(SECRET))
    with pytest.raises(ConfigurationError, match="whsec_"):
        EventForwarder("https://app.example/", Secret("abc"))
