"""Providers' ids as a row keeps them: each form is read back as it was, and random ones take few bytes."""

from __future__ import annotations

import re
from random import Random
from uuid import UUID

import pytest

from genie_connect.errors import StoreError
from genie_connect.store.id_packing import DIGITS_1, FEW, TEXT_1, Wanted, pack_ids

RANDOM = Random(7)  # no secret
_BLANKS = re.compile("[0-9a-f]")
UUIDS = [str(UUID(int=RANDOM.getrandbits(128))) for _ in range(1000)]


@pytest.mark.parametrize(
    ("ids", "form", "most"),
    [
        (UUIDS, DIGITS_1, 16.5),
        ([f"0107019a{number}-000000" for number in UUIDS], DIGITS_1, 16.5),
        (["20261125.1@mg.example.com"] * 1000, DIGITS_1, 0.5),
        (["a1-b2"] * 1000, TEXT_1, 3.0),
        (["20261125.abcdef0123456789@example.com"] * 1000, DIGITS_1, 0.5),
        ([f"<20261125.{RANDOM.getrandbits(36)}@smtp-relay.example>" for _ in range(1000)], TEXT_1, 11.0),
        ([*UUIDS[:9], "another"], TEXT_1, 40.0),
        ([*UUIDS[:9], UUIDS[9].upper()], TEXT_1, 40.0),
        (["a\0b0000"], TEXT_1, 40.0),
    ],
)
def test_what_was_packed_is_found_and_small(ids: list[str], form: bytes, most: float) -> None:
    """With gaps between the positions, as where some were refused."""
    given = {position * 3 % 2999: each for position, each in enumerate(ids)}
    data = pack_ids(given)
    assert data[:1] == form
    assert Wanted(given.values()).found_in(data) == given
    one = ids[len(ids) // 2]
    assert Wanted([one]).found_in(data) == {each: one for each, id_ in given.items() if id_ == one}
    others = {f"{one}0", "0000", "", "another one", _BLANKS.sub("\0", one)}
    assert Wanted(others).found_in(data) == {}
    assert Wanted([*others, *UUIDS[500:510], one]).found_in(data).items() >= Wanted([one]).found_in(data).items()
    assert len(data) / len(given) <= most + 0.4


@pytest.mark.parametrize(
    "data", [b"", b"\x01", b"\x02{", b"\x09" + pack_ids({1: "a"})[1:], pack_ids({0: UUIDS[0]})[:-9]]
)
def test_anything_else_is_refused(data: bytes) -> None:
    """Damaged bytes, and a form that is not known, are one sentence."""
    with pytest.raises(StoreError):
        Wanted([UUIDS[0]]).found_in(data)


@pytest.mark.parametrize("count", [FEW, FEW + 1, 100])
def test_of_few_ids_and_of_many_the_same_is_found(count: int) -> None:
    """Where all of them end alike, too; what has been found is not looked for again."""
    ids = {position: f"{each[:-2]}7f" for position, each in enumerate(UUIDS[:200])}
    data = pack_ids(ids)
    wanted = Wanted(list(ids.values())[:count])
    assert wanted.found_in(data) == {position: ids[position] for position in range(count)}
    wanted.forget(list(ids.values())[1:count])
    assert wanted.found_in(data) == {0: ids[0]}
    wanted.forget([ids[0]])
    assert not wanted
    assert wanted.found_in(data) == {}
