"""Reject files: never over another one, made only where there is something to tell, and told of."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from genie_connect import ConfigurationError, Message, Recipient, ValidationError
from tests.durable.conftest import MakeHost
from tests.support.connector import ScriptedConnector

NEWS = Message(from_="Shop <shop@example.com>", subject="News", text="There is news.")
SOON_S = 30.0


def listed(folder: Path, *addresses: str) -> Path:
    """A list of these."""
    path = folder / "list.csv"
    path.write_text("email\n" + "".join(f"{each}\n" for each in addresses))
    return path


async def test_what_an_earlier_run_wrote_stays(hosted_in_a_file: MakeHost, tmp_path: Path) -> None:
    """The next free name is taken, and the broadcast says which."""
    path, before = listed(tmp_path, "ada@example.com", "nobody"), tmp_path / "list.csv.rejected.jsonl"
    before.write_text("not looked at yet")
    async with hosted_in_a_file(ScriptedConnector()) as host:
        made = await host.broadcast(NEWS, path)
        assert made.rejects == tmp_path / "list.csv.rejected-2.jsonl"
        assert json.loads(made.rejects.read_text())["row"] == 3
        clean = await host.broadcast(NEWS, listed(tmp_path, "ada@example.com"))
        assert clean.rejects is None
    assert before.read_text() == "not looked at yet"


async def test_a_chosen_file_must_be_new(hosted_in_a_file: MakeHost, tmp_path: Path) -> None:
    """It is refused before anything is loaded."""
    chosen = tmp_path / "mine.jsonl"
    chosen.write_text("mine")
    async with hosted_in_a_file(ScriptedConnector()) as host:
        with pytest.raises(ConfigurationError, match="is there already"):
            await host.broadcast(NEWS, ["ada@example.com"], rejects=chosen)
        assert await host.broadcasts() == ()
    assert chosen.read_text() == "mine"


async def test_a_place_that_cannot_be_written_matters_when_it_is_needed(
    hosted_in_a_file: MakeHost, tmp_path: Path
) -> None:
    """A clean list needs none; with a broken row nobody is sent to."""
    smtp, nowhere = ScriptedConnector(), tmp_path / "no folder" / "rejects.jsonl"
    async with hosted_in_a_file(smtp) as host:
        await (await host.broadcast(NEWS, ["ada@example.com"], rejects=nowhere)).wait(SOON_S)
        with pytest.raises(ConfigurationError, match="cannot be written"):
            await host.broadcast(NEWS, ["ben@example.com", "nobody"], rejects=nowhere)
        latest, _ = await host.broadcasts()
        assert (await latest.progress()).state == "stopped"
    assert smtp.handed_over == {"ada@example.com": 1}


@pytest.mark.parametrize("addresses", [(), ("nobody", "no one")])
async def test_a_list_with_nobody_to_send_to_is_an_error(
    hosted_in_a_file: MakeHost, tmp_path: Path, addresses: tuple[str, ...]
) -> None:
    """Empty, or with broken rows only: whoever sent it wanted something else."""
    async with hosted_in_a_file(ScriptedConnector()) as host:
        with pytest.raises(ValidationError, match="nobody") as raised:
            await host.broadcast(NEWS, listed(tmp_path, *addresses))
        assert ("rejected.jsonl" in raised.value.problems[0].fix) == bool(addresses)
        (kept,) = await host.broadcasts()
        assert (await kept.progress()).state == "stopped"


async def test_a_thousand_broken_rows_are_a_hundred_and_a_number(hosted_in_a_file: MakeHost) -> None:
    """Rows are counted, not what is wrong with them."""
    twice = {"email": "ada@example.com", "a b": "1", "c d": "2"}
    async with hosted_in_a_file(ScriptedConnector()) as host:
        with pytest.raises(ValidationError) as raised:
            await host.broadcast(NEWS, [twice] * 1000)
    assert len({problem.path.partition(".")[0] for problem in raised.value.problems if problem.path}) == 100
    assert raised.value.problems[-1].message == "900 more rows are broken"


async def test_a_mailbox_that_comes_again_much_later_gets_one_copy(hosted: MakeHost) -> None:
    """In another chunk, in another spelling, with other data: the first one counts."""
    smtp = ScriptedConnector()
    people = [Recipient(address=f"r{number}@example.com") for number in range(30)]
    async with hosted(smtp, engine={"chunk": 4}) as host:
        made = await host.broadcast(NEWS, [*people, "R0@Example.COM", {"email": "R17@example.com", "city": "Rome"}])
        assert (made.total, made.duplicates) == (30, 2)
        await made.wait(SOON_S)
    assert smtp.handed_over == {each.address.email: 1 for each in people}
