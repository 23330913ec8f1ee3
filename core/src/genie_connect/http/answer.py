"""An answer, read alike whichever library takes it in: never unpacked, never more of it than the limit."""

from __future__ import annotations

from collections.abc import AsyncIterable, Iterable

from genie_connect.http.client import Response
from genie_connect.http.errors import NoAnswer
from genie_connect.model.frozen import FrozenMap


async def answer_of(
    status: int, raw_headers: Iterable[tuple[bytes, bytes]], chunks: AsyncIterable[bytes], *, most_bytes: int
) -> Response:
    """The whole answer. Raises ``NoAnswer`` for one that is compressed or too large, and what reading it raises."""
    headers = fields_that_came(raw_headers)
    if headers.get("content-encoding", "identity").lower() != "identity":
        raise NoAnswer("protocol", "the answer is compressed, which was not asked for", status=status)
    body = bytearray()
    async for chunk in chunks:
        body += chunk
        if len(body) > most_bytes:
            raise NoAnswer("oversize", f"the answer has more than {most_bytes} bytes", status=status)
    return Response(status=status, headers=headers, body=bytes(body))


def fields_that_came(raw: Iterable[tuple[bytes, bytes]]) -> FrozenMap[str]:
    """Names in lower case; the values of one name joined by commas (RFC 9110 section 5.3)."""
    fields: dict[str, str] = {}
    for raw_name, raw_value in raw:
        name, value = raw_name.decode("ascii", "replace").lower(), _text(raw_value)
        fields[name] = f"{fields[name]}, {value}" if name in fields else value
    return FrozenMap(fields)


def _text(value: bytes) -> str:
    try:
        return value.decode()
    except UnicodeDecodeError:
        # RFC 9110 section 5.5: what is not ASCII was ISO-8859-1 once. A lone surrogate could not be written anywhere.
        return value.decode("iso-8859-1")
