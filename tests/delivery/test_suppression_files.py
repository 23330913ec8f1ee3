"""Lists of suppressions as files: what can be used is, and what cannot is given back with the reason."""

from __future__ import annotations

import io
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from genie_connect import Address, ConfigurationError, Suppression, SuppressionReason, SuppressionScope, ValidationError
from genie_connect.delivery.suppression_files import BadRow, Entry, Rejects, SuppressionFile, plain_key, write
from tests.support.clock import START


def read(path: Path, content: str | bytes, **more: object) -> tuple[list[Entry], list[BadRow], SuppressionFile]:
    """Good rows, bad rows, and the file."""
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    file = SuppressionFile(path, **more)  # type: ignore[arg-type]
    rows = list(file)
    good = [row for row in rows if isinstance(row, Entry)]
    return good, [row for row in rows if isinstance(row, BadRow)], file


def test_reads_what_other_services_export(tmp_path: Path) -> None:
    """Columns by any of their names, in any order; those that say nothing here are named."""
    good, bad, file = read(
        tmp_path / "list.csv",
        "Email,Created,Status,reason\nAda@Example.com,2026-01-02T03:04:05Z,x,hard_bounce\n\nbob@example.com,,,unsubscribe\n",
        source="acme",
    )
    assert bad == []
    assert [(each.line, each.email, each.key, each.reason.value, each.scope.value, each.source) for each in good] == [
        (2, "Ada@example.com", "ada@example.com", "hard_bounce", "all", "acme"),
        (4, "bob@example.com", "bob@example.com", "unsubscribe", "marketing", "acme"),
    ]
    assert good[0].added == datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC).timestamp()
    assert good[1].added is None
    assert file.ignored == ("Status",)


def test_rows_that_say_the_same_beside_the_address_are_still_looked_at_one_by_one(tmp_path: Path) -> None:
    """A bad address between good ones is refused; shorter rows and other reasons mean what they say."""
    good, bad, _ = read(
        tmp_path / "list.csv",
        "reason,email,source\ncomplaint,ada@example.com,a\ncomplaint,nobody,a\ncomplaint,,a\ncomplaint,Bob@example.com,a\n"
        "complaint,eve@example.com\nunsubscribe,eve@example.com,a\nwhatever,ada@example.com,a\ncomplaint\n"
        "whatever,bob@example.com,a\n",
        source="the file",
    )
    assert [(each.line, each.email, each.reason.value, each.scope.value, each.source) for each in good] == [
        (2, "ada@example.com", "complaint", "all", "a"),
        (5, "Bob@example.com", "complaint", "all", "a"),
        (6, "eve@example.com", "complaint", "all", "the file"),
        (7, "eve@example.com", "unsubscribe", "marketing", "a"),
    ]
    assert [(each.line, [problem.path for problem in each.problems]) for each in bad] == [
        (3, ["address"]),
        (4, ["address"]),
        (8, ["reason"]),
        (9, ["address"]),
        (10, ["reason"]),
    ]


def test_a_list_of_bare_addresses_needs_no_first_line(tmp_path: Path) -> None:
    """With a byte order mark and Windows line ends, as spreadsheets write it."""
    good, bad, _ = read(tmp_path / "list.csv", b"\xef\xbb\xbfada@example.com\r\nbob@example.com\r\n")
    assert ([each.email for each in good], bad) == (["ada@example.com", "bob@example.com"], [])


def test_a_file_without_a_column_of_addresses_is_refused(tmp_path: Path) -> None:
    """With the columns that there may be, and before anything is read."""
    with pytest.raises(ConfigurationError, match="names no column of addresses"):
        read(tmp_path / "list.csv", "name,phone\nAda,1\n")


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("nobody,,,", "address: 'nobody' is not an email address: it has no @ (write it as name@example.com)"),
        (",hard_bounce,,", "address: is missing"),
        ("a@example.com,angry,,", "reason: 'angry' is not one of the choices"),
        ("a@example.com,,tomorrow,", "expires: 'tomorrow' is not a time (write it as"),
        ("a@example.com,,,some", "scope: 'some' is not one of the choices (use all, marketing)"),
        ("nobody,angry,tomorrow,", "reason: 'angry'"),
        ("a@example.com,,,,b@example.com", "has 5 cells; the first line has 4"),
    ],
)
def test_says_what_is_wrong_with_a_row_and_goes_on(tmp_path: Path, line: str, problem: str) -> None:
    """Every problem of it, with its line; the rows around it are read."""
    good, bad, _ = read(
        tmp_path / "list.csv", f"address,reason,expires,scope\nx@example.com,,,\n{line}\ny@example.com,,2027-01-01,\n"
    )
    assert [each.email for each in good] == ["x@example.com", "y@example.com"]
    assert good[1].expires == datetime(2027, 1, 1, tzinfo=UTC).timestamp()
    assert [each.line for each in bad] == [3]
    assert problem in "; ".join(str(each) for each in bad[0].problems)


def test_bytes_that_are_no_text_stay_in_their_row(tmp_path: Path) -> None:
    """They make one bad row, which is written to the reject file byte for byte."""
    path = tmp_path / "list.csv"
    good, bad, _ = read(path, b"address\nad\xff@example.com\nbob@example.com\n")
    assert [each.email for each in good] == ["bob@example.com"]
    rejects = Rejects(tmp_path / "bad.csv", as_json=False)
    for each in bad:
        rejects.add(each)
    rejects.close()
    assert b"ad\xff@example.com" in (tmp_path / "bad.csv").read_bytes()


@pytest.mark.parametrize("name", ["list.csv", "list.jsonl"])
def test_refused_rows_can_be_mended_and_read(tmp_path: Path, name: str) -> None:
    """The reject file says what is wrong with each, and is read again once that is mended."""
    if name == "list.csv":
        content = 'address,source,reason\nnobody,"say ""hi"", all",manual\nada@example.com,,angry\n'
    else:
        rows = [{"address": "nobody", "source": 'say "hi", all'}, {"address": "ada@example.com", "reason": "angry"}]
        content = "".join(json.dumps(each) + "\n" for each in rows) + "no json\n"
    _, bad, file = read(tmp_path / name, content)
    rejects = Rejects(tmp_path / f"bad-{name}", as_json=file.is_json)
    for each in bad:
        rejects.add(each)
    rejects.close()
    text = rejects.path.read_text()
    assert "is not one of the choices" in text
    mended = text.replace("angry", "complaint").replace("nobody", "bob@example.com", 1)
    good, bad, again = read(tmp_path / name, mended)
    assert [(each.email, each.reason.value) for each in good] == [
        ("bob@example.com", "manual"),
        ("ada@example.com", "complaint"),
    ]
    assert good[0].source == 'say "hi", all'
    assert len(bad) == (1 if file.is_json else 0)
    assert not [each for each in again.ignored if each == "problem"]


def test_no_file_is_made_where_nothing_is_refused(tmp_path: Path) -> None:
    """An empty reject file would say that there is something in it."""
    Rejects(tmp_path / "bad.csv", as_json=False).close()
    assert list(tmp_path.iterdir()) == []


DOMAINS = ("example.com", "Example.COM", "exämple.de", "a..b", "-a.de", "xn--exmple-cua.de", "1.2", "a" * 64)
TIMES = st.datetimes(timezones=st.just(UTC), min_value=datetime(1980, 1, 1), max_value=datetime(2100, 1, 1))  # noqa: DTZ001


@given(
    source=st.text(st.characters(codec="utf-8", categories=("L", "N", "P", "S")), max_size=30).map(str.strip),
    scope=st.sampled_from(SuppressionScope),
    reason=st.sampled_from(SuppressionReason),
    added=TIMES,
    expires=st.none() | TIMES,
    as_json=st.booleans(),
)
def test_what_is_exported_is_read_again_as_it_was(
    tmp_path_factory: pytest.TempPathFactory,
    source: str,
    scope: SuppressionScope,
    reason: SuppressionReason,
    added: datetime,
    expires: datetime | None,
    as_json: bool,
) -> None:
    """In both forms, whatever stands in the source."""
    one = Suppression(
        address="Ada+x@Exämple.com", scope=scope, reason=reason, source=source, added=added, expires=expires
    )
    two = Suppression(address="bob@example.com", added=START, expires=START + timedelta(days=1), source="x")
    out = io.StringIO()
    write(out, [one, two], as_json=as_json, header=True)
    path = tmp_path_factory.mktemp("list") / ("list.jsonl" if as_json else "list.csv")
    good, bad, _ = read(path, out.getvalue(), source="")
    assert bad == []
    assert [each.suppression(0.0) for each in good] == [one, two]


@given(
    local=st.text("abcXYZ019._+-!#'=?\"@ äß", min_size=1, max_size=70),
    domain=st.sampled_from(DOMAINS),
)
def test_the_short_way_to_a_key_leads_where_the_long_one_does(local: str, domain: str) -> None:
    """Or refuses what that refuses."""
    text = f"{local}@{domain}"
    try:
        address = Address.parse(text)
    except ValidationError:
        with pytest.raises(ValidationError):
            plain_key(text)
    else:
        assert plain_key(text) == (address.email, address.key)
