"""The steps of a connector test that tries a folder."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from genie_connect.contract import TestContext
from genie_connect.http import Stopwatch
from genie_connect.model.diagnosis import Diagnosis, Status, Step
from genie_connect.model.frozen import FrozenMap
from genie_connect_contrib.local.writing import FAILED, NotFlushed, verdict_of, write_new

_TITLES = {"temporary": "The folder cannot be written to", "auth": "The folder may not be written to"}


def probed(folder: Path) -> Mapping[str, Any]:
    """Write a file and take it away again. Raises ``OSError`` and ``NotFlushed``."""
    name = os.urandom(8).hex()
    written = folder / f".{name}.probe"
    try:
        write_new(folder / f".{name}.tmp", written, [b"A file that proves that files can be written.\r\n"])
    finally:
        written.unlink(missing_ok=True)
    return {}


async def tried(id: str, title: str, work: Callable[[], Mapping[str, Any]], context: TestContext) -> Step:  # noqa: A002
    """The step that does this work in a thread; it gives the facts."""
    watch = Stopwatch(context.clock)
    try:
        async with asyncio.timeout(context.remaining_s()):
            facts = await asyncio.to_thread(work)
    except TimeoutError:
        verdict, cause = FAILED, "the disk took too long"
    except NotFlushed as error:
        verdict, cause = FAILED, str(error)
    except OSError as error:
        verdict, cause = verdict_of(error), error.strerror or str(error)
    else:
        return Step(id=id, title=title, status=Status.OK, summary="done", facts=FrozenMap(facts), ms=watch.ms)
    diagnosis = Diagnosis(
        code=f"folder_{verdict.reason}",
        title=_TITLES.get(verdict.reason, "There is no such folder"),
        cause=cause,
        fixes=(verdict.hint or "try again",),
        field="folder",
    )
    return Step(id=id, title=title, status=Status.FAIL, summary=diagnosis.title, ms=watch.ms, diagnosis=diagnosis)
