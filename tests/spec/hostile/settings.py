"""Hostile connectors: what they do wrong in their settings."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import attrs

from genie_connect import (
    Secret,
    setting,
    settings,
)
from genie_connect.errors import Problem, WebhookRejected
from genie_connect.model.settings import _redacted_repr
from tests.spec.hostile.honest import HonestSettings, secret_problem, url_problem
from tests.spec.hostile.registry import fails
from tests.spec.hostile.spoiling import Info


def with_settings(**fields: Any) -> type[Any]:
    """The settings class of the honest one, with fields beside."""
    annotations = {name: kind for name, (kind, _) in fields.items()}
    values = {name: value for name, (_, value) in fields.items()}
    base = {
        "base_url": setting(title="Base URL", help="Where it is.", check=url_problem),
        "api_key": setting(title="API key", help="Account > Keys", secret=True, group="auth"),
        "webhook_secret": setting(
            title="Signing secret", secret=True, group="auth", default=None, check=secret_problem
        ),
        "old_webhook_secret": setting(
            title="Old signing secret", secret=True, group="auth", default=None, check=secret_problem
        ),
    }
    kinds = {"base_url": str, "api_key": Secret, "webhook_secret": Secret | None, "old_webhook_secret": Secret | None}
    ordered = base | values
    return settings(type("Spoilt", (), {"__annotations__": kinds | annotations, **ordered}))


@fails("GC-SET-011")
class PlainPassword(Info):
    """Has a password that is only text."""

    facts = {"settings_class": with_settings(smtp_password=(str, setting(title="Password", default="none")))}


@fails("GC-SET-012")
class Unmarked(Info):
    """Has a secret that is not marked as one."""

    facts = {"settings_class": with_settings(licence=(Secret | None, setting(title="Licence", default=None)))}


@fails("GC-HOOK-024")
class TakesAnySecret(Info):
    """Has a signing secret that nobody looks at."""

    facts = {
        "settings_class": with_settings(
            webhook_secret=(Secret | None, setting(title="Signing secret", secret=True, group="auth", default=None))
        )
    }

    def verify(self, settings: Any, request: Any) -> None:
        """As others do who find it out here."""
        try:
            super().verify(settings, request)
        except ValueError:
            raise WebhookRejected("the secret cannot be used", status=503) from None


@fails("GC-SET-027")
class DemandsTheOptional(Info):
    """Has a default that it refuses together with the others."""

    @settings
    class Demanding(HonestSettings):
        """The honest ones, and a rule."""

        def rules(self) -> Iterable[Problem]:
            """A signing secret has to be there."""
            if self.webhook_secret is None:
                yield Problem("webhook_secret", "is not given", "give it")

    facts = {"settings_class": Demanding}


@fails("GC-SET-018")
class BadDefault(Info):
    """Has a default that it would refuse."""

    facts = {
        "settings_class": with_settings(base_url=(str, setting(title="URL", default="nowhere", check=url_problem)))
    }


@fails("GC-SET-019")
class BadExample(Info):
    """Has an example that it would refuse."""

    facts = {"settings_class": with_settings(pace=(int, setting(title="Pace", default=5, example="five")))}


@fails("GC-SET-021")
class Nameless(Info):
    """Has a setting without a title."""

    facts = {"settings_class": with_settings(pace=(int, setting(title=" ", default=5)))}


@fails("GC-SET-022")
class Unexplained(Info):
    """Has a required setting that nobody explains."""

    facts = {
        "settings_class": settings(
            type(
                "Bare",
                (),
                {
                    "__annotations__": {"base_url": str, "api_key": Secret, "webhook_secret": Secret | None},
                    "base_url": setting(title="Base URL", check=url_problem),
                    "api_key": setting(title="API key", secret=True, help="Account > Keys"),
                    "webhook_secret": setting(title="Signing secret", secret=True, default=None),
                },
            )
        )
    }


@fails("GC-SET-023")
class Astray(Info):
    """Shows a setting if another one has a value that it cannot have."""

    facts = {"settings_class": with_settings(pace=(int, setting(title="Pace", default=5, show_if={"mood": "good"})))}


@fails("GC-SET-025")
class AnyUrl(Info):
    """Sends its key wherever it is told."""

    facts = {"settings_class": with_settings(other_url=(str, setting(title="Other", default="https://example.com")))}


def _talkative() -> type[Any]:
    cls = with_settings()
    cls.__str__ = lambda self: f"settings with {self.api_key.reveal()}"  # type: ignore[assignment]
    return cls


@fails("GC-SET-014")
class Talkative(Info):
    """Shows its key as text."""

    facts = {"settings_class": _talkative()}


def _quoting(value: Secret) -> str | None:
    return f"{value.reveal()} is not a key" if " " in value.reveal() else None


@fails("GC-SET-015")
class TellsInErrors(Info):
    """Quotes the key that it refuses."""

    facts = {
        "settings_class": with_settings(
            other_key=(Secret | None, setting(title="Other key", secret=True, default=None, check=_quoting))
        )
    }


@fails("GC-SET-016", "GC-LIFE-012", "GC-LIFE-013", "GC-TEST-019")
class Impatient(Info):
    """Wants to see the key at once."""

    facts = {
        "settings_class": with_settings(
            api_key=(Secret, setting(title="Key", help="It.", secret=True, check=lambda key: key.reveal()[:0] or None))
        )
    }


@attrs.define(kw_only=True, repr=False, eq=False)
class Loose:
    """Settings that are checked by nobody, and pass for those that are."""

    base_url: str = setting(title="Base URL", help="Where it is.")
    api_key: Secret = setting(title="API key", help="Account", secret=True)
    webhook_secret: Secret | None = setting(title="Signing secret", secret=True, default=None)
    quick: bool = setting(title="Quick", default=False)
    pace: int = setting(title="Pace", default=5, minimum=1, maximum=50)
    region: str = setting(title="Region", default="eu")
    __repr__ = _redacted_repr


@fails(
    "GC-SET-003",
    "GC-SET-004",
    "GC-SET-005",
    "GC-SET-006",
    "GC-SET-007",
    "GC-SET-008",
    "GC-SET-009",
    "GC-SET-015",
    "GC-SET-017",
    "GC-SET-020",
    "GC-SET-025",
    "GC-SET-026",
)
class Unchecked(Info):
    """Has settings that take everything."""

    facts = {"settings_class": Loose}


class _Refusing:
    """Rules that nothing keeps."""

    def rules(self) -> Any:
        """Never."""
        yield Problem("base_url", "is not good enough")


@fails("GC-SET-001")
class NeverSatisfied(Info):
    """Refuses the settings that its author calls valid."""

    facts = {"settings_class": settings(type("Refusing", (with_settings(), _Refusing), {}))}
