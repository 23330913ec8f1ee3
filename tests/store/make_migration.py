"""``./dev migration "What it changes"``: write the step from the newest migration to ``store/schema.py`` as it stands.

To write the first one anew, which may be done until the first release only, delete it before.
"""

from __future__ import annotations

import re
import subprocess
import sys
from importlib.resources import files
from pathlib import Path

import sqlalchemy as sa
from alembic import command
from alembic.script import ScriptDirectory

from genie_connect.store.migrate import configuration


def main() -> None:
    """Make an empty database, bring it to the newest version there is, and write down what is missing."""
    (message,) = sys.argv[1:] or sys.exit('usage: ./dev migration "What it changes"')
    folder = Path(str(files("genie_connect.store") / "migrations"))
    engine = sa.create_engine("sqlite://")
    with engine.begin() as connection:
        config = configuration(str(folder), connection)
        number = len(list(ScriptDirectory.from_config(config).walk_revisions())) + 1
        name = re.sub(r"\W+", "_", message.lower()).strip("_")
        config.set_main_option("file_template", f"v%%(rev)s_{name}")
        command.upgrade(config, "head")
        command.revision(config, message.rstrip("."), autogenerate=True, rev_id=f"{number:04}")
    path = folder / "versions" / f"v{number:04}_{name}.py"
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    path.write_text("".join(line for line in lines if "# ### " not in line), encoding="utf-8")
    subprocess.run([sys.executable, "-m", "ruff", "format", "--quiet", str(path)], check=True)
    print("look at it, set VERSION in store/migrate.py, and run: ./dev test tests/store/test_migrate.py")


if __name__ == "__main__":
    main()
