"""Bodies of webhooks: read within bounds, or refused with the status that says why."""

from __future__ import annotations

import time
from urllib.parse import parse_qsl

import pytest
from hypothesis import given
from hypothesis import strategies as st

from genie_connect.errors import WebhookRejected
from genie_connect.webhooks.bodies import form_fields, json_body, multipart_parts
from tests.webhooks.schemes import request

FORM = {"Content-Type": "application/x-www-form-urlencoded; charset=utf-8"}
MULTIPART = {"Content-Type": 'multipart/form-data; boundary="xYz"'}


def multipart(*parts: bytes) -> bytes:
    """A multipart body of these, heads and all."""
    return b"".join([b"--xYz\r\n" + part + b"\r\n" for part in parts]) + b"--xYz--\r\n"


def status_of(read: object, headers: dict[str, str], body: bytes) -> int:
    """How it is refused."""
    with pytest.raises(WebhookRejected) as caught:
        read(request(headers, body))  # type: ignore[operator]
    return caught.value.status


def test_a_form_is_read() -> None:
    """Field by field, blanks too."""
    fields = form_fields(request(FORM, b"a=1&b=&c=%C3%A9+x"))
    assert fields == {"a": "1", "b": "", "c": "é x"}


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"a=1&a=2", 400),
        (b"a=%ff", 400),
        (b"a=\xff", 400),
        (b"a=%ED%A0%80", 400),
        (b"&".join([b"a%d=1" % index for index in range(101)]), 400),
        (b"a=" + b"x" * 1_000_001, 413),
    ],
)
def test_a_form_that_readers_would_differ_on_is_refused(body: bytes, status: int) -> None:
    """Repeated names, bytes that are no text, floods."""
    assert status_of(form_fields, FORM, body) == status


_ESCAPES = st.sampled_from(["%", "%4", "%41", "%4a", "%zz", "%C3%A9", "%FF", "%0D%0A", "%2B", "%25"]) | st.sampled_from(
    ["=", "==", "=41", "=\n", "+", "_", "&", "&&", "a", " ", "\r", "\n", "\t", "\x00"]
)


@given(st.lists(_ESCAPES, max_size=12).map("".join))
def test_a_form_is_read_as_the_standard_library_reads_it(text: str) -> None:
    """Whatever escapes and what is none; but for names that stand twice."""
    try:
        expected: object = dict(pairs := parse_qsl(text, keep_blank_values=True, errors="strict"))
        expected = expected if len(dict(pairs)) == len(pairs) else 400
    except ValueError:
        expected = 400
    try:
        found: object = dict(form_fields(request(FORM, text.encode())))
    except WebhookRejected as refused:
        found = refused.status
    assert found == expected


def test_a_multipart_form_is_read() -> None:
    """Names, file names and contents, whatever these hold."""
    body = multipart(
        b'Content-Disposition: form-data; name="subject"\r\n\r\nHello',
        b'Content-Disposition: form-data; name="file"; filename="a.txt"\r\nContent-Type: text/plain\r\n\r\n-\r\n--x',
    )
    one, two = multipart_parts(request(MULTIPART, body))
    assert (one.name, one.text, one.filename) == ("subject", "Hello", "")
    assert (two.name, two.filename, two.content_type, two.content) == (
        "file",
        "a.txt",
        "text/plain",
        b"-\r\n--x",
    )


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"--xYz",
        b"--xYz\r\n",
        b"preamble\r\n" + multipart(b'Content-Disposition: form-data; name="a"\r\n\r\n1'),
        multipart(b'Content-Disposition: form-data; name="a"\r\n\r\n1')[:-6],
        multipart(b"Content-Disposition: form-data\r\n\r\n1"),
        multipart(b"no head"),
        multipart(b"X: " + b"x" * 5_000 + b'\r\nContent-Disposition: form-data; name="a"\r\n\r\n1'),
        multipart(*[b'Content-Disposition: form-data; name="a"\r\n\r\n1'] * 201),
        b"--xYz\r\n" * 200_000,
        b"-" * 1_000_000,
    ],
)
def test_a_multipart_form_that_is_none_is_refused(body: bytes) -> None:
    """Floods of parts or of dashes too, and soon."""
    begun = time.process_time()
    assert status_of(multipart_parts, MULTIPART, body) == 400
    assert time.process_time() - begun < 1


@pytest.mark.parametrize(
    ("read", "headers"),
    [
        (form_fields, {}),
        (form_fields, {"Content-Type": "application/xml"}),
        (multipart_parts, {"Content-Type": "multipart/mixed; boundary=xYz"}),
        (multipart_parts, {"Content-Type": "multipart/form-data"}),
        (json_body, {"Content-Encoding": "gzip"}),
        (form_fields, {**FORM, "Content-Encoding": "br"}),
        (multipart_parts, {**MULTIPART, "Content-Encoding": "deflate"}),
    ],
)
def test_a_body_of_another_kind_is_refused(read: object, headers: dict[str, str]) -> None:
    """415: what is compressed may hold any amount, and is not opened."""
    assert status_of(read, headers, b"{}") == 415


@given(st.binary(max_size=200), st.text(max_size=60))
def test_no_body_raises_anything_else(body: bytes, content_type: str) -> None:
    """It is read or refused."""
    for read in (json_body, form_fields, multipart_parts):
        for headers in (FORM, MULTIPART, {"Content-Type": content_type}):
            try:
                read(request(headers, body))
            except WebhookRejected:
                continue
