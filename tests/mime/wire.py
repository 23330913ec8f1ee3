"""A reader of messages for the tests: small, strict, and independent of both our writer and ``email``.

It accepts only what RFC 5322 and RFC 2045 allow, and raises ``AssertionError`` at anything else, so that whatever slips
into a message is seen as what it is and not repaired.
"""

from __future__ import annotations

import base64
import quopri
import re

import attrs

_NAME = re.compile(rb"[!-9;-~]+\Z")
_ENCODED_WORD = re.compile(r"=\?utf-8\?([qb])\?([!->@-~]*)\?=")
_BETWEEN = re.compile(r"(\?=)[ \t]+(?==\?)")
_QUOTED = re.compile(r'"(?:[^"\\]|\\.)*"')
_MAILBOX = re.compile(r'(?:"(?:[^"\\]|\\.)*"|[^",])+')
_BOUNDARY = re.compile(r'; boundary="([^"]+)"')


@attrs.frozen
class Part:
    """One MIME entity: its fields, unfolded, and what stands below them."""

    fields: tuple[tuple[str, str], ...]
    body: bytes
    parts: tuple[Part, ...]

    @property
    def names(self) -> list[str]:
        """The names of the fields, in order."""
        return [name for name, _ in self.fields]

    def get(self, name: str) -> str:
        """The value of the one field of that name."""
        (value,) = [value for given, value in self.fields if given == name]
        return value

    def walk(self) -> list[Part]:
        """This part and all below it, in the order of the wire."""
        return [self, *(inner for part in self.parts for inner in part.walk())]

    @property
    def content(self) -> bytes:
        """What the body stands for, its transfer encoding undone."""
        encoding = self.get("Content-Transfer-Encoding")
        if encoding == "base64":
            return base64.b64decode(self.body, validate=False)
        return quopri.decodestring(self.body) if encoding == "quoted-printable" else self.body


def read(wire: bytes) -> Part:
    """The message, after the checks that hold for all its bytes."""
    assert b"\x00" not in wire
    assert wire.endswith(b"\r\n")
    rest = wire.replace(b"\r\n", b"")
    assert b"\r" not in rest
    assert b"\n" not in rest
    assert max(map(len, wire.split(b"\r\n"))) <= 998
    return _part(wire, ended=True)


def _part(data: bytes, *, ended: bool) -> Part:
    head, separator, body = data.partition(b"\r\n\r\n")
    assert separator
    fields: list[tuple[bytes, bytes]] = []
    for line in head.split(b"\r\n"):
        assert line.strip(b" \t")
        if line[:1] in (b" ", b"\t"):
            name, value = fields.pop()
            fields.append((name, value + line))
            continue
        name, colon, value = line.partition(b": ")
        if not colon:
            name, colon, value = line.partition(b":")
        assert colon
        assert _NAME.match(name), line
        fields.append((name, value))
    texts = tuple((name.decode("ascii"), value.decode("utf-8").lstrip(" ")) for name, value in fields)
    content_type = dict(texts).get("Content-Type", "")
    if not content_type.startswith("multipart/"):
        return Part(texts, body, ())
    (boundary,) = _BOUNDARY.findall(content_type)
    return Part(texts, body, tuple(_split(body, boundary.encode(), ended=ended)))


def _split(body: bytes, boundary: bytes, *, ended: bool) -> list[Part]:
    # Counted as lines that begin with the delimiter, as the most lenient reader would.
    lines = (b"\r\n" + body).split(b"\r\n--" + boundary)
    first, *inner, last = lines
    assert first == b""
    assert last == (b"--\r\n" if ended else b"--")
    assert all(part.startswith(b"\r\n") for part in inner)
    return [_part(part[2:], ended=False) for part in inner]


def decoded(value: str) -> str:
    """Text with its encoded-words decoded, white space between adjacent ones dropped (RFC 2047 section 6.2)."""
    return _ENCODED_WORD.sub(_decoded_word, _BETWEEN.sub(r"\1", value))


def _decoded_word(match: re.Match[str]) -> str:
    assert len(match.group()) <= 75
    encoding, payload = match.groups()
    raw = base64.b64decode(payload) if encoding == "b" else quopri.decodestring(payload.encode(), header=True)
    return raw.decode("utf-8")


def mailboxes(value: str) -> list[str]:
    """The addr-specs of an address list; names are cut away before anything is split."""
    without_names = _ENCODED_WORD.sub("", _QUOTED.sub("", value))
    if without_names.strip() == "undisclosed-recipients:;":
        return []
    found = []
    for item in without_names.split(","):
        angle = re.fullmatch(r"[^<>@:;()]*<([^<>@ ]+@[^<>@ ]+)>", item.strip())
        bare = re.fullmatch(r"([^<>@ ]+@[^<>@ ]+)", item.strip())
        match = angle or bare
        assert match, item
        found.append(match.group(1))
    return found


def names(value: str) -> list[str]:
    """The display names of an address list, in order, an empty one where there is none."""
    found = []
    for item in _MAILBOX.findall(value):
        name = item.rpartition("<")[0].strip(" ")
        if name.startswith('"'):
            assert _QUOTED.fullmatch(name)
            found.append(re.sub(r"\\(.)", r"\1", name[1:-1]))
        else:
            assert "?=" in name or re.fullmatch(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~ -]*", name)
            found.append(decoded(name))
    return found
