"""The schemas say what the code reads and writes."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from importlib import resources
from typing import Any

import jsonschema
import pytest
from hypothesis import given, settings

from genie_connect import (
    Attachment,
    Diagnosis,
    Event,
    EventKind,
    Message,
    Outcome,
    Receipt,
    Registry,
    Scope,
    Status,
    Step,
)
from genie_connect.errors import ValidationError
from genie_connect.model.codec import structure, unstructure
from genie_connect_spec.kit.letters import Copy, batch_of, letter
from genie_connect_spec.schemas import breaks, schemas
from genie_connect_spec.schemas.__main__ import FOLDER, written
from tests.model import strategies

SCHEMAS = schemas()
RELEASED = sorted((FOLDER / "released").glob("*.json"))


def valid(name: str, data: Any) -> bool:
    """Whether data fits a schema."""
    return bool(jsonschema.Draft202012Validator(SCHEMAS[name]).is_valid(json.loads(json.dumps(data))))


@pytest.mark.parametrize("name", sorted(SCHEMAS))
def test_a_schema_is_valid_and_up_to_date(name: str) -> None:
    """Python -m genie_connect_spec.schemas writes them anew."""
    jsonschema.Draft202012Validator.check_schema(SCHEMAS[name])
    kept = resources.files("genie_connect_spec.schemas").joinpath(f"{name}.json").read_text(encoding="utf-8")
    assert kept == written(SCHEMAS[name]), "out of date: run python -m genie_connect_spec.schemas"


@pytest.mark.parametrize("path", RELEASED, ids=lambda path: path.stem)
def test_nothing_of_the_last_release_is_taken_away(path: Any) -> None:
    """Other programs rely on it."""
    assert breaks(json.loads(path.read_text(encoding="utf-8")), SCHEMAS[path.stem]) == []


@given(strategies.MESSAGES)
@settings(max_examples=20)
def test_every_message_fits(message: Message) -> None:
    """What is written can be checked by its schema."""
    assert valid("message", unstructure(message))


@given(strategies.RECEIPTS)
@settings(max_examples=20)
def test_every_receipt_fits(receipt: Receipt) -> None:
    """With its outcomes, attempts and plan."""
    assert valid("receipt", unstructure(receipt))


WRONG_MESSAGES = (
    {"to": ["ada@example.com"], "subject": 5, "text": "x"},
    {"to": ["ada@example.com"], "text": "x", "sbject": "y"},
    {"to": "ada@example.com", "text": "x", "purpose": "fun"},
    {"to": {"ada": "example.com"}, "text": "x"},
    {"to": [], "text": "x", "attachments": [{"filename": "a.txt"}]},
)


@pytest.mark.parametrize("data", WRONG_MESSAGES)
def test_what_the_schema_refuses_the_class_refuses(data: dict[str, Any]) -> None:
    """Both say the same of these."""
    assert not valid("message", data)
    with pytest.raises(ValidationError):
        structure(Message, data)


def test_one_address_may_stand_where_several_can() -> None:
    """As the class takes it."""
    data = {"to": "ada@example.com", "subject": "Hello", "text": "Hello."}
    assert valid("message", data)
    assert structure(Message, data).to[0].email == "ada@example.com"


async def test_other_values_fit() -> None:
    """One of each."""
    file = Attachment(filename="a.txt", content=b"x")
    batch = await batch_of(letter(attachments=[file]), [Copy(to="Ada <ada@example.com>", merge={"name": "Ada"})])
    diagnosis = Diagnosis(code="auth", title="No", cause="wrong key", fixes=("Look.",))
    sandbox = Registry.discover(allow=["sandbox"])["sandbox"]
    event = Event(id="1", kind=EventKind.OPENED, time=datetime(2026, 11, 25, tzinfo=UTC))
    values = {
        "batch": batch,
        "outcome": Outcome(recipient="a@example.com", state="deferred", retry="any", scope=Scope.CONNECTION),
        "event": event,
        "capability-table": sandbox.capabilities(),
        "diagnosis": diagnosis,
        "step": Step(id="a", title="A", status=Status.FAIL, diagnosis=diagnosis, capabilities=sandbox.capabilities()),
    }
    for name, value in values.items():
        data = unstructure(value)
        assert valid(name, data), name
        for required in SCHEMAS[name]["required"]:
            assert not valid(name, {key: item for key, item in data.items() if key != required}), (name, required)


@pytest.mark.parametrize("connector", ["smtp", "sandbox"])
def test_every_setting_has_the_hints_of_a_form(connector: str) -> None:
    """The schema of settings is itself described."""
    schema = Registry.discover(allow=[connector])[connector].schema()
    assert all(valid("settings-hints", each) for each in schema["properties"].values())


OLD = {
    "type": "object",
    "properties": {
        "a": {"type": "string"},
        "b": {"anyOf": [{"type": "string"}, {"type": "null"}]},
        "c": {"type": "string", "enum": ["x", "y"]},
        "d": {"$ref": "#/$defs/D"},
        "e": {"type": "integer", "maximum": 5},
    },
    "required": ["a"],
    "$defs": {"D": {"type": "object", "properties": {"in": {"type": "string"}}}},
}


def changed(**properties: Any) -> dict[str, Any]:
    """The old schema with other properties; one that is None is gone."""
    kept = {name: value for name, value in {**OLD["properties"], **properties}.items() if value is not None}
    return {**OLD, "properties": kept}


@pytest.mark.parametrize(
    ("new", "found"),
    [
        (OLD, []),
        (changed(f={"type": "string"}), []),
        (changed(a=None), ["a: is gone"]),
        (changed(b={"type": "string"}), ["b: is no longer null"]),
        (changed(c={"type": "string", "enum": ["x", "y", "z"]}), []),
        (changed(c={"type": "string", "enum": ["x"]}), ["c: 'y' is no longer a choice"]),
        (changed(a={"type": "string", "enum": ["x"]}), ["a: has become a choice"]),
        (changed(e={"type": "integer", "maximum": 4}), ["e: maximum has shrunk to 4"]),
        ({**OLD, "required": ["a", "b"]}, ["b: has become required"]),
        ({**OLD, "additionalProperties": False}, ["the whole: no longer takes other fields"]),
        ({**OLD, "$defs": {"D": {"type": "object", "properties": {}}}}, ["d.in: is gone"]),
    ],
)
def test_what_breaks_is_told(new: dict[str, Any], found: list[str]) -> None:
    """What goes away is, and what is added is not."""
    assert breaks(OLD, new) == found
