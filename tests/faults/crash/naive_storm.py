"""The engine alone under kills at random moments: the same kills, the same connector, no ledger."""

from __future__ import annotations

import random
import time
from typing import Final

from tests.faults.crash.grounds import Ground
from tests.faults.crash.naive import recipients_of
from tests.faults.crash.nursery import DiedByItself
from tests.faults.crash.table import Line

CHUNK: Final = 100
REDELIVER_S: Final = 2.0
"""How long of silence an engine takes for a death. Shorter than by default, so that the run ends."""
LONGEST_S: Final = 240.0


def naive_storm(ground: Ground, *, kills: int, total: int, life_s: float, seed: int) -> Line:
    """Kill the only worker so many times at random moments, start it again each time, and count at the end."""
    moments = random.Random(seed)
    options = {
        "config": {"connections": ground.config({})["connections"]},
        "engine_url": ground.engine_url,
        "store_url": ground.store_url,
        "store_id": ground.name,
        "total": total,
        "chunk": CHUNK,
        "concurrency": 2,
        "redeliver_s": REDELIVER_S,
    }
    own = [(0, 0)] * (kills + 1)
    if ground.engine == "embedded":
        # What is handed over in memory is handed over again and again, so that each kill can cost its share.
        share = total // CHUNK // kills
        own = [(share * life, share * (life + 1)) for life in range(kills)] + [(share * kills, total // CHUNK)]
    else:
        ground.nursery.birth("naive submit", **options).join(60.0)
    done = 0
    while done < kills:
        worker = ground.nursery.birth("naive work", own=own[done], **options)
        worker.expect("working")
        if ground.engine == "embedded":
            # In the middle of its share, however quickly this machine does it.
            _wait_for_some(ground, moments.uniform(0.0, (own[done][1] - own[done][0]) * CHUNK), life_s)
        else:
            time.sleep(moments.uniform(0.0, life_s))
        if not worker.kill():
            raise DiedByItself(worker.errors())
        done += 1
    worker = ground.nursery.birth("naive work", own=own[kills], **options)
    _wait_until_quiet(ground, total)
    worker.kill()
    copies = ground.receiver.taken().by_recipient
    missing = [name for name in recipients_of(0, total) if not copies[name]]
    return Line(
        scenario="killed at random moments",
        database=ground.database,
        engine=ground.engine,
        kills=done,
        recipients=total,
        lost=len(missing),
        repeated=sum(count - 1 for count in copies.values()),
        unknown=0,
        bound=None,
        ledger=False,
    )


def _wait_for_some(ground: Ground, copies: float, longest_s: float) -> None:
    """Until so many more copies have come, or so long."""
    begun, end = ground.receiver.count(), time.monotonic() + longest_s
    while ground.receiver.count() < begun + copies and time.monotonic() < end:
        time.sleep(0.001)


def _wait_until_quiet(ground: Ground, total: int) -> None:
    """Until everybody has a copy, or nothing has come for much longer than the engine takes to notice a death."""
    start = quiet_since = time.monotonic()
    count = -1
    while time.monotonic() - start < LONGEST_S:
        now = ground.receiver.count()
        if now != count:
            count, quiet_since = now, time.monotonic()
        if time.monotonic() - quiet_since > 4 * REDELIVER_S:
            return
        if now >= total and len(ground.receiver.taken().by_recipient) == total:
            return
        time.sleep(0.2)
