"""Secrets: referenced or literal, shown nowhere."""

from __future__ import annotations

import hmac
import os
import re
from pathlib import Path
from typing import NoReturn

from genie_connect.errors import SecretUnavailable

MASK = "***"
_ENVIRONMENT = re.compile(r"env:([A-Za-z_][A-Za-z0-9_]*)\Z")
_LITERAL = "literal:"


class Secret:
    """A password or key: ``env:NAME``, ``file:PATH``, or the value itself.

    Not a ``str``, so that joining or formatting cannot bring it into a log; ``reveal()`` is the one way to the value.
    A literal that begins like a reference is written ``literal:env:...``.
    """

    __slots__ = ("_given",)

    def __init__(self, given: str) -> None:
        self._given = given

    @property
    def reference(self) -> str | None:
        """Where the value is kept (``env:NAME``, ``file:PATH``), or ``None`` for a literal."""
        if _ENVIRONMENT.match(self._given) or self._given.startswith("file:"):
            return self._given
        return None

    def reveal(self) -> str:
        """The value. Raises ``SecretUnavailable`` where a reference leads nowhere."""
        given = self._given
        if given.startswith("env:") and (environment := _ENVIRONMENT.match(given)):
            return self._from_environment(environment.group(1))
        if given.startswith("file:"):
            return self._from_file(Path(given.removeprefix("file:")))
        return given.removeprefix(_LITERAL)

    def _from_environment(self, name: str) -> str:
        value = os.environ.get(name)
        if not value:
            raise SecretUnavailable(self._given, "the variable is not set", hint=f"set {name} and start again")
        return value

    def _from_file(self, path: Path) -> str:
        try:
            value = path.expanduser().read_text(encoding="utf-8").rstrip("\r\n")
        except (OSError, UnicodeError) as error:
            cause = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
            raise SecretUnavailable(self._given, cause or "it cannot be read", hint="check path and rights") from None
        if not value:
            raise SecretUnavailable(self._given, "the file is empty", hint="write the secret into it")
        return value

    def __repr__(self) -> str:
        return f"Secret({self.reference or MASK!r})"

    def __str__(self) -> str:
        return self.reference or MASK

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Secret):
            return NotImplemented
        return hmac.compare_digest(self._given.encode(), other._given.encode())

    def __hash__(self) -> int:
        return hash((type(self), self._given))

    def __copy__(self) -> Secret:
        return self

    def __deepcopy__(self, memo: dict[int, object]) -> Secret:
        # It cannot change, so a copy of the settings around it may share it; the default would go through pickle.
        return self

    def __reduce__(self) -> NoReturn:
        raise TypeError("a Secret is not pickled: the value would be readable in the result")
