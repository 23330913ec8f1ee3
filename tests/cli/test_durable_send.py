"""``send`` on a configuration with a store, and ``receipt``."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

import pytest

from genie_connect.cli.exit_codes import ExitCode
from tests.cli.conftest import Cli

MESSAGE = ("--to", "ada@example.com", "--subject", "Hello", "--text", "Good morning.")


def test_shows_a_send_again_by_its_number(stored: Cli) -> None:
    """The last line of `send` names it, and `receipt` shows the same."""
    sent = stored("send", *MESSAGE)
    assert sent.exit_code == 0, sent.stderr
    found = re.search(r"; send (\d+)$", sent.stdout.rstrip())
    assert found
    again = stored("receipt", found[1])
    assert again.exit_code == 0
    assert again.stdout.splitlines()[-1] == sent.stdout.splitlines()[-1]
    assert stored.json("receipt", found[1])["outcomes"]["ada@example.com"]["state"] == "accepted"


def test_ends_as_soon_as_a_durable_send_is_safe(stored: Cli) -> None:
    """Nothing is sent by the command itself; its receipt is pending and says who sends it, and how to look."""
    sent = stored("send", *MESSAGE, "--durable", "--priority", "5")
    assert sent.exit_code == 0, sent.stderr
    assert sent.stdout.startswith("pending; Message-ID <")
    assert "genie-connect worker" in sent.stderr
    receipt = stored.json("receipt", "1")
    assert (receipt["id"], receipt["pending"], receipt["outcomes"]) == (1, True, {})
    assert stored.kept == []


def test_keeps_a_send_for_later(stored: Cli) -> None:
    """--not-before alone makes it durable; a time may be given as so long from now."""
    assert stored.json("send", *MESSAGE, "--not-before", "+2h", "--expires", "+1d")["pending"] is True


def test_says_that_a_key_was_used_for_something_else(stored: Cli) -> None:
    """The same send again is the first one; another one with its key is refused with 9."""
    first = stored.json("send", *MESSAGE, "--durable", "--key", "order-17")
    assert stored.json("send", *MESSAGE, "--durable", "--idempotency-key", "order-17")["id"] == first["id"]
    other = stored("send", "--to", "bob@example.com", "--text", "x", "--durable", "--key", "order-17")
    assert other.exit_code == ExitCode.STATE
    assert other.stderr.startswith("error: the idempotency key 'order-17' was used for a send with another content\n")


def test_says_that_there_is_no_such_send(stored: Cli) -> None:
    """A number that was never given ends with 9."""
    result = stored("receipt", "12")
    assert (result.exit_code, result.stderr.splitlines()[0]) == (ExitCode.STATE, "error: there is no send 12")


def test_needs_a_store_for_what_is_durable(cli: Cli) -> None:
    """Without one the configuration is at fault, and the hint says what to add to it."""
    for arguments in (["send", *MESSAGE, "--durable"], ["receipt", "1"]):
        result = cli(*arguments)
        assert result.exit_code == ExitCode.CONFIGURATION
        assert "add [store]" in result.stderr


@pytest.mark.parametrize("given", ["tomorrow", "+3w", "2026-13-01", "+99999999999d"])
def test_refuses_what_is_no_time(stored: Cli, given: str) -> None:
    """What was given is repeated, with how to write it."""
    result = stored("send", *MESSAGE, "--not-before", given)
    assert result.exit_code == ExitCode.ERROR
    assert f"{given!r} is no time; write 2026-11-26T09:00+01:00" in result.stderr


def test_refuses_an_end_that_is_over(stored: Cli) -> None:
    """A send that expires before it may begin would never be sent."""
    past = (datetime.now(UTC) - timedelta(hours=1)).isoformat()
    assert "--expires is over already" in stored("send", *MESSAGE, "--expires", past).stderr
    result = stored("send", *MESSAGE, "--not-before", "+2h", "--expires", "+1h")
    assert (result.exit_code, "--expires is before --not-before" in result.stderr) == (ExitCode.ERROR, True)
