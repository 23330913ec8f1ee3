"""Run the sandbox provider by hand: ``python -m genie_connect_contrib.sandbox``."""

from __future__ import annotations

import argparse
import asyncio
import os
import secrets
import sys
from contextlib import suppress

from genie_connect_contrib.sandbox.provider import SandboxProvider

KEY_VARIABLE = "GENIE_CONNECT_SANDBOX_KEY"
_CONFIGURATION = """\
[connections.sandbox]
connector = "sandbox"
[connections.sandbox.settings]
base_url = "{base_url}"
api_key = "{api_key}"
webhook_secret = "{webhook_secret}"
"""


def main() -> int:
    """Serve until interrupted. The API key is taken from the environment, or made up and shown."""
    parser = argparse.ArgumentParser(prog="python -m genie_connect_contrib.sandbox", description=main.__doc__)
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (%(default)s)")
    parser.add_argument("--port", type=int, default=8925, help="port to listen on, 0 for a free one (%(default)s)")
    arguments = parser.parse_args()
    with suppress(KeyboardInterrupt):
        return asyncio.run(_serve(arguments.host, arguments.port))
    return 0


async def _serve(host: str, port: int) -> int:
    given = os.environ.get(KEY_VARIABLE)
    api_key = given or secrets.token_urlsafe(16)
    provider = SandboxProvider(host=host, port=port, api_key=api_key)
    try:
        async with provider:
            shown = f"env:{KEY_VARIABLE}" if given else api_key
            print(
                _CONFIGURATION.format(
                    base_url=provider.base_url, api_key=shown, webhook_secret=provider.webhook_secret
                ),
                flush=True,
            )
            print(f"The sandbox listens on {provider.base_url}; Ctrl-C stops it.", file=sys.stderr, flush=True)
            await asyncio.Event().wait()
    except OSError as error:
        print(f"error: cannot listen on {host} port {port}: {error.strerror}", file=sys.stderr)
        print("hint: give another port with --port, or 0 for a free one", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
