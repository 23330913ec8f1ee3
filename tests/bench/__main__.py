"""``./dev bench [WHAT]``: run the suites, print their tables, write the results as JSON."""

from __future__ import annotations

import argparse
import json
import platform
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from tests.bench import api, compose, core, http, store, webhooks
from tests.bench.smtp import broadcast, workers
from tests.bench.smtp import suite as smtp

SUITES: dict[str, Callable[[smtp.Options], Sequence[smtp.Rendered]]] = {
    "api": lambda _: api.run(),
    "broadcast": broadcast.run,
    "core": lambda _: core.run(),
    "compose": lambda _: compose.run(),
    "http": lambda _: http.run(),
    "smtp": smtp.run,
    "suppressions": lambda options: store.run(quick=options.quick),
    "webhooks": lambda _: webhooks.run(),
    "workers": workers.run,
}
SHORT = ("core",)
"""What is run where nothing is named: the others take half an hour."""


def main() -> None:
    parser = argparse.ArgumentParser(prog="./dev bench", description="Measure Genie Connect beside its peers.")
    parser.add_argument("what", nargs="?", choices=sorted(SUITES), help=f"one suite; without it {', '.join(SHORT)}")
    quick = "fewer cases, fewer rounds (smtp, broadcast), a million rows instead of ten (suppressions)"
    parser.add_argument("--quick", action="store_true", help=quick)
    parser.add_argument(
        "--case", default="", metavar="REGEX", help="only the cases whose name it finds (smtp, broadcast)"
    )
    parser.add_argument("--recipients", type=int, metavar="N", help="so many of them (broadcast, workers)")
    ten_million = "the rows in memory and durable on SQLite alone, once (broadcast)"
    parser.add_argument(
        "--ten-million", action="store_const", const=broadcast.TEN_MILLION, dest="recipients", help=ten_million
    )
    parser.add_argument("--rounds", type=int, help="how often each is measured (broadcast, workers); else twice")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the results there as well")
    chosen = parser.parse_args()
    print(f"Python {platform.python_version()}, {platform.machine()}, {platform.system()}")
    tables: list[smtp.Rendered] = []

    def keep(more: Sequence[smtp.Rendered]) -> None:
        if chosen.json:
            chosen.json.write_text(json.dumps([table.as_data() for table in (*tables, *more)], indent=2) + "\n")

    options = smtp.Options(
        quick=chosen.quick, case=chosen.case, recipients=chosen.recipients, rounds=chosen.rounds, keep=keep
    )
    for name in [chosen.what] if chosen.what else SHORT:
        tables += SUITES[name](options)
    for table in tables:
        print(f"\n{table.render()}")
    keep(())
    if chosen.json:
        print(f"\nwritten to {chosen.json}", file=sys.stderr)
    if failures := [failure for table in tables for failure in getattr(table, "failures", ())]:
        sys.exit(f"FAILED: {'; '.join(failures)}")


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit("interrupted; everything that was started has ended")
