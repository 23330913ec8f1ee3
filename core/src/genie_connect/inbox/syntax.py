"""Reading paths and parameters of MAIL and RCPT (RFC 5321 section 4.1.2, RFC 6531 section 3.3)."""

from __future__ import annotations

import re
from collections.abc import Mapping

import attrs

MAX_LOCAL_PART_BYTES = 64  # RFC 5321 section 4.5.3.1.1
MAX_PATH_BYTES = 256  # RFC 5321 section 4.5.3.1.3, with the angle brackets

# The alternatives begin with different characters, so a hostile argument costs linear time.
_PATH = re.compile(r'<((?:[^<>"\\ ]|"(?:[^"\\]|\\.)*")*)>(?: (.*))?', re.DOTALL)
_SOURCE_ROUTE = re.compile(r"@[^:]*:")
_ATEXT = r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~\-\u0080-\U0010ffff]+"
_LOCAL_PART = re.compile(rf'{_ATEXT}(?:\.{_ATEXT})*|"(?:[^"\\]|\\.)*"')
_LABEL = r"[A-Za-z0-9\u0080-\U0010ffff](?:[A-Za-z0-9\u0080-\U0010ffff\-]*[A-Za-z0-9\u0080-\U0010ffff])?"
_DOMAIN = re.compile(rf"{_LABEL}(?:\.{_LABEL})*|\[[A-Za-z0-9:.\-]+\]")
_PARAMETER = re.compile(r"([A-Za-z0-9][A-Za-z0-9-]*)(?:=([^= \x00-\x1f\x7f]+))?")


class SyntaxFault(ValueError):
    """An argument that breaks the grammar; its text says what is wrong."""


@attrs.frozen(kw_only=True)
class PathArgument:
    """The path of a MAIL or RCPT command and its parameters, keywords in upper case."""

    address: str
    parameters: Mapping[str, str | None]


def parse_path(argument: str, keyword: str) -> PathArgument:
    """Read `FROM:<path> params` or `TO:<path> params`; raises SyntaxFault.

    RFC 5321 section 4.1.1.11 allows no space after the colon, and clients that send one fail at strict servers.
    """
    if argument[: len(keyword)].upper() != keyword:
        raise SyntaxFault(f"expected {keyword}<address>")
    match = _PATH.fullmatch(argument, len(keyword))
    if match is None:
        raise SyntaxFault(f"expected {keyword}<address> with no space after the colon")
    address = _SOURCE_ROUTE.sub("", match[1], count=1) if match[1].startswith("@") else match[1]
    _check_address(address)
    return PathArgument(address=address, parameters=_parse_parameters(match[2]))


def _check_address(address: str) -> None:
    if not address or address.lower() == "postmaster":
        return
    local_part, at, domain = address.rpartition("@")
    if not at or not _LOCAL_PART.fullmatch(local_part) or not _DOMAIN.fullmatch(domain):
        raise SyntaxFault("the address is not local-part@domain")
    if len(local_part.encode()) > MAX_LOCAL_PART_BYTES:
        raise SyntaxFault(f"the local part is longer than {MAX_LOCAL_PART_BYTES} octets")
    if len(address.encode()) + 2 > MAX_PATH_BYTES:
        raise SyntaxFault(f"the path is longer than {MAX_PATH_BYTES} octets")


def _parse_parameters(text: str | None) -> Mapping[str, str | None]:
    parameters: dict[str, str | None] = {}
    for word in text.split(" ") if text else ():
        if not word:
            continue
        match = _PARAMETER.fullmatch(word)
        if match is None:
            raise SyntaxFault("a parameter is not KEYWORD or KEYWORD=value")
        keyword = match[1].upper()
        if keyword in parameters:
            raise SyntaxFault(f"parameter {keyword} is given twice")
        parameters[keyword] = match[2]
    return parameters
