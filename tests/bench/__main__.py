"""``./dev bench [WHAT]``: run the suites, print their tables, write the results as JSON."""

from __future__ import annotations

import argparse
import json
import platform
import sys
from pathlib import Path

from tests.bench import core
from tests.bench.table import Table

SUITES = {"core": core.run}


def main() -> None:
    parser = argparse.ArgumentParser(prog="./dev bench", description="Measure Genie Connect beside its peers.")
    parser.add_argument("what", nargs="?", choices=sorted(SUITES), help="one suite; all without it")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the results there as well")
    chosen = parser.parse_args()
    print(f"Python {platform.python_version()}, {platform.machine()}, {platform.system()}")
    tables: list[Table] = []
    for name, run in SUITES.items():
        if chosen.what in (None, name):
            tables += run()
    for table in tables:
        print(f"\n{table.render()}")
    if chosen.json:
        chosen.json.write_text(json.dumps([table.as_data() for table in tables], indent=2) + "\n")
        print(f"\nwritten to {chosen.json}", file=sys.stderr)


if __name__ == "__main__":
    main()
