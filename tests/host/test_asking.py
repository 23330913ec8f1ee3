"""What a host learns by asking: a server's real limits by a test, an attempt's fate by a look-up."""

import json
from pathlib import Path

from genie_connect import Host, Message, State, Status
from genie_connect.inbox import InboxServer
from genie_connect_contrib.sandbox.behaviour import Behaviour, Reply
from genie_connect_contrib.sandbox.provider import SandboxProvider


def smtp(port: int) -> dict[str, object]:
    """Configuration of one plain SMTP connection."""
    return {
        "connections": {
            "mail": {
                "connector": "smtp",
                "default_from": "shop@example.com",
                "settings": {"host": "127.0.0.1", "port": port, "security": "none"},
            }
        }
    }


async def test_a_connection_test_makes_the_capabilities_effective() -> None:
    """After a test the table has the number that the server announced, and the planner counts with it."""
    async with InboxServer(max_message_bytes=50_000) as inbox, Host.open(smtp(inbox.port)) as host:
        assert not host.capabilities("mail").effective
        steps = [step async for step in host.test("mail")]
        assert [step.status for step in steps if step.status is not Status.OK] == []
        table = host.capabilities("mail")
        assert table.effective
        assert table.limit("send.transactional", "max_message_bytes") == 50_000
        plan = host.plan(Message(to=["ada@example.com"], text="x" * 60_000))
        assert plan.order == ()
        assert "takes at most 50000" in plan.explain()


async def test_a_test_message_does_not_go_to_a_suppressed_address() -> None:
    """The gate holds for test messages too; the rest of the test runs, and the step says why nothing was sent."""
    async with InboxServer() as inbox, Host.open(smtp(inbox.port)) as host:
        await host.suppressions.add("ada@example.com", reason="complaint")
        steps = [step async for step in host.test("mail", send_to="Ada@example.com")]
        assert (steps[-1].id, steps[-1].status) == ("message", Status.SKIP)
        assert "complaint" in steps[-1].summary
        assert inbox.messages == []


async def test_a_test_message_goes_where_it_is_asked_to() -> None:
    """Without a suppression the same call delivers exactly one message."""
    async with InboxServer() as inbox, Host.open(smtp(inbox.port)) as host:
        steps = [step async for step in host.test("mail", send_to="ada@example.com")]
        assert (steps[-1].id, steps[-1].status) == ("message", Status.OK)
        assert [message.recipients for message in inbox.messages] == [("ada@example.com",)]


async def test_an_unknown_outcome_is_looked_up_at_the_provider() -> None:
    """The provider took the message and its answer was lost: the attempt's id finds out."""
    provider = SandboxProvider(api_key="key")
    async with provider:
        config = {
            "connections": {
                "api": {
                    "connector": "sandbox",
                    "settings": {"base_url": provider.base_url, "api_key": "key", "timeout_s": 0.3},
                }
            }
        }
        async with Host.open(config) as host:
            provider.behave(Behaviour(reply=Reply.HELD))
            message = Message(from_="shop@example.com", to=["ada@example.com"], text="Hello")
            receipt = await host.send(message, timeout_s=2)
            assert receipt.outcomes["ada@example.com"].state is State.UNKNOWN
            provider.release()
            found = [outcome for attempt in receipt.attempts for outcome in await host.lookup(attempt)]
            assert {(outcome.recipient, outcome.state, outcome.connection) for outcome in found} == {
                ("ada@example.com", State.ACCEPTED, "api")
            }
            assert len(provider.messages) == 1


async def test_a_look_up_without_the_hook_gives_nothing() -> None:
    """SMTP has nobody to ask."""
    async with InboxServer() as inbox, Host.open(smtp(inbox.port)) as host:
        receipt = await host.send(Message(to=["ada@example.com"], text="Hello"))
        assert await host.lookup(receipt.attempts[0]) == ()


async def test_hosts_of_one_configuration_file_share_its_suppressions(tmp_path: Path) -> None:
    """What one program adds, the next one knows, without a word about suppressions in the file."""
    path = tmp_path / "genie-connect.toml"
    path.write_text('[connections.mail]\nconnector = "smtp"\n[connections.mail.settings]\nhost = "127.0.0.1"\n')
    async with Host.open(path) as host:
        await host.suppressions.add("ada@example.com", reason="hard_bounce")
    async with Host.open(path) as host:
        assert await host.suppressions.check("ada@example.com") is not None
    kept = [json.loads(line) for line in (tmp_path / "suppressions.jsonl").read_text().splitlines()]
    assert [entry["address"] for entry in kept] == ["ada@example.com"]


async def test_a_receipt_keeps_tags_and_metadata() -> None:
    """SMTP carries neither, so the receipt has them beside the Message-ID that events come back with."""
    async with InboxServer() as inbox, Host.open(smtp(inbox.port)) as host:
        message = Message(to=["ada@example.com"], text="Hello", tags=["order"], metadata={"order": 1815})
        receipt = await host.send(message)
        assert receipt.accepted
        assert (receipt.tags, dict(receipt.metadata)) == (("order",), {"order": "1815"})
        assert receipt.message_id.encode() in inbox.messages[0].data
