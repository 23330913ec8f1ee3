"""A process that runs an engine until it is killed; `engine_contract` starts it.

`python -m genie_connect_spec.engine_victim MODULE FUNCTION ARGUMENT HANGING` makes an engine by a recipe, and prints
`began N` and `returned N` for each unit. Handlers of the units in HANGING never return.
"""

from __future__ import annotations

import asyncio
import os
import sys

from genie_connect.engine.contract import Work
from genie_connect_spec.engine_contract import EngineRecipe


async def main(recipe: EngineRecipe, hanging: set[int]) -> None:
    """Run the engine with two handlers more than hang."""

    async def handler(work: Work) -> None:
        _say(f"began {work.unit}")
        if work.unit in hanging:
            await asyncio.Event().wait()
        _say(f"returned {work.unit}")

    async with recipe.make() as engine:
        await engine.run(handler, concurrency=len(hanging) + 2)


def _say(line: str) -> None:
    # Past every buffer: the next moment may be the last.
    os.write(1, f"{line}\n".encode())


if __name__ == "__main__":
    module, function, argument, hanging = sys.argv[1:]
    asyncio.run(
        main(
            EngineRecipe(module=module, function=function, argument=argument),
            {int(unit) for unit in hanging.split(",")},
        )
    )
