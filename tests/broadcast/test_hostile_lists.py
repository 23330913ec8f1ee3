"""Lists that would send to the wrong people, or to nobody, if they were read as they seem to be."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from genie_connect import ConfigurationError, ValidationError
from genie_connect.broadcast.columns import recipient_of
from tests.broadcast.test_recipients import emails, read, refused

ADA = "ada@example.com"


def lines(path: Path, *objects: Any) -> Path:
    """A file of JSON Lines."""
    path.write_text("".join(json.dumps(each) + "\n" for each in objects))
    return path


class TestWhoIsMeant:
    """Which value is the address."""

    @pytest.mark.parametrize("in_front", [True, False])
    async def test_merge_data_never_becomes_the_address(self, tmp_path: Path, *, in_front: bool) -> None:
        """A merge field called email is a merge field, wherever it stands in its object."""
        merge, address = {"merge": {"email": "other@example.com"}}, {"address": ADA}
        row = merge | address if in_front else address | merge
        (found,) = await read(lines(tmp_path / "l.jsonl", row))
        assert found.recipient is not None
        assert (found.recipient.address.email, dict(found.recipient.merge)) == (ADA, merge["merge"])

    async def test_of_several_columns_it_is_the_same_one_in_every_row(self, tmp_path: Path) -> None:
        """An empty email does not make another column the address."""
        path = tmp_path / "l.csv"
        path.write_text("to,email\nother@example.com,ada@example.com\nother@example.com,\n")
        found = await read(path)
        assert emails(found) == [ADA]
        assert refused(found)[3].startswith("email: has no value")

    def test_a_program_may_give_rows_in_both_shapes(self) -> None:
        """Flat as in a file, or with objects as a recipient has them."""
        flat = recipient_of({"email": ADA, "city": "Rome", "header:X-One": "1", "meta:order": "7"})
        deep = recipient_of(
            {"email": ADA, "merge": {"city": "Rome"}, "headers": {"X-One": "1"}, "metadata": {"order": 7}}
        )
        assert flat == deep

    @pytest.mark.parametrize("given", [{1: "x", "email": ADA}, {"merge": {"header:X": "1"}, "email": ADA}, {}, 7, None])
    def test_what_cannot_be_understood_is_a_problem_and_no_crash(self, given: Any) -> None:
        """Names that are no text, names that only look like a prefix, and things that are no row."""
        with pytest.raises(ValidationError):
            recipient_of(given)


class TestColumns:
    """What is wrong with all rows is told once."""

    @pytest.mark.parametrize(
        ("head", "said"),
        [
            (b"email,First Name\n", "'First Name' .* cannot be a merge field"),
            (b"email,na\xefve\n", "cannot be a merge field"),
            (b'email,"a\nb"\n', "first line .* is no CSV"),
            (b"email,n\rada@example.com,1\r", "first line .* is no CSV"),
            (b"", "is empty"),
        ],
    )
    async def test_a_head_that_nothing_can_be_done_with(self, tmp_path: Path, head: bytes, said: str) -> None:
        """In a sentence that can be printed, with what to do."""
        path = tmp_path / "l.csv"
        path.write_bytes(head + b"ada@example.com,Ada\n" * bool(head))
        with pytest.raises(ConfigurationError, match=said) as raised:
            await read(path)
        assert raised.value.hint
        str(raised.value).encode()

    async def test_a_value_without_a_name_is_not_dropped_in_silence(self, tmp_path: Path) -> None:
        """Spreadsheets write empty columns behind the last one; what stands in them is told."""
        path = tmp_path / "l.csv"
        path.write_text("email,city,,\nada@example.com,Rome,,\nben@example.com,Oslo,x,\n")
        found = await read(path)
        assert emails(found) == [ADA]
        assert "column without a name" in refused(found)[3]

    async def test_parquet_says_it_once_too(self, tmp_path: Path) -> None:
        """A table of a million rows without an address is no million of broken rows."""
        pyarrow = pytest.importorskip("pyarrow")
        from pyarrow import parquet

        parquet.write_table(pyarrow.table({"who": [ADA] * 2}), tmp_path / "l.parquet")
        with pytest.raises(ConfigurationError, match="holds the address"):
            await read(tmp_path / "l.parquet")


class TestValues:
    """Values that are no text."""

    async def test_yes_and_no_are_words(self, tmp_path: Path) -> None:
        """In Parquet as in JSON; bytes are text in UTF-8, or a problem."""
        pyarrow = pytest.importorskip("pyarrow")
        from pyarrow import parquet

        table = pyarrow.table(
            {
                "email": [b"ada@example.com", b"b\xff@example.com"],
                "member": [True, False],
                "home": [{"city": "Rome"}, None],
            }
        )
        parquet.write_table(table, tmp_path / "l.parquet")
        found = await read(tmp_path / "l.parquet")
        assert found[0].recipient == recipient_of({"email": ADA, "member": "true", "home.city": "Rome"})
        assert list(refused(found)) == [2]
        (row,) = await read(lines(tmp_path / "l.jsonl", {"email": ADA, "member": True, "home": {"city": "Rome"}}))
        assert row.recipient == found[0].recipient

    @pytest.mark.parametrize("end", [0.5, 0.99])
    async def test_a_packed_file_that_was_cut_is_no_shorter_list(self, tmp_path: Path, end: float) -> None:
        """Half a download is an error."""
        import gzip

        packed = gzip.compress(b"email\n" + b"".join(b"r%d@example.com\n" % number for number in range(2000)))
        (tmp_path / "l.csv.gz").write_bytes(packed[: int(len(packed) * end)])
        with pytest.raises(ConfigurationError, match="cannot be read"):
            await read(tmp_path / "l.csv.gz")
