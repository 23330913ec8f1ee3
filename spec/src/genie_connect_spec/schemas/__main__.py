"""Write the schemas anew, or with ``release`` keep them as those of the last release."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from genie_connect_spec.schemas.generate import schemas

FOLDER = Path(__file__).parent


def written(schema: object) -> str:
    """A schema as it stands in its file."""
    return json.dumps(schema, indent=2, ensure_ascii=False) + "\n"


def main(arguments: list[str]) -> int:
    """Write every file."""
    folder = FOLDER / "released" if arguments == ["release"] else FOLDER
    if arguments not in ([], ["release"]):
        sys.stderr.write("usage: python -m genie_connect_spec.schemas [release]\n")
        return 2
    for name, schema in schemas().items():
        (folder / f"{name}.json").write_text(written(schema), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
