"""Values that were checked before: made anew from where they are kept, millions of them, without looking at them again.

To be given only what the checked values of the model said: ``Address.local`` and so on, and maps of their fields.
"""

from __future__ import annotations

from collections.abc import Mapping

from genie_connect.model.address import Address, split_name
from genie_connect.model.batch import Recipient
from genie_connect.model.frozen import EMPTY, FrozenMap

_set = object.__setattr__


def known_address(text: str) -> Address:
    """The address that ``str`` made ``text`` of."""
    name, email = split_name(text)
    local, _, domain = email.rpartition("@")
    return address_of(name, local, domain)


def address_of(name: str, local: str, domain: str) -> Address:
    """The address of these parts."""
    made = Address.__new__(Address)
    _set(made, "name", name)
    _set(made, "local", local)
    _set(made, "domain", domain)
    _set(made, "email", f"{local}@{domain}")
    _set(made, "key", f"{local.lower()}@{domain}")
    return made


def recipient_of(
    address: Address,
    merge: Mapping[str, str] = EMPTY,
    headers: Mapping[str, str] = EMPTY,
    metadata: Mapping[str, str] = EMPTY,
) -> Recipient:
    """The recipient of these parts."""
    made = Recipient.__new__(Recipient)
    _set(made, "address", address)
    _set(made, "merge", FrozenMap(merge) if merge else EMPTY)
    _set(made, "headers", FrozenMap(headers) if headers else EMPTY)
    _set(made, "metadata", FrozenMap(metadata) if metadata else EMPTY)
    return made
