"""``new``: what it writes works."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from genie_connect_spec.kit import catalogue
from genie_connect_spec.kit.check import Force
from genie_connect_spec.kit.evaluation import Verdict, evaluate
from genie_connect_spec.kit.rig import Rig
from tests.cli.conftest import Cli
from tests.support.packages import forgotten_after

SLOW = {"GC-SEND-016", "GC-SAFE-001", "GC-SAFE-002", "GC-SAFE-003", "GC-SAFE-011"}
"""Run by hand; the template has nothing that the others do not look at."""


@pytest.fixture
def package(cli: Cli, tmp_path: Path) -> Iterator[Path]:
    """A package just written."""
    folder = tmp_path / "made"
    assert cli("new", "acme-post", "--into", str(folder)).exit_code == 0
    with forgotten_after(folder):
        yield folder


def load(path: Path, name: str) -> Any:
    """The module in a file."""
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def test_it_keeps_the_contract_untouched(package: Path) -> None:
    """Every MUST of the contract, before the author has changed a line."""
    plugin = load(package / "src" / "genie_connect_acme_post" / "__init__.py", "genie_connect_acme_post")
    module = load(package / "tests" / "test_contract.py", "acme_post_contract")
    contract: Any = type("TestAcmePost", (module.TestAcmePost,), {"plugin": plugin, "connector": "acme-post"})()
    provider = contract.new_provider()
    with provider:
        settings = contract.settings_of(provider)
        results = [
            evaluate(check, Rig(contract, settings, provider))
            for check in catalogue()
            if check.force is Force.MUST and check.id not in SLOW
        ]
    assert {each.check: each.reason for each in results if each.verdict is Verdict.FAILED} == {}
    assert sum(each.verdict is Verdict.PASSED for each in results) >= 120


def test_it_says_what_it_wrote(cli: Cli, tmp_path: Path) -> None:
    """With --json for programs."""
    data = cli.json("new", "acme", "--into", str(tmp_path / "made"))
    assert data["connector"] == "acme"
    assert all(Path(path).is_file() for path in data["files"])
    written = "".join(Path(path).read_text(encoding="utf-8") for path in data["files"])
    assert "@NAME@" not in written
    assert 'acme = "genie_connect_acme"' in written


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
