"""Finding connectors among installed packages: whatever one of them does, the others are loaded."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import attrs
import pytest

from genie_connect import (
    CapabilityTable,
    ConnectorInfo,
    ConnectorUnavailable,
    Host,
    Kind,
    Registry,
    Secret,
    State,
    hookimpl,
    setting,
    settings,
)
from genie_connect.registry import Failure
from tests.support.connector import ScriptedConnector, ScriptedSettings, letter
from tests.support.packages import (
    GOOD_MODULE,
    FakeDistribution,
    FakeEntryPoint,
    forgotten_after,
    install,
    offered,
    raising,
)


class PanicException(BaseException):
    """What PyO3 raises where native code failed: no Exception, so that nobody catches it by accident."""


class Unprintable(Exception):
    """An exception that cannot even be shown."""

    def __str__(self) -> str:
        raise RuntimeError("no text")


class Variant(ScriptedConnector):
    """A connector whose id is ``broken``, to be broken in one place by a subclass."""

    def __init__(self) -> None:
        super().__init__("broken")

    def described(self, **facts: Any) -> ConnectorInfo:
        """Its info with some facts changed."""
        return attrs.evolve(self.info, **facts)


class NoHooks:
    """Nothing is marked."""

    def connector_send(self) -> None:
        """Not marked."""


class OneHookMissing:
    """All but one."""

    connector_info = ScriptedConnector.connector_info
    connector_capabilities = ScriptedConnector.connector_capabilities
    connector_open = ScriptedConnector.connector_open
    connector_test = ScriptedConnector.connector_test
    connector_close = ScriptedConnector.connector_close


class Misspelt(Variant):
    """A hook with a slip in its name."""

    @hookimpl
    def connector_parse_webhok(self) -> None:
        """Never called."""


class WrongArgument(Variant):
    """A hook with an argument that does not exist."""

    @hookimpl
    async def connector_send(self, state: Any, message: Any) -> Any:  # type: ignore[override]  # wrong on purpose
        """Never called."""


class InfoRaises(Variant):
    """Fails when asked what it is."""

    @hookimpl
    def connector_info(self) -> Any:
        """Fail."""
        raise RuntimeError("no idea")


class InfoExits(Variant):
    """Ends the program when asked what it is."""

    @hookimpl
    def connector_info(self) -> Any:
        """Exit."""
        sys.exit(3)


class InfoPanics(Variant):
    """Raises what no except Exception catches."""

    @hookimpl
    def connector_info(self) -> Any:
        """Panic."""
        raise PanicException("native code failed")


class InfoIsADict(Variant):
    """Says what it is in a form of its own."""

    @hookimpl
    def connector_info(self) -> Any:
        """Return the wrong type."""
        return {"id": "broken"}


class InfoIsNone(Variant):
    """Says nothing."""

    @hookimpl
    def connector_info(self) -> Any:
        """Return nothing."""


class InfoIsAsync(Variant):
    """Says what it is later."""

    @hookimpl
    def connector_info(self) -> Any:
        """Return something to be awaited, as ``async def`` would (which would also warn)."""
        return asyncio.Future.__new__(asyncio.Future)


class OtherId(Variant):
    """Calls itself otherwise."""

    @hookimpl
    def connector_info(self) -> Any:
        """Return another id."""
        return self.described(id="other")


class NewerApi(Variant):
    """Made for a later version."""

    @hookimpl
    def connector_info(self) -> Any:
        """Return a later version."""
        return self.described(api=99)


class ApiIsText(Variant):
    """Gives the version as text."""

    @hookimpl
    def connector_info(self) -> Any:
        """Return text for a number."""
        return self.described(api="1")


@attrs.frozen(kw_only=True)
class Undecorated:
    """Settings that nobody would check, and whose repr shows the secret."""

    token: Secret = setting(title="Token", secret=True)  # noqa: RUF009  # without @settings, which is the point


class PlainSettings:
    """No attrs class at all."""


@settings
class OddType:
    """Settings of a type that no form can show."""

    table: dict[str, str] = setting(title="Table")


@settings
class UnknownType:
    """Settings whose annotation means nothing."""

    table: "Nowhere" = setting(title="Table")  # type: ignore[name-defined]  # noqa: F821, UP037


class UndecoratedSettings(Variant):
    """Settings not made with @settings."""

    settings_class: Any = Undecorated

    @hookimpl
    def connector_info(self) -> Any:
        """Return such settings."""
        return self.described(settings_class=self.settings_class)


class NoSettings(UndecoratedSettings):
    """Settings that are no attrs class."""

    settings_class = PlainSettings


class SettingsInstance(UndecoratedSettings):
    """Settings given as an object."""

    settings_class = ScriptedSettings()


class SettingsOfOddType(UndecoratedSettings):
    """Settings that have no schema."""

    settings_class = OddType


class SettingsOfUnknownType(UndecoratedSettings):
    """Settings that cannot be resolved."""

    settings_class = UnknownType


@attrs.define
class Unhashable(Variant):
    """An attrs object compares by value, so it has no hash."""

    value: int = 1


class EqualToAll(Variant):
    """Claims to be every other object."""

    def __eq__(self, other: object) -> bool:
        return True

    __hash__ = object.__hash__


class FailsToCompare(Variant):
    """Cannot be compared."""

    def __eq__(self, other: object) -> bool:
        raise PanicException("compared")

    def __hash__(self) -> int:
        raise PanicException("hashed")


class FailsToLook(Variant):
    """Ends the program when it is looked at."""

    def __getattribute__(self, name: str) -> Any:
        sys.exit(f"looked at {name}")


class AnythingGoes:
    """Has every attribute anybody asks for, as a mock does."""

    def __getattr__(self, name: str) -> Any:
        return lambda *args, **kwargs: None


class DirFails(Variant):
    """Does not say what it has."""

    def __dir__(self) -> Any:
        raise RuntimeError("no list")


AT_IMPORT = {
    "import error": raising("broken", ImportError("No module named 'acme'")),
    "syntax error": raising("broken", SyntaxError("invalid syntax")),
    "exit at import": raising("broken", SystemExit(3)),
    "native panic at import": raising("broken", PanicException("python API call failed")),
    "cancelled at import": raising("broken", asyncio.CancelledError()),
    "unprintable error": raising("broken", Unprintable()),
    "recursion": raising("broken", RecursionError("too deep")),
}
BROKEN = AT_IMPORT | {
    "nothing there": offered("broken", None),
    "a number": offered("broken", 5),
    "a class": offered("broken", Variant),
    "no hooks": offered("broken", NoHooks()),
    "one hook missing": offered("broken", OneHookMissing()),
    "misspelt hook": offered("broken", Misspelt()),
    "wrong argument": offered("broken", WrongArgument()),
    "info raises": offered("broken", InfoRaises()),
    "info exits": offered("broken", InfoExits()),
    "info panics": offered("broken", InfoPanics()),
    "info is a dict": offered("broken", InfoIsADict()),
    "info is None": offered("broken", InfoIsNone()),
    "info is to be awaited": offered("broken", InfoIsAsync()),
    "other id": offered("broken", OtherId()),
    "newer api": offered("broken", NewerApi()),
    "api is text": offered("broken", ApiIsText()),
    "undecorated settings": offered("broken", UndecoratedSettings()),
    "no settings class": offered("broken", NoSettings()),
    "settings given as an object": offered("broken", SettingsInstance()),
    "settings without a schema": offered("broken", SettingsOfOddType()),
    "settings that do not resolve": offered("broken", SettingsOfUnknownType()),
    "fails to look": offered("broken", FailsToLook()),
    "anything goes": offered("broken", AnythingGoes()),
    "says not what it has": offered("broken", DirFails()),
    "a stranger's smtp": offered("smtp", ScriptedConnector("smtp"), package="evil-smtp"),
}
ODD = {
    # Strange, and no harm to others: these load.
    "unhashable": offered("broken", Unhashable()),
    "equal to all": offered("broken", EqualToAll()),
    "fails to compare": offered("broken", FailsToCompare()),
}


def discovered(*points: Any, **options: Any) -> Registry:
    """A registry of these entry points."""
    return Registry.discover(entry_points=points, **options)


def only_failure(registry: Registry) -> Failure:
    """The one failure there is."""
    (failure,) = registry.failures
    return failure


@pytest.fixture(autouse=True)
def _no_switches(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever runs the tests may have set them."""
    monkeypatch.delenv("GENIE_CONNECT_SAFE_MODE", raising=False)
    monkeypatch.delenv("GENIE_CONNECT_CONNECTORS", raising=False)


class TestIsolation:
    """One bad package beside good ones."""

    @pytest.mark.parametrize("kind", [*BROKEN, *ODD])
    @pytest.mark.parametrize("first", [True, False])
    async def test_the_good_ones_send(self, kind: str, first: bool) -> None:
        """Wherever the bad one stands in the order, two good ones are loaded, planned with, and send."""
        good = [ScriptedConnector("alpha"), ScriptedConnector("beta")]
        points = [offered(connector.id, connector) for connector in good]
        points.insert(0 if first else 2, (BROKEN | ODD)[kind])
        registry = discovered(*points)
        connections = {connector.id: {"connector": connector.id} for connector in good}
        async with Host.open({"connections": connections}, registry=registry) as host:
            for connector in good:
                receipt = await host.send(letter(), connection=connector.id)
                assert receipt.outcomes["ada@example.com"].state is State.ACCEPTED
                assert connector.handed_over == {"ada@example.com": 1}

    @pytest.mark.parametrize("kind", BROKEN)
    def test_the_failure_is_kept(self, kind: str) -> None:
        """With the package, how far it came, and a reason in one line."""
        registry = discovered(BROKEN[kind])
        failure = only_failure(registry)
        assert list(registry) == []
        assert failure.distribution == BROKEN[kind].dist.name
        assert failure.version == "1.0"
        assert failure.reason.strip()
        assert "\n" not in failure.reason
        with pytest.raises(ConnectorUnavailable) as raised:
            registry[failure.connector]
        assert failure.reason in raised.value.message
        assert failure.distribution in raised.value.message

    def test_all_of_them_at_once(self) -> None:
        """Twenty-odd broken packages are twenty-odd failures, and the good ones are there."""
        points = [attrs.evolve(point, name=f"broken{number}") for number, point in enumerate(BROKEN.values())]
        good = offered("alpha", ScriptedConnector("alpha")), offered("beta", ScriptedConnector("beta"))
        registry = discovered(good[0], *points, good[1])
        assert [handle.id for handle in registry] == ["alpha", "beta"]
        assert len(registry.failures) == len(BROKEN) >= 20

    def test_an_interruption_is_passed_on(self) -> None:
        """Ctrl-C means the program, whoever's code is running."""
        with pytest.raises(KeyboardInterrupt):
            discovered(raising("broken", KeyboardInterrupt()))

    @pytest.mark.parametrize(
        ("kind", "stage", "reason"),
        [
            ("import error", "import", "ImportError: No module named 'acme'"),
            ("exit at import", "import", "SystemExit: 3"),
            ("native panic at import", "import", "PanicException: python API call failed"),
            ("unprintable error", "import", "Unprintable"),
            ("one hook missing", "hooks", "does not implement connector_send"),
            ("misspelt hook", "hooks", "connector_parse_webhok"),
            ("wrong argument", "hooks", "message"),
            ("info raises", "info", "connector_info raised RuntimeError: no idea"),
            ("info is a dict", "info", "connector_info returned dict, not ConnectorInfo"),
            ("other id", "info", "calls itself 'other', and its entry point is 'broken'"),
            ("newer api", "api", "it needs version 1.99 of the connector contract"),
            ("undecorated settings", "info", "its settings class is not made with @settings"),
            ("settings without a schema", "info", "its settings class has no schema"),
        ],
    )
    def test_the_reason_says_what_is_wrong(self, kind: str, stage: str, reason: str) -> None:
        """In the words of the author's own code."""
        failure = only_failure(discovered(BROKEN[kind]))
        assert failure.stage == stage
        assert reason in failure.reason

    def test_an_import_error_keeps_its_traceback(self) -> None:
        """The author needs the line, the host's operator does not."""
        failure = only_failure(discovered(BROKEN["import error"]))
        assert "in fail" in failure.traceback

    @pytest.mark.parametrize("kind", [name for name in BROKEN if name not in {*AT_IMPORT, "a stranger's smtp"}])
    def test_register_refuses_it_too(self, kind: str) -> None:
        """With the one error that callers expect."""
        with pytest.raises(ConnectorUnavailable):
            Registry().register("broken", BROKEN[kind].load())

    def test_strict_raises_at_the_first(self) -> None:
        """For development and CI."""
        with pytest.raises(ConnectorUnavailable, match="connector_parse_webhok"):
            discovered(BROKEN["misspelt hook"], strict=True)

    def test_strict_does_not_mind_what_was_not_wanted(self) -> None:
        """An allow-list is no fault of a package."""
        registry = discovered(offered("alpha", ScriptedConnector("alpha")), allow=[], strict=True)
        assert only_failure(registry).stage == "allow"


class TestNames:
    """Who may use which id."""

    def test_two_packages_with_one_id_are_both_refused(self) -> None:
        """Either could be the wrong one; each failure names the other."""
        points = [offered("acme", ScriptedConnector("acme"), package=package) for package in ("acme-a", "acme-b")]
        registry = discovered(*points, offered("beta", ScriptedConnector("beta")))
        assert "acme" not in registry
        assert "beta" in registry
        assert [(failure.distribution, failure.stage) for failure in registry.failures] == [
            ("acme-a", "name"),
            ("acme-b", "name"),
        ]
        assert "acme-b" in registry.failures[0].reason
        assert "acme-a" in registry.failures[1].reason
        with pytest.raises(ConnectorUnavailable) as raised:
            registry["acme"]
        assert "acme-a" in raised.value.message
        assert "acme-b" in raised.value.message
        assert all(not point.loads for point in points)

    def test_a_strangers_smtp_is_never_imported(self) -> None:
        """It may not take the mail of whoever configured the real one."""
        stranger = offered("smtp", ScriptedConnector("smtp"), package="evil-smtp")
        ours = offered("smtp", ScriptedConnector("smtp"), package="genie-connect-smtp")
        registry = discovered(stranger, ours)
        assert registry["smtp"].distribution == "genie-connect-smtp"
        assert only_failure(registry).distribution == "evil-smtp"
        assert not stranger.loads

    @pytest.mark.parametrize("spelling", ["genie_connect_smtp", "Genie-Connect.SMTP"])
    def test_a_package_name_counts_in_any_spelling(self, spelling: str) -> None:
        """PEP 503: the index takes them for the same."""
        assert "smtp" in discovered(offered("smtp", ScriptedConnector("smtp"), package=spelling), safe_mode=True)

    def test_a_registered_id_is_taken(self) -> None:
        """The first stays."""
        registry = Registry()
        registry.register("acme", ScriptedConnector("acme"))
        with pytest.raises(ConnectorUnavailable, match="taken"):
            registry.register("acme", ScriptedConnector("acme"))

    def test_an_unknown_id_suggests_a_near_one(self) -> None:
        """Or what to install."""
        registry = discovered(offered("sandbox", ScriptedConnector("sandbox"), package="genie-connect-contrib"))
        with pytest.raises(ConnectorUnavailable) as raised:
            registry["sandbix"]
        assert raised.value.hint == "did you mean 'sandbox'?"

    def test_packages_without_usable_metadata_still_load(self) -> None:
        """Name and version are for people; their absence stops nobody."""

        class Damaged:
            @property
            def name(self) -> str:
                raise FileNotFoundError("METADATA")

            @property
            def version(self) -> str:
                raise KeyError("Version")

        points = [
            FakeEntryPoint("alpha", lambda: ScriptedConnector("alpha"), Damaged()),
            FakeEntryPoint("beta", lambda: ScriptedConnector("beta"), None),
            FakeEntryPoint(
                "gamma", lambda: ScriptedConnector("gamma"), FakeDistribution(None, None)
            ),  # as damaged metadata gives
        ]
        registry = discovered(*points)
        assert [handle.id for handle in registry] == ["alpha", "beta", "gamma"]


class TestSwitches:
    """Allow-list and safe mode act before any import."""

    def test_only_the_allowed_are_imported(self) -> None:
        """The others are failures that say so."""
        alpha, beta = offered("alpha", ScriptedConnector("alpha")), offered("beta", ScriptedConnector("beta"))
        registry = discovered(alpha, beta, allow=["alpha"])
        assert [handle.id for handle in registry] == ["alpha"]
        assert not beta.loads
        assert only_failure(registry).hint == "add 'beta' to the allow-list to load it"

    def test_the_environments_allow_list(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Ids separated by commas; an empty one allows nothing."""
        alpha, beta = offered("alpha", ScriptedConnector("alpha")), offered("beta", ScriptedConnector("beta"))
        monkeypatch.setenv("GENIE_CONNECT_CONNECTORS", " beta , gamma")
        assert [handle.id for handle in discovered(alpha, beta)] == ["beta"]
        monkeypatch.setenv("GENIE_CONNECT_CONNECTORS", "")
        assert list(discovered(alpha, beta)) == []

    def test_both_allow_lists_count(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """An operator who narrows it in the environment is not overruled by the file."""
        alpha, beta = offered("alpha", ScriptedConnector("alpha")), offered("beta", ScriptedConnector("beta"))
        monkeypatch.setenv("GENIE_CONNECT_CONNECTORS", "beta")
        registry = discovered(alpha, beta, allow=["alpha", "beta"])
        assert [handle.id for handle in registry] == ["beta"]
        assert not alpha.loads

    @pytest.mark.parametrize(("value", "on"), [("1", True), ("true", True), ("0", False), ("", False)])
    def test_safe_mode_imports_our_own_only(self, value: str, on: bool, monkeypatch: pytest.MonkeyPatch) -> None:
        """Anything but 0 turns it on: in doubt, nothing strange is imported."""
        monkeypatch.setenv("GENIE_CONNECT_SAFE_MODE", value)
        ours = offered("smtp", ScriptedConnector("smtp"), package="genie-connect-smtp")
        other = offered("acme", ScriptedConnector("acme"))
        registry = discovered(ours, other)
        assert "smtp" in registry
        assert ("acme" in registry) is not on
        assert bool(other.loads) is not on


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder on ``sys.path`` to install packages into; what is imported from it is forgotten afterwards."""
    monkeypatch.syspath_prepend(str(tmp_path))
    with forgotten_after(tmp_path):
        yield tmp_path


class TestInstalledPackages:
    """The same with real packages on ``sys.path``."""

    async def test_a_package_is_found_and_sends(self, site: Path) -> None:
        """By its entry point alone."""
        install(site, "shelf-mail", module="shelf_mail", source=GOOD_MODULE)
        registry = Registry.discover(allow=["shelf_mail"])
        handle = registry["shelf_mail"]
        assert (handle.distribution, handle.version) == ("shelf-mail", "1.0")
        async with Host.open({"connections": {"a": {"connector": "shelf_mail"}}}, registry=registry) as host:
            assert (await host.send(letter())).accepted

    def test_the_switches_act_before_any_import(self, site: Path) -> None:
        """The module of a connector that is not wanted is never run."""
        source = "raise SystemExit('imported')"
        install(site, "shelf-mail", module="shelf_mail", source=source)
        for options in ({"allow": ["smtp"]}, {"safe_mode": True}):
            registry = Registry.discover(**options)
            assert {failure.stage for failure in registry.failures if failure.connector == "shelf_mail"} == {"allow"}
            assert "shelf_mail" not in sys.modules

    @pytest.mark.parametrize(
        "source",
        ["import nowhere_at_all", "def broken(:", "import sys; sys.exit(1)", "raise KeyError('x')", "x = 1/0"],
    )
    def test_a_module_that_does_not_import(self, site: Path, source: str) -> None:
        """It is a failure, and the others load."""
        install(site, "shelf-mail", module="shelf_mail", source=source)
        install(site, "good-mail", module="good_mail", source=GOOD_MODULE)
        registry = Registry.discover(allow=["shelf_mail", "good_mail"])
        assert "good_mail" in registry
        assert [each.stage for each in registry.failures if each.distribution == "shelf-mail"] == ["import"]

    @pytest.mark.parametrize(
        "listed",
        [
            "[genie_connect.connectors.v1]\nshelf_mail\n",
            "[genie_connect.connectors.v1]\nshelf_mail = not a reference!!\n",
            "[genie_connect.connectors.v1]\nshelf_mail = shelf_mail:nothing\n",
            "[genie_connect.connectors.v1]\nshelf_mail =\n",
        ],
    )
    def test_a_damaged_list_of_entry_points(self, site: Path, listed: str) -> None:
        """It is the failure of that package, not of the discovery."""
        install(site, "shelf-mail", module="shelf_mail", source=GOOD_MODULE, entry_points=listed)
        install(site, "good-mail", module="good_mail", source=GOOD_MODULE)
        registry = Registry.discover(safe_mode=False)
        assert "good_mail" in registry
        assert [each.stage for each in registry.failures if each.distribution == "shelf-mail"] == ["import"]

    def test_a_damaged_list_of_another_group_is_not_ours(self, site: Path) -> None:
        """Nor may it keep us from finding connectors."""
        install(site, "odd-tool", module="odd_tool", source="", entry_points="[console_scripts]\nodd\n")
        install(site, "good-mail", module="good_mail", source=GOOD_MODULE)
        registry = Registry.discover(safe_mode=False)
        assert "good_mail" in registry
        assert not [each for each in registry.failures if each.distribution == "odd-tool"]

    def test_a_package_without_metadata(self, site: Path) -> None:
        """A folder that an interrupted uninstall left behind."""
        install(site, "shelf-mail", module="shelf_mail", source=GOOD_MODULE)
        (site / "shelf_mail-1.0.dist-info" / "METADATA").unlink()
        install(site, "good-mail", module="good_mail", source=GOOD_MODULE)
        assert "good_mail" in Registry.discover(safe_mode=False)

    def test_a_stale_copy_is_no_rival(self, site: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
        """The same package further down the path is shadowed, as its modules are."""
        install(site, "shelf-mail", module="shelf_mail", source=GOOD_MODULE)
        older = tmp_path_factory.mktemp("older")
        install(older, "shelf-mail", module="shelf_mail", source="raise SystemExit")
        sys.path.append(str(older))
        try:
            assert "shelf_mail" in Registry.discover(allow=["shelf_mail"])
        finally:
            sys.path.remove(str(older))


def test_capabilities_of_every_loaded_connector_are_its_own() -> None:
    """Each handle calls its own plug-in, also where objects claim to be equal."""
    registry = discovered(ODD["equal to all"], offered("beta", ScriptedConnector("beta")))
    assert isinstance(registry["broken"].capabilities(), CapabilityTable)
    assert registry["broken"].capabilities().connector == "broken"
    assert registry["beta"].capabilities().connector == "beta"
    assert registry["beta"].info.kind is Kind.API
