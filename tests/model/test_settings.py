"""Settings classes: strict, complete in their errors, and described by a schema that agrees with them."""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum
from typing import Any, Literal

import attrs
import jsonschema
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from genie_connect.errors import Problem, SettingsError
from genie_connect.model.address import Address
from genie_connect.model.schema import json_schema, settings_table
from genie_connect.model.secret import Secret
from genie_connect.model.settings import setting, settings, structure_settings


class Region(StrEnum):
    """Where the provider keeps its data."""

    EU = "eu"
    US = "us"


def _even(value: int) -> str | None:
    return "must be even" if value % 2 else None


@settings
class Sample:
    """One setting of each kind."""

    host: str = setting(title="Host", help="Name of the server | proxy", example="smtp.example.com", max_length=20)
    key: Secret = setting(title="Key", secret=True, group="auth")
    port: int = setting(title="Port", default=587, minimum=1, maximum=65535)
    ratio: float = setting(title="Ratio", default=0.5, minimum=0)
    verify: bool = setting(title="Verify", default=True)
    mode: Literal["tls", "starttls"] = setting(title="Mode", default="tls", titles={"tls": "TLS (465)"})
    region: Region = setting(title="Region", default=Region.EU)
    from_: Address | None = setting(title="From", default=None)
    names: tuple[str, ...] = setting(title="Names", default=())
    proxy: str | None = setting(title="Proxy", default=None, show_if={"mode": "tls"})
    even: int = setting(title="Even", default=2, check=_even)

    def rules(self) -> Iterable[Problem]:
        """A combination that cannot work."""
        if self.mode == "starttls" and self.port == 465:
            yield Problem("port", "is for TLS", "use 587")


GOOD: dict[str, Any] = {"host": "mx.example.com", "key": "k"}
SCHEMA = json_schema(Sample)
VALIDATOR = jsonschema.Draft202012Validator(SCHEMA)


@pytest.mark.parametrize(
    ("given_settings", "path"),
    [
        ({"host": 5}, "host"),
        ({"host": ""}, "host"),
        ({"host": "  "}, "host"),
        ({"host": "a\nb"}, "host"),
        ({"host": "x" * 21}, "host"),
        ({"host": None}, "host"),
        ({"key": ""}, "key"),
        ({"key": 5}, "key"),
        ({"key": "a\x00b"}, "key"),
        ({"port": "587"}, "port"),
        ({"port": True}, "port"),
        ({"port": 587.0}, "port"),
        ({"port": 0}, "port"),
        ({"port": 65536}, "port"),
        ({"ratio": "1"}, "ratio"),
        ({"ratio": float("nan")}, "ratio"),
        ({"ratio": -0.1}, "ratio"),
        ({"ratio": False}, "ratio"),
        ({"verify": "false"}, "verify"),
        ({"verify": 0}, "verify"),
        ({"verify": None}, "verify"),
        ({"mode": "none"}, "mode"),
        ({"mode": 1}, "mode"),
        ({"region": "EU"}, "region"),
        ({"from": "nobody"}, "from"),
        ({"from": 5}, "from"),
        ({"names": "abc"}, "names"),
        ({"names": ["a", 5]}, "names[1]"),
        ({"names": ["a", ""]}, "names[1]"),
        ({"proxy": ""}, "proxy"),
        ({"even": 3}, "even"),
        ({"prot": 5}, "prot"),
        ({"from_": "a@example.com"}, "from_"),
        ({"mode": "starttls", "port": 465}, "port"),
    ],
)
def test_refused_under_its_path(given_settings: dict[str, Any], path: str) -> None:
    """Nothing is converted, and each problem stands under the name that the operator wrote."""
    with pytest.raises(SettingsError) as refused:
        structure_settings(Sample, GOOD | given_settings)
    assert [problem.path for problem in refused.value.problems] == [path]


def test_all_problems_at_once() -> None:
    """Missing, unknown and wrong settings are one error."""
    with pytest.raises(SettingsError) as refused:
        structure_settings(Sample, {"prot": 1, "port": "x", "names": [1, 2], "verify": "no"}, connector="sample")
    assert {problem.path for problem in refused.value.problems} == {
        "host",
        "key",
        "prot",
        "port",
        "names[0]",
        "names[1]",
        "verify",
    }
    assert "sample" in str(refused.value)


def test_unknown_setting_is_told_its_nearest() -> None:
    """A slip of the pen is answered with the name that was probably meant."""
    with pytest.raises(SettingsError, match="did you mean port"):
        structure_settings(Sample, GOOD | {"prot": 5})


@pytest.mark.parametrize("data", [None, [], "x", 5])
def test_settings_are_a_table(data: Any) -> None:
    """What is no mapping is refused as such."""
    with pytest.raises(SettingsError, match="must be a table"):
        structure_settings(Sample, data)


def test_made_in_python_is_checked_as_well() -> None:
    """The constructor checks what ``structure_settings`` checks."""
    with pytest.raises(SettingsError):
        Sample(host="a", key=Secret("k"), port="587")  # type: ignore[arg-type]
    assert Sample(host="a", key=Secret("k")).port == 587


def test_settings_do_not_change() -> None:
    """Settings are frozen; a change makes new ones, checked again."""
    sample = structure_settings(Sample, GOOD)
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        sample.port = 1  # type: ignore[misc]
    with pytest.raises(SettingsError):
        attrs.evolve(sample, port=0)  # type: ignore[type-var]


def test_schema_is_a_schema() -> None:
    """The schema is valid by the metaschema of its dialect."""
    assert SCHEMA["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    jsonschema.Draft202012Validator.check_schema(SCHEMA)


def test_schema_says_what_forms_need() -> None:
    """Order, groups, titles, secrets and conditions are in it."""
    properties = SCHEMA["properties"]
    assert [name for name, item in sorted(properties.items(), key=lambda pair: pair[1]["x-order"])][:3] == [
        "host",
        "key",
        "port",
    ]
    assert properties["key"]["writeOnly"] is True
    assert "default" not in properties["key"]
    assert properties["key"]["x-group"] == "auth"
    assert properties["mode"]["enum"] == ["tls", "starttls"]
    assert properties["mode"]["x-enum-titles"] == {"tls": "TLS (465)"}
    assert properties["proxy"]["x-show-if"] == {"mode": "tls"}
    assert properties["region"]["default"] == "eu"
    assert SCHEMA["required"] == ["host", "key"]
    assert SCHEMA["additionalProperties"] is False


_TEXT = st.text(st.characters(codec="ascii"), max_size=30)
_ANYTHING = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-5, 70_000),
    st.floats(allow_nan=False, allow_infinity=False),
    _TEXT,
    st.sampled_from(["tls", "starttls", "eu", "us", "a@example.com", "x" * 20]),
    st.lists(_TEXT, max_size=3),
)
_LIKELY = {
    "host": st.sampled_from(["mx.example.com", "x" * 20]),
    "key": st.sampled_from(["k", "env:KEY"]),
    "port": st.integers(1, 65535),
    "ratio": st.floats(0, 10) | st.integers(0, 10),
    "verify": st.booleans(),
    "mode": st.sampled_from(["tls", "starttls"]),
    "region": st.sampled_from(["eu", "us"]),
    "from": st.none() | st.just("Ada <a@example.com>"),
    "names": st.lists(st.sampled_from(["a", "b c"]), max_size=3),
    "proxy": st.none() | st.just("p"),
    "even": st.integers(0, 20).map(lambda number: number * 2),
}
_REQUIRED = {name: _LIKELY[name] for name in ("host", "key")}
_VALID = st.fixed_dictionaries(_REQUIRED, optional={name: _LIKELY[name] for name in _LIKELY if name not in _REQUIRED})
_DATA = st.fixed_dictionaries({}, optional={name: good | _ANYTHING for name, good in _LIKELY.items()})


@hypothesis_settings(deadline=None, max_examples=500)
@given(data=_DATA | _VALID)
def test_schema_accepts_what_the_class_accepts(data: dict[str, Any]) -> None:
    """What can be structured is valid by the schema, so no form refuses good settings."""
    try:
        structure_settings(Sample, data)
    except SettingsError:
        return
    VALIDATOR.validate(data)


@hypothesis_settings(deadline=None, max_examples=500)
@given(data=_DATA)
def test_class_refuses_what_the_schema_refuses(data: dict[str, Any]) -> None:
    """What the schema refuses cannot be structured either: the class is the stricter of the two."""
    if VALIDATOR.is_valid(data):
        return
    with pytest.raises(SettingsError):
        structure_settings(Sample, data)


def test_docs_table() -> None:
    """Every setting has its row, and a bar in a help text does not break the table."""
    lines = settings_table(Sample).splitlines()
    assert len(lines) == 2 + len(attrs.fields(Sample))  # type: ignore[arg-type]
    assert lines[2] == "| `host` | text | required | Host. Name of the server \\| proxy |"
    assert {line.replace("\\|", "").count("|") for line in lines} == {5}
    assert any(line.startswith("| `from` | address | none |") for line in lines)


@pytest.mark.parametrize("hint", ["dict[str, str]", "int | str", "bytes"])
def test_type_that_no_form_can_show(hint: str) -> None:
    """A type outside the list is a mistake of the author, found when the class is used."""
    namespace: dict[str, Any] = {
        "__annotations__": {"field": hint},
        "field": setting(title="F"),
        "__module__": __name__,
    }
    cls = settings(type("Odd", (), namespace))
    with pytest.raises((TypeError, KeyError)):
        json_schema(cls)
    with pytest.raises(TypeError, match="not a type that a setting can have"):
        structure_settings(cls, {"field": "x"})
