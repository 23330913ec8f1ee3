"""What the core itself costs: importing it, and handing a message to a connector."""

from __future__ import annotations

import asyncio
import os
import resource
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import genie_connect as gc
from genie_connect.contract import ConnectorInfo, SendContext
from genie_connect.delivery.suppression import SuppressionGate
from genie_connect.model.batch import Batch, Delivery, new_message_id
from genie_connect.model.capability import yes
from tests.bench.table import Row, Table
from tests.support.packages import GOOD_MODULE, install

ROUNDS = 15
CALLS = 2000
DISTRIBUTIONS = 1000
CONNECTORS = 50


def run() -> list[Table]:
    return [import_cost(), discovery_cost(), asyncio.run(hand_over_cost())]


def import_cost() -> Table:
    """CPU time of importing in a fresh interpreter, in turn, less what the bare interpreter takes.

    CPU and not wall time, which on a shared machine says more about the neighbours.
    """
    statements = {
        "genie_connect with Host and Message": "from genie_connect import Host, Message",
        "genie_connect alone": "import genie_connect",
        "aiosmtplib": "import aiosmtplib",
        "smtplib + email": "import smtplib, email.message, email.policy",
        "its libraries alone (asyncio, attrs, pluggy)": "import asyncio, attrs, pluggy",
    }
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    samples: dict[str, list[float]] = {name: [] for name in statements}
    for name in statements:
        _interpreter(statements[name], environment)  # writes the byte code, and warms the disk cache
    for _ in range(ROUNDS):
        bare = _interpreter("pass", environment)
        for name, statement in statements.items():
            samples[name].append((_interpreter(statement, environment) - bare) * 1000)
    return Table(
        title="Import, over a bare interpreter",
        unit="CPU ms",
        rows=[Row(name=name, samples=values) for name, values in samples.items()],
        goal="genie_connect at most 100 ms, with what a host needs of it",
    )


def discovery_cost() -> Table:
    """CPU time of finding and loading the connectors among many packages, in a fresh interpreter each time."""
    program = (
        "import time, genie_connect.registry; started = time.process_time(); "
        # Ours are installed as well, and are not of the fifty.
        f"wanted = [f'bench_connector_{{number}}' for number in range({CONNECTORS})]; "
        "found = len(list(genie_connect.registry.Registry.discover(allow=wanted))); "
        f"assert found == {CONNECTORS}; print(time.process_time() - started)"
    )
    with TemporaryDirectory() as folder:
        site = Path(folder)
        for number in range(DISTRIBUTIONS - CONNECTORS):
            _put(site, number)
        for number in range(CONNECTORS):
            module = f"bench_connector_{number}"
            install(site, f"genie-connect-bench-{number}", module=module, source=GOOD_MODULE)
        environment = {**os.environ, "PYTHONPATH": folder}
        environment.pop("PYTHONDONTWRITEBYTECODE", None)
        samples = [_printed(program, environment) * 1000 for _ in range(ROUNDS + 1)]
    return Table(
        title=f"Discovery of {CONNECTORS} connectors among {DISTRIBUTIONS:,} installed packages",
        unit="CPU ms",
        # The first one wrote the byte code.
        rows=[Row(name="Registry.discover(), the 50 modules imported", samples=samples[1:])],
        goal="at most 150 ms",
    )


def _put(site: Path, number: int) -> None:
    """A package as they are: a description of some kilobytes, and every third one has scripts."""
    metadata = site / f"bench_package_{number}-1.{number}.dist-info"
    metadata.mkdir()
    head = f"Metadata-Version: 2.4\nName: bench-package-{number}\nVersion: 1.{number}\n"
    (metadata / "METADATA").write_text(head + "Requires-Dist: attrs\n" * 10 + "\n" + "What it is. " * 500)
    (metadata / "RECORD").write_text("")
    if number % 3 == 0:
        (metadata / "entry_points.txt").write_text(f"[console_scripts]\ntool{number} = tool{number}:main\n")


def _printed(program: str, environment: dict[str, str]) -> float:
    done = subprocess.run([sys.executable, "-c", program], check=True, env=environment, capture_output=True, text=True)
    return float(done.stdout)


def _interpreter(statement: str, environment: dict[str, str]) -> float:
    started = _children_cpu_s()
    subprocess.run([sys.executable, "-c", statement], check=True, env=environment)
    return _children_cpu_s() - started


def _children_cpu_s() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


@gc.settings
class NullSettings:
    """A connector without settings."""

    note: str = gc.setting(title="Note", default="none")


class NullConnector:
    """Accepts everything and does nothing, so that what remains is the core's own cost."""

    @gc.hookimpl
    def connector_info(self) -> ConnectorInfo:
        return ConnectorInfo(id="null", title="Null", kind=gc.Kind.API, settings_class=NullSettings)

    @gc.hookimpl
    def connector_capabilities(self) -> gc.CapabilityTable:
        return gc.CapabilityTable(connector="null", entries=(yes("send.transactional"), yes("send.html")))

    @gc.hookimpl
    async def connector_open(self) -> None:
        return None

    @gc.hookimpl
    async def connector_send(self, batch: Batch) -> Sequence[gc.Outcome]:
        return [gc.Outcome(recipient=a.email, state=gc.State.ACCEPTED, stage="final") for a in batch.recipients]

    @gc.hookimpl
    async def connector_test(self) -> None:
        return None

    @gc.hookimpl
    async def connector_close(self) -> None:
        return None


async def hand_over_cost() -> Table:
    """CPU time of one call, through the connector's function itself, its handle, and the whole host."""
    plugin = NullConnector()
    registry = gc.Registry()
    handle = registry.register("null", plugin)
    table = handle.capabilities()
    message = gc.Message(from_="shop@example.com", to=["ada@example.com"], subject="Order", text="Hi", html="<p>Hi</p>")
    sender = gc.Address.parse("shop@example.com")
    clearance = await SuppressionGate().clear(message.recipients, message.purpose)
    delivery = Delivery(message_id=new_message_id(sender), recipients=clearance.cleared, to=message.to)
    batch = Batch(message=message, sender=sender, deliveries=(delivery,))
    context = SendContext(attempt_id="bench", deadline=time.monotonic() + 3600)
    config = {"connections": {"null": {"connector": "null"}}}
    async with gc.Host.open(config, registry=registry) as host:
        calls: dict[str, Callable[[], Awaitable[object]]] = {
            "the connector's own function": lambda: plugin.connector_send(batch),
            "through its handle": lambda: handle.send(None, batch, context, table),
            "host.send, everything": lambda: host.send(message),
        }
        samples: dict[str, list[float]] = {name: [] for name in calls}
        for _ in range(ROUNDS):
            for name, call in calls.items():
                samples[name].append(await _cpu_us(call))
    return Table(
        title="Handing one message to a connector",
        unit="CPU us",
        rows=[Row(name=name, samples=values) for name, values in samples.items()],
        goal="handle less own function at most 50 us",
    )


async def _cpu_us(call: Callable[[], Awaitable[object]]) -> float:
    started = time.process_time()
    for _ in range(CALLS):
        await call()
    return (time.process_time() - started) / CALLS * 1e6
