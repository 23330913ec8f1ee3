"""Recipients as a row keeps them: each form is read back as it was."""

from __future__ import annotations

import pytest

from genie_connect.errors import StoreError
from genie_connect.store.packing import COLUMNS_1, PLAIN_1, Packed, pack, pack_addresses, unpack

MANY = [Packed(f"ada{number}@example.com", {"name": "Ada \udc80"}, {}, {"row": str(number)}) for number in range(100)]


@pytest.mark.parametrize(("people", "form"), [([Packed("ada@example.com")], PLAIN_1), (MANY, COLUMNS_1)])
def test_what_was_packed_is_unpacked(people: list[Packed], form: bytes) -> None:
    """A few stay as they are, many are compressed; either is read by its first byte."""
    data = pack(people)
    assert data[:1] == form
    assert unpack(data) == people


@pytest.mark.parametrize("count", [1, 100])
def test_bare_addresses_are_packed_as_recipients_are(count: int) -> None:
    """Those who have an address alone take the same bytes, whichever way they come."""
    people = [f'"{number}é"@example.com' for number in range(count)]
    assert pack_addresses(people) == pack([Packed(address) for address in people])


@pytest.mark.parametrize("data", [PLAIN_1 + b"{", PLAIN_1 + b"\xff\xff", COLUMNS_1 + b"{}", b"\x09{}", b""])
def test_anything_else_is_refused(data: bytes) -> None:
    """Damaged bytes, and a form that is not known, are one sentence."""
    with pytest.raises(StoreError):
        unpack(data)
