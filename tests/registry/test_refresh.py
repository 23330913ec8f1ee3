"""Packages that come and go while a host runs, and those that are made for another contract."""

from __future__ import annotations

import asyncio
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from genie_connect import Host, Registry
from genie_connect.contract import API_MAJOR
from genie_connect.registry import Changes
from tests.support.connector import ScriptedConnector, letter
from tests.support.packages import GOOD_MODULE, forgotten_after, install

SLOW_MODULE = GOOD_MODULE.replace(
    "    return [Outcome", "    import NAME\n    NAME.begun.set()\n    await NAME.go_on.wait()\n    return [Outcome"
).replace("@settings", "import asyncio\nbegun, go_on = asyncio.Event(), asyncio.Event()\n\n@settings", 1)


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder in which packages are installed."""
    folder = tmp_path / "site"
    folder.mkdir()
    monkeypatch.syspath_prepend(str(folder))
    with forgotten_after(folder):
        yield folder


def remove(site: Path, module: str) -> None:
    """Uninstall what ``install`` has written."""
    (site / f"{module}.py").unlink()
    shutil.rmtree(next(site.glob(f"genie_connect_{module}-*.dist-info")))


def put(site: Path, module: str, source: str = GOOD_MODULE) -> None:
    """Install a connector of that name."""
    install(site, f"genie-connect-{module}", module=module, source=source)


def configuration(*connectors: str) -> dict[str, object]:
    """A connection for each connector."""
    return {"connections": {name: {"connector": name} for name in connectors}}


async def test_a_package_that_comes_is_used(site: Path) -> None:
    """A connection that waits for its connector works from then on."""
    put(site, "refresha")
    async with Host.open(configuration("refresha", "refreshb")) as host:
        assert [connection.name for connection in host.connections()] == ["refresha"]
        put(site, "refreshb")
        changes = await host.refresh()
        assert changes == Changes(added=("refreshb",))
        assert {connection.name for connection in host.connections()} == {"refresha", "refreshb"}
        assert (await host.send(letter())).accepted


async def test_a_package_that_goes_is_planned_with_no_more(site: Path) -> None:
    """And every plan says why."""
    put(site, "refreshc")
    put(site, "refreshd")
    async with Host.open(configuration("refreshc", "refreshd")) as host:
        remove(site, "refreshc")
        assert await host.refresh() == Changes(removed=("refreshc",))
        assert [connection.name for connection in host.connections()] == ["refreshd"]
        assert "its package was removed" in host.plan(letter()).explain()


async def test_sends_in_progress_go_on(site: Path) -> None:
    """What is under way ends as if nothing had happened."""
    put(site, "refreshe", SLOW_MODULE)
    async with Host.open(configuration("refreshe")) as host:
        sending = asyncio.ensure_future(host.send(letter()))
        module = sys.modules["refreshe"]
        await asyncio.wait_for(module.begun.wait(), 10)
        remove(site, "refreshe")
        assert (await host.refresh()).removed == ("refreshe",)
        module.go_on.set()
        assert (await sending).accepted


async def test_an_upgrade_is_told_and_waits_for_the_next_start(site: Path) -> None:
    """Python imports a module once, so the handle stays the one that it is."""
    put(site, "refreshf")
    async with Host.open(configuration("refreshf")) as host:
        (handle,) = [each for each in host.connectors() if each.id == "refreshf"]
        metadata = site / "genie_connect_refreshf-1.0.dist-info"
        text = (metadata / "METADATA").read_text(encoding="utf-8").replace("Version: 1.0", "Version: 2.0")
        newer = metadata.rename(site / "genie_connect_refreshf-2.0.dist-info")
        (newer / "METADATA").write_text(text, encoding="utf-8")
        assert await host.refresh() == Changes(upgraded=("refreshf",))
        assert host.registry["refreshf"] is handle
        assert handle.version == "1.0"


def test_connectors_that_were_given_stay(site: Path) -> None:
    """A connector that came as an object has no package that could go."""
    put(site, "refreshg")
    registry = Registry.discover(allow=["refreshg"])
    registry.register("given", ScriptedConnector("given"))
    remove(site, "refreshg")
    assert registry.renew(registry.look_again()).removed == ("refreshg",)
    assert "given" in registry


@pytest.mark.parametrize(
    ("major", "remedy"), [(API_MAJOR + 1, "upgrade genie-connect"), (API_MAJOR - 1, "upgrade genie-connect-later")]
)
def test_a_connector_for_another_contract_is_refused_with_both_versions(site: Path, major: int, remedy: str) -> None:
    """One sentence says what it is made for, what there is, and what to do."""
    listed = f"[genie_connect.connectors.v{major}]\nlater = later\n"
    install(site, "genie-connect-later", module="later", source="raise SystemExit", entry_points=listed)
    (failure,) = [each for each in Registry.discover(allow=["later"]).failures if each.connector == "later"]
    assert (failure.stage, failure.hint) == ("api", remedy)
    assert failure.reason == f"it is made for version {major} of the connector contract; this host has 1.0"
    assert "later" not in sys.modules, "it was imported"


def test_a_package_may_serve_two_contracts(site: Path) -> None:
    """Only the one for this version is looked at."""
    listed = "".join(f"[genie_connect.connectors.v{major}]\nboth = both\n" for major in (API_MAJOR, API_MAJOR + 1))
    install(site, "genie-connect-both", module="both", source=GOOD_MODULE, entry_points=listed)
    registry = Registry.discover(allow=["both"])
    assert [handle.id for handle in registry] == ["both"]
    assert [failure for failure in registry.failures if failure.connector == "both"] == []
