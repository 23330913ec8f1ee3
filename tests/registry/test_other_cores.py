"""One package under cores of other versions of the contract, older and newer."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from genie_connect.contract import API_MAJOR, API_MINOR
from tests.support.packages import GOOD_MODULE, install

PROGRAM = Path(__file__).with_name("other_cores.py")
THIS = f"{API_MAJOR}.{API_MINOR}"
NEXT_MINOR, NEXT_MAJOR, LAST_MAJOR = f"{API_MAJOR}.{API_MINOR + 1}", f"{API_MAJOR + 1}.0", f"{API_MAJOR - 1}.7"


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, str]]:
    """What each core says, for a package made for this version, and for one that needs the next minor one."""
    said = {}
    for needs in (API_MINOR, API_MINOR + 1):
        site = tmp_path_factory.mktemp(f"site{needs}")
        source = GOOD_MODULE.replace("settings_class=Settings)", f"settings_class=Settings, api={needs})")
        install(site, "genie-connect-acme", module="acme", source=source)
        environment = {**os.environ, "PYTHONPATH": str(site)}
        command = [sys.executable, str(PROGRAM), THIS, NEXT_MINOR, NEXT_MAJOR, LAST_MAJOR]
        done = subprocess.run(command, check=True, capture_output=True, text=True, env=environment)
        said[f"{API_MAJOR}.{needs}"] = json.loads(done.stdout)
    return said


def test_a_core_with_a_newer_minor_version_uses_older_packages(found: dict[str, dict[str, str]]) -> None:
    """A minor version only adds."""
    assert found[THIS][THIS] == found[THIS][NEXT_MINOR] == found[NEXT_MINOR][NEXT_MINOR] == "accepted"


def test_a_core_with_an_older_minor_version_says_what_is_missing(found: dict[str, dict[str, str]]) -> None:
    """One sentence names both versions and the remedy."""
    said = found[NEXT_MINOR][THIS]
    assert f"it needs version {NEXT_MINOR} of the connector contract; this host has {THIS}" in said
    assert "upgrade genie-connect" in said


def test_a_core_of_another_major_version_says_which_of_the_two_is_old(found: dict[str, dict[str, str]]) -> None:
    """Its group is another one; the package is found all the same, and not imported."""
    for core, remedy in ((NEXT_MAJOR, "upgrade genie-connect-acme"), (LAST_MAJOR, "upgrade genie-connect")):
        said = found[THIS][core]
        assert f"it is made for version {API_MAJOR} of the connector contract; this host has {core}" in said
        assert said.endswith(f": {remedy}")
