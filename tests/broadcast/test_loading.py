"""A list is loaded whole, or nobody of it is ever sent to; what cannot be sent to is told."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from genie_connect import Message, Recipient, ValidationError
from tests.durable.conftest import MakeHost
from tests.support.connector import ScriptedConnector

NEWS = Message(from_="Shop <shop@example.com>", subject="News for {{ city }}", text="There is news.")
SOON_S = 30.0


def broken(folder: Path) -> Path:
    """A list with two rows that are right, and three that are not: no address twice, and no value for a field."""
    path = folder / "list.csv"
    path.write_text("email,city\nada@example.com,Rome\nnobody,Rome\nben@example.com,\ncy@example.com,Oslo\n,Bern\n")
    return path


async def test_broken_rows_go_to_a_file_beside_the_list(hosted_in_a_file: MakeHost, tmp_path: Path) -> None:
    """With their line, what is wrong and what was given; all others are sent to."""
    smtp = ScriptedConnector("smtp", kind="smtp")
    async with hosted_in_a_file(smtp) as host:
        made = await host.broadcast(NEWS, broken(tmp_path))
        progress = await made.wait(SOON_S)
        assert (progress.counts.accepted, progress.refused_rows) == (2, 3)
    told = [json.loads(line) for line in (tmp_path / "list.csv.rejected.jsonl").read_text().splitlines()]
    assert [each["row"] for each in told] == [3, 4, 6]
    assert "merge['city']: has no value" in told[1]["problems"][0]
    assert told[0]["given"] == {"email": "nobody", "city": "Rome"}


async def test_without_broken_rows_there_is_no_such_file(hosted_in_a_file: MakeHost, tmp_path: Path) -> None:
    """Nobody has to look into an empty one."""
    path = tmp_path / "list.csv"
    path.write_text("email,city\nada@example.com,Rome\n")
    async with hosted_in_a_file(ScriptedConnector()) as host:
        await (await host.broadcast(NEWS, path)).wait(SOON_S)
    assert [each for each in os.listdir(tmp_path) if "rejected" in each] == []


@pytest.mark.parametrize("strict", [True, False])
async def test_where_they_cannot_go_anywhere_nobody_is_sent_to(
    hosted: MakeHost, tmp_path: Path, *, strict: bool
) -> None:
    """Strict, or a list that is no file: every row is told, and the broadcast never starts."""
    smtp = ScriptedConnector("smtp", kind="smtp")
    source = broken(tmp_path) if strict else [Recipient(address="ada@example.com"), "nobody"]
    async with hosted(smtp) as host:
        with pytest.raises(ValidationError) as raised:
            await host.broadcast(NEWS, source, strict=strict)
        paths = {problem.path.partition(".")[0] for problem in raised.value.problems}
        assert {path for path in paths if path} >= ({"row 3", "row 4", "row 6"} if strict else {"row 2"})
        (kept,) = await host.broadcasts()
        assert (await kept.progress()).state == "stopped"
        due = await host.send(Message(from_="s@example.com", to=["di@example.com"], text="x"), durable=True)
        await host.settled(due.id or 0, timeout_s=SOON_S)
    assert smtp.handed_over == {"di@example.com": 1}


async def test_a_list_that_breaks_off_is_never_sent_to(hosted: MakeHost) -> None:
    """Though many of it were loaded: its host does not know which."""
    smtp = ScriptedConnector("smtp", kind="smtp")

    def failing() -> Iterator[Recipient]:
        for number in range(60):
            yield Recipient(address=f"r{number}@example.com", merge={"city": "Rome"})
        raise RuntimeError("the connection to the list was lost")

    async with hosted(smtp, engine={"chunk": 1}) as host:
        with pytest.raises(RuntimeError):
            await host.broadcast(NEWS, failing())
        (kept,) = await host.broadcasts()
        progress = await kept.progress()
        assert progress.state == "stopped"
        assert (
            progress.reason == "it was not loaded: to read the list raised RuntimeError; repair that, and load it anew"
        )
    assert smtp.calls == []
