"""CPU time of several ways to do the same, measured in turn, so that a busy machine is as busy for each of them."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Mapping

from tests.bench.smtp.report import Measured

ROUNDS = 15
ROUND_S = 0.1


def cpu_us(ways: Mapping[str, Callable[[], object]], *, items: int = 1) -> dict[str, Measured]:
    """CPU microseconds of each way, for one of ``items``, a sample a round."""
    counts = {name: max(1, int(ROUND_S / max(1e-7, _cpu_s(way, 3)))) for name, way in ways.items()}
    samples: dict[str, list[float]] = {name: [] for name in ways}
    gc.collect()
    for _ in range(ROUNDS):
        for name, way in ways.items():
            samples[name].append(_cpu_s(way, counts[name]) / items * 1e6)
    return {name: Measured(samples=values) for name, values in samples.items()}


def _cpu_s(way: Callable[[], object], count: int) -> float:
    started = time.process_time()
    for _ in range(count):
        way()
    return (time.process_time() - started) / count
