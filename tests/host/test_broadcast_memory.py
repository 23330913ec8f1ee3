"""A broadcast does not grow with its recipients. A million of them: ``./dev bench broadcast``."""

from __future__ import annotations

import gc
import sys
from collections import Counter
from pathlib import Path

import pytest

from genie_connect import Host, Message
from tests.bench.smtp.network import network
from tests.bench.smtp.python_sink import hash_of
from tests.bench.smtp.sinks import own_sink

_RECIPIENTS = 20_000
_WARM = 5_000
_BLOCKS_FOR_EACH = 4
"""What ``Seen`` takes while most of its buckets are new; one copy or outcome that is kept takes more than ten."""


def _blocks() -> int:
    gc.collect()
    return sys.getallocatedblocks()


@pytest.mark.long
@pytest.mark.skipif(sys.platform != "linux", reason="the sink is for Linux")
async def test_twenty_thousand_recipients_leave_nothing_behind(tmp_path: Path) -> None:
    """Through the engine with BDAT, each accepted and sent to once, and what stays of each is a few bytes."""
    recipients = [f"user{number}@example.com" for number in range(_RECIPIENTS)]
    message = Message(from_="shop@example.com", subject="News", text="Hello.\n")
    states: Counter[str] = Counter()
    warm = 0
    with network(0, tmp_path) as net, own_sink(net, tmp_path) as sink:
        settings = {"host": sink.host, "port": sink.port, "security": "none", "pipelining": "chunking"}
        async with Host.open({"connections": {"bench": {"connector": "smtp", "settings": settings}}}) as host:
            async for outcome in host.send_each(message, iter(recipients)):
                states[outcome.state.value] += 1
                if states.total() == _WARM:
                    warm = _blocks()
            grown = _blocks() - warm
        assert sink.settled_messages(_RECIPIENTS) == _RECIPIENTS
        assert sink.recipients() == sum(hash_of(each.encode()) for each in recipients) % (1 << 64)
    assert states == {"accepted": _RECIPIENTS}
    assert grown < _BLOCKS_FOR_EACH * (_RECIPIENTS - _WARM)
