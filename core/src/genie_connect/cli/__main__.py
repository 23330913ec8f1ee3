"""The entry point ``genie-connect``."""

from __future__ import annotations

import sys

INSTALL = 'the command line needs its extra: pip install "genie-connect[cli]"'


def main() -> None:
    """Run the command line, or say how to install what it needs."""
    try:
        # The core alone is installed without click; its absence is to be one line, not a traceback.
        from genie_connect.cli.app import app
    except ModuleNotFoundError as error:
        if error.name != "click":
            raise
        sys.exit(f"genie-connect: {INSTALL}")
    app()


if __name__ == "__main__":
    main()
