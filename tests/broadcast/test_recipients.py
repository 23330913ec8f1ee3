"""Lists of recipients: what they may be, and that a row that is broken is told and costs no other."""

from __future__ import annotations

import gzip
import io
import json
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from genie_connect import Address, ConfigurationError, Recipient, ValidationError
from genie_connect.broadcast.columns import Columns, recipient_of
from genie_connect.broadcast.csv_rows import csv_rows
from genie_connect.broadcast.recipients import ROWS_AT_ONCE, Source, rows
from genie_connect.broadcast.row import Row


async def read(source: Source) -> list[Row]:
    """All rows of a list."""
    return [row async for batch in rows(source) for row in batch]


def emails(found: list[Row]) -> list[str]:
    """The addresses of the rows that are right."""
    return [row.recipient.address.email for row in found if row.recipient is not None]


def refused(found: list[Row]) -> dict[int, str]:
    """What is wrong with the others, by their number."""
    return {row.number: "; ".join(map(str, row.problems)) for row in found if row.recipient is None}


def written(path: Path, *lines: str) -> Path:
    """A file of these lines."""
    path.write_bytes("".join(f"{line}\n" for line in lines).encode())
    return path


class TestIterables:
    """Recipients that a program has."""

    async def test_addresses_recipients_and_rows_may_be_mixed(self) -> None:
        """Each in its own way; what is none is told with its place."""
        mapping = {"email": "di@example.com", "name": "Di", "city": "Rome", "header:X-One": "1", "meta:order": 7}
        given = [
            "ada@example.com",
            Address.parse("Ben <ben@example.com>"),
            Recipient(address="cy@example.com"),
            mapping,
        ]
        found = await read([*given, "nobody", {"name": "Ed"}, 5])  # type: ignore[list-item]
        assert emails(found) == [f"{name}@example.com" for name in ("ada", "ben", "cy", "di")]
        di = found[3].recipient
        assert di is not None
        assert str(di.address) == "Di <di@example.com>"
        assert (dict(di.merge), dict(di.headers)) == ({"name": "Di", "city": "Rome"}, {"X-One": "1"})
        assert dict(di.metadata) == {"order": "7"}
        assert list(refused(found)) == [5, 6, 7]
        assert "email: has no value" in refused(found)[6]

    async def test_an_async_iterable_is_read_as_it_comes(self) -> None:
        """From a query, for example."""

        async def query() -> AsyncIterator[str]:
            for number in range(ROWS_AT_ONCE + 3):
                yield f"r{number}@example.com"

        assert len(emails(await read(query()))) == ROWS_AT_ONCE + 3

    async def test_no_more_is_read_than_is_used(self) -> None:
        """A generator of ten million is not put into memory."""
        taken: list[int] = []

        def endless() -> Iterator[str]:
            for number in range(10**9):
                taken.append(number)
                yield f"r{number}@example.com"

        batches = rows(endless())
        assert len(await anext(batches)) == len(taken) == ROWS_AT_ONCE
        await batches.aclose()


class TestCsv:
    """What spreadsheets and other services write."""

    async def test_columns_are_found_by_their_names(self, tmp_path: Path) -> None:
        """In any order and case; a name goes into the address and may be merged."""
        path = written(tmp_path / "l.csv", "City,Name,E-Mail,header:X-One", "Rome,Ada L,ada@example.com,1")
        (row,) = await read(path)
        assert row.recipient == Recipient(
            address="Ada L <ada@example.com>", merge={"City": "Rome", "Name": "Ada L"}, headers={"X-One": "1"}
        )

    @pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
    async def test_the_separator_is_found_out(self, tmp_path: Path, delimiter: str) -> None:
        """By the first line."""
        path = written(tmp_path / "l.csv", f"email{delimiter}city", f"ada@example.com{delimiter}Rome")
        (row,) = await read(path)
        assert row.recipient == Recipient(address="ada@example.com", merge={"city": "Rome"})

    async def test_a_byte_order_mark_and_windows_line_ends_are_no_part_of_it(self, tmp_path: Path) -> None:
        """As Excel writes it."""
        path = tmp_path / "l.csv"
        path.write_bytes("\ufeffemail,city\r\nada@example.com,Zürich\r\n\r\nben@example.com,\r\n".encode())
        found = await read(path)
        assert emails(found) == ["ada@example.com", "ben@example.com"]
        assert [dict(row.recipient.merge) for row in found if row.recipient] == [{"city": "Zürich"}, {}]

    async def test_a_packed_file_is_read_as_it_is(self, tmp_path: Path) -> None:
        """And one that breaks off is not taken for whole."""
        path = tmp_path / "l.csv.gz"
        path.write_bytes(gzip.compress(b"email\nada@example.com\n"))
        assert emails(await read(path)) == ["ada@example.com"]
        path.write_bytes(gzip.compress(b"email\n" + b"ada@example.com\n" * 50)[:-12])
        with pytest.raises(ConfigurationError, match="cannot be read"):
            await read(path)

    async def test_each_broken_row_is_told_and_costs_no_other(self, tmp_path: Path) -> None:
        """With its line, what is wrong, and what to do."""
        path = written(
            tmp_path / "l.csv",
            "email,city",
            "ada@example.com,Rome",
            "nobody,Rome",
            "ben@example.com,Rome,Italy",
            ",Rome",
            'cy@example.com,"Rome, Italy"',
            "di@example.com,Ro\x07me",
        )
        path.write_bytes(path.read_bytes() + b"ed@example.com,Z\xfcrich\nfi@example.com,Oslo\n")
        found = await read(path)
        assert emails(found) == ["ada@example.com", "cy@example.com", "fi@example.com"]
        said = refused(found)
        assert list(said) == [3, 4, 5, 7, 8]
        assert "has 3 values where there are 2 columns" in said[4]
        assert "control character U+0007" in said[7]
        assert "UTF-8" in said[8]

    async def test_an_open_quotation_mark_costs_its_own_line_only(self, tmp_path: Path) -> None:
        """Those behind it, which it would swallow, are all there, and their lines are counted right."""
        lines = ["email,city", 'a@example.com,"Rome', *[f"r{n}@example.com,x" for n in range(200)], "nobody,x"]
        found = await read(written(tmp_path / "l.csv", *lines))
        assert emails(found) == [f"r{n}@example.com" for n in range(200)]
        assert list(refused(found)) == [2, 203]

    async def test_one_open_at_the_end_too(self, tmp_path: Path) -> None:
        """There is no line left to close it."""
        found = await read(written(tmp_path / "l.csv", "email,city", 'a@example.com,"Rome', "b@example.com,x"))
        assert emails(found) == ["b@example.com"]
        assert list(refused(found)) == [2]

    async def test_a_value_may_have_lines_of_its_own(self, tmp_path: Path) -> None:
        """It is told that a merge field cannot hold them; the lines are counted on."""
        lines = ["email,note", 'a@example.com,"one', 'two"', "nobody,x", 'b@example.com,"say ""x"""']
        found = await read(written(tmp_path / "l.csv", *lines))
        assert emails(found) == ["b@example.com"]
        assert list(refused(found)) == [2, 4]

    @pytest.mark.parametrize(
        ("name", "content", "said"),
        [
            (
                "a.csv",
                b"first,second\n",
                "no column of the recipients file holds the address: it has 'first', 'second'",
            ),
            ("b.csv", b"\n", "it has none"),
            ("c.csv", b"email,city,City\n", "two columns 'city'"),
            ("d.xlsx", b"PK", "not read from such a file"),
            ("e.csv", b"PK\x03\x04", "it is a spreadsheet"),
            ("f.csv", "\ufeffemail\n".encode("utf-16-le"), "it is UTF-16"),
        ],
    )
    async def test_a_file_that_is_none_is_refused(self, tmp_path: Path, name: str, content: bytes, said: str) -> None:
        """In one sentence, with the remedy."""
        (tmp_path / name).write_bytes(content)
        with pytest.raises(ConfigurationError, match=said) as raised:
            await read(tmp_path / name)
        assert raised.value.hint

    @given(
        st.text(st.characters(codec="utf-8"), max_size=30),
        st.sampled_from(
            ["ada@example.com", "Ada.L@Example.COM", "zoë@example.com", "a@bücher.example", "a@x_y", "a b@c"]
        ),
        st.text(st.characters(codec="utf-8"), max_size=12),
    )
    def test_the_quick_way_and_the_careful_one_agree(self, value: str, email: str, name: str) -> None:
        """Whatever a row holds: the same recipient, or the same refusal."""
        row = {"email": email, "name": name, "city": value}
        quick = attempted(lambda: Columns(list(row)).recipient(list(row.values())))
        careful = attempted(lambda: recipient_of(row))
        assert quick == careful
        if isinstance(quick, Recipient) and isinstance(careful, Recipient):
            assert (quick.address.key, quick.address.email) == (careful.address.key, careful.address.email)

    @given(
        st.lists(
            st.sampled_from(
                ["a@example.com,x", 'b@example.com,"x"', '"', ',"', 'c@example.com,"', "x", 'd@example.com,"x']
            ),
            max_size=70,
        )
    )
    def test_every_line_is_accounted_for(self, lines: list[str]) -> None:
        """Wherever quotation marks are: a line begins a row, or is part of the one before, which is told or whole."""
        found = list(csv_rows(io.BytesIO("".join(f"{line}\n" for line in ["email,city", *lines]).encode())))
        numbers = [row.number for row in found]
        assert numbers == sorted(set(numbers))
        assert all(2 <= number <= len(lines) + 1 for number in numbers)
        if not any(line.count('"') % 2 for line in lines):
            assert numbers == list(range(2, len(lines) + 2))
            right = [line for line in lines if line.startswith(("a@", "b@"))]
            assert len(emails(found)) == len(right)


def attempted(make: Callable[[], Recipient]) -> Recipient | str:
    """The recipient, or why there is none."""
    try:
        return make()
    except ValidationError as error:
        return str(error)


class TestJsonLines:
    """One object a line."""

    async def test_objects_are_flat_or_like_a_recipient(self, tmp_path: Path) -> None:
        """Both ways of writing it; a line may be an address alone."""
        flat = {"email": "ada@example.com", "city": "Rome", "meta:order": "7"}
        deep = {"address": "Ben <ben@example.com>", "merge": {"city": "Oslo"}, "headers": {"X-One": "1"}}
        path = tmp_path / "l.jsonl"
        path.write_text("\n".join([json.dumps(flat), "", json.dumps(deep), '"cy@example.com"', "{", "[1]", "{}"]))
        found = await read(path)
        assert emails(found) == ["ada@example.com", "ben@example.com", "cy@example.com"]
        ben = found[1].recipient
        assert ben is not None
        assert (dict(ben.merge), dict(ben.headers)) == ({"city": "Oslo"}, {"X-One": "1"})
        assert list(refused(found)) == [5, 6, 7]


class TestParquet:
    """Columns, as data people keep them."""

    async def test_it_is_read_in_parts(self, tmp_path: Path) -> None:
        """Numbers become text; nothing is no value."""
        pyarrow = pytest.importorskip("pyarrow")
        from pyarrow import parquet

        table = pyarrow.table({"email": ["ada@example.com", None], "year": [1815, 1816], "city": ["Rome", None]})
        parquet.write_table(table, tmp_path / "l.parquet")
        found = await read(tmp_path / "l.parquet")
        assert found[0].recipient == Recipient(address="ada@example.com", merge={"year": "1815", "city": "Rome"})
        assert list(refused(found)) == [2]

    async def test_another_file_is_none(self, tmp_path: Path) -> None:
        """Whatever it is called."""
        pytest.importorskip("pyarrow")
        with pytest.raises(ConfigurationError, match="no Parquet file"):
            await read(written(tmp_path / "l.parquet", "email"))
