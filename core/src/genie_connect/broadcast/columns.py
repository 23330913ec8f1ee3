"""What the columns of a file mean, found out once, and rows turned into recipients by it.

Nearly every row holds a plain address and plain text: those are told by a pattern and a look at their characters, in a
fifth of the time that the model's own checks take. Whatever looks different goes through those checks.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, Final

from genie_connect.errors import UnusableList, ValidationError
from genie_connect.model import known
from genie_connect.model.address import MAX_ADDRESS_BYTES, MAX_LOCAL_BYTES, MAX_NAME_CHARACTERS, Address, AddressLike
from genie_connect.model.batch import Recipient
from genie_connect.model.message import MAX_METADATA, is_key
from genie_connect.model.text import MAX_LINE_CHARACTERS

ADDRESS_COLUMNS: Final = ("email", "address", "to", "e-mail", "mail")
NAME_COLUMN: Final = "name"
HEADER_PREFIX: Final = "header:"
META_PREFIX: Final = "meta:"
GIVE_ONE: Final = f"give one of the columns {', '.join(ADDRESS_COLUMNS[:3])}"
_PLAIN: Final = re.compile(r"([A-Za-z0-9_+-]+(?:\.[A-Za-z0-9_+-]+)*)@([A-Za-z0-9.-]+)\Z")


class Columns:
    """The columns of one file.

    Raises ``UnusableList`` where none holds the address, one is there twice, or one has a name that nothing could
    use: that is told once, and not for each row. Columns without a name hold nothing.
    """

    def __init__(self, names: Sequence[str]) -> None:
        self.names = tuple(names)
        lower = [name.lower() for name in names]
        twice = sorted({name for name in lower if name and lower.count(name) > 1})
        if twice:
            raise UnusableList(
                f"the recipients file has two columns {shown_name(twice[0])}", hint="give each column a name of its own"
            )
        address = next((name for name in ADDRESS_COLUMNS if name in lower), None)
        if address is None:
            shown = ", ".join(shown_name(name) for name in names[:20] if name) or "none"
            raise UnusableList(
                f"no column of the recipients file holds the address: it has {shown}",
                hint=f"call one of them {', '.join(ADDRESS_COLUMNS[:3])}; the first line must hold the names",
            )
        self._address = lower.index(address)
        self._name = lower.index(NAME_COLUMN) if NAME_COLUMN in lower else None
        rest = [(index, name) for index, name in enumerate(self.names) if name and index != self._address]
        self._merge = [(index, name) for index, name in rest if not _prefixed(name)]
        self._nameless = [index for index, name in enumerate(self.names) if not name]
        strange = next((name for _, name in self._merge if not is_key(name)), None)
        if strange is not None:
            raise UnusableList(
                f"the column {shown_name(strange)} of the recipients file cannot be a merge field",
                hint="give it a name of a letter, then letters, digits, _ . or -, in UTF-8, or take the column out",
            )
        # Each value of a header is looked at by the rules of its field; those of others by their characters alone.
        self._plain = len(self._merge) == len(rest) <= MAX_METADATA

    def recipient(self, values: Sequence[str]) -> Recipient:
        """The recipient of a row with as many values as there are columns. Raises ``ValidationError``."""
        if any(values[index] for index in self._nameless):
            raise ValidationError.single("", "has a value in a column without a name", "name the column, or empty it")
        quickly = self._quickly(values) if self._plain else None
        return quickly or recipient_of(dict(zip(self.names, values, strict=True)))

    def _quickly(self, values: Sequence[str]) -> Recipient | None:
        address = plain_address(values[self._address], "" if self._name is None else values[self._name])
        if address is None:
            return None
        merge = {name: value for index, name in self._merge if (value := values[index])}
        for value in merge.values():
            if not value.isprintable() or len(value) > MAX_LINE_CHARACTERS or "=?" in value:
                return None
        return known.recipient_of(address, merge)


def plain_address(email: str, name: str = "") -> Address | None:
    """The address that the model would make of plain text; ``None`` for what it has to look at itself."""
    found = _PLAIN.match(email)
    if found is None or len(email) > MAX_ADDRESS_BYTES or len(found[1]) > MAX_LOCAL_BYTES:
        return None
    if name and not (name.isprintable() and len(name) <= MAX_NAME_CHARACTERS and "=" not in name):
        return None
    domain = _domain(found[2])
    if domain is None or len(found[1]) + 1 + len(domain) > MAX_ADDRESS_BYTES:
        return None
    return known.address_of(name.strip(" "), found[1], domain)


@lru_cache(maxsize=4096)
def _domain(text: str) -> str | None:
    try:
        return Address(local="any", domain=text).domain
    except ValidationError:
        return None


def recipient_of(given: Recipient | AddressLike | Mapping[str, Any]) -> Recipient:
    """A recipient from whatever it was given as. Raises ``ValidationError``."""
    if isinstance(given, Recipient):
        return given
    if isinstance(given, Mapping):
        return _from_mapping(given)
    plain = plain_address(given) if isinstance(given, str) else None
    return Recipient(address=given) if plain is None else known.recipient_of(plain)


def _from_mapping(given: Mapping[str, Any]) -> Recipient:
    """A row by its columns; ``merge``, ``headers`` and ``metadata`` may be objects, as ``Recipient`` has them."""
    parts: dict[str, dict[str, Any]] = {"merge": {}, "headers": {}, "metadata": {}}
    address_column = _address_column(given)
    address: Any = None
    name = ""
    for key, value in given.items():
        if value is None or value == "":
            continue
        lower = key.lower() if isinstance(key, str) else ""
        if key == address_column:
            address = value
        elif isinstance(value, Mapping):
            prefix, part = ("", parts[lower]) if lower in parts else (f"{key}.", parts["merge"])
            part.update({f"{prefix}{inner}": each for inner, each in value.items() if each is not None and each != ""})
        elif lower.startswith(HEADER_PREFIX):
            parts["headers"][key[len(HEADER_PREFIX) :]] = value
        elif lower.startswith(META_PREFIX):
            parts["metadata"][key[len(META_PREFIX) :]] = value
        else:
            parts["merge"][key] = value
            if lower == NAME_COLUMN and isinstance(value, str):
                name = value
    if address is None:
        raise ValidationError.single(address_column or "email", "has no value", GIVE_ONE)
    if name and isinstance(address, str) and "<" not in address:
        address = _named(address, name)
    return Recipient(address=address, **parts)


def _address_column(given: Mapping[str, Any]) -> str | None:
    """The column with the address: the same in each row, whichever of them are empty."""
    lower = {key.lower(): key for key in given if isinstance(key, str)}
    return next((lower[name] for name in ADDRESS_COLUMNS if name in lower), None)


def _named(email: str, name: str) -> Address:
    try:
        parsed = Address.parse(email.strip())
        return Address(name=name, local=parsed.local, domain=parsed.domain)
    except ValidationError as error:
        raise ValidationError(error.under("email")) from None


def _prefixed(name: str) -> bool:
    return name.lower().startswith((HEADER_PREFIX, META_PREFIX))


def shown_name(name: str) -> str:
    """The name of a column for an error, also where it is no text at all."""
    return repr(name.encode("utf-8", "backslashreplace").decode()[:80])
