"""Choosing an engine by its URL, and what is said when it cannot be had."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from genie_connect.engine import Place
from genie_connect.engine.embedded import EmbeddedEngine
from genie_connect.engine.nats import NatsEngine
from genie_connect.engine.open import open_engine, upgrade_engine
from genie_connect.engine.pgqueuer import PgQueuerEngine
from genie_connect.errors import ConfigurationError

PLACE = Place(store="store", tenant="tests", store_url="postgresql://me:hunter2@host/db")


@pytest.mark.parametrize(
    ("url", "kind"),
    [
        ("embedded:", EmbeddedEngine),
        ("EMBEDDED://", EmbeddedEngine),
        ("pgqueuer:", PgQueuerEngine),
        ("nats://127.0.0.1:4222", NatsEngine),
        ("tls://127.0.0.1:4222", NatsEngine),
    ],
)
def test_the_scheme_chooses(url: str, kind: type[object]) -> None:
    """Each of our engines is found by its scheme, and nothing is connected to yet."""
    assert type(open_engine(url, PLACE)) is kind


@pytest.mark.parametrize(
    ("url", "cause"),
    [
        ("", "names no engine"),
        ("hunter2", "names no engine"),
        ("kafka://me:hunter2@host", "there is no engine 'kafka'"),
        ("embedded:4", "embedded takes nothing after its name"),
        ("pgqueuer://me:hunter2@host/db", "pgqueuer takes nothing after its name"),
        ("nats:", "names no host"),
    ],
)
def test_what_cannot_be_used_is_told(url: str, cause: str) -> None:
    """The field, the cause and a way out, and no password."""
    with pytest.raises(ConfigurationError, match=cause) as caught:
        open_engine(url, PLACE)
    assert str(caught.value).startswith("engine.url: ")
    assert caught.value.hint
    assert "hunter2" not in f"{caught.value} {caught.value.hint}"


@pytest.mark.parametrize(
    ("url", "library", "extra"), [("pgqueuer:", "pgqueuer", "pgqueuer"), ("nats://host:4222", "nats", "nats")]
)
def test_a_missing_extra_is_told_with_the_command(url: str, library: str, extra: str) -> None:
    """Without its library an engine says what to install."""
    program = f"""
import sys
sys.modules[{library!r}] = None
from genie_connect.engine import Place
from genie_connect.engine.open import open_engine
from genie_connect.errors import ConfigurationError
try:
    open_engine({url!r}, Place(store="store", tenant="tests", store_url="postgresql://host/db"))
except ConfigurationError as error:
    print(error.hint)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == f"pip install 'genie-connect[{extra}]'"


def test_the_embedded_engine_needs_no_extra() -> None:
    """Opening it imports no library of a store or of another engine."""
    program = """
import sys
from genie_connect.engine import Place
from genie_connect.engine.open import open_engine
open_engine("embedded:", Place(store="store", tenant="tests"))
print(sorted({"sqlalchemy", "asyncpg", "pgqueuer", "nats"} & sys.modules.keys()))
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def package(folder: Path, name: str, target: str) -> None:
    """An installed package that offers an engine `other`."""
    info = folder / f"{name}-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[genie_connect.engines.v1]\nother = {target}\n")


def test_another_package_may_bring_an_engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An entry point of its group is a factory, which gets the URL and the place."""
    package(tmp_path, "acme-engine", "acme_engine_module:make")
    (tmp_path / "acme_engine_module.py").write_text("def make(url, place):\n    return (url, place)\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    assert open_engine("other://host", PLACE) == ("other://host", PLACE)


@pytest.mark.parametrize(
    ("target", "cause"),
    [
        ("acme_engine_that_is_not_there:make", "of acme-engine cannot be loaded: ModuleNotFoundError"),
        ("os:sep", "of acme-engine is no factory"),
    ],
)
def test_an_engine_that_cannot_be_loaded_is_told(
    target: str, cause: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A broken package is named."""
    package(tmp_path, "acme-engine", target)
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(ConfigurationError, match=cause):
        open_engine("other:", PLACE)


def test_two_packages_with_the_same_engine_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Which one would be taken is nothing to leave to chance."""
    package(tmp_path, "acme-engine", "os:fspath")
    package(tmp_path, "rival-engine", "os:fspath")
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(ConfigurationError, match="offered by acme-engine and rival-engine"):
        open_engine("other:", PLACE)


async def test_upgrading_asks_only_the_engine_that_keeps_something() -> None:
    """An engine without tables has nothing to upgrade; an unknown one is told of."""
    await upgrade_engine("embedded:", PLACE)
    await upgrade_engine("nats://nobody.invalid", PLACE)
    with pytest.raises(ConfigurationError, match="there is no engine 'kafka'"):
        await upgrade_engine("kafka:", PLACE)
