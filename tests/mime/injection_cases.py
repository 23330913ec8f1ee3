"""The injection matrix: every attack in every field, and what has to become of it.

``CASES`` is plain data. ``REFUSED`` means that the model does not take the value, and names the field; ``HARMLESS``
that it is sent, and stands for nothing but itself. Attacks are those of the advisories CVE-2024-6923, CVE-2026-1299,
CVE-2023-27043, CVE-2026-53533, CVE-2025-59937, CVE-2023-51764 and the like, each put wherever text can enter.
"""

from __future__ import annotations

import base64
from collections.abc import Callable
from typing import Any

import attrs

from genie_connect.model.address import Address
from genie_connect.model.attachment import Attachment
from genie_connect.model.batch import Recipient
from genie_connect.model.message import Message

REFUSED = "refused"
HARMLESS = "harmless"

INJECTED = "Bcc: evil@evil.example"


def _b64(text: str, charset: str = "utf-8") -> str:
    return f"=?{charset}?b?{base64.b64encode(text.encode(charset)).decode()}?="


# Controls: no header line may hold them, whatever they are followed by.
CONTROLS = {
    "cr": f"x\r{INJECTED}",
    "lf": f"x\n{INJECTED}",
    "crlf": f"x\r\n{INJECTED}",
    "crlf-crlf": f"x\r\n\r\n{INJECTED}",
    "crlf-fold": f"x\r\n {INJECTED}",
    "lfcr": f"x\n\r{INJECTED}",
    "vt": f"x\x0b{INJECTED}",
    "ff": f"x\x0c{INJECTED}",
    "fs": f"x\x1c{INJECTED}",
    "gs": f"x\x1d{INJECTED}",
    "rs": f"x\x1e{INJECTED}",
    "us": f"x\x1f{INJECTED}",
    "tab": f"x\t{INJECTED}",
    "nel": f"x\x85{INJECTED}",
    "line-separator": f"x\u2028{INJECTED}",
    "paragraph-separator": f"x\u2029{INJECTED}",
    "nul": f"x\x00{INJECTED}",
    "esc": f"x\x1b[31m{INJECTED}",
    "del": f"x\x7f{INJECTED}",
    "trailing-lf": "x\n",
    "trailing-cr": "x\r",
    "trailing-crlf": "x\r\n",
    "leading-crlf": f"\r\n{INJECTED}",
    "smtp-command": "x>\r\nRCPT TO:<evil@evil.example>",
    "lone-surrogate": "x\ud800y",
}

# Encoded-words that bring out a control when somebody decodes them.
ENCODED_CONTROLS = {
    "q-lf": "=?utf-8?q?x=0ABcc:_evil=40evil.example?=",
    "q-cr": "=?utf-8?q?x=0DBcc:_evil=40evil.example?=",
    "q-crlf": "=?utf-8?Q?x=0D=0ABcc:_evil=40evil.example?=",
    "q-lower-hex": "=?utf-8?q?x=0aBcc:_evil=40evil.example?=",
    "q-nul": "=?utf-8?q?x=00y?=",
    "q-language": "=?utf-8*en?q?x=0ABcc:_evil=40evil.example?=",
    "q-latin1-nel": "=?iso-8859-1?q?x=85Bcc:_evil=40evil.example?=",
    "q-unknown-charset": "=?x-none?q?x=0ABcc:_evil=40evil.example?=",
    "q-no-charset": "=??q?x=0ABcc:_evil=40evil.example?=",
    "q-after-good-one": "=?utf-8?q?good?= =?utf-8?q?x=0ABcc:_evil=40evil.example?=",
    "q-utf7": "=?utf-7?q?x+AAo-Bcc:_evil=40evil.example?=",
    "b-lf": _b64(f"x\n{INJECTED}"),
    "b-cr": _b64(f"x\r{INJECTED}"),
    "b-crlf": _b64(f"x\r\n{INJECTED}"),
    "b-utf16": _b64(f"x\r\n{INJECTED}", "utf-16-le"),
    "b-line-separator": _b64(f"x\u2028{INJECTED}"),
    "b-unpadded": _b64(f"x\n{INJECTED}!").replace("==", ""),
}

# Text that is only dangerous to who takes it for something else: it is sent, and means itself.
PLAIN = {
    "header-like": INJECTED,
    "q-bcc": "=?utf-8?q?Bcc=3A_evil=40evil.example?=",
    "b-bcc": _b64(INJECTED),
    "q-address": "=?utf-8?q?evil=40evil.example=3E=20?=",
    "q-encoded-twice": "=?utf-8?q?=3D=3Futf-8=3Fq=3Fx=3D0AEvil=3A=5Fy=3F=3D?=",
    "b-encoded-twice": _b64("=?utf-8?q?x=0AEvil:_y?="),
    "q-open": "=?utf-8?q?x=0AEvil:_y",
    "angle": "x <evil@evil.example>",
    "comma": "x, evil@evil.example",
    "semicolon": 'x; filename="evil.exe"',
    "quote": 'x" <evil@evil.example>, "y',
    "backslash": 'x\\" <evil@evil.example>',
    "comment": "x (evil@evil.example)",
    "percent": "x%0D%0ABcc: evil@evil.example",
    "boundary": "--=_a_00000000000000000000000000000000",
}

REORDERING = {"right-to-left-override": "invoice\u202efdp.exe", "isolate": "a\u2067b\u2069c"}

# Ends of a message that lenient servers saw where there is none (CVE-2023-51764, -51765, -51766), then a command.
SMUGGLED = "MAIL FROM:<evil@evil.example>"
SMUGGLING = {
    f"smuggle-{''.join(f'{ord(letter):02x}' for letter in end)}": f"x{end}{SMUGGLED}\r\n"
    for end in (
        "\n.\n",
        "\n.\r",
        "\n.\r\n",
        "\r.\r",
        "\r.\n",
        "\r.\r\n",
        "\r\n.\r",
        "\r\n.\n",
        "\r\n.\r\n",
        "\n\n.\n\n",
        "\r\r.\r\r",
        "\r\n\n.\r\n",
        "\n\r.\n\r",
        "\r\r\n.\r\r\n",
        "\n..\n",
        "\r\n. \r\n",
        "\r\n.\t\r\n",
        "\u0085.\u0085",
        "\u2028.\u2028",
        "\x0b.\x0b",
    )
}


def _string_address(field: str) -> Callable[[str], Message]:
    return lambda attack: _message(**{field: f"victim@example.org{attack}"})


def _message(**given: Any) -> Message:
    return Message(**({"to": "bob@example.org", "subject": "Subject", "text": "Text\n"} | given))


def _named(attack: str) -> Message:
    return _message(to=[Address(name=attack, local="bob", domain="example.org")])


def _content_id(attack: str) -> Message:
    return _attached(content_id=attack, content_type="image/png")


def _attached(**given: Any) -> Message:
    attachment = Attachment(**({"filename": "a.bin", "content": b"content"} | given))
    return _message(html="<p>Html</p>", attachments=[attachment])


def _recipient(field: str) -> Callable[[str], Message]:
    def build(attack: str) -> Message:
        Recipient(address="bob@example.org", **{field: {"X-Attack": attack}})
        return _message()

    return build


@attrs.frozen
class Field:
    """A place where text enters: how a message with it is made, and under which path it is refused."""

    build: Callable[[str], Message]
    path: str


FIELDS = {
    "subject": Field(lambda attack: _message(subject=attack), "subject"),
    "from": Field(_string_address("from_"), "from"),
    "to": Field(_string_address("to"), "to[0]"),
    "cc": Field(_string_address("cc"), "cc[0]"),
    "bcc": Field(_string_address("bcc"), "bcc[0]"),
    "reply_to": Field(_string_address("reply_to"), "reply_to[0]"),
    "envelope_from": Field(_string_address("envelope_from"), "envelope_from"),
    "to_name": Field(_named, "name"),
    "to_quoted_name": Field(lambda attack: _message(to=f'"{attack}" <bob@example.org>'), "to[0]"),
    "to_local": Field(lambda attack: _message(to=f"vic{attack}tim@example.org"), "to[0]"),
    "to_domain": Field(lambda attack: _message(to=f"victim@exa{attack}mple.org"), "to[0]"),
    "header_name": Field(lambda attack: _message(headers={f"X-A{attack}": "value"}), "headers"),
    "header_value": Field(lambda attack: _message(headers={"X-Attack": attack}), "headers"),
    "references": Field(lambda attack: _message(headers={"References": f"<1@example.org>{attack}"}), "headers"),
    "in_reply_to": Field(lambda attack: _message(headers={"In-Reply-To": f"<1@example.org>{attack}"}), "headers"),
    "list_unsubscribe": Field(
        lambda attack: _message(headers={"List-Unsubscribe": f"<https://example.org/u>{attack}"}), "headers"
    ),
    "tag": Field(lambda attack: _message(tags=[attack]), "tags[0]"),
    "metadata": Field(lambda attack: _message(metadata={"key": attack}), "metadata"),
    "metadata_key": Field(lambda attack: _message(metadata={f"k{attack}": "value"}), "metadata"),
    "recipient_header": Field(_recipient("headers"), "headers"),
    "content_id": Field(_content_id, "content_id"),
    "file_name": Field(lambda attack: _attached(filename=f"{attack}.bin"), "filename"),
    "content_type": Field(lambda attack: _attached(content_type=f"image/png{attack}"), "content_type"),
    "text": Field(lambda attack: _message(text=attack), "text"),
    "html": Field(lambda attack: _message(html=attack), "html"),
    "amp": Field(lambda attack: _message(amp=attack), "amp"),
}

ADDRESSES = ("from", "to", "cc", "bcc", "reply_to", "envelope_from", "to_local", "to_domain")
BODIES = ("text", "html", "amp")
# Fields with so narrow a grammar that nothing on the lists above fits in, the boundary apart.
NARROW = (*ADDRESSES, "header_name", "metadata_key", "content_id", "content_type")
# Fields with a syntax of their own, which is ASCII.
STRUCTURED = ("references", "in_reply_to", "list_unsubscribe")

# What ends a quoted name leaves it open whose address follows; what ends a tag makes two of it.
_REFUSED_PLAIN = {
    ("to_quoted_name", "quote"),
    ("to_quoted_name", "semicolon"),
    ("tag", "comma"),
    ("tag", "semicolon"),
    ("tag", "quote"),
}
_NARROW_BOUNDARY = ("to_local", "header_name", "content_id")


def _expected(field: str, kind: str, attack: str) -> str:
    if field in BODIES:
        return REFUSED if attack in ("nul", "lone-surrogate") else HARMLESS
    if field in NARROW:
        return HARMLESS if attack == "boundary" and field in _NARROW_BOUNDARY else REFUSED
    if kind in ("control", "encoded-control"):
        return REFUSED
    if kind == "reordering":
        return REFUSED if field in (*STRUCTURED, "to_name", "to_quoted_name", "file_name") else HARMLESS
    return REFUSED if (field, attack) in _REFUSED_PLAIN else HARMLESS


@attrs.frozen
class Case:
    """One attack in one field. ``path`` begins the path of the problem where it is refused."""

    name: str
    field: str
    attack: str
    expected: str
    path: str

    def message(self) -> Message:
        """The message with the attack in it. Raises ``ValidationError`` where the model refuses it."""
        return FIELDS[self.field].build(self.attack)


_KINDS = (
    ("control", CONTROLS),
    ("encoded-control", ENCODED_CONTROLS),
    ("plain", PLAIN),
    ("reordering", REORDERING),
)


def _matrix() -> list[Case]:
    cases = [
        Case(f"{field}-{name}", field, attack, _expected(field, kind, name), FIELDS[field].path)
        for kind, attacks in _KINDS
        for name, attack in attacks.items()
        for field in FIELDS
    ]
    cases += [
        Case(f"{field}-{name}", field, attack, HARMLESS, FIELDS[field].path)
        for name, attack in SMUGGLING.items()
        for field in BODIES
    ]
    return cases


CASES: tuple[Case, ...] = tuple(_matrix())

# Whole addresses that some readers take for another, or for several (CVE-2023-27043 and the like).
HOSTILE_ADDRESSES = (
    "alice@example.org(<bob@evil.example>",
    'alice@example.org"<bob@evil.example>',
    "alice@example.org)bob@evil.example",
    "alice@example.org>bob@evil.example",
    "alice@example.org<bob@evil.example",
    "a@x.example> SIZE=1",
    "a@x.example> NOTIFY=NEVER",
    "a@x.example\tSIZE=1",
    "a@x.example <b@y.example>, c@z.example",
    "a@x.example, b@y.example",
    "a@x.example;b@y.example",
    "a@x.example b@y.example",
    "Name, X <a@x.example>",
    "group: a@x.example, b@y.example;",
    "<@relay.example:a@x.example>",
    "<<a@x.example>>",
    "a@x.example>",
    "<a@x.example",
    '"e@evil.example x"@victim.example',
    '"a b"@x.example',
    '"a\r\nb"@x.example',
    "=?utf-8?q?e=40evil.example=3e=20?=@victim.example",
    "a\x00@x.example",
    "a\x7f@x.example",
    "a\uff20evil.example",
    "a@evil\u3002example",
    "a@evil\uff0eexample",
    "a\u2024b@x.example",
    "a@\u2100.example",
    "a@\u24d4vil.example",
    "a@x@y.example",
    "a",
    "",
    " ",
    "a@",
    "@x.example",
    "a@x..y",
    "a@.x",
    "a@x.",
    ".a@x.example",
    "a.@x.example",
    "a..b@x.example",
    "a@-x.example",
    "a@x_y.example",
    "a@[127.0.0.1]",
    "a@127.0.0.1",
    "a@x.example(comment)",
    "(comment)a@x.example",
    "a @x.example",
    "a@ x.example",
    "a\u00a0b@x.example",
    "a\u200bb@x.example",
    "\u202ea@x.example",
    "a" * 65 + "@x.example",
    "a@" + "x" * 64 + ".example",
    "a@" + "x." * 130 + "example",
    "a@xn--a.example",
    "a@xn--.example",
)

# Odd, but they mean one mailbox to everybody.
PLAIN_ADDRESSES = (
    "user%evil@relay.example",
    "bang!path@x.example",
    "-oQ/x@x.example",
    "a+tag@x.example",
    "o'hara@x.example",
    "{}|~@x.example",
    "a@x",
)
