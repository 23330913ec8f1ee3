"""Email addresses: a strict subset of RFC 5321, one spelling for each mailbox.

The domain is kept as lower-case A-labels (IDNA 2008 through UTS 46), so envelope, header and suppression key cannot
disagree about where an address points. The local part is a dot-atom, in Unicode NFC where it is not ASCII (RFC 6531);
quoted local parts, comments, routes and address literals are refused, since mail systems read them differently.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from functools import lru_cache
from types import ModuleType
from typing import TypeAlias

import attrs

from genie_connect.errors import Problem, ValidationError
from genie_connect.model import text
from genie_connect.model.validation import attempt, each, settle

MAX_LOCAL_BYTES = 64  # RFC 5321 section 4.5.3.1.1
MAX_ADDRESS_BYTES = 254  # RFC 5321 section 4.5.3.1.3, without the angle brackets
MAX_NAME_CHARACTERS = 256
_KNOWN_DOMAINS = 1024
"""A list has many addresses and few domains."""

_ATOM = r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+"
_LABEL = r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
_ASCII_LOCAL = re.compile(rf"{_ATOM}(?:\.{_ATOM})*\Z")
_ASCII_DOMAIN = re.compile(rf"{_LABEL}(?:\.{_LABEL})*\Z")
_ASCII_ATEXT = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789!#$%&'*+/=?^_`{|}~-")
# Full stops and commercial ats that only look like the ASCII ones.
_LOOKALIKES = re.compile("[\uff20\ufe6b\u3002\uff0e\uff61\ufe52\u2024]")
_SPECIALS = re.compile(r'[()<>\[\]:;@\\,"]')
_QUOTED = re.compile(r'"((?:[^"\\]|\\.)*)"\Z', re.DOTALL)


def _to_name(value: str) -> str:
    return attempt(_name, value)


def _to_local(value: str) -> str:
    return attempt(_local, value)


def _to_domain(value: str) -> str:
    return attempt(_domain, value)


@attrs.frozen(kw_only=True, repr=False)
class Address:
    """A mailbox, with the name shown for it.

    Raises ``ValidationError`` naming each part that is wrong. ``email`` is the address alone, as it stands in the
    envelope and in headers: ``local@domain``. ``key`` is the spelling under which a suppression is kept: case of the
    local part does not count.
    """

    name: str = attrs.field(default="", converter=_to_name)
    local: str = attrs.field(converter=_to_local)
    domain: str = attrs.field(converter=_to_domain)

    # Made once, since everything asks for them; they say nothing that local and domain do not.
    email: str = attrs.field(init=False, eq=False)
    key: str = attrs.field(init=False, eq=False)

    def __attrs_post_init__(self) -> None:
        settle(self)
        local, domain = self.local, self.domain
        email = f"{local}@{domain}"
        if len(email) > MAX_ADDRESS_BYTES or not email.isascii():
            size = len(email.encode())
            if size > MAX_ADDRESS_BYTES:
                problem = Problem("", f"the address has {size} bytes; the most is {MAX_ADDRESS_BYTES}")
                raise ValidationError([problem], what="address")
            local = unicodedata.normalize("NFC", local)
        object.__setattr__(self, "email", email)
        object.__setattr__(self, "key", f"{local.lower()}@{domain}")

    @classmethod
    def parse(cls, value: object) -> Address:
        """Read ``ada@example.com`` or ``Ada <ada@example.com>``: one address, no list, no comment, no group."""
        if isinstance(value, Address):
            return value
        if not isinstance(value, str):
            raise ValidationError.single("", f"must be an address, not {type(value).__name__}")
        if plain := cls._plain(value):
            return plain
        # Before any further look: 1000 characters are more than a name and an address can have.
        problem = text.line_problem(value, limit=1000)
        if problem:
            raise ValidationError([problem])
        name, email = split_name(value.strip(" "))
        local, at, domain = email.rpartition("@")
        if not at:
            fix = "write it as name@example.com"
            raise ValidationError.single("", f"{_shown(email)} is not an email address: it has no @", fix)
        try:
            return cls(name=name, local=local, domain=domain)
        except ValidationError as error:
            raise ValidationError([attrs.evolve(problem, path="") for problem in error.problems]) from None

    @classmethod
    def _plain(cls, value: str) -> Address | None:
        """A bare address in ASCII, as nearly all are, by the same rules; ``None`` for what wants a closer look."""
        parts = _plain_parts(value)
        if parts is None:
            return None
        local, domain, email = parts
        made, put = object.__new__(cls), object.__setattr__
        put(made, "name", "")
        put(made, "local", local)
        put(made, "domain", domain)
        put(made, "email", email)
        put(made, "key", email if email.islower() else f"{local.lower()}@{domain}")
        return made

    @property
    def needs_smtputf8(self) -> bool:
        """Whether only a server with SMTPUTF8 (RFC 6531) can take this address."""
        return not self.local.isascii()

    @property
    def unicode_domain(self) -> str:
        """The domain for people to read; protocol text uses ``domain``."""
        if "xn--" not in self.domain:
            return self.domain
        return str(_idna().decode(self.domain))

    def __str__(self) -> str:
        if not self.name:
            return self.email
        escaped = self.name.replace("\\", "\\\\").replace('"', '\\"')
        return f'"{escaped}" <{self.email}>' if _SPECIALS.search(self.name) else f"{self.name} <{self.email}>"

    def __repr__(self) -> str:
        return f"Address({str(self)!r})"


AddressLike: TypeAlias = Address | str
AddressesLike: TypeAlias = AddressLike | Iterable[AddressLike] | None


def addresses(values: AddressesLike) -> tuple[Address, ...]:
    """One address or several, parsed, every problem under its index."""
    return each(Address.parse, values, noun="an address")


def bare(value: object) -> str:
    """The address alone that ``Address.parse`` reads, for those of which no more is wanted."""
    if isinstance(value, str):
        phrase, bracket, email = value[:-1].rpartition("<") if value.endswith(">") else ("", "", value)
        if bracket and not _is_plain_phrase(phrase):
            return Address.parse(value).email
        parts = _plain_parts(email if bracket else value)
        if parts is not None:
            return parts[2]
    return Address.parse(value).email


def _is_plain_phrase(phrase: str) -> bool:
    """Whether a name before an address is one that nothing could be wrong with."""
    if len(phrase) > MAX_NAME_CHARACTERS or phrase.startswith(" ") or "=?" in phrase:
        return False
    return phrase.isascii() and phrase.isprintable() and _SPECIALS.search(phrase) is None


def split_name(value: str) -> tuple[str, str]:
    """The name and the address alone, neither of them checked. Raises ``ValidationError`` where they cannot be told."""
    if not value.endswith(">"):
        return "", value
    phrase, bracket, email = value[:-1].rpartition("<")
    if not bracket:
        raise ValidationError.single("", f"{_shown(value)} has a > without a <")
    phrase = phrase.strip(" ")
    quoted = _QUOTED.match(phrase)
    if quoted:
        return re.sub(r"\\(.)", r"\1", quoted.group(1)), email
    special = _SPECIALS.search(phrase)
    if special:
        message = f"the name {_shown(phrase)} holds {special.group()!r} outside quotes"
        raise ValidationError.single("", message, 'put the name in quotes: "Doe, Jane" <jane@example.com>')
    return phrase, email


def _plain_parts(value: str) -> tuple[str, str, str] | None:
    """Local part, domain and both of a bare address in ASCII; ``None`` for what wants a closer look."""
    local, _, domain = value.partition("@")
    if _ASCII_LOCAL.match(local) is None or len(local) > MAX_LOCAL_BYTES or "=?" in local or not domain.isascii():
        return None
    try:
        domain = _checked_domain(domain)
    except ValidationError:
        return None  # to be told with all that is wrong
    email = f"{local}@{domain}"
    return None if len(email) > MAX_ADDRESS_BYTES else (local, domain, email)


def _shown(value: str) -> str:
    return repr(value if len(value) <= 80 else value[:77] + "...")


def _name(value: object) -> str:
    if value == "":
        return ""
    return text.one_line(value, reordering=True, limit=MAX_NAME_CHARACTERS).strip(" ")


def _local(value: object) -> str:
    local = text.one_line(value)
    if _ASCII_LOCAL.match(local) is None:
        local = _international_local(local)
    if len(local.encode()) > MAX_LOCAL_BYTES:
        raise ValidationError.single("", f"the part before the @ has more than {MAX_LOCAL_BYTES} bytes")
    if "=?" in local and "?=" in local:
        # Some readers decode it, and then the mail goes to somebody else.
        raise ValidationError.single("", f"{_shown(local)} looks like an encoded-word")
    return local


def _international_local(local: str) -> str:
    if not local:
        raise ValidationError.single("", "there is nothing before the @")
    if local.startswith('"'):
        raise ValidationError.single("", f"{_shown(local)} is quoted, which mail systems read in different ways")
    if local.startswith(".") or local.endswith(".") or ".." in local:
        raise ValidationError.single("", f"{_shown(local)} has a dot at an end, or two in a row")
    if _LOOKALIKES.search(local):
        raise ValidationError.single("", f"{_shown(local)} holds a character that only looks like . or @")
    for character in local:
        if character == "." or character in _ASCII_ATEXT:
            continue
        # RFC 6531 section 3.3 takes all of UTF-8; what is no letter, mark, number or symbol has no place in a name.
        if character.isascii() or unicodedata.category(character)[0] in "CZ":
            raise ValidationError.single("", f"{_shown(local)} holds {character!r} ({text.describe(character)})")
    return unicodedata.normalize("NFC", local)


def _domain(value: object) -> str:
    return _checked_domain(text.one_line(value))


@lru_cache(maxsize=_KNOWN_DOMAINS)
def _checked_domain(domain: str) -> str:
    if not domain:
        raise ValidationError.single("", "there is nothing after the @")
    if domain.startswith("["):
        raise ValidationError.single("", f"{_shown(domain)} is an address literal", "use a domain name")
    if not domain.isascii():
        domain = _to_ascii(domain)
    elif "xn--" in domain.lower():
        domain = _checked_ascii(domain.lower())
    if _ASCII_DOMAIN.match(domain) is None or len(domain) > 253:
        raise ValidationError.single("", f"{_shown(domain)} is not a domain name", "write it as example.com")
    if domain.rpartition(".")[2].isdigit():
        raise ValidationError.single("", f"{_shown(domain)} ends in a number, so it is no domain name")
    return domain.lower()


def _to_ascii(domain: str) -> str:
    if _LOOKALIKES.search(domain):
        raise ValidationError.single("", f"{_shown(domain)} holds a character that only looks like . or @")
    # UTS 46 maps full-width and circled characters to plain ones. Whoever types those means to mislead.
    if unicodedata.normalize("NFKC", domain) != unicodedata.normalize("NFC", domain):
        raise ValidationError.single("", f"{_shown(domain)} holds characters that stand for others", "type it plainly")
    idna = _idna()
    try:
        return str(idna.encode(domain, uts46=True, std3_rules=True).decode("ascii"))
    except idna.IDNAError as error:
        raise ValidationError.single("", f"{_shown(domain)} is not a domain name: {error}") from None


def _checked_ascii(domain: str) -> str:
    idna = _idna()
    try:
        return str(idna.encode(idna.decode(domain)).decode("ascii"))
    except (idna.IDNAError, UnicodeError) as error:
        raise ValidationError.single("", f"{_shown(domain)} is not a domain name: {error}") from None


def _idna() -> ModuleType:
    # Its tables cost a few milliseconds and most addresses need none of them.
    import idna

    return idna
