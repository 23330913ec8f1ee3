"""The canonical form that is signed, against the words of RFC 6376 and against dkimpy."""

from __future__ import annotations

import base64
import hashlib
import itertools
import re

from dkim.canonicalization import CanonicalizationPolicy
from hypothesis import example, given
from hypothesis import strategies as st

from genie_connect.mime.canonical import body_hash, relaxed_fields

_RELAXED = CanonicalizationPolicy.from_c_value(b"relaxed/relaxed")
_LINES = st.lists(st.text("ab. \t=é", max_size=12).map(str.encode), max_size=12)


def _sha256(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()


def test_body_without_content_is_hashed_as_nothing() -> None:
    """RFC 6376 section 3.4.4: the hash of a relaxed empty body is that of no bytes, however many lines are empty."""
    nothing = base64.b64decode("47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=")
    assert body_hash([]) == nothing
    assert body_hash([b""]) == nothing
    assert body_hash([b"\r\n"]) == nothing
    assert body_hash([b"\r\n \t\r\n", b"\r\n\r\n"]) == nothing


def test_example_of_the_standard() -> None:
    """RFC 6376 section 3.4.5."""
    assert body_hash([b" C \r\nD \t E\r\n\r\n\r\n"]) == _sha256(b" C\r\nD E\r\n")
    assert relaxed_fields(b"A: X\r\nB : Y\t\r\n\tZ  \r\n") == {b"a": [b"a:X"], b"b": [b"b:Y Z"]}


def test_a_body_that_does_not_end_its_last_line_is_hashed_with_a_line_end() -> None:
    """Blanks at the very end go as well."""
    assert body_hash([b"text  "]) == body_hash([b"text", b" "]) == body_hash([b"text\r\n"]) == _sha256(b"text\r\n")


def test_empty_lines_count_once_something_follows() -> None:
    """Whatever the chunks are that they come in."""
    assert body_hash([b"\r\na\r\n", b"\r\n", b"\r\n", b"b\r\n", b"\r\n"]) == _sha256(b"\r\na\r\n\r\n\r\nb\r\n")


@given(lines=_LINES, cuts=st.lists(st.integers(0, 150), max_size=6))
@example(lines=[b"a", b"", b" ", b""], cuts=[2, 3, 4])
def test_body_hash_is_that_of_dkimpy_wherever_the_chunks_end(lines: list[bytes], cuts: list[int]) -> None:
    """Also in the middle of a line end or of a character."""
    body = b"".join(line + b"\r\n" for line in lines)
    places = sorted({0, len(body), *(min(cut, len(body)) for cut in cuts)})
    chunks = [body[start:end] for start, end in itertools.pairwise(places)]
    assert body_hash(chunks) == _sha256(_RELAXED.canonicalize_body(body))


@given(values=st.lists(st.text("ab: \t\n", max_size=20), max_size=5))
def test_fields_are_those_of_dkimpy(values: list[str]) -> None:
    """Names in any case, values folded at any blank."""
    fields = [(b"X-Name%d" % index, _folded(value)) for index, value in enumerate(values)]
    head = b"".join(b"%s:%s" % field for field in fields)
    ours = [field for found in relaxed_fields(head + b"\r\n").values() for field in found]
    assert ours == [b"%s:%s" % (name, value[:-2]) for name, value in _RELAXED.canonicalize_headers(fields)]


def _folded(value: str) -> bytes:
    # A line of blanks only would not be folding (RFC 5322 section 3.2.2).
    lines = [line for line in value.split("\n") if line.strip(" \t")]
    return re.sub(r"\n(?![ \t])", "\n ", "\n".join(lines)).replace("\n", "\r\n").encode() + b"\r\n"
