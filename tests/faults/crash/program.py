"""What the processes under test do, by role. Each may be killed at any moment, and is then simply started again.

They use what a host uses, and nothing below it.
"""

from __future__ import annotations

import asyncio
import json
import sys
import tempfile
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, TypeAlias

import attrs

from genie_connect import failpoints
from genie_connect.durable.ledger import Ledger
from genie_connect.host import Host
from tests.faults.crash import hosts, naive
from tests.faults.crash.receiver import Behaviour, Copies, Session
from tests.faults.crash.sabotage import SABOTAGE

Role: TypeAlias = Callable[[dict[str, Any]], Awaitable[None]]
ROLES: Mapping[str, Role] = {
    "naive submit": naive.submit,
    "naive work": naive.work,
    **hosts.ROLES,
}
WARM: dict[str, Any] = {}
"""What a nursery hands down to its children."""


def live(role: str, options: dict[str, Any]) -> None:
    """Be a process of that role until the work is done, or somebody kills it."""
    # Read when the process begins, which a fork does not do.
    failpoints._armed = failpoints._Armed(options.get("point", ""))
    if sabotage := options.get("without"):
        SABOTAGE[sabotage]()
    asyncio.run(_run(ROLES[role]({**WARM, **options})))


def warm() -> None:
    """Import what a first use imports. Everything is closed again: a fork takes no thread and no connection along."""
    asyncio.run(_warm())


async def _warm() -> None:
    # Its statements are compiled, and nothing is connected to.
    Ledger("postgresql://nobody@localhost/nowhere")
    copies = Copies()
    # So that the rules by which refusals are understood are read too.
    copies.behaviour = Behaviour(put_off_of_1000=200, refused_of_1000=200)
    server = await asyncio.get_running_loop().create_server(lambda: Session(copies), "127.0.0.1", 0)
    settings = {"host": "127.0.0.1", "port": server.sockets[0].getsockname()[1], "security": "none"}
    with tempfile.TemporaryDirectory() as folder:
        config = {
            "connections": {"smtp": {"connector": "smtp", "settings": settings}},
            "store": {"url": f"sqlite:///{folder}/warm.db"},
            "engine": {"first_retry_s": 0.01},
        }
        async with server, Host.open(config) as host:
            # Discovery looks at every installed package, which is slow and not what is tested here.
            WARM["registry"] = host.registry
            async for _ in host.send_each(naive.MESSAGE, naive.recipients_of(0, 20)):
                pass
            made = await host.broadcast(naive.MESSAGE, naive.recipients_of(0, 20))
            await made.wait(30.0)
            sent = await host.send(attrs.evolve(naive.MESSAGE, to=naive.recipients_of(0, 1)), durable=True)
            await host.settled(sent.id or 0)


async def _run(role: Awaitable[None]) -> None:
    await role


if __name__ == "__main__":
    live(sys.argv[1], json.loads(sys.argv[2]))
