"""Which mailboxes a broadcast has had already."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from genie_connect.delivery.seen import Seen


class _Chosen:
    """In place of the hash: the first twelve letters of the key."""

    def __init__(self, key: bytes = b"") -> None:
        self._key = key

    def copy(self) -> _Chosen:
        return _Chosen()

    def update(self, key: bytes) -> None:
        self._key += key

    def digest(self) -> bytes:
        return self._key[:12]


def _with_chosen_digests() -> Any:
    seen: Any = Seen()
    seen._keyed = _Chosen()
    return seen


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"]), max_size=6), max_size=60))
def test_a_key_is_new_once(keys: list[str]) -> None:
    """As a set would have it."""
    seen, known = Seen(), set[str]()
    for key in keys:
        assert seen.add(key) is (key not in known)
        known.add(key)
    assert len(seen) == len(known)


def test_none_of_many_is_lost() -> None:
    """A key that is taken for another would be a recipient who gets nothing."""
    seen = Seen()
    assert all(seen.add(f"user{number}@example.com") for number in range(100_000))
    assert not any(seen.add(f"user{number}@example.com") for number in range(0, 100_000, 7))
    assert len(seen) == 100_000


def test_what_lies_across_two_entries_is_no_entry() -> None:
    """The end of one entry and the beginning of the next, in one bucket, are no key that was added."""
    seen = _with_chosen_digests()
    assert seen.add("xxabcdefghij")
    assert seen.add("xxklmnopqrst")
    assert seen.add("xxfghijklmno")
    assert not seen.add("xxfghijklmno")
    assert not seen.add("xxklmnopqrst")


def test_the_bucket_is_part_of_the_key() -> None:
    """The same rest in another bucket is another key."""
    seen = _with_chosen_digests()
    assert seen.add("xxabcdefghij")
    assert seen.add("xyabcdefghij")


def test_nobody_can_choose_keys_that_are_taken_for_each_other() -> None:
    """Each has a random key of its own."""
    one, other = Seen(), Seen()
    one.add("a@x.example")
    other.add("a@x.example")
    assert dict(one._buckets) != dict(other._buckets)
