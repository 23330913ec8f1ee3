"""What importing the core loads, and what it leaves to whoever needs it."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

HEAVY = ("aiosmtplib", "cattrs", "click", "cryptography", "email", "httpx2", "idna", "importlib_metadata", "rich")
PLUGINS = ("genie_connect_smtp", "genie_connect_contrib", "genie_connect_spec")


def loaded_by(statement: str) -> set[str]:
    """The top-level modules a fresh interpreter has after a statement."""
    code = f"{statement}\nimport sys, json; print(json.dumps(sorted(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    return {name.partition(".")[0] for name in json.loads(done.stdout)}


@pytest.fixture(scope="module")
def by_core() -> set[str]:
    """What ``import genie_connect`` loads."""
    return loaded_by("import genie_connect")


@pytest.mark.parametrize("module", HEAVY)
def test_the_core_is_light(module: str, by_core: set[str]) -> None:
    """Libraries that only some uses need are imported by those."""
    assert module not in by_core


@pytest.mark.parametrize("module", PLUGINS)
def test_the_core_imports_no_plug_in(module: str, by_core: set[str]) -> None:
    """SMTP enters by the same door as a stranger's package."""
    assert "genie_connect" in by_core
    assert module not in by_core


@pytest.mark.parametrize("module", PLUGINS)
def test_no_plug_in_is_imported_where_none_is_allowed(module: str) -> None:
    """The whole way through discovery."""
    assert module not in loaded_by("import genie_connect; genie_connect.Registry.discover(allow=[])")


def test_connectors_are_light_until_they_are_opened() -> None:
    """Listing what is installed loads no SMTP client and no HTTP client."""
    found = loaded_by("import genie_connect; [handle.capabilities() for handle in genie_connect.Registry.discover()]")
    assert "importlib_metadata" in found
    assert not {"aiosmtplib", "httpx2", "cryptography", "click", "rich"} & found
