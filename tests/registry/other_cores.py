"""What cores of other versions of the contract make of a package; run in an interpreter of its own.

A core of another version differs here by the version that it has and the group that it looks for, and by nothing else.
"""

from __future__ import annotations

import asyncio
import json
import sys
from importlib import import_module
from typing import Any

CONFIG = {"connections": {"main": {"connector": "acme", "default_from": "shop@example.com"}}}


def core(major: int, minor: int) -> Any:
    """The core as it is in that version."""
    for name in [name for name in sys.modules if name.partition(".")[0] in ("genie_connect", "acme")]:
        del sys.modules[name]
    contract: Any = import_module("genie_connect.contract")
    contract.API_MAJOR, contract.API_MINOR = major, minor
    contract.ENTRY_POINT_GROUP = f"genie_connect.connectors.v{major}"
    return import_module("genie_connect")


async def sent(gc: Any) -> str:
    """The outcome of a message over the package's connector, or why there is none."""
    registry = gc.Registry.discover(allow=["acme"])
    try:
        assert registry["acme"].has("connector_send")
    except gc.ConnectorUnavailable as error:
        return f"{error.cause}: {error.hint}"
    async with gc.Host.open(CONFIG, registry=registry) as host:
        receipt = await host.send(gc.Message(to=["ada@example.com"], subject="Hello", text="Hello."))
        return str(receipt.outcomes["ada@example.com"].state)


def main() -> None:
    """Print, for each version in the arguments, what becomes of a send."""
    found = {}
    for version in sys.argv[1:]:
        major, minor = (int(part) for part in version.split("."))
        found[version] = asyncio.run(sent(core(major, minor)))
    print(json.dumps(found))


main()
