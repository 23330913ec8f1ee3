"""Content that comes from a file or a stream, and domains as people read them."""

import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from genie_connect import Address, Attachment, ValidationError


async def pieces(*chunks: bytes, fails: bool = False) -> AsyncIterator[bytes]:
    """A stream of these chunks, which then breaks off if it is to."""
    for chunk in chunks:
        yield chunk
    if fails:
        raise ConnectionResetError


async def test_a_stream_is_kept_so_that_it_can_be_read_again(tmp_path: Path) -> None:
    """A second attempt sends the same bytes."""
    attachment = await Attachment.from_stream(pieces(b"one ", b"two"), filename="a.txt", directory=tmp_path)
    assert (attachment.filename, attachment.content_type, attachment.size_bytes) == ("a.txt", "text/plain", 7)
    assert attachment.read() == b"".join(attachment.chunks(2)) == b"one two"


async def test_a_stream_that_breaks_off_leaves_no_file(tmp_path: Path) -> None:
    """Half a file is no attachment, and nobody would know its name to remove it."""
    with pytest.raises(ConnectionResetError):
        await Attachment.from_stream(pieces(b"half", fails=True), filename="a.txt", directory=tmp_path)
    assert os.listdir(tmp_path) == []


def test_a_file_that_changed_since_is_not_sent(tmp_path: Path) -> None:
    """What was attached and what would leave must be the same."""
    path = tmp_path / "a.txt"
    path.write_bytes(b"before")
    attachment = Attachment.from_path(path)
    path.write_bytes(b"afterwards")
    with pytest.raises(ValidationError, match="changed after it was attached"):
        attachment.read()


@pytest.mark.parametrize(("given", "shown"), [("a@dömi.fo", "dömi.fo"), ("a@example.com", "example.com")])
def test_a_domain_is_kept_in_ascii_and_shown_as_it_is_read(given: str, shown: str) -> None:
    """The protocol gets A-labels, people the name."""
    address = Address.parse(given)
    assert address.domain.isascii()
    assert address.unicode_domain == shown
