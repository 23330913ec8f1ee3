"""A million malformed webhooks over the parsers of all providers: ``./dev faults webhooks``.

``MALFORMED_CASES`` asks for more, or for fewer. The cases are the same in each run: one that fails is found again.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from importlib.util import find_spec

import attrs
import pytest

from genie_connect.errors import WebhookRejected
from tests.contrib.providers.events.hook import Hook
from tests.contrib.providers.events.test_events import HOOKS
from tests.faults.malformed import PROPERTY, parser_of, tally
from tests.webhooks.schemes import NOW

CASES = int(os.environ.get("MALFORMED_CASES", "1000000"))
PARTS = 4
GUIDED_S = 120
MOST_GROWN_KIB = 8_192


@pytest.mark.timeout(7200)
@pytest.mark.parametrize("part", range(PARTS))
@pytest.mark.parametrize("hook", HOOKS, ids=lambda hook: hook.id)
def test_webhooks_that_are_malformed_are_refused_or_read_quickly_and_leave_nothing(
    hook: Hook, part: int, record_property: Callable[[str, object], None]
) -> None:
    """No exception but a refusal, no case over 50 ms of CPU, no growing memory; most are read, some events are not."""
    found = tally(hook, CASES // (PARTS * len(HOOKS)), f"{hook.id} {part}")
    record_property(PROPERTY, {"provider": hook.id, **attrs.asdict(found)})
    assert found.unread
    assert found.grown_kib <= MOST_GROWN_KIB


@pytest.mark.parametrize("hook", HOOKS, ids=lambda hook: hook.id)
def test_webhooks_that_are_compressed_are_refused(hook: Hook) -> None:
    """Whatever is in them: it may be any amount."""
    good = hook.post(json.dumps(hook.single(hook.samples[0][0])).encode(), NOW, 1)
    for encoding in ("gzip", "deflate", "br", "GZIP", "x-gzip, identity"):
        with pytest.raises(WebhookRejected) as raised:
            parser_of(hook)(attrs.evolve(good, headers={**good.headers, "content-encoding": encoding}))
        assert raised.value.status == 415


@pytest.mark.skipif(find_spec("atheris") is None, reason="atheris is not installed: uv pip install atheris")
@pytest.mark.timeout(GUIDED_S + 120)
@pytest.mark.parametrize("hook", HOOKS, ids=lambda hook: hook.id)
def test_webhooks_that_a_fuzzer_finds_do_no_harm(hook: Hook) -> None:
    """Two minutes each of bodies that reach code which none before them reached."""
    limits = [f"-max_total_time={GUIDED_S}", "-timeout=1", "-rss_limit_mb=512", "-max_len=20000", "-seed=1"]
    run = [sys.executable, "-m", "tests.faults.guided", hook.id, *limits]
    done = subprocess.run(run, capture_output=True, text=True, timeout=GUIDED_S + 100, check=False)
    assert done.returncode == 0, done.stderr[-4000:]
