"""Providers' ids as a row keeps them: each form is read back as it was, and random ones take few bytes."""

from __future__ import annotations

import re
from random import Random
from uuid import UUID

import pytest

from genie_connect.errors import StoreError
from genie_connect.store.id_packing import DIGITS_1, TEXT_1, found_ids, pack_ids

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
    assert found_ids(data, set(given.values())) == given
    one = ids[len(ids) // 2]
    assert found_ids(data, {one}) == {each: one for each, id_ in given.items() if id_ == one}
    assert found_ids(data, {f"{one}0", "0000", "", "another one", _BLANKS.sub("\0", one)}) == {}
    assert len(data) / len(given) <= most + 0.4


@pytest.mark.parametrize(
    "data", [b"", b"\x01", b"\x02{", b"\x09" + pack_ids({1: "a"})[1:], pack_ids({0: UUIDS[0]})[:-9]]
)
def test_anything_else_is_refused(data: bytes) -> None:
    """Damaged bytes, and a form that is not known, are one sentence."""
    with pytest.raises(StoreError):
        found_ids(data, {UUIDS[0]})
