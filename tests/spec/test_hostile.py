"""The kit finds out every hostile connector, and by the check that is meant for it."""

from __future__ import annotations

import gc
import threading
from collections.abc import Iterator
from datetime import datetime
from typing import Any

import pytest

from genie_connect import WebhookRejected
from genie_connect.registry.loader import examine
from genie_connect_spec.kit import catalogue
from genie_connect_spec.kit.check import check_of
from genie_connect_spec.kit.whole import failures_of
from tests.spec.hostile.honest import Honest, HonestContract
from tests.spec.hostile.proving import failed, relevant
from tests.spec.hostile.registry import hostile
from tests.support.packages import FakeDistribution, FakeEntryPoint

# That hostile ones leave something behind is no fault of these tests.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
LONGEST_S = 30.0


def test_the_honest_one_keeps_the_whole_contract() -> None:
    """What the hostile ones are made of fails no check, so what they fail is their own doing."""
    assert failed(Honest(), catalogue()) == {}


@pytest.fixture(autouse=True, scope="module")
def _ended() -> Iterator[None]:
    """The threads that were left to connectors which hang end here, with all that they hold."""
    yield
    for thread in threading.enumerate():
        if thread.name.startswith("kit check"):
            thread.join(LONGEST_S)
    gc.collect()


@pytest.fixture(autouse=True)
def _tidied() -> Iterator[None]:
    """What a connector leaves to the garbage collector is collected here, and not in somebody else's test."""
    yield
    gc.collect()


@pytest.mark.parametrize("name", sorted(hostile()))
def test_a_hostile_connector_fails_its_checks(name: str) -> None:
    """And no others of those that could be meant."""
    connector, checks = hostile()[name]
    found = failed(connector(), relevant(checks))
    assert sorted(found) == sorted(checks), found


class Unsigned(Honest):
    """Its provider signs nothing, and it takes any password for the one that it shares with it."""

    entries = tuple(entry for entry in Honest.entries if entry.name != "events.signature")

    def verify(self, settings: Any, request: Any) -> None:
        """Somebody has one."""
        if not request.headers.get("authorization"):
            raise WebhookRejected("nobody signed in")


class Unasking(Unsigned):
    """Does not even ask for one."""

    def verify(self, settings: Any, request: Any) -> None:
        """No."""


class SharedSecret(HonestContract):
    """What the kit has to know of such a provider."""

    def sign_webhook(self, body: bytes, settings: Any, at: datetime) -> dict[str, str]:
        """A password in a header field."""
        return {"authorization": f"Basic {settings['webhook_secret']}"}


class UnsignedContract(HonestContract):
    """The author says of no secret."""

    def sign_webhook(self, body: bytes, settings: Any, at: datetime) -> dict[str, str]:
        """Nothing."""
        return {}


def test_a_shared_secret_is_checked_as_a_signature_is() -> None:
    """A provider that signs nothing is no reason to believe everybody."""
    checks = [check_of(id_) for id_ in ("GC-CAP-013", *(f"GC-HOOK-{number:03}" for number in (1, 2, 3, 4, 5, 8, 10)))]
    found = {}
    for connector, contract in ((Unsigned, SharedSecret), (Unasking, SharedSecret), (Unasking, UnsignedContract)):
        made: Any = type("Made", (contract,), {"plugin": connector()})()
        found[connector, contract] = [id_.removeprefix("GC-HOOK-") for id_ in sorted(failures_of(made, checks))]
    assert found == {
        (Unsigned, SharedSecret): ["005", "008", "010"],
        (Unasking, SharedSecret): ["002", "004", "005", "008", "010"],
        (Unasking, UnsignedContract): ["002"],
    }


class Loud(HonestContract):
    """What the probe of imports sees of a plug-in that does all that none should."""

    heavy_modules = ("h11",)


def packages(*names: str, value: str = "tests.spec.hostile.loud_import") -> dict[str, Any]:
    """What is found where these packages offer the honest connector."""
    points = tuple(FakeEntryPoint("honest", Honest, FakeDistribution(name), value) for name in names)
    return {"entry points": points, "examined": examine("honest", Honest())}


def test_an_import_that_does_what_none_should_fails_its_checks() -> None:
    """Heavy modules, sockets, threads, prints, and changes of what is the host's."""
    contract: Any = type("Probed", (Loud,), {"plugin": None})()
    contract.probes.update(packages("genie-connect-honest"))
    checks = [check_of(f"GC-DISC-{number:03}") for number in range(23, 28)]
    assert sorted(failures_of(contract, checks)) == [check.id for check in checks]


def test_packages_with_one_id_and_ids_that_are_none_fail_their_checks() -> None:
    """Of what stands in the metadata of packages, and not in a plug-in."""
    contract: Any = type("Twice", (HonestContract,), {"plugin": None, "connector": "Honest!"})()
    contract.probes.update(packages("honest-a", "honest-b"))
    assert sorted(failures_of(contract, [check_of("GC-DISC-002"), check_of("GC-DISC-003")])) == [
        "GC-DISC-002",
        "GC-DISC-003",
    ]


SEEN_ELSEWHERE = {
    "GC-CAP-014": "every honest settings class has a secret",
    "GC-CAP-025": "of SMTP alone",
    "GC-DISC-028": "of a package's metadata",
    "GC-HOOK-023": "GC-SET-011 finds the same",
    "GC-SEND-029": "of SMTP alone",
    "GC-SET-010": "the settings class sees to it",
}
"""Checks that no hostile connector fails, and why."""


def test_every_check_has_a_connector_that_fails_it() -> None:
    """The kit is no better than what it was tried on."""
    tried = {check for _, checks in hostile().values() for check in checks}
    tried |= {f"GC-DISC-{number:03}" for number in (2, 3, *range(23, 28))}
    assert {check.id for check in catalogue()} - tried == set(SEEN_ELSEWHERE)
