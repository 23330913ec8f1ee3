"""Every error the core raises.

::

    GenieConnectError
    ├── ValidationError            a value that enters is wrong; holds every problem found, not only the first
    │   └── SettingsError          the same, for one connection's settings
    ├── ConfigurationError         the configuration as a whole cannot be used
    │   └── UnusableList           a list of recipients, or the file for its broken rows, cannot be used as a whole
    ├── SecretUnavailable          a referenced secret cannot be read
    ├── ConnectorUnavailable       no usable connector of that id
    ├── ContractViolation          a connector broke the contract
    ├── NoConnection               no connection can carry the message; holds the plan that says why
    ├── UnsafeMessage              a composed message must not reach a wire: a defect of this package
    ├── WebhookRejected            a webhook request is unsigned, stale or malformed
    │   ├── WebhookNeeds           it cannot be read before the receiver has fetched a document
    │   └── WebhookChallenge       it holds no event: the provider wants to read an answer
    ├── StoreError                 the store cannot be used; nothing was written in part
    │   ├── StoreUnavailable       it cannot be reached, read or written just now
    │   ├── StoreVersion           its schema is older or newer than this version needs
    │   └── StoreKey               its secrets are encrypted with another key
    ├── IdempotencyConflict        the key was used for another content
    ├── NoSuchBroadcast            no broadcast has this number
    ├── BroadcastStateError         a broadcast cannot do this in the state that it is in
    ├── NothingUnknown             there is nothing to resolve: no such copy, or it is known already
    └── EngineUnavailable          the engine cannot be reached

Each pickles, carries machine-readable fields, and holds neither a secret nor a list of recipients in its text.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, Final

import attrs

if TYPE_CHECKING:
    from genie_connect.model.plan import Plan

__all__ = [
    "BroadcastStateError",
    "ConfigurationError",
    "ConnectorUnavailable",
    "ContractViolation",
    "EngineUnavailable",
    "GenieConnectError",
    "IdempotencyConflict",
    "NoConnection",
    "NoSuchBroadcast",
    "NothingUnknown",
    "Problem",
    "SecretUnavailable",
    "SettingsError",
    "StoreError",
    "StoreKey",
    "StoreUnavailable",
    "StoreVersion",
    "UnsafeMessage",
    "UnusableList",
    "ValidationError",
    "WebhookChallenge",
    "WebhookNeeds",
    "WebhookRejected",
]

_FIELD_NAME: Final = re.compile(r"[a-z0-9-]{1,100}\Z")


@attrs.frozen
class Problem:
    """One thing that is wrong with a value: where it stands, what is wrong, and what to do."""

    path: str
    message: str
    fix: str = ""

    def under(self, prefix: str) -> Problem:
        """The same problem seen from one level further out."""
        if not self.path:
            return attrs.evolve(self, path=prefix)
        joint = "" if self.path.startswith("[") else "."
        return attrs.evolve(self, path=f"{prefix}{joint}{self.path}")

    def __str__(self) -> str:
        where = f"{self.path}: " if self.path else ""
        fix = f" ({self.fix})" if self.fix else ""
        return f"{where}{self.message}{fix}"


class GenieConnectError(Exception):
    """Base of all errors of Genie Connect."""

    code: str = "error"
    retryable: bool = False

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __reduce__(self) -> tuple[Any, ...]:
        # Keyword-only arguments do not survive the default protocol, so state is restored instead.
        return (_restore, (type(self), self.args, dict(self.__dict__)))


def _restore(cls: type[GenieConnectError], args: tuple[Any, ...], state: dict[str, Any]) -> GenieConnectError:
    error = cls.__new__(cls)
    Exception.__init__(error, *args)
    error.__dict__.update(state)
    return error


class ValidationError(GenieConnectError, ValueError):
    """A value was refused. ``problems`` holds everything found in it, each with the path of its field."""

    code = "invalid"

    def __init__(self, problems: Iterable[Problem], *, what: str = "value") -> None:
        self.problems = tuple(problems)
        self.what = what
        super().__init__(f"invalid {what}: " + "; ".join(str(problem) for problem in self.problems))

    @classmethod
    def single(cls, path: str, message: str, fix: str = "") -> ValidationError:
        """An error with one problem."""
        return cls([Problem(path, message, fix)])

    def under(self, prefix: str) -> tuple[Problem, ...]:
        """The problems, each path put below ``prefix``."""
        return tuple(problem.under(prefix) for problem in self.problems)


class SettingsError(ValidationError):
    """A connection's settings were refused."""

    code = "invalid_settings"

    def __init__(self, problems: Iterable[Problem], *, connector: str = "") -> None:
        super().__init__(problems, what=f"settings of connector {connector}" if connector else "settings")
        self.connector = connector


class ConfigurationError(GenieConnectError):
    """The configuration cannot be used; ``problems`` may name several places in it."""

    code = "configuration"

    def __init__(self, message: str, *, problems: Iterable[Problem] = (), hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.problems = tuple(problems)


class UnusableList(ConfigurationError):
    """A file of recipients cannot be read at all, or its columns say nothing, or its reject file cannot be written."""

    code = "unusable_list"


class SecretUnavailable(GenieConnectError):
    """A referenced secret cannot be read. Holds the reference, never a value."""

    code = "secret_unavailable"

    def __init__(self, reference: str, cause: str, *, hint: str = "") -> None:
        super().__init__(f"the secret {reference} cannot be read: {cause}", hint=hint)
        self.reference = reference
        self.cause = cause


class ConnectorUnavailable(GenieConnectError):
    """No usable connector has this id: unknown, not allowed, or failed to load."""

    code = "connector_unavailable"

    def __init__(self, connector: str, cause: str, *, hint: str = "") -> None:
        super().__init__(f"connector {connector!r} is not available: {cause}", hint=hint)
        self.connector = connector
        self.cause = cause


class ContractViolation(GenieConnectError):
    """A connector did something the contract forbids; ``hook`` says where."""

    code = "contract_violation"

    def __init__(self, connector: str, hook: str, cause: str) -> None:
        super().__init__(f"connector {connector!r} broke the contract in {hook}: {cause}")
        self.connector = connector
        self.hook = hook
        self.cause = cause


class NoConnection(GenieConnectError):
    """No connection can carry the message. ``plan`` says for each connection why not."""

    code = "no_connection"

    def __init__(self, plan: Plan) -> None:
        super().__init__("no connection can carry this message:\n" + plan.explain())
        self.plan = plan


class UnsafeMessage(GenieConnectError):
    """A composed message holds what must not reach a wire; nothing of it was sent. Always a defect, never bad input."""

    code = "unsafe_message"

    def __init__(self, found: str) -> None:
        super().__init__(f"the composed message holds {found}", hint="report this as a defect of Genie Connect")
        self.found = found


class WebhookRejected(GenieConnectError):
    """A webhook request was refused before any event was read from it.

    ``field`` is the header field, form field or setting that is wrong, ``reason`` what is wrong with it, ``hint`` what
    to do, and ``status`` the HTTP status to answer with: 503 where the fault is ours and passes, so that the provider
    comes back.
    """

    code = "webhook_rejected"

    def __init__(self, reason: str, *, status: int = 401, field: str = "", hint: str = "") -> None:
        super().__init__(f"webhook refused: {Problem(field, reason, hint)}", hint=hint)
        self.reason = reason
        self.status = status
        self.field = field


class WebhookNeeds(WebhookRejected):
    """A webhook cannot be verified before the document at ``url`` has been fetched, which a parser may not do itself.

    The receiver fetches it, without following redirects, and asks again with it in ``WebhookRequest.documents``.
    """

    code = "webhook_needs"

    def __init__(self, url: str, what: str) -> None:
        super().__init__(f"{what} has not been fetched yet", status=503, hint="the provider is to come back")
        self.url = url


class WebhookChallenge(WebhookRejected):
    """A webhook holds no event: its provider asks whether anybody is there who wants its events, and reads the answer.

    Raised only for a request that was verified. ``answer`` is JSON, for the receiver to answer with, and ``headers``
    are header fields of the answer, by lower-case name. Raises ``ValueError`` for fields that could be more than one.
    """

    code = "webhook_challenge"

    def __init__(self, answer: str = "", *, headers: Mapping[str, str] | None = None) -> None:
        super().__init__("the provider asks for an answer, and sent no event", status=200)
        self.answer = answer
        self.headers = dict(headers or {})
        for name, value in self.headers.items():
            # What a connector gives back comes from the request, and must not end the field.
            if not _FIELD_NAME.match(name) or not (value.isascii() and value.isprintable()):
                raise ValueError("a header field of the answer has another name, or holds more than printable ASCII")


class StoreError(GenieConnectError):
    """The store cannot be used. What was asked has not been done, not even in part."""

    code = "store"


class StoreUnavailable(StoreError):
    """The store cannot be reached, read or written just now: no such file, locked, disk full, connection lost."""

    code = "store_unavailable"
    retryable = True


class StoreVersion(StoreError):
    """The store's schema is older or newer than this version of the package works with."""

    code = "store_version"

    def __init__(self, message: str, *, found: str | None, wanted: str, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.found = found
        self.wanted = wanted


class StoreKey(StoreError):
    """The secrets in the store cannot be decrypted with the key that was given."""

    code = "store_key"


class IdempotencyConflict(GenieConnectError):
    """An idempotency key came again with another content. Nothing was sent."""

    code = "idempotency_conflict"

    def __init__(self, key: str) -> None:
        super().__init__(
            f"the idempotency key {key!r} was used for a send with another content",
            hint="give each send a key of its own, and the same key only to repeat the same send",
        )
        self.key = key


class NoSuchBroadcast(GenieConnectError):
    """No broadcast of this tenant has this number, or it was purged."""

    code = "no_such_broadcast"

    def __init__(self, broadcast: int) -> None:
        super().__init__(f"there is no broadcast {broadcast}", hint="see: genie-connect broadcasts list")
        self.broadcast = broadcast


class BroadcastStateError(GenieConnectError):
    """A broadcast cannot do what was asked in the state that it is in. Nothing was changed."""

    code = "broadcast_state"

    def __init__(self, broadcast: int, *, state: str, asked: str, hint: str = "") -> None:
        super().__init__(f"broadcast {broadcast} cannot {asked}: it is {state}", hint=hint)
        self.broadcast = broadcast
        self.state = state
        self.asked = asked


class NothingUnknown(GenieConnectError):
    """A copy cannot be resolved: there is none, or what became of it is known already. Nothing was changed."""

    code = "nothing_unknown"

    def __init__(self, unit: int, position: int, cause: str) -> None:
        super().__init__(f"copy {unit}/{position} cannot be resolved: {cause}", hint="see: genie-connect unknown list")
        self.unit = unit
        self.position = position
        self.cause = cause


class EngineUnavailable(GenieConnectError):
    """The engine cannot be reached or does not accept work."""

    code = "engine_unavailable"
    retryable = True
