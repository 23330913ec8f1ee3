"""Errors as a person reads them: what, why, what to do."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Iterable
from typing import Any, TypeAlias

import attrs
import click

from genie_connect.cli.__main__ import INSTALL
from genie_connect.cli.exit_codes import ExitCode
from genie_connect.errors import (
    BroadcastStateError,
    ConfigurationError,
    ConnectorUnavailable,
    EngineUnavailable,
    GenieConnectError,
    IdempotencyConflict,
    NoConnection,
    NoSuchBroadcast,
    NothingUnknown,
    Problem,
    SecretUnavailable,
    StoreError,
    UnusableList,
    ValidationError,
)
from genie_connect.model.codec import unstructure

OF_THE_EXTRA = ("click", "rich", "cryptography")


class Failed(Exception):
    """A command cannot do what it was asked to."""

    def __init__(self, error: str, *, cause: str = "", hint: str = "", code: ExitCode = ExitCode.ERROR) -> None:
        super().__init__(error)
        self.error = error
        self.cause = cause
        self.hint = hint
        self.code = code


@attrs.frozen(kw_only=True)
class Report:
    """An error to be shown: in lines on standard error, and with ``--json`` as an object too."""

    error: str
    causes: tuple[str, ...] = ()
    hints: tuple[str, ...] = ()
    code: ExitCode = ExitCode.ERROR
    kind: str = "error"
    problems: tuple[Problem, ...] = ()
    more: dict[str, Any] = attrs.field(factory=dict)

    def lines(self) -> list[str]:
        """``error:``, ``cause:``, ``hint:``; further causes and hints are indented below the first."""
        shown = [f"error: {self.error}"]
        for label, items in (("cause: ", self.causes), ("hint:  ", self.hints)):
            lines = [line for item in items for line in item.splitlines()]
            shown += [(label if index == 0 else " " * len(label)) + line for index, line in enumerate(lines)]
        return shown

    def data(self) -> dict[str, Any]:
        """The same for a program."""
        return {
            "error": {
                "code": self.kind,
                "message": self.error,
                "causes": list(self.causes),
                "hints": list(self.hints),
                "problems": [
                    {"field": problem.path, "message": problem.message, "fix": problem.fix} for problem in self.problems
                ],
                **self.more,
            },
            "exit_code": int(self.code),
        }


def report(error: BaseException) -> Report:
    """What is to be shown of an exception."""
    for kind, make in _REPORTS:
        if isinstance(error, kind):
            return make(error)
    return _unexpected(error)


def _failed(error: Failed) -> Report:
    return Report(error=error.error, causes=_some(error.cause), hints=_some(error.hint), code=error.code)


def _usage(error: click.UsageError) -> Report:
    asked = f"{error.ctx.command_path} --help" if error.ctx else "genie-connect --help"
    return Report(error=error.format_message(), hints=(f"see {asked}",), kind="usage")


def _click(error: click.ClickException) -> Report:
    return Report(error=error.format_message(), kind="usage")


def _no_connection(error: NoConnection) -> Report:
    plan = error.plan
    causes = [f"{skipped.connection}: {'; '.join(skipped.reasons)}" for skipped in plan.passed_over]
    return Report(
        error="no connection can carry this message",
        causes=tuple(causes) or ("the configuration has no connections",),
        hints=("change the message, or add a connection that can carry it; genie-connect connections lists them",),
        code=ExitCode.NO_CONNECTION,
        kind=error.code,
        more={"plan": unstructure(plan)},
    )


def _invalid(error: ValidationError) -> Report:
    return _problems(f"invalid {error.what}", error.problems, error.hint, ExitCode.ERROR, error.code)


def _configuration(error: ConfigurationError) -> Report:
    if not error.problems:
        return Report(error=error.message, hints=_some(error.hint), code=ExitCode.CONFIGURATION, kind=error.code)
    return _problems(error.message.partition(":\n")[0], error.problems, error.hint, ExitCode.CONFIGURATION, error.code)


def _unavailable(error: ConnectorUnavailable) -> Report:
    return Report(
        error=f"there is no usable connector {error.connector!r}",
        causes=(error.cause,),
        hints=(*_some(error.hint), "genie-connect connectors lists those installed"),
        kind=error.code,
    )


def _secret(error: SecretUnavailable) -> Report:
    return Report(
        error=f"the secret {error.reference} cannot be read",
        causes=(error.cause,),
        hints=_some(error.hint),
        code=ExitCode.CONFIGURATION,
        kind=error.code,
    )


def _durable(code: ExitCode) -> Callable[[GenieConnectError], Report]:
    def make(error: GenieConnectError) -> Report:
        # These say what cannot be done, and behind a colon why.
        what, _, why = error.message.partition(": ")
        return Report(error=what, causes=_some(why), hints=_some(error.hint), code=code, kind=error.code)

    return make


def _ours(error: GenieConnectError) -> Report:
    return Report(error=error.message, hints=_some(error.hint), kind=error.code)


def _missing_module(error: ModuleNotFoundError) -> Report:
    package = (error.name or "").partition(".")[0]
    if package not in OF_THE_EXTRA:
        return _unexpected(error)
    return Report(error=f"the package {package} is not installed", hints=(INSTALL,), kind="not_installed")


def _system(error: OSError) -> Report:
    where = f"{error.filename}: " if error.filename else ""
    return Report(error=f"{where}{error.strerror or type(error).__name__}", kind="os_error")


def _unexpected(error: BaseException) -> Report:
    # The text of an exception that nobody foresaw may hold anything, a secret too: only its kind and place are shown.
    last = traceback.extract_tb(error.__traceback__)[-1:]
    where = "".join(f" in {frame.name}, line {frame.lineno}" for frame in last)
    return Report(
        error=f"genie-connect failed unexpectedly: {type(error).__name__}{where}",
        hints=("this is a defect; run it again with -vv for the traceback, and report it",),
        kind="internal",
    )


def _problems(error: str, problems: tuple[Problem, ...], hint: str, code: ExitCode, kind: str) -> Report:
    return Report(
        error=error,
        causes=tuple(_at(problem.path, problem.message) for problem in problems),
        hints=tuple(_at(problem.path, problem.fix) for problem in problems if problem.fix) or _some(hint),
        code=code,
        kind=kind,
        problems=problems,
    )


def _at(path: str, text: str) -> str:
    return f"{path}: {text}" if path else text


def _some(text: str) -> tuple[str, ...]:
    return (text,) if text else ()


_Kinds: TypeAlias = "type[BaseException] | tuple[type[BaseException], ...]"
_REPORTS: tuple[tuple[_Kinds, Callable[[Any], Report]], ...] = (
    (Failed, _failed),
    (click.UsageError, _usage),
    (click.ClickException, _click),
    (NoConnection, _no_connection),
    (ValidationError, _invalid),
    (UnusableList, _ours),
    (ConfigurationError, _configuration),
    (ConnectorUnavailable, _unavailable),
    (SecretUnavailable, _secret),
    ((StoreError, EngineUnavailable), _durable(ExitCode.STORE)),
    ((NoSuchBroadcast, BroadcastStateError, NothingUnknown, IdempotencyConflict), _durable(ExitCode.STATE)),
    (GenieConnectError, _ours),
    (ModuleNotFoundError, _missing_module),
    (OSError, _system),
)


def labelled(problems: Iterable[Problem], label: Callable[[str], str]) -> list[Problem]:
    """The problems, each path put as the person wrote it."""
    return [attrs.evolve(problem, path=label(problem.path)) for problem in problems]
