"""A mutant under the kit, in a process of its own that is forked off one where everything else is imported already."""

from __future__ import annotations

import importlib.abc
import importlib.util
import json
import os
import select
import signal
import sys
import threading
import time
import traceback
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import CodeType, FrameType, ModuleType
from typing import Any, Final

import attrs

from genie_connect_spec.kit import Check, ConnectorContract, catalogue
from genie_connect_spec.kit.evaluation import Verdict
from genie_connect_spec.kit.whole import results_of
from tests.mutants.making import Mutant

LONGEST_S: Final = 120.0
"""A mutant that takes longer hangs, in a way that the kit itself does not end."""
HARNESS: Final = "the harness"
"""Stands for a check where not the connector failed but what tries it."""


@attrs.frozen(kw_only=True)
class Fate:
    """What became of a mutant: the first check that failed, or nothing where it lived."""

    mutant: Mutant
    check: str
    reason: str = ""


class _Changed(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Gives one module another source."""

    def __init__(self, name: str, path: Path, source: str) -> None:
        self._name, self._path, self._source = name, path, source

    def find_spec(self, fullname: str, path: object = None, target: object = None) -> ModuleSpec | None:
        """The module that is changed, and no other."""
        if fullname != self._name:
            return None
        package = self._path.name == "__init__.py"
        return importlib.util.spec_from_loader(fullname, self, origin=str(self._path), is_package=package)

    def exec_module(self, module: ModuleType) -> None:
        """Run the other source."""
        module.__file__ = str(self._path)
        code: CodeType = compile(self._source, str(self._path), "exec")
        exec(code, module.__dict__)


def forget(package: str) -> None:
    """Have the package imported anew when it is asked for."""
    for name in [name for name in sys.modules if name == package or name.startswith(f"{package}.")]:
        del sys.modules[name]


def reached(contract: ConnectorContract, files: Mapping[str, str]) -> tuple[set[tuple[str, int]], list[str]]:
    """The lines, by module, that the kit has run through, and the checks that failed though nothing was changed."""
    lines: set[tuple[str, int]] = set()

    def trace(frame: FrameType, event: str, _: Any) -> Any:
        module = files.get(frame.f_code.co_filename)
        if module is None:
            return None
        lines.add((module, frame.f_lineno))
        return trace

    threading.settrace(trace)
    sys.settrace(trace)
    try:
        failed = [each.check for each in results_of(contract) if each.verdict is Verdict.FAILED]
    finally:
        sys.settrace(None)
        threading.settrace(None)  # type: ignore[arg-type]  # as its documentation says
    return lines, failed


def fates(
    contract: type[ConnectorContract], package: str, files: Mapping[str, Path], mutants: Sequence[Mutant], *, jobs: int
) -> Iterator[Fate]:
    """What becomes of each, as it is known. What killed most so far is tried first."""
    waiting, running = list(reversed(mutants)), dict[int, tuple[int, Mutant, float]]()
    kills: Counter[str] = Counter()
    while waiting or running:
        while waiting and len(running) < jobs:
            mutant = waiting.pop()
            order = sorted(catalogue(), key=lambda check: -kills[check.id])
            reader, pid = _begin(contract, package, files[mutant.module], mutant, order)
            running[reader] = (pid, mutant, time.monotonic())
        ready, _, _ = select.select(list(running), [], [], 1.0)
        late = [reader for reader, (_, _, begun) in running.items() if time.monotonic() - begun > LONGEST_S]
        for reader in {*ready, *late}:
            pid, mutant, _ = running.pop(reader)
            fate = _end(reader, pid, mutant, hung=reader not in ready)
            kills[fate.check] += 1
            yield fate


def _begin(
    contract: type[ConnectorContract], package: str, path: Path, mutant: Mutant, order: Iterable[Check]
) -> tuple[int, int]:
    reader, writer = os.pipe()
    pid = os.fork()
    if pid:
        os.close(writer)
        return reader, pid
    # From here on this is the child, which ends by _exit: nothing of the parent may run twice.
    code = 1
    try:
        os.close(reader)
        os.nice(10)
        nothing = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nothing, 1)
        os.dup2(nothing, 2)
        os.write(writer, json.dumps(_tried(contract, package, path, mutant, order)).encode())
        code = 0
    except BaseException:
        os.write(writer, json.dumps([HARNESS, traceback.format_exc()[-2000:]]).encode())
    finally:
        os._exit(code)


def _tried(
    contract: type[ConnectorContract], package: str, path: Path, mutant: Mutant, order: Iterable[Check]
) -> tuple[str, str]:
    forget(package)
    sys.meta_path.insert(0, _Changed(mutant.module, path, mutant.source(path.read_text(encoding="utf-8"))))
    fresh = type("Mutated", (contract,), {})()
    for result in results_of(fresh, order):
        # A check that comes after another one tells that one's failure first.
        if result.verdict is Verdict.FAILED:
            return result.check, result.reason
        for earlier in fresh.results.values():
            if earlier.verdict is Verdict.FAILED:
                return earlier.check, earlier.reason
    return "", ""


def _end(reader: int, pid: int, mutant: Mutant, *, hung: bool) -> Fate:
    if hung:
        os.kill(pid, signal.SIGKILL)
    said = b""
    while part := os.read(reader, 65_536):
        said += part
    os.close(reader)
    os.waitpid(pid, 0)
    if hung:
        return Fate(mutant=mutant, check="hangs", reason=f"it did not end within {LONGEST_S:g} s")
    if not said:
        return Fate(mutant=mutant, check="ends the process", reason="the process ended by itself")
    check, reason = json.loads(said)
    return Fate(mutant=mutant, check=check, reason=reason)
