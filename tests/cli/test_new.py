"""``new``: what it writes works."""

from __future__ import annotations

import importlib.util
import re
import sys
from pathlib import Path
from typing import Any

import pytest

from genie_connect.contract import Quality
from genie_connect_spec.kit import catalogue
from genie_connect_spec.kit.evaluation import Verdict
from genie_connect_spec.kit.levels import level_of
from genie_connect_spec.kit.whole import results_of
from tests.cli.conftest import Cli
from tests.support.packages import forgotten_after

KINDS = ("minimal", "api", "smtp")
# Of every part of the contract; all of it is in ./dev third-party.
SLOW = {"GC-SEND-016", "GC-SEND-021", "GC-SEND-024"}


def load(path: Path, name: str) -> Any:
    """The module in a file."""
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


@pytest.mark.long
@pytest.mark.parametrize("kind", KINDS)
def test_it_is_bronze_untouched(cli: Cli, tmp_path: Path, kind: str) -> None:
    """Every MUST that bronze needs, before the author has changed a line."""
    folder, name = tmp_path / "made", f"acme-{kind}"
    assert cli("new", name, "--kind", kind, "--into", str(folder)).exit_code == 0
    with forgotten_after(folder):
        module = f"genie_connect_acme_{kind}"
        plugin = load(folder / "src" / module / "__init__.py", module)
        tests = load(folder / "tests" / "test_contract.py", f"{module}_contract")
        (written,) = [each for each in vars(tests).values() if getattr(each, "connector", "") == name]
        contract: Any = type("Untouched", (written,), {"plugin": getattr(plugin, "connector", plugin)})()
        checks = [check for check in catalogue() if level_of(check) is Quality.BRONZE and check.id not in SLOW]
        results = list(results_of(contract, checks))
    assert {each.check: each.reason for each in results if each.verdict is Verdict.FAILED} == {}
    assert sum(each.verdict is Verdict.PASSED for each in results) >= 70


def test_the_minimal_one_is_read_in_a_minute(cli: Cli, tmp_path: Path) -> None:
    """Fewer than 60 lines of code, with all that they say beside it."""
    assert cli("new", "acme", "--into", str(tmp_path / "made")).exit_code == 0
    (module,) = (tmp_path / "made").glob("src/*/__init__.py")
    assert len(module.read_text(encoding="utf-8").splitlines()) < 60


def test_it_says_what_it_wrote(cli: Cli, tmp_path: Path) -> None:
    """With --json for programs."""
    data = cli.json("new", "acme", "--into", str(tmp_path / "made"))
    assert data["connector"] == "acme"
    assert all(Path(path).is_file() for path in data["files"])
    written = "".join(Path(path).read_text(encoding="utf-8") for path in data["files"])
    assert not re.search(r"@[A-Z]+@", written)
    assert 'acme = "genie_connect_acme:connector"' in written


@pytest.mark.parametrize("name", ["Acme", "9acme", "acme.mail", "../acme", ""])
def test_it_refuses_what_is_no_id(cli: Cli, name: str, tmp_path: Path) -> None:
    """The id becomes the name of files and of a module."""
    assert cli("new", name, "--into", str(tmp_path / "made")).exit_code != 0
    assert not (tmp_path / "made").exists()


def test_it_writes_over_nothing(cli: Cli, tmp_path: Path) -> None:
    """A folder with something in it is somebody's work."""
    (tmp_path / "made").mkdir()
    (tmp_path / "made" / "mine.txt").write_text("mine", encoding="utf-8")
    assert cli("new", "acme", "--into", str(tmp_path / "made")).exit_code != 0
    assert [path.name for path in (tmp_path / "made").iterdir()] == ["mine.txt"]
