"""A secret is shown nowhere, and its value is had in one way only."""

from __future__ import annotations

import copy
import json
import logging
import pickle
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import attrs
import pytest

from genie_connect.errors import SecretUnavailable, SettingsError
from genie_connect.model.codec import unstructure
from genie_connect.model.secret import Secret
from genie_connect.model.settings import redacted, setting, settings, structure_settings

CANARY = "correct-horse-battery-staple"


@settings
class Login:
    """A settings class with a secret."""

    user: str = setting(title="User")
    password: Secret = setting(title="Password", secret=True)
    port: int = setting(title="Port", default=587)


LOGIN = structure_settings(Login, {"user": "ada", "password": CANARY})


@pytest.mark.parametrize(
    "value", [Secret(CANARY), LOGIN, [LOGIN], {"a": Secret(CANARY)}], ids=["one", "in", "list", "map"]
)
@pytest.mark.parametrize(
    "show",
    [
        repr,
        str,
        "{}".format,
        "{!r}".format,
        lambda value: f"{value!s:>50}",
        lambda value: "%s %r" % (value, value),  # noqa: UP031 # the way logging does it
        lambda value: repr(unstructure(value)),
        lambda value: json.dumps(value, default=str),
        lambda value: repr(copy.deepcopy(value)),
        lambda value: repr(getattr(value, "__dict__", "")),
    ],
)
def test_text_forms_do_not_hold_it(value: Any, show: Callable[[Any], str]) -> None:
    """No way of making text of a secret, or of what holds one, brings it out."""
    assert CANARY not in show(value)


def test_redacted_settings_do_not_hold_it() -> None:
    """Settings as shown to an operator have the mask in its place."""
    assert redacted(LOGIN) == {"user": "ada", "password": "***", "port": 587}


@pytest.mark.parametrize("value", [Secret(CANARY), LOGIN], ids=["secret", "settings"])
@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_is_not_pickled(value: Any, protocol: int) -> None:
    """Pickle refuses, since the value would be readable in the result."""
    with pytest.raises(TypeError, match="not pickled"):
        pickle.dumps(value, protocol)


def test_json_does_not_take_it() -> None:
    """A secret is not text, so JSON refuses it."""
    with pytest.raises(TypeError):
        json.dumps(Secret(CANARY))


def test_is_no_text() -> None:
    """Joining and adding fail, where a text would slip through."""
    with pytest.raises(TypeError):
        "x" + Secret(CANARY)  # type: ignore[operator]
    with pytest.raises(TypeError):
        "".join([Secret(CANARY)])  # type: ignore[list-item]


def test_error_about_the_settings_does_not_hold_it(caplog: pytest.LogCaptureFixture) -> None:
    """A refused setting beside it, and a refused secret itself, leave it out of the error and the traceback."""
    for data in ({"user": 5, "password": CANARY, "prot": 1}, {"user": "ada", "password": f"{CANARY}\n"}):
        with pytest.raises(SettingsError) as refused:
            structure_settings(Login, data)
        logging.getLogger().error("refused", exc_info=refused.value)
        shown = "".join(traceback.format_exception(refused.value)) + caplog.text + repr(refused.value.problems)
        assert CANARY not in shown


def test_attrs_asdict_holds_the_wrapper() -> None:
    """Even attrs' own dictionary has the wrapper, not the value."""
    assert CANARY not in repr(attrs.asdict(LOGIN))  # type: ignore[call-overload]


def test_value_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """``env:NAME`` is read when it is needed, and the reference may be shown."""
    monkeypatch.setenv("GENIE_TEST_PASSWORD", CANARY)
    secret = Secret("env:GENIE_TEST_PASSWORD")
    assert secret.reveal() == CANARY
    assert str(secret) == "env:GENIE_TEST_PASSWORD"
    assert CANARY not in repr(secret)


def test_value_from_a_file(tmp_path: Path) -> None:
    """``file:PATH`` is read without the line end that editors add."""
    path = tmp_path / "password"
    path.write_text(f"{CANARY}\n")
    assert Secret(f"file:{path}").reveal() == CANARY


@pytest.mark.parametrize("content", [b"", b"\n", b"\xff\xfe"])
def test_file_without_a_secret(tmp_path: Path, content: bytes) -> None:
    """An empty or unreadable file is an error that names the reference."""
    path = tmp_path / "password"
    path.write_bytes(content)
    with pytest.raises(SecretUnavailable) as missing:
        Secret(f"file:{path}").reveal()
    assert missing.value.reference == f"file:{path}"


def test_reference_that_leads_nowhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A missing variable or file is an error that says what to do."""
    monkeypatch.delenv("GENIE_TEST_PASSWORD", raising=False)
    for reference in ("env:GENIE_TEST_PASSWORD", f"file:{tmp_path / 'none'}"):
        with pytest.raises(SecretUnavailable) as missing:
            Secret(reference).reveal()
        assert missing.value.hint


def test_literal_that_looks_like_a_reference() -> None:
    """``literal:`` says that what follows is the value itself."""
    assert Secret("literal:env:X").reveal() == "env:X"
    assert Secret("env:not a name").reveal() == "env:not a name"


def test_equality_is_by_what_was_given() -> None:
    """Two secrets are equal when they were given the same, and equal to nothing else."""
    assert Secret("é") == Secret("é")
    assert Secret("a") != Secret("b")
    assert Secret("a") != "a"
    assert hash(Secret("a")) == hash(Secret("a"))
