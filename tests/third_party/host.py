"""A host that runs while a connector package is installed, upgraded and removed. Knows the wheels and nothing else."""

from __future__ import annotations

import asyncio
import subprocess
import sys

from genie_connect import Host, Message
from genie_connect.registry import Changes
from genie_connect_spec.kit import Answer, HttpProvider

UV, WHEELS = sys.argv[1:]


def pip(*arguments: str) -> None:
    """Change what is installed here."""
    options = ("--find-links", WHEELS, "--no-deps") if arguments[0] == "install" else ()
    subprocess.run(
        (UV, "pip", arguments[0], "--quiet", "--python", sys.executable, *options, *arguments[1:]), check=True
    )


async def main() -> None:
    """The life of the package."""
    with HttpProvider(lambda request: Answer(body=b'{"id": "1"}')) as provider:
        acme = {"base_url": provider.base_url, "api_key": "a-key-made-up-for-tests"}
        smtp = {"host": "127.0.0.1", "port": 9, "security": "none"}
        connections = {
            "acme": {"connector": "acme", "default_from": "shop@example.com", "settings": acme},
            "smtp": {"connector": "smtp", "default_from": "shop@example.com", "settings": smtp},
        }
        message = Message(to=["ada@example.com"], subject="Hello", text="Hello.")
        async with Host.open({"connections": connections}) as host:
            assert [each.id for each in host.connectors()] == ["smtp"]
            pip("install", "genie-connect-acme==0.1.0")
            assert await host.refresh() == Changes(added=("acme",))
            assert (await host.send(message)).connection == "acme"
            assert len(provider.handed_over) == 1
            pip("install", "genie-connect-acme==0.2.0")
            assert await host.refresh() == Changes(upgraded=("acme",))
            assert (await host.send(message)).accepted
            pip("uninstall", "genie-connect-acme")
            assert await host.refresh() == Changes(removed=("acme",))
            assert host.plan(message).order == ("smtp",)


asyncio.run(main())
