"""Discovery: what a host sees of a connector before it has any settings.

PYTEST_DONT_REWRITE: each assertion says itself what is wrong.
"""

from __future__ import annotations

import inspect
import json
import re
import subprocess
import sys
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import urlsplit

from genie_connect.contract import API_MINOR, ConnectorInfo, Kind
from genie_connect.hookspecs import REQUIRED_HOOKS, ConnectorSpec
from genie_connect.registry.loader import Failure
from genie_connect_spec.kit.check import Force, check, needs
from genie_connect_spec.kit.rig import Rig

HEAVY: Final = (
    "aiohttp",
    "aiosmtplib",
    "boto3",
    "botocore",
    "cryptography",
    "email.message",
    "google",
    "grpc",
    "httpcore",
    "httpx",
    "httpx2",
    "msal",
    "requests",
    "urllib3",
)
"""Modules that take tens of milliseconds to import, which a host that lists its connectors has no use for."""
LOADS: Final = "GC-DISC-001"
_PROBE: Final = r"""
import asyncio, json, locale, logging, os, signal, sys, threading, warnings
seen = []
done = []
def watch(event, arguments):
    written = event == "open" and set(str(arguments[1] or "")) & set("wax+") and "__pycache__" not in str(arguments[0])
    if not done and (written or event in ("socket.connect", "socket.bind", "subprocess.Popen", "os.system", "os.fork")):
        seen.append(f"{event} {str(arguments[0])[:80]}")
def state():
    return {
        "environment": dict(os.environ), "folder": os.getcwd(), "locale": locale.setlocale(locale.LC_ALL),
        "logging": [len(logging.root.handlers), logging.root.level], "warnings": len(warnings.filters),
        "signals": [str(signal.getsignal(number)) for number in (signal.SIGINT, signal.SIGTERM)],
        "hook": str(sys.excepthook), "streams": [str(type(sys.stdout)), str(type(sys.stderr))],
    }
import genie_connect.hookspecs, genie_connect.http
before, modules = state(), set(sys.modules)
sys.addaudithook(watch)
module, _, attribute = sys.argv[1].partition(":")
__import__(module)
plugin = sys.modules[module]
for part in attribute.split(".") if attribute else ():
    plugin = getattr(plugin, part)
plugin.connector_info()
done.append(True)
after = state()
print("\n\x00" + json.dumps({
    "modules": sorted(set(sys.modules) - modules), "seen": seen,
    "threads": [each.name for each in threading.enumerate() if each is not threading.main_thread()],
    "changed": [name for name in before if before[name] != after[name]],
}))
"""


def _refused(rig: Rig, stage: str, word: str = "") -> str:
    """Why the loader refuses it at this stage, where the reason has this word; nothing otherwise."""
    examined = rig.examined
    if isinstance(examined, Failure) and examined.stage == stage and word in examined.reason:
        return examined.reason
    return ""


def _installed(rig: Rig) -> Any:
    needs(rig.entry_points, "it was given as an object, and is no package yet")
    return rig.entry_points[0]


def _probe(rig: Rig) -> Mapping[str, Any]:
    """What importing the plug-in does in a fresh interpreter, looked at once for each connector."""
    point = _installed(rig)
    known = rig.contract.probes
    if point.value not in known:
        done = subprocess.run(  # noqa: S603  # our own interpreter
            [sys.executable, "-c", _PROBE, point.value], capture_output=True, text=True, timeout=60, check=False
        )
        said, _, found = done.stdout.partition("\n\x00")
        assert done.returncode == 0, f"importing {point.value} fails: {done.stderr[-400:]}"
        known[point.value] = {**json.loads(found), "said": (said + done.stderr).strip()}
    result: Mapping[str, Any] = known[point.value]
    return result


@check("GC-DISC-001")
def loads(rig: Rig) -> None:
    """A connector that cannot be loaded helps nobody; the host lists it with the reason."""
    examined = rig.examined
    assert not isinstance(examined, Failure), f"{examined.stage}: {examined.reason} ({examined.hint})"


@check("GC-DISC-002")
def one_package_offers_the_id(rig: Rig) -> None:
    """Two packages that offer one id are both refused, since nobody could say which is meant."""
    needs(rig.contract.plugin is None, "it was given as an object, and is no package yet")
    packages = {str(point.dist and point.dist.name) for point in rig.entry_points}
    assert len(packages) <= 1, f"the id is offered by {', '.join(sorted(packages))}"


@check("GC-DISC-003")
def id_is_well_formed(rig: Rig) -> None:
    """The id stands in configurations, URLs and file names."""
    connector = rig.contract.connector
    assert re.fullmatch(r"[a-z][a-z0-9_-]{0,63}", connector), f"{connector!r} is not an id: use a-z, 0-9, - and _"


@check("GC-DISC-004")
def every_required_hook_is_there(rig: Rig) -> None:
    """A connector that cannot close, or be tested, is found out when it is listed and not in production."""
    reason = _refused(rig, "hooks", "does not implement")
    assert not reason, f"{reason}; required are {', '.join(REQUIRED_HOOKS)}"


@check("GC-DISC-005")
def no_hook_is_misspelt(rig: Rig) -> None:
    """A hook whose name nobody calls is dead code that looks alive."""
    reason = _refused(rig, "hooks", "unknown hook")
    assert not reason, reason


@check("GC-DISC-006")
def hooks_take_known_arguments(rig: Rig) -> None:
    """The host passes the arguments of the contract, and no others."""
    reason = _refused(rig, "hooks", "Argument") or _refused(rig, "hooks", "argument")
    assert not reason, reason


@check("GC-DISC-007")
def info_is_given(rig: Rig) -> None:
    """Without it the host knows neither the connector's name nor its settings."""
    reason = _refused(rig, "info")
    assert not reason, reason


@check("GC-DISC-008")
def made_for_this_contract(rig: Rig) -> None:
    """A connector that needs a newer contract would miss what it relies on."""
    reason = _refused(rig, "api")
    assert not reason, reason


@check("GC-DISC-009", after=(LOADS,))
def info_is_pure(rig: Rig) -> None:
    """The host asks whenever it likes, and remembers what it was told."""
    first, second = rig.hooks.connector_info(), rig.hooks.connector_info()
    assert isinstance(first, ConnectorInfo)
    assert first == second, "connector_info says something else when it is asked again"


@check("GC-DISC-010", after=(LOADS,))
def info_touches_nothing(rig: Rig) -> None:
    """Listing connectors must work without network, and quickly."""
    rig.hooks.connector_info()
    rig.guard.touched.clear()
    rig.hooks.connector_info()
    assert not rig.guard.touched, f"connector_info {rig.guard.touched[0]}"


@check("GC-DISC-011", after=(LOADS,))
def title_is_for_people(rig: Rig) -> None:
    """The title stands in lists and forms."""
    title = rig.info.title
    assert title.strip() == title, f"the title {title!r} begins or ends with a blank"
    assert title and title.isprintable() and len(title) <= 60, f"the title {title!r} is not a name on one line"


@check("GC-DISC-012", force=Force.SHOULD, after=(LOADS,))
def summary_is_one_sentence(rig: Rig) -> None:
    """A list of connectors has room for one line about each."""
    summary = rig.info.summary
    assert summary and summary.isprintable() and len(summary) <= 200, "the summary is not one line of up to 200 signs"


@check("GC-DISC-013", after=(LOADS,))
def docs_url_is_a_web_page(rig: Rig) -> None:
    """Operators click on it."""
    url = rig.info.docs_url
    needs(url, "it gives no docs_url")
    parts = urlsplit(url)
    assert parts.scheme == "https" and parts.hostname and not parts.username, f"docs_url {url!r} is no https:// page"


@check("GC-DISC-014", after=(LOADS,))
def kind_is_how_it_sends(rig: Rig) -> None:
    """The planner prefers an API and falls back to SMTP."""
    needs(rig.contract.provider_kind, "the contract names no provider_kind")
    expected = Kind.SMTP if rig.contract.provider_kind == "smtp" else Kind.API
    assert rig.info.kind is expected, f"it sends by {rig.contract.provider_kind} and calls itself {rig.info.kind}"


@check("GC-DISC-015", after=(LOADS,))
def minor_is_no_promise(rig: Rig) -> None:
    """The minor version says what the connector needs at least."""
    assert 0 <= rig.info.api <= API_MINOR, f"api is {rig.info.api}; this contract has 0 to {API_MINOR}"


def _coroutine(rig: Rig, hook: str) -> None:
    needs(rig.has(hook), f"it has no {hook}")
    function = rig.function(hook)
    assert inspect.iscoroutinefunction(function), f"{hook} is not written with async def, so it would block the host"


@check("GC-DISC-016", after=(LOADS,))
def open_is_async(rig: Rig) -> None:
    """A host serves others while a connector opens."""
    _coroutine(rig, "connector_open")


@check("GC-DISC-017", after=(LOADS,))
def send_is_async(rig: Rig) -> None:
    """A host sends on other connections while this one waits for its provider."""
    _coroutine(rig, "connector_send")


@check("GC-DISC-018", after=(LOADS,))
def close_is_async(rig: Rig) -> None:
    """Saying goodbye takes time as well."""
    _coroutine(rig, "connector_close")


@check("GC-DISC-019", after=(LOADS,))
def lookup_is_async(rig: Rig) -> None:
    """A look-up is a request."""
    _coroutine(rig, "connector_lookup")


@check("GC-DISC-020", after=(LOADS,))
def test_is_an_async_generator(rig: Rig) -> None:
    """A person watches the steps as they happen."""
    function = rig.function("connector_test")
    assert inspect.isasyncgenfunction(function), (
        "connector_test is no async generator function: use async def and yield"
    )


@check("GC-DISC-021", after=(LOADS,))
def pure_hooks_are_no_coroutines(rig: Rig) -> None:
    """Pure hooks are called where nobody can await."""
    for hook in ("connector_info", "connector_capabilities", "connector_parse_webhook"):
        if rig.has(hook):
            function = rig.function(hook)
            wrong = inspect.iscoroutinefunction(function) or inspect.isasyncgenfunction(function)
            assert not wrong, f"{hook} is written with async def"


@check("GC-DISC-022", after=(LOADS,))
def arguments_have_no_defaults(rig: Rig) -> None:
    """An argument with a default would not get the host's value from every version of pluggy."""
    for hook in [name for name in vars(ConnectorSpec) if name.startswith("connector_")]:
        if rig.has(hook):
            parameters = inspect.signature(rig.function(hook)).parameters.values()
            named = [each.name for each in parameters if each.default is not inspect.Parameter.empty]
            assert not named, f"{hook} gives {', '.join(named)} a default"


@check("GC-DISC-023", after=(LOADS,))
def importing_is_light(rig: Rig) -> None:
    """A host that lists fifty connectors would otherwise load fifty client libraries."""
    heavy = (*HEAVY, *rig.contract.heavy_modules)
    loaded = [name for name in heavy if name in _probe(rig)["modules"]]
    assert not loaded, f"listing it imports {', '.join(loaded)}: import that in connector_open"


@check("GC-DISC-024", after=(LOADS,))
def importing_touches_nothing(rig: Rig) -> None:
    """Whoever lists packages has not agreed to their opening sockets, running programs or writing files."""
    seen = _probe(rig)["seen"]
    assert not seen, f"importing it does {seen[0]}"


@check("GC-DISC-025", after=(LOADS,))
def importing_starts_no_thread(rig: Rig) -> None:
    """A thread that began at import is never stopped, and does not survive a fork."""
    threads = _probe(rig)["threads"]
    assert not threads, f"importing it starts the thread {threads[0]}"


@check("GC-DISC-026", after=(LOADS,))
def importing_says_nothing(rig: Rig) -> None:
    """The output belongs to the host's program."""
    said = _probe(rig)["said"]
    assert not said, f"importing it prints {said[:100]!r}"


@check("GC-DISC-027", after=(LOADS,))
def importing_changes_nothing_of_the_process(rig: Rig) -> None:
    """Logging, warnings, signals, locale and environment belong to the host."""
    changed = _probe(rig)["changed"]
    assert not changed, f"importing it changes {', '.join(changed)} of the process"


@check("GC-DISC-028", force=Force.SHOULD, after=(LOADS,))
def package_says_which_core_it_fits(rig: Rig) -> None:
    """A range lets installers find versions that go together, and refuse those that do not."""
    dist = _installed(rig).dist
    needs(dist is not None, "its package has no metadata")
    ranges = [each for each in dist.requires or () if re.match(r"genie[-_.]connect\b(?![-_.])", each, re.IGNORECASE)]
    assert ranges, "the package does not require genie-connect"
    assert any("<" in each and ">=" in each for each in ranges), f"{ranges[0]!r} has no lower and upper bound"
