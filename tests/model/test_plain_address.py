"""Bare addresses in ASCII are read in one look; nothing else must come of it than of a closer one."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from genie_connect import Address, ValidationError
from genie_connect.model.address import bare

PIECES = ("a", "Ada", ".", "..", "-", "+", "@", "=?", "?=", "\r\n", " ", "\x00", "xn--", "xn--bcher-kva", "1", "ä", "_")


@given(st.lists(st.sampled_from(PIECES)).map("".join), st.lists(st.sampled_from(PIECES)).map("".join))
def test_an_address_read_is_the_one_made_of_its_parts(local: str, domain: str) -> None:
    """Text that is taken is the address of its two parts; text that is refused has parts that are refused."""
    try:
        read = Address.parse(f"{local}@{domain}".strip(" "))
    except ValidationError:
        with pytest.raises(ValidationError):
            Address(local=local.lstrip(" ") if domain else local, domain=domain.rstrip(" "))
        return
    local, _, domain = f"{local}@{domain}".strip(" ").rpartition("@")
    made = Address(local=local, domain=domain)
    assert (read, read.email, read.key, hash(read)) == (made, made.email, made.key, hash(made))


def test_the_longest_address_is_taken_and_a_longer_one_is_not() -> None:
    """The bounds of RFC 5321 hold for what is read in one look."""
    domain = ".".join(["d" * 61] * 3 + ["com"])
    longest = "a" * (254 - len(domain) - 1) + "@" + domain
    assert Address.parse(longest[-254:]).email == longest
    with pytest.raises(ValidationError):
        Address.parse("a" + longest)
    with pytest.raises(ValidationError):
        Address.parse("a" * 65 + "@example.com")


PHRASES = ("", "Ada", " ", "<", ">", '"', "\\", ",", "=?utf-8?q?=0A?=", "\n", "ä", "x" * 250, "\u202e", "(", "@")


@given(
    st.lists(st.sampled_from(PHRASES), max_size=4).map("".join),
    st.lists(st.sampled_from(PIECES), max_size=5).map("".join),
    st.sampled_from(
        [
            "{0} <{1}>",
            "{1}",
            "{0}<{1}>",
            "{0} {1}>",
            "{1}@example.com>",
            " {0} <{1}> ",
            "<{1}>",
            "{0} <{1}@example.com>",
        ]
    ),
)
def test_the_address_alone_is_that_of_the_address_read(phrase: str, email: str, form: str) -> None:
    """With a name or without, and what is refused is refused."""
    value = form.format(phrase, email)
    try:
        expected = Address.parse(value).email
    except ValidationError:
        with pytest.raises(ValidationError):
            bare(value)
        return
    assert bare(value) == expected


@pytest.mark.parametrize("value", ["ada@example.com>", ">", "ada@example.com>>", "ada@example.com<>"])
def test_half_a_bracket_makes_no_address(value: str) -> None:
    """Whoever wrote it meant something else."""
    with pytest.raises(ValidationError):
        bare(value)
